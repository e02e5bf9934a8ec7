//! What `check` says of a file of settings.

use super::super::{Examined, Fate, Profile, common, examine};
use crate::fixture::{RULE, config};

fn examined(configuration: &str, text: &str) -> Examined {
    let config = config(configuration);
    let examined = examine("/etc/default/proxy", text, config.compat.as_ref().unwrap(), &config);
    for line in examined.assessment.to_string().lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    examined
}

const GO: &str = "[compat]\nprofile = \"go-metadataproxy\"\n";
const LYFT: &str = "[compat]\nprofile = \"lyft\"\n";

#[test]
fn each_setting_of_go_metadataproxy_is_told() {
    let text = "HOST=0.0.0.0\nPORT=8000\nDEFAULT_ROLE=deploy\nDEFAULT_ACCOUNT_ID=1\nDOCKER_HOST=unix:///run/docker.sock\nROLE_CACHE_OFFSET=15m\n\
                COPY_DOCKER_LABELS=a,b\nSTATSD_ADDR=127.0.0.1:8125\nENABLE_PROMETHEUS=\nAWS_REGION=eu-west-1\nDEFAULT_ROLL=x\nNEWRELIC_LICENSE=verysecret\n";
    let examined = examined(&format!("{GO}given_up = \"STATSD_ADDR\"\n{RULE}"), text);
    insta::assert_snapshot!(examined.assessment, @r###"
    settings of jippi/go-metadataproxy in /etc/default/proxy
      ignored    HOST: the proxy listens on every address, and drops whoever comes without its redirect
      ignored    PORT: `listen.port` says it, and the redirect to it is the proxy's own
      tightened  DEFAULT_ROLE: it is the role of rule deploy; a role for everybody is also one for
                 whoever is not meant; it is given by rules that have it as `role`, and while observing
                 if `observed_roles` has it
      ignored    DEFAULT_ACCOUNT_ID: it was documented and never read
      honoured   DOCKER_HOST: engine.socket is the same; containers of another engine than
                 `engine.socket` get nothing
      ignored    ROLE_CACHE_OFFSET: credentials are renewed ahead of their end; `aws.session_seconds`
                 says how long they live
      refused    COPY_DOCKER_LABELS: what a job writes became names and values of metrics, without
                 bound; audit records name container, project and job
                 remedy: look a job up in the audit log
      refused    STATSD_ADDR: given up; measurements are not sent anywhere: Prometheus fetches them
                 remedy: set `listen.metrics`, and let Prometheus fetch `/metrics` there
      ignored    ENABLE_PROMETHEUS: it is empty
      ignored    AWS_REGION: here it is eu-central-1; `aws.region` says whose STS is asked
      unknown    DEFAULT_ROLL: not a setting of jippi/go-metadataproxy
      refused    NEWRELIC_LICENSE: measurements are not sent anywhere: Prometheus fetches them
                 remedy: set `listen.metrics`, and let Prometheus fetch `/metrics` there
    "###);
    let faults: Vec<String> = examined.faults.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(faults.join("\n"), @r###"
    /etc/default/proxy:7: COPY_DOCKER_LABELS: is refused: what a job writes became names and values of metrics, without bound; audit records name container, project and job
      remedy: look a job up in the audit log; or name it in compat.given_up, so that nobody is surprised
    /etc/default/proxy:12: NEWRELIC_LICENSE: is refused: measurements are not sent anywhere: Prometheus fetches them
      remedy: set `listen.metrics`, and let Prometheus fetch `/metrics` there; or name it in compat.given_up, so that nobody is surprised
    "###);
    assert_eq!(
        examined.warnings,
        [
            "/etc/default/proxy: refused: STATSD_ADDR; `check` says why",
            "/etc/default/proxy: nobody knows the settings DEFAULT_ROLL"
        ]
    );
    assert!(!format!("{examined:?}").contains("verysecret"));
}

#[test]
fn each_setting_of_lyfts_metadataproxy_is_told() {
    let text = "PORT=8000\nDEBUG=True\nDOCKER_URL=unix://var/run/docker.sock\nDEFAULT_ROLE=ci-default\nDEFAULT_ACCOUNT_ID=123456789012\n\
                AWS_ACCOUNT_MAP={\"prod\":\"222222222222\",\"dev\":\"123456789012\"}\nROLE_MAPPING_FILE=/etc/roles.json\nROLE_REVERSE_LOOKUP=true\n\
                MOCK_API=False\nMETADATA_URL=http://169.254.169.254\nROLE_SESSION_KEY=Env:CI_JOB_ID\nPATCH_ECS_ALLOWED_HOSTS=10.0.0.1\nAWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE\nFORWARDED_ALLOW_IPS=*\n";
    let examined = examined(&format!("{LYFT}{RULE}"), text);
    insta::assert_snapshot!(examined.assessment, @r###"
    settings of lyft/metadataproxy in /etc/default/proxy
      ignored    PORT: `listen.port` says it, and the redirect to it is the proxy's own
      refused    DEBUG: it wrote credentials into the log
      honoured   DOCKER_URL: engine.socket is the same; containers of another engine than
                 `engine.socket` get nothing
      refused    DEFAULT_ROLE: no rule has it; a role for everybody is also one for whoever is not
                 meant; it is given by rules that have it as `role`, and while observing if
                 `observed_roles` has it
                 remedy: write a rule with this `role` for those who may have it
      honoured   DEFAULT_ACCOUNT_ID: it is the account of every role that is written without one
      tightened  AWS_ACCOUNT_MAP: the account of prod is not listed; its aliases can be used in
                 `IAM_ROLE`; roles are given of `aws.account` and `aws.accounts` alone
      refused    ROLE_MAPPING_FILE: an address proves nothing: it is given to the next container, and
                 can be taken
                 remedy: write a rule for each role, by what the runner's labels say
      refused    ROLE_REVERSE_LOOKUP: a host name is what the container, or whoever answers for DNS,
                 says it is
                 remedy: remove it; the kernel says which container asks
      ignored    MOCK_API: it is off; this proxy invents no instance
      ignored    METADATA_URL: it is as usual; nothing is forwarded; what `paths` lists is asked of the
                 instance itself
      tightened  ROLE_SESSION_KEY: a rule's `session_name` names the session, by default
                 `PROJECT-JOB-RUNNER`, and never what a job says
      refused    PATCH_ECS_ALLOWED_HOSTS: the proxy's own credentials come from no address that can be
                 put in the place of AWS's
                 remedy: say with `aws.credentials` where they come from
      refused    AWS_ACCESS_KEY_ID: the proxy's own credentials are those of `aws.credentials`, which is
                 the instance profile unless it is stated
                 remedy: state `aws.credentials`, and give the proxy itself what that needs
      refused    FORWARDED_ALLOW_IPS: no header says who asks
    "###);
    let fields: Vec<&str> = examined.faults.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "DEFAULT_ROLE",
            "ROLE_MAPPING_FILE",
            "ROLE_REVERSE_LOOKUP",
            "PATCH_ECS_ALLOWED_HOSTS",
            "AWS_ACCESS_KEY_ID"
        ]
    );
    assert_eq!(
        examined.warnings,
        ["/etc/default/proxy: refused: DEBUG, FORWARDED_ALLOW_IPS; `check` says why"]
    );
    assert!(!format!("{examined:?}").contains("AKIA"));
}

/// What becomes of the one setting, and whether that is a fault.
fn fate(configuration: &str, line: &str) -> (Fate, bool) {
    let examined = examined(configuration, line);
    let [finding] = examined.assessment.findings.as_slice() else {
        panic!("{line}")
    };
    assert_eq!(finding.is_fault, !examined.faults.is_empty());
    (finding.fate, finding.is_fault)
}

#[test]
fn a_default_role_is_only_what_rules_and_the_list_make_of_it() {
    let observe = |roles: &str| format!("{GO}mode = \"observe\"\nobserved_roles = [{roles}]\n{RULE}");
    let enforce = format!("{GO}{RULE}");
    assert_eq!(fate(&enforce, "DEFAULT_ROLE=deploy"), (Fate::Tightened, false));
    assert_eq!(
        fate(&enforce, "DEFAULT_ROLE=deploy@123456789012"),
        (Fate::Tightened, false)
    );
    // It can be selected, and is nobody's own.
    assert_eq!(fate(&enforce, "DEFAULT_ROLE=deploy-eu"), (Fate::Refused, true));
    assert_eq!(fate(&enforce, "DEFAULT_ROLE=a b"), (Fate::Refused, true));
    assert_eq!(
        fate(&observe("\"deploy\""), "DEFAULT_ROLE=deploy"),
        (Fate::Honoured, false)
    );
    assert_eq!(
        fate(&observe("\"other\""), "DEFAULT_ROLE=deploy"),
        (Fate::Refused, true)
    );
    let given_up = format!("{GO}given_up = [\"DEFAULT_ROLE\"]\n{RULE}");
    assert_eq!(fate(&given_up, "DEFAULT_ROLE=admin"), (Fate::Refused, false));
}

#[test]
fn the_fate_of_a_setting_follows_its_value_and_the_configuration() {
    let (go, lyft) = (format!("{GO}{RULE}"), format!("{LYFT}{RULE}"));
    for (configuration, line, expected) in [
        (&go, "DOCKER_HOST=unix:///var/run/docker.sock", Fate::Honoured),
        (&go, "DOCKER_HOST=unix://run/docker.sock", Fate::Honoured),
        (&go, "DOCKER_HOST=tcp://10.0.0.1:2376", Fate::Refused),
        (&go, "AWS_REGION=eu-central-1", Fate::Honoured),
        (&go, "AWS_REGION=eu-west-1", Fate::Ignored),
        (&go, "ENABLE_PROMETHEUS=1", Fate::Refused),
        (&go, "ROLE_MAPPING_FILE=/x", Fate::Unknown),
        (&lyft, "ROLE_REVERSE_LOOKUP=False", Fate::Ignored),
        (&lyft, "ROLE_REVERSE_LOOKUP=no", Fate::Refused),
        (&lyft, "MOCK_API=1", Fate::Refused),
        (&lyft, "METADATA_URL=http://10.0.0.1", Fate::Refused),
        (&lyft, "DEFAULT_ACCOUNT_ID=222222222222", Fate::Refused),
        (&lyft, "AWS_ACCOUNT_MAP={\"a\":\"12\"}", Fate::Refused),
        (&lyft, "AWS_ACCOUNT_MAP={\"a@b\":\"123456789012\"}", Fate::Refused),
        (&lyft, "AWS_ACCOUNT_MAP={\"a\":123456789012}", Fate::Refused),
        (&lyft, "AWS_ACCOUNT_MAP=[]", Fate::Refused),
        (&lyft, "AWS_ACCOUNT_MAP={}", Fate::Tightened),
        (&lyft, "ROLE_MAPPING_FILE=", Fate::Ignored),
    ] {
        assert_eq!(fate(configuration, line).0, expected, "{line}");
    }
    let stated = format!("credentials = \"environment\"\n{go}");
    assert_eq!(fate(&stated, "AWS_ACCESS_KEY_ID=x").0, Fate::Ignored);
}

#[test]
fn what_is_taken_over_are_aliases_and_the_default_role() {
    let adopted = examined(
        &format!("{LYFT}{RULE}"),
        "AWS_ACCOUNT_MAP={\"dev\":\"123456789012\"}\nDEFAULT_ROLE=x@dev\n",
    )
    .adopted;
    assert_eq!(adopted.accounts["dev"].as_str(), "123456789012");
    assert!(adopted.default_role.is_some());
    // go-metadataproxy has no aliases.
    let adopted = examined(
        &format!("{GO}{RULE}"),
        "AWS_ACCOUNT_MAP={\"dev\":\"123456789012\"}\nDEFAULT_ROLE=x@dev\n",
    )
    .adopted;
    assert!(adopted.accounts.is_empty() && adopted.default_role.is_none());
}

#[test]
fn every_line_that_cannot_be_read_is_a_fault_without_its_value() {
    let faults = examined(
        &format!("{GO}{RULE}"),
        "A\nNEWRELIC_LICENSE=\"very$secret\"\nPORT=1\nPORT=2\n",
    )
    .faults;
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(faults.join("\n"), @r###"
    /etc/default/proxy:1: is not NAME=value
      remedy: write NAME=value, with nothing around the equals sign
    /etc/default/proxy:2: NEWRELIC_LICENSE: is read differently by systemd, Docker and a shell
      remedy: write the whole value in single quotes, or without what needs them
    /etc/default/proxy:4: PORT: is set before, to another value
      remedy: leave the one that holds
    "###);
}

#[test]
fn settings_have_one_name_each_and_what_is_refused_and_missed_has_a_remedy() {
    for profile in Profile::ALL {
        let settings: Vec<_> = profile.settings().iter().chain(common()).collect();
        for (index, setting) in settings.iter().enumerate() {
            assert!(
                settings.iter().skip(index + 1).all(|other| other.name != setting.name),
                "{}",
                setting.name
            );
            assert!(
                !setting.can_be_given_up() || !setting.remedy.is_empty(),
                "{}",
                setting.name
            );
            assert_eq!(profile.setting(setting.name), Some(*setting));
        }
    }
}
