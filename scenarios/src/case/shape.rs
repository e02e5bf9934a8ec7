//! The shape of a case file as one table: which keys, of which type, needed or not, and what for. The reader of documents and the JSON schema
//! both follow it; what the values mean together is in `check`.

mod step;

use super::hole::RUNNER_HOLES;
#[cfg(test)]
pub(super) use step::ACTIONS;
use step::STEP;

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    Flag,
    /// A whole number in this range.
    Count(i64, i64),
    /// One of these words.
    Word(&'static [&'static str]),
    Verdict,
    List(&'static Kind),
    /// `[name, value]`.
    Pair,
    Table(&'static Shape),
    /// A table with keys of the author's choice.
    Named(&'static Kind),
    /// A table with a key for each defence.
    PerDefence(&'static Kind),
}

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) needed: bool,
    pub(super) doc: &'static str,
}

/// One table.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) keys: &'static [Key],
    /// Exactly one of the keys must stand there.
    pub(super) one_of: bool,
}

const fn needed(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        needed: true,
        doc,
    }
}

const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        needed: false,
        doc,
    }
}

const fn table(keys: &'static [Key]) -> Shape {
    Shape { keys, one_of: false }
}

pub(super) const DEFENCES: &[&str] = &[
    "none",
    "firewall",
    "hop-limit",
    "hop-limit-2",
    "hop-limit-v1",
    "instance-profile",
    "proxy",
    "firewall+proxy",
    "oidc",
    "oidc-only",
    "external",
];
pub(super) const CONTROLS: &[&str] = &["sanctioned", "twin", "reach", "sanctioned-before"];
/// What only the scenarios that say so ask of an external proxy.
pub(super) const QUESTIONS: &[&str] = &["calls", "forwarded-token", "inherited-role", "session-name"];
pub(super) const KINDS: &[&str] = &["build", "predefined", "service", "wait"];
/// Checks of web identity tokens, as `fake-sts --skip-check` names them.
pub(super) const STS_CHECKS: &[&str] = &[
    "algorithm",
    "audience",
    "claims",
    "expiry",
    "embedded-key",
    "issuer",
    "key-id",
    "withdrawn-key",
];

const TEXTS: Kind = Kind::List(&Kind::Text);
const VERDICTS: Kind = Kind::List(&Kind::Verdict);
const VARIABLES: Kind = Kind::List(&Kind::Table(&VARIABLE));

/// A case file.
pub(super) static CASE: Shape = table(&[
    needed("id", Kind::Text, "the catalogue's number, such as ROLE-02"),
    needed(
        "name",
        Kind::Text,
        "a few words with hyphens; with the id it names the folder",
    ),
    needed("title", Kind::Text, "one line for tables, at most 60 characters"),
    needed(
        "doc",
        Kind::Text,
        "what the attack or use is, why it works where it works, and what stops it",
    ),
    optional("references", TEXTS, "where this is known from"),
    optional(
        "exclusive",
        Kind::Flag,
        "the scenario disturbs its instance and gets one of its own",
    ),
    optional(
        "restores",
        Kind::Flag,
        "an exclusive scenario's steps take back what they changed on the host: the next one can have the instance",
    ),
    optional(
        "default_bridge_ipv6",
        Kind::Flag,
        "the engine's default bridge has IPv6 too, as with fixed-cidr-v6",
    ),
    optional(
        "role",
        Kind::List(&Kind::Table(&ROLE)),
        "roles of the simulated account",
    ),
    optional("rule", Kind::List(&Kind::Table(&RULE)), "what the operator sanctions"),
    optional("runner", Kind::Table(&RUNNER), "the runner's configuration"),
    optional(
        "network",
        Kind::List(&Kind::Table(&NETWORK)),
        "user-defined networks that exist before the jobs start",
    ),
    optional(
        "job",
        Kind::List(&Kind::Table(&JOB)),
        "what the pipeline's author gives to each job",
    ),
    needed("step", Kind::List(&Kind::Table(&STEP)), "what happens, in order"),
    needed(
        "expect",
        Kind::PerDefence(&VERDICTS),
        "the verdicts each defence may give to every attempt that says nothing else",
    ),
    optional(
        "control",
        Kind::PerDefence(&Kind::Word(CONTROLS)),
        "how each defence shows that it works at all",
    ),
    optional(
        "unasked",
        Kind::PerDefence(&Kind::Text),
        "defences that the scenario is not run against, and why not",
    ),
    optional(
        "asks",
        Kind::List(&Kind::Word(QUESTIONS)),
        "what this scenario asks of an external proxy too, which all others excuse it of",
    ),
    needed(
        "hole",
        Kind::Table(&HOLE),
        "what opens the hole that this scenario exists for",
    ),
]);

static ROLE: Shape = table(&[
    needed("name", Kind::Text, "the case's own short name"),
    optional("external_id", Kind::Text, "demanded by the trust policy"),
    optional("untrusting", Kind::Flag, "the trust policy denies the instance's role"),
    optional(
        "trust",
        Kind::Text,
        "its trust policy, JSON; one that trusts the instance's role when absent",
    ),
    optional("policy", Kind::Text, "its identity policy, JSON; none when absent"),
    optional(
        "max_session_seconds",
        Kind::Count(3_600, 43_200),
        "MaxSessionDuration; an hour when absent",
    ),
]);

static RULE: Shape = table(&[
    needed("job", Kind::Text, "the job whose project the rule is for"),
    optional(
        "container",
        Kind::Text,
        "key=value: instead of a project, containers of no job with this label",
    ),
    optional(
        "kind",
        Kind::List(&Kind::Word(KINDS)),
        "container kinds; [\"build\"] when absent",
    ),
    optional("role", Kind::Text, "the sanctioned role's short name"),
    optional("selectable", TEXTS, "short names that IAM_ROLE may select"),
    optional("external_id", Kind::Text, "passed to STS"),
    optional("session_policy", Kind::Text, "passed to STS: an inline session policy"),
    optional("policy_arns", TEXTS, "passed to STS: managed session policies"),
    optional(
        "duration_seconds",
        Kind::Count(900, 43_200),
        "passed to STS; the proxy's own when absent",
    ),
    optional("ref", TEXTS, "Git refs; any when absent"),
    optional(
        "image_of",
        TEXTS,
        "jobs whose images, by id, are the only ones; any when absent",
    ),
]);

static RUNNER: Shape = table(&[optional(
    "config",
    Kind::Text,
    "an excerpt of config.toml: the keys below one [[runners]]",
)]);

static NETWORK: Shape = table(&[
    needed("name", Kind::Text, "the case's own short name"),
    optional(
        "bridge",
        Kind::Text,
        "com.docker.network.bridge.name; Docker's choice when absent",
    ),
    optional("ipv6", Kind::Flag, "with an IPv6 subnet"),
    optional("subnet", Kind::Text, "its IPv4 subnet; fixed addresses need one"),
]);

static JOB: Shape = table(&[
    needed("name", Kind::Text, "the case's own short name, one lower-case word"),
    optional("image", Kind::Table(&IMAGE), "the image the author built"),
    optional("variables", VARIABLES, "in payload order, duplicates kept"),
    optional("secrets", VARIABLES, "results of secrets:, after everything else"),
    optional("ref", Kind::Text, "the Git ref the pipeline is for; default main"),
    optional(
        "variants",
        TEXTS,
        "the job once for each, with ${variant} put in; all but the first only against the proxy",
    ),
    optional("services", Kind::List(&Kind::Table(&SERVICE)), "services of the job"),
    optional(
        "native_steps",
        Kind::Flag,
        "the environment is replaced by one recovery variable",
    ),
    optional("raw_env", TEXTS, "raw entries at the end of Config.Env"),
    optional(
        "raw_labels",
        Kind::Named(&Kind::Text),
        "labels instead of the runner's, on a container that no runner made",
    ),
    optional(
        "runner",
        Kind::Text,
        "the short id of another runner that takes the job",
    ),
    optional(
        "gitlab",
        Kind::Text,
        "the host of another GitLab server that sends the job",
    ),
    optional("project_of", Kind::Text, "belongs to the project of that other job"),
    optional(
        "later",
        Kind::Flag,
        "starts at a launch step instead of at the beginning",
    ),
    optional("address", Kind::Text, "a fixed address for the build container"),
    optional("shares", Kind::Text, "shares the network namespace of that container"),
    optional("timeout", Kind::Count(1, 86_400), "timeout of the job in seconds"),
    optional(
        "only",
        Kind::List(&Kind::Word(DEFENCES)),
        "launched only under these defences",
    ),
    optional(
        "path",
        Kind::Text,
        "the path of its project; one of the scenario's own when absent",
    ),
    optional("tag", Kind::Flag, "the ref is a tag"),
    optional("protected", Kind::Flag, "the ref is protected"),
    optional(
        "fork",
        Kind::Text,
        "the fork that a merge request's pipeline runs for, in the project at path",
    ),
    optional(
        "id_tokens",
        Kind::Named(&Kind::Table(&ID_TOKEN)),
        "id_tokens:, by the variable's name",
    ),
]);

static ID_TOKEN: Shape = table(&[needed("aud", TEXTS, "aud:, one or several")]);

static IMAGE: Shape = table(&[
    optional(
        "name",
        Kind::Text,
        "its name in the engine; the scenario's own when absent",
    ),
    optional("env", Kind::Named(&Kind::Text), "ENV"),
    optional("labels", Kind::Named(&Kind::Text), "LABEL"),
    optional(
        "asks_at_once",
        Kind::Flag,
        "its entrypoint asks for credentials before anything else",
    ),
]);

static VARIABLE: Shape = table(&[
    needed("key", Kind::Text, "its key"),
    needed("value", Kind::Text, "its value; may be empty"),
    optional("raw", Kind::Flag, "not expanded"),
    optional("file", Kind::Flag, "of type file: the environment holds a path"),
]);

static SERVICE: Shape = table(&[
    needed("alias", Kind::Text, "its alias, by which steps address it"),
    optional("variables", VARIABLES, "its own variables"),
    optional("image", Kind::Table(&IMAGE), "its image"),
]);

static HOLE: Shape = table(&[
    optional("weak", TEXTS, "switches of weak-proxy; each must turn the scenario red"),
    optional(
        "defence",
        Kind::List(&Kind::Word(DEFENCES)),
        "defences in whose place what the case expects must turn red",
    ),
    optional(
        "role",
        Kind::List(&Kind::Table(&WEAK_ROLE)),
        "policies that an operator could have written instead; each by itself must turn the scenario red",
    ),
    optional(
        "sts",
        Kind::List(&Kind::Word(STS_CHECKS)),
        "checks of web identity tokens that STS leaves out; each must turn the scenario red",
    ),
    optional(
        "runner",
        Kind::List(&Kind::Word(RUNNER_HOLES)),
        "what a careless runner would do; each must turn the scenario red",
    ),
]);

static WEAK_ROLE: Shape = table(&[
    needed("name", Kind::Text, "the role's short name"),
    optional("trust", Kind::Text, "its trust policy instead, JSON"),
    optional("policy", Kind::Text, "its identity policy instead, JSON"),
]);
