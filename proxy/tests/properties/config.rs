//! The operator's configuration.

use metadata_proxy::config::{Config, Environment, MetricsAddress};
use metadata_proxy::policy::{Decision, Policy, decide};

use crate::world::facts;

/// A text is a configuration or has a fault, which says where and what to do; and a configuration gives what its rules name and nothing else.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let read = Config::read("test.toml", text, &Environment::default());
    assert_eq!(read, Config::read("test.toml", text, &Environment::default()));
    match read {
        Ok(config) => check_config(&config),
        Err(faults) => {
            assert!(!faults.0.is_empty());
            let is_toml = text.parse::<toml::Table>().is_ok();
            for fault in &faults.0 {
                assert!(!fault.field.is_empty() || !is_toml, "{fault}");
                assert!(!fault.problem.is_empty() && !fault.remedy.is_empty(), "{fault}");
                assert!(
                    fault.file == "test.toml" && (1..=text.matches('\n').count() + 1).contains(&fault.line),
                    "{fault}"
                );
            }
            assert!(faults.0.is_sorted_by_key(|fault| fault.line));
        }
    }
}

fn check_config(config: &Config) {
    assert!(config.warnings().iter().all(|warning| !warning.is_empty()));
    assert!((900..=43_200).contains(&config.aws.session_seconds));
    assert!(!matches!(config.listen.metrics, Some(MetricsAddress::Loopback(at)) if !at.ip().is_loopback()));
    let policy = Policy::new(config);
    assert!(policy.lost_in(&policy.succeed(config)).is_empty());
    let mut named = Vec::new();
    for rule in &config.rules {
        let roles = rule.role.iter().chain(&rule.selectable);
        named.extend(roles.map(|role| (rule.name.clone(), role.clone())));
    }
    assert!(named.iter().all(|(_, role)| config.aws.home.has(role.account())));
    for server in &config.gitlab {
        let at = server.url.strip_prefix("http://");
        assert!(
            at.is_none_or(|at| at.starts_with("127.") || at.starts_with("[::1]"))
                && at.is_some() != server.url.starts_with("https://")
        );
        assert!(server.verdict > server.timeout);
    }
    for (rule, wanted) in config
        .rules
        .iter()
        .filter_map(|rule| Some((rule, rule.verify.as_ref()?)))
    {
        // Who wants to know has somebody to ask.
        let host = &rule.subject.jobs().unwrap().gitlab;
        let server = config.gitlab.iter().find(|server| server.host == *host).unwrap();
        assert!(!wanted.protected || server.token_file.is_some());
    }
    let observed = config.compat.iter().flat_map(|compat| compat.observed.keys());
    let observed: Vec<_> = observed.filter(|_| config.is_observing()).collect();
    for selected in [
        "PATH=/bin",
        "IAM_ROLE=deploy",
        "IAM_ROLE=deploy@123456789012",
        "IAM_ROLE=/team/deploy",
    ] {
        let mut facts = facts();
        facts.env.push(selected.to_owned());
        if let Decision::Grant(grant) = decide(&policy, &facts) {
            let is_observed = grant.observed.is_some() && observed.contains(&&grant.role);
            let is_named = named.contains(&(grant.rule.clone(), grant.role.clone()));
            assert!(is_named || is_observed, "{grant:?}");
            assert!((900..=43_200).contains(&grant.duration_seconds) && (grant.until.is_some() || is_observed));
        }
    }
}
