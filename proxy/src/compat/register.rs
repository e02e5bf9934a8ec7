//! Every setting of the earlier proxies, what becomes of it, and why: what `check` says and what docs/migrate.md has in its tables.
//!
//! A setting that is refused is a fault if jobs or people would miss it, until the operator gives it up by name: otherwise they would find
//! out when it is too late. What only made things worse is refused with a warning.

use std::fmt;

use super::Profile;

/// What becomes of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It means here what it meant there.
    Honoured,
    /// It means less.
    Tightened,
    /// It means nothing, since it cannot be safe.
    Refused,
    /// It means nothing, and nobody misses it.
    Ignored,
    /// It is none of that proxy's.
    Unknown,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Honoured => "honoured",
            Self::Tightened => "tightened",
            Self::Refused => "refused",
            Self::Ignored => "ignored",
            Self::Unknown => "unknown",
        })
    }
}

/// What decides about the fate of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Nothing.
    Always(Fate),
    /// Whether it is on: off is ignored.
    On(Fate),
    /// Whether it is anything but this, which is ignored.
    Beside(&'static str, Fate),
    /// `DEFAULT_ROLE`: the rules, and the list of observe mode.
    DefaultRole,
    /// `DEFAULT_ACCOUNT_ID`: `aws.account`.
    DefaultAccount,
    /// `AWS_ACCOUNT_MAP`: whether it can be read.
    AccountMap,
    /// Where the engine is: `engine.socket`.
    Engine,
    /// `AWS_REGION`: `aws.region`.
    Region,
    /// Whose credentials the proxy itself has: `aws.credentials`.
    Base,
    /// `ENABLE_PROMETHEUS`: `listen.metrics`.
    Prometheus,
}

/// One setting of an earlier proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    pub(super) when: When,
    /// Why.
    pub why: &'static str,
    /// What to do instead; empty if nothing is to be done.
    pub remedy: &'static str,
    /// Jobs or people would miss it, so that it has to be given up by name.
    pub is_missed: bool,
}

impl Setting {
    /// What may become of it.
    #[must_use]
    pub fn fates(&self) -> Vec<Fate> {
        match self.when {
            When::Always(fate) => vec![fate],
            When::On(fate) | When::Beside(_, fate) => vec![fate, Fate::Ignored],
            When::DefaultRole => vec![Fate::Honoured, Fate::Tightened, Fate::Refused],
            When::DefaultAccount | When::Engine => vec![Fate::Honoured, Fate::Refused],
            When::AccountMap => vec![Fate::Tightened, Fate::Refused],
            When::Region => vec![Fate::Honoured, Fate::Ignored],
            When::Base => vec![Fate::Refused, Fate::Ignored],
            When::Prometheus => vec![Fate::Tightened, Fate::Refused],
        }
    }

    /// Whether it can be given up: it may be refused, and would be missed.
    #[must_use]
    pub fn can_be_given_up(&self) -> bool {
        self.is_missed && self.fates().contains(&Fate::Refused)
    }

    /// Its row in the tables of docs/migrate.md.
    #[must_use]
    pub fn row(&self) -> String {
        let fates: Vec<String> = self.fates().iter().map(ToString::to_string).collect();
        let separator = if self.remedy.is_empty() { "" } else { "; " };
        let fault = if self.can_be_given_up() { ", a fault" } else { "" };
        let fates = fates.join(" or ").replace("refused", &format!("refused{fault}"));
        format!("| `{}` | {fates} | {}{separator}{} |", self.name, self.why, self.remedy)
    }
}

const fn told(name: &'static str, fate: Fate, why: &'static str) -> Setting {
    Setting {
        name,
        when: When::Always(fate),
        why,
        remedy: "",
        is_missed: false,
    }
}

const fn missed(name: &'static str, when: When, why: &'static str, remedy: &'static str) -> Setting {
    Setting {
        name,
        when,
        why,
        remedy,
        is_missed: true,
    }
}

const DEFAULT_ROLE: Setting = missed(
    "DEFAULT_ROLE",
    When::DefaultRole,
    "a role for everybody is also one for whoever is not meant; it is given by rules that have it as `role`, and while observing if `observed_roles` has it",
    "write a rule with this `role` for those who may have it",
);
const PORT: Setting = told(
    "PORT",
    Fate::Ignored,
    "`listen.port` says it, and the redirect to it is the proxy's own",
);
const HOST: Setting = told(
    "HOST",
    Fate::Ignored,
    "the proxy listens on every address, and drops whoever comes without its redirect",
);
const PUSHED: &str = "measurements are not sent anywhere: Prometheus fetches them";
const FETCHED: &str = "set `listen.metrics`, and let Prometheus fetch `/metrics` there";
const COPIED: &str = "what a job writes became names and values of metrics, without bound; audit records name container, project and job";
const JOIN: &str = "look a job up in the audit log";
const SERVER: &str = "it is of the web server that is not here";
const NEVER: &str = "it was documented and never read";
const TLS: &str = "`[engine]` says how the engine is reached";

const GO: &[Setting] = &[
    DEFAULT_ROLE,
    told("DEFAULT_ACCOUNT_ID", Fate::Ignored, NEVER),
    HOST,
    PORT,
    told("DOCKER_URL", Fate::Ignored, NEVER),
    missed(
        "DOCKER_HOST",
        When::Engine,
        "containers of another engine than `engine.socket` get nothing",
        "write it as `engine.socket`",
    ),
    told("DOCKER_TLS_VERIFY", Fate::Ignored, TLS),
    told("DOCKER_CERT_PATH", Fate::Ignored, TLS),
    told("DOCKER_API_VERSION", Fate::Ignored, TLS),
    told(
        "ROLE_CACHE_OFFSET",
        Fate::Ignored,
        "credentials are renewed ahead of their end; `aws.session_seconds` says how long they live",
    ),
    told("LOG_LEVEL", Fate::Ignored, "what matters is logged, whatever the level"),
    told(
        "LOG_FORMAT",
        Fate::Ignored,
        "decisions are JSON in the audit log, the rest is lines for people",
    ),
    missed("COPY_DOCKER_LABELS", When::Always(Fate::Refused), COPIED, JOIN),
    missed("COPY_DOCKER_ENV", When::Always(Fate::Refused), COPIED, JOIN),
    told("COPY_REQUEST_HEADERS", Fate::Ignored, "it never worked"),
    told(
        "LABEL_SEPARATOR",
        Fate::Ignored,
        "it is of COPY_DOCKER_LABELS and COPY_DOCKER_ENV",
    ),
    missed("NEWRELIC_APP_NAME", When::Always(Fate::Refused), PUSHED, FETCHED),
    missed("NEWRELIC_LICENSE", When::Always(Fate::Refused), PUSHED, FETCHED),
    missed("DATADOG_SERVICE_NAME", When::Always(Fate::Refused), PUSHED, FETCHED),
    missed("DATADOG_ADDR", When::Always(Fate::Refused), PUSHED, FETCHED),
    missed("STATSD_ADDR", When::Always(Fate::Refused), PUSHED, FETCHED),
    missed("STATSITE_ADDR", When::Always(Fate::Refused), PUSHED, FETCHED),
    missed(
        "ENABLE_PROMETHEUS",
        When::Prometheus,
        "metrics on the port of the jobs told each job of the others; they are served at `listen.metrics`, under other names",
        "set `listen.metrics`",
    ),
];

const LYFT: &[Setting] = &[
    DEFAULT_ROLE,
    missed(
        "DEFAULT_ACCOUNT_ID",
        When::DefaultAccount,
        "it is the account of every role that is written without one",
        "write it as `aws.account`",
    ),
    missed(
        "AWS_ACCOUNT_MAP",
        When::AccountMap,
        "its aliases can be used in `IAM_ROLE`; roles are given of `aws.account` and `aws.accounts` alone",
        "write a JSON object with an account of 12 digits for each alias",
    ),
    missed(
        "ROLE_MAPPING_FILE",
        When::Always(Fate::Refused),
        "an address proves nothing: it is given to the next container, and can be taken",
        "write a rule for each role, by what the runner's labels say",
    ),
    missed(
        "ROLE_REVERSE_LOOKUP",
        When::On(Fate::Refused),
        "a host name is what the container, or whoever answers for DNS, says it is",
        "remove it; the kernel says which container asks",
    ),
    told("HOSTNAME_MATCH_REGEX", Fate::Ignored, "it is of ROLE_REVERSE_LOOKUP"),
    told(
        "ROLE_SESSION_KEY",
        Fate::Tightened,
        "a rule's `session_name` names the session, by default `PROJECT-JOB-RUNNER`, and never what a job says",
    ),
    missed(
        "MESOS_STATE_LOOKUP",
        When::On(Fate::Refused),
        "only containers of the engine are known",
        "keep such tasks on the earlier proxy",
    ),
    told("MESOS_STATE_URL", Fate::Ignored, "it is of MESOS_STATE_LOOKUP"),
    told("MESOS_STATE_TIMEOUT", Fate::Ignored, "it is of MESOS_STATE_LOOKUP"),
    HOST,
    PORT,
    Setting {
        name: "DEBUG",
        when: When::On(Fate::Refused),
        why: "it wrote credentials into the log",
        remedy: "",
        is_missed: false,
    },
    missed(
        "DOCKER_URL",
        When::Engine,
        "containers of another engine than `engine.socket` get nothing",
        "write it as `engine.socket`",
    ),
    told("DOCKER_VERSION", Fate::Ignored, TLS),
    missed(
        "METADATA_URL",
        When::Beside("http://169.254.169.254", Fate::Refused),
        "nothing is forwarded; what `paths` lists is asked of the instance itself",
        "leave it out",
    ),
    missed(
        "MOCK_API",
        When::On(Fate::Refused),
        "this proxy invents no instance",
        "use fake-imds where there is none",
    ),
    told("MOCKED_INSTANCE_ID", Fate::Ignored, "it is of MOCK_API"),
    told(
        "ROLE_EXPIRATION_THRESHOLD",
        Fate::Ignored,
        "credentials are renewed ahead of their end; `aws.session_seconds` says how long they live",
    ),
    missed(
        "PATCH_ECS_ALLOWED_HOSTS",
        When::Always(Fate::Refused),
        "the proxy's own credentials come from no address that can be put in the place of AWS's",
        "say with `aws.credentials` where they come from",
    ),
    Setting {
        name: "FORWARDED_ALLOW_IPS",
        when: When::Always(Fate::Refused),
        why: "no header says who asks",
        remedy: "",
        is_missed: false,
    },
    told("GUNICORN_CONFIG", Fate::Ignored, SERVER),
    told("WORKERS", Fate::Ignored, SERVER),
    told("GEVENT_REQUEST_TIMEOUT_MS", Fate::Ignored, SERVER),
    told("LOGGING_CONF_FILE", Fate::Ignored, SERVER),
    told("RELOAD", Fate::Ignored, SERVER),
    told("RELOAD_EXTRA_FILES", Fate::Ignored, SERVER),
];

const OWN: &str =
    "the proxy's own credentials are those of `aws.credentials`, which is the instance profile unless it is stated";
const STATE: &str = "state `aws.credentials`, and give the proxy itself what that needs";
const DIRECT: &str = "AWS is asked directly, so that nobody in between sees what it answers";

const COMMON: &[Setting] = &[
    Setting {
        name: "AWS_REGION",
        when: When::Region,
        why: "`aws.region` says whose STS is asked",
        remedy: "",
        is_missed: false,
    },
    missed("AWS_ACCESS_KEY_ID", When::Base, OWN, STATE),
    missed("AWS_SECRET_ACCESS_KEY", When::Base, OWN, STATE),
    missed("AWS_SESSION_TOKEN", When::Base, OWN, STATE),
    missed("AWS_PROFILE", When::Base, OWN, STATE),
    missed("AWS_CONFIG_FILE", When::Base, OWN, STATE),
    missed("AWS_SHARED_CREDENTIALS_FILE", When::Base, OWN, STATE),
    missed("AWS_ROLE_ARN", When::Base, OWN, STATE),
    missed("AWS_WEB_IDENTITY_TOKEN_FILE", When::Base, OWN, STATE),
    told("HTTP_PROXY", Fate::Ignored, DIRECT),
    told("HTTPS_PROXY", Fate::Ignored, DIRECT),
    told("NO_PROXY", Fate::Ignored, DIRECT),
];

/// What they read in a container's environment.
pub const VARIABLES: &[Setting] = &[
    told(
        "IAM_ROLE",
        Fate::Tightened,
        "it selects among the roles of the container's rule, in every form of the profile; twice, from the image, or anything else is refused",
    ),
    told(
        "IAM_EXTERNAL_ID",
        Fate::Tightened,
        "`external_id` of the rule is told to STS (while observing, that of `external_ids`), and never what a job says",
    ),
];

/// Settings that every program of AWS's SDKs has.
#[must_use]
pub const fn common() -> &'static [Setting] {
    COMMON
}

impl Profile {
    /// The proxy's own settings.
    #[must_use]
    pub const fn settings(self) -> &'static [Setting] {
        match self {
            Self::GoMetadataproxy => GO,
            Self::Lyft => LYFT,
        }
    }

    /// The setting of that name.
    #[must_use]
    pub fn setting(self, name: &str) -> Option<&'static Setting> {
        self.settings()
            .iter()
            .chain(COMMON)
            .find(|setting| setting.name == name)
    }
}
