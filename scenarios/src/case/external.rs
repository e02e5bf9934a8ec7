//! What a case means for a metadata proxy of somebody else's. Such proxies read a role from the variable `IAM_ROLE` of the container that asks; of the
//! operator's policy they know nothing. What cannot be asked of them is said here, with the reason. Pure.

use serde::Deserialize;

use super::model::{Action, Case, Defence, Job, Rule, Step};
use crate::verdict::{Expected, Verdict};

/// What every such proxy known does otherwise than it should: one scenario asks, and all others would be red for that alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Whether STS is asked once for a session.
    Calls,
    /// Whether a job gets a session token of the instance's own, since the token request is forwarded.
    ForwardedToken,
    /// Whether the job's services and the runner's own containers stay without its role, though they have its variables.
    InheritedRole,
    /// Whether a session's name names the job; elsewhere it may name nobody, but nobody else.
    SessionName,
}

impl Case {
    /// Whether a defence has to answer for it in this case.
    pub fn puts(&self, question: Question, defence: Defence) -> bool {
        defence != Defence::External || self.asks.contains(&question)
    }

    /// Why the case is not run against a defence; none where it is.
    pub fn unasked_because(&self, defence: Defence) -> Option<String> {
        if let Some(reason) = self.unasked.get(&defence) {
            return Some(reason.clone());
        }
        if defence != Defence::External {
            return None;
        }
        if !self.is_for(defence) {
            return Some("it is about ID tokens and what roles trust: no proxy takes part".to_owned());
        }
        let reloads = |step: &Step| step.action == Action::Proxy && step.signal.as_deref() == Some("reload");
        let needs_policy = self
            .rules
            .iter()
            .find_map(untold)
            .or_else(|| self.steps.iter().any(reloads).then_some("is changed while it serves"));
        needs_policy.map(|what| format!("the operator's policy {what}, and no variable tells an external proxy so"))
    }

    /// What an external proxy may answer beside what metadata-proxy may. Where the author's `IAM_ROLE` stands beside the operator's it may refuse the job, and
    /// it may also not listen to him and give what the operator gave: nobody has got more than he should.
    pub(super) fn fair(&self, step: &Step, defence: Defence, mut expected: Expected) -> Expected {
        let Some((name, kind)) = step.place.split_once('.').filter(|_| defence == Defence::External) else {
            return expected;
        };
        let job = self.jobs.iter().find(|job| job.name == name);
        let role = job.and_then(|job| self.told(job)).and_then(|rule| rule.role.clone());
        let Some(given) = role.map(Verdict::Role) else {
            return expected;
        };
        let may: &[Verdict] = if kind != "build" && !self.puts(Question::InheritedRole, defence) {
            &[given]
        } else if kind == "build" && job.is_some_and(Job::names_a_role) {
            &[given, Verdict::Deny]
        } else {
            &[]
        };
        // Where something else is awaited, no answer of the proxy is.
        if expected
            .0
            .iter()
            .any(|verdict| matches!(verdict, Verdict::Deny | Verdict::Role(_)))
        {
            let more = may.iter().filter(|verdict| !expected.allows(verdict));
            expected.0.extend(more.cloned().collect::<Vec<_>>());
        }
        expected
    }

    /// Whether the author contradicts, in a job's own variables or image, what the operator tells an external proxy of it: then nothing that the proxy
    /// answers shows whether it works.
    pub fn is_disputed(&self, place: &str, defence: Defence) -> bool {
        let job = place.split('.').next().unwrap_or_default();
        let job = self.jobs.iter().find(|known| known.name == job);
        defence == Defence::External && job.is_some_and(Job::names_a_role)
    }

    /// The rule whose role the operator's runner puts into the environment of a job's containers; none where another runner or server sends the job, or where
    /// the runner's configuration says it already.
    pub fn told(&self, job: &Job) -> Option<&Rule> {
        let project = |name: &str| {
            let of = self.jobs.iter().find(|other| other.name == name);
            of.and_then(|job| job.project_of.clone())
                .unwrap_or_else(|| name.to_owned())
        };
        // The twin is a job of the first one's project.
        let own = match self.jobs.iter().find(|other| other.name == job.name) {
            Some(job) => project(&job.name),
            None => project(&self.jobs.first()?.name),
        };
        if job.runner.is_some() || job.gitlab.is_some() || self.runner.config.contains("IAM_ROLE=") {
            return None;
        }
        let mut rules = self
            .rules
            .iter()
            .filter(|rule| project(&rule.job) == own && rule.role.is_some());
        let first = rules.clone().next();
        rules
            .find(|rule| rule.kind.is_empty() || rule.kind.iter().any(|kind| kind == "build"))
            .or(first)
    }
}

impl Job {
    /// Whether the author, or the image, says anything of a role.
    fn names_a_role(&self) -> bool {
        let variables = self.variables.iter().chain(&self.secrets).map(|variable| &variable.key);
        let keys = variables.chain(&self.raw_env).chain(self.image.env.keys());
        keys.into_iter().any(|key| key.to_ascii_uppercase().contains("ROLE"))
    }
}

/// What of a rule an environment cannot say.
fn untold(rule: &Rule) -> Option<&'static str> {
    if rule.session_policy.is_some() || !rule.policy_arns.is_empty() || rule.duration_seconds.is_some() {
        Some("says how far or for how long sessions go")
    } else if !rule.refs.is_empty() {
        Some("names refs")
    } else if !rule.image_of.is_empty() {
        Some("names images")
    } else if rule.container.is_some() {
        Some("names containers of the operator's own")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(rest: &str) -> Case {
        let text = format!("id = \"X-01\"\nname = \"x\"\ntitle = \"x\"\ndoc = \"x\"\nhole = {{}}\n{rest}");
        toml::from_str(&text).unwrap()
    }

    const OVERRIDDEN: &str = r#"
        expect = { proxy = ["DENY"] }
        rule = [{ job = "a", role = "own" }]
        job = [{ name = "a", variables = [{ key = "IAM_ROLE", value = "other" }] }, { name = "b", project_of = "a" }]
        step = [{ in = "a.build", do = "imds" }, { in = "b.build", do = "imds" }, { in = "a.db", do = "imds" }]
    "#;

    #[test]
    fn who_overrides_a_role_may_get_the_operators_from_an_external_proxy() {
        let case = case(OVERRIDDEN);
        let told: Vec<String> = case
            .steps
            .iter()
            .map(|step| case.expected(step, Defence::External).to_string())
            .collect();
        assert_eq!(told, ["DENY | ROLE(own)", "DENY", "DENY | ROLE(own)"]);
        assert_eq!(case.expected(&case.steps[0], Defence::Proxy).to_string(), "DENY");
    }

    #[test]
    fn a_service_stays_without_the_role_only_where_that_is_the_question() {
        let case = case(&format!("asks = [\"inherited-role\"]\n{OVERRIDDEN}"));
        assert_eq!(case.expected(&case.steps[2], Defence::External).to_string(), "DENY");
        assert!(case.is_disputed("a.build", Defence::External) && !case.is_disputed("a.build", Defence::Proxy));
        assert!(!case.is_disputed("b.build", Defence::External));
    }

    #[test]
    fn what_a_case_says_of_external_proxies_itself_goes_before() {
        let case = case(&OVERRIDDEN.replace("expect = {", "expect = { external = [\"BLOCKED\"],"));
        assert_eq!(case.expected(&case.steps[0], Defence::External).to_string(), "BLOCKED");
    }

    #[test]
    fn the_runner_tells_the_role_of_its_own_jobs_alone() {
        let case = case(
            r#"
            expect = {}
            step = []
            rule = [{ job = "a", kind = ["service"], role = "small" }, { job = "a", role = "own" }, { job = "c", selectable = ["own"] }]
            job = [{ name = "a" }, { name = "b", project_of = "a" }, { name = "c" }, { name = "d", project_of = "a", gitlab = "x.example" }]
        "#,
        );
        let twin = Job {
            name: "twin".to_owned(),
            ..Job::default()
        };
        let told: Vec<_> = case
            .jobs
            .iter()
            .chain([&twin])
            .map(|job| case.told(job).and_then(|rule| rule.role.as_deref()))
            .collect();
        assert_eq!(told, [Some("own"), Some("own"), None, None, Some("own")]);
    }

    #[test]
    fn what_an_environment_cannot_say_is_not_asked() {
        let reason = |rest: &str| case(rest).unasked_because(Defence::External).unwrap_or_default();
        let endpoint = "expect = { proxy = [\"DENY\"] }\n";
        assert_eq!(reason(&format!("{endpoint}step = []")), "");
        for (rest, part) in [
            ("step = []\nexpect = { oidc = [\"DENY\"] }".to_owned(), "ID tokens"),
            (format!("{endpoint}step = []\nunasked = {{ external = \"so\" }}"), "so"),
            (
                format!("{endpoint}step = []\nrule = [{{ job = \"a\", ref = [\"main\"] }}]"),
                "names refs",
            ),
            (
                format!("{endpoint}step = []\nrule = [{{ job = \"a\", session_policy = \"{{}}\" }}]"),
                "how far",
            ),
            (
                format!("{endpoint}step = [{{ in = \"lab\", do = \"proxy\", signal = \"reload\" }}]"),
                "is changed",
            ),
        ] {
            assert!(reason(&rest).contains(part), "{rest}: {}", reason(&rest));
            assert_eq!(case(&rest).unasked_because(Defence::Proxy), None);
        }
    }

    #[test]
    fn an_external_proxy_answers_only_for_what_the_case_asks() {
        let case = case("expect = {}\nstep = []\nasks = [\"session-name\"]");
        assert!(case.puts(Question::SessionName, Defence::External));
        assert!(!case.puts(Question::Calls, Defence::External) && case.puts(Question::Calls, Defence::Proxy));
    }
}
