use proptest::prelude::*;

use super::told::Told;
use super::*;
use crate::tree::Found;

fn started() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn aemm(config: &str, mode: Mode) -> Aemm {
    let config = read("aemm-config.json", config).unwrap_or_else(|error| panic!("{error}"));
    Aemm { config, mode }
}

/// What is at a path then; `-` for nothing.
fn at(aemm: &Aemm, seconds: i64, path: &str) -> String {
    let now = started() + SignedDuration::from_secs(seconds);
    let trees = aemm.trees(started());
    let (_, tree) = trees.iter().rfind(|(from, _)| *from <= now).unwrap();
    match tree.find(Version::LATEST, path, None) {
        None => "-".to_owned(),
        Some(Found::Listing(text)) => text,
        Some(Found::Leaf(Leaf::Text(text) | Leaf::Json(text))) => String::from_utf8(text.to_vec()).unwrap(),
        Some(Found::Leaf(Leaf::Live(live))) => live.say(now).0,
        Some(Found::Leaf(leaf)) => format!("{leaf:?}"),
    }
}

/// `test/e2e/golden/default/latest/meta-data/index.golden` of the mock.
#[test]
fn the_default_listing_is_the_mocks() {
    let listing = at(&Aemm::default(), 0, "meta-data");
    insta::assert_snapshot!(listing.replace('\n', " "), @"ami-id ami-launch-index ami-manifest-path autoscaling/ block-device-mapping/ elastic-inference/ events/ hostname iam/ instance-action instance-id instance-life-cycle instance-type kernel-id local-hostname local-ipv4 mac network/ placement/ product-codes public-hostname public-ipv4 public-keys/ ramdisk-id reservation-id security-groups services/ spot/ tags/");
    assert_eq!(
        at(&Aemm::default(), 0, "meta-data/iam/security-credentials"),
        "baskinc-role"
    );
    insta::assert_snapshot!(at(&Aemm::default(), 0, "meta-data/iam/info"), @r#"
    {
    	"Code": "Success",
    	"LastUpdated": "2020-04-02T18:50:40Z",
    	"InstanceProfileArn": "arn:aws:iam::896453262835:instance-profile/baskinc-role",
    	"InstanceProfileId": "AIPA5BOGHHXZELSK34VU4"
    }
    "#);
}

#[test]
fn notices_say_what_the_mock_says() {
    let aemm = Aemm::default();
    insta::assert_snapshot!(at(&aemm, 5, "meta-data/spot/instance-action"), @r#"
    {
    	"action": "terminate",
    	"time": "2026-01-02T03:06:10Z"
    }
    "#);
    assert_eq!(at(&aemm, 5, "meta-data/spot/termination-time"), "2026-01-02T03:06:10Z");
    insta::assert_snapshot!(at(&aemm, 0, "meta-data/events/maintenance/scheduled"), @r#"
    [
    	{
    		"Code": "system-reboot",
    		"Description": "The instance is scheduled for system-reboot",
    		"State": "active",
    		"EventId": "instance-event-1234567890abcdef0",
    		"NotBefore": "2 Jan 2026 03:04:05 GMT",
    		"NotAfter": "9 Jan 2026 03:04:05 GMT",
    		"NotBeforeDeadline": "11 Jan 2026 03:04:05 GMT"
    	}
    ]
    "#);
}

#[test]
fn delays_and_trigger_times_count_from_the_start() {
    let config = r#"{"mock-delay-sec": 10, "rebalance-delay-sec": 5, "asg-termination-trigger-time": "2026-01-02T03:04:20Z",
        "rebalance-trigger-time": "", "spot": {"action": "stop", "time": "2030-01-01T00:00:00Z"}}"#;
    let aemm = aemm(config, Mode::All);
    let seen = |seconds| {
        let paths = [
            "spot/termination-time",
            "events/recommendations/rebalance",
            "autoscaling/target-lifecycle-state",
        ];
        paths
            .map(|path| at(&aemm, seconds, &format!("meta-data/{path}")).replace(['\n', '\t'], ""))
            .join(" ")
    };
    assert_eq!(seen(0), "- - InService");
    assert_eq!(seen(5), r#"- {"noticeTime": "2026-01-02T03:04:10Z"} InService"#);
    assert_eq!(
        seen(10),
        r#"2030-01-01T00:00:00Z {"noticeTime": "2026-01-02T03:04:15Z"} InService"#
    );
    assert!(seen(15).ends_with(" Terminated"));
}

#[test]
fn a_mode_serves_nothing_of_the_others() {
    for (mode, there) in [
        (Mode::Spot, [true, false, false]),
        (Mode::Events, [false, true, false]),
        (Mode::Asglifecycle, [false, false, true]),
    ] {
        let aemm = aemm("{}", mode);
        let paths = [
            "spot/instance-action",
            "events/maintenance/scheduled",
            "autoscaling/target-lifecycle-state",
        ];
        assert_eq!(
            paths.map(|path| at(&aemm, 0, &format!("meta-data/{path}")) != "-"),
            there,
            "{mode:?}"
        );
        assert_eq!(at(&aemm, 0, "meta-data/instance-type"), "m4.xlarge");
    }
}

/// The example of the mock's `docs/configuration.md`, whose path has no value of its name, and what users asked it for (issues 198 and 44).
#[test]
fn a_configuration_changes_values_and_the_paths_that_name_them() {
    let config = r#"{"metadata": {
        "paths": {"ipv4-associations": "/latest/meta-data/network/interfaces/macs/0e:49:61:0f:c3:77/ipv4-associations/192.0.2.54",
            "mac-device-number": "/latest/meta-data/network/interfaces/macs/BAR/device-number", "own": "/latest/meta-data/own/thing"},
        "values": {"mac": "FOO", "own": "mine", "iam-info": {"InstanceProfileId": "X"}, "tags-instance": {"CamelCase": "kept"}}},
        "userdata": {"values": {"userdata": "eA=="}}, "server": {"port": "1550"}}"#;
    let aemm = aemm(config, Mode::All);
    assert_eq!(at(&aemm, 0, "meta-data/mac"), "FOO");
    assert_eq!(at(&aemm, 0, "meta-data/network/interfaces/macs"), "BAR/\nFOO/");
    assert_eq!(at(&aemm, 0, "meta-data/network/interfaces/macs/BAR/device-number"), "0");
    assert_eq!(at(&aemm, 0, "meta-data/own/thing"), "mine");
    assert_eq!(at(&aemm, 0, "meta-data/tags/instance"), "CamelCase");
    let info = at(&aemm, 0, "meta-data/iam/info");
    assert!(
        info.contains("\"Code\": \"Success\"") && info.ends_with("\"InstanceProfileId\": \"X\"\n}"),
        "{info}"
    );
    assert!(at(&aemm, 0, "user-data").contains("b\"x\""));
}

#[test]
fn every_fault_of_a_configuration_is_told_at_once() {
    let config = r#"{"mock-delay-sec": "12", "imdsv2": 1, "colour": "red", "spot": {"action": "explode", "when": "now"},
        "events": {"code": "x", "not-before": "soon"}, "metadata": {"paths": {"mac": "/mac"}, "other": {}}, "mock-ip-count": "2"}"#;
    insta::assert_snapshot!(read("aemm-config.json", config).unwrap_err(), @r#"
    aemm-config.json: colour: remove it; known are metadata, dynamic, userdata, spot, events, server, imdsv2, mock-delay-sec, mock-trigger-time, mock-ip-count, rebalance-delay-sec, rebalance-trigger-time, asg-termination-delay-sec, asg-termination-trigger-time
    aemm-config.json: events.code: give one of instance-reboot, system-reboot, system-maintenance, instance-retirement, instance-stop
    aemm-config.json: events.not-before: give a time such as "2020-01-07T01:03:47Z"
    aemm-config.json: imdsv2: give true or false
    aemm-config.json: metadata.other: remove it; known are paths and values
    aemm-config.json: metadata.paths.mac: give a path below /latest/meta-data/
    aemm-config.json: mock-delay-sec: give a whole number of seconds
    aemm-config.json: mock-ip-count: give a whole number; -1 for everybody
    aemm-config.json: spot.action: give one of terminate, stop, hibernate
    aemm-config.json: spot.when: remove it; known are action, time, rebalance-rec-time
    "#);
    let said = read("aemm-config.json", "{\n\"a\": }").unwrap_err().to_string();
    assert!(
        said.starts_with("aemm-config.json: line 2: correct the JSON: "),
        "{said}"
    );
}

proptest! {
    #[test]
    fn no_configuration_panics(text in "(\\{|\\}|\"metadata\":|\"values\":|\"paths\":|\"mac\":|\"/latest/meta-data/\"|\"spot\":|1|null|,|\\[|\\]|\"x\"){0,20}") {
        if let Ok(config) = read("x", &text) {
            let aemm = Aemm { config, mode: Mode::All };
            prop_assert!(!aemm.trees(started()).is_empty());
        }
    }
}

fn told(line: &str) -> Result<Told, String> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    told::words(&words).map_err(|error| error.to_string())
}

fn variables(pairs: &[(&str, &str)]) -> Result<Told, String> {
    let pairs = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    told::environment(pairs).map_err(|error| error.to_string())
}

#[test]
fn its_own_command_lines_are_understood() {
    let words = told("spot -d 12 --action stop -t 2030-01-07T01:03:47Z -I -x -1 -p 1550 -c f.json").unwrap();
    assert_eq!((words.mode, words.port.as_deref()), (Mode::Spot, Some("1550")));
    assert_eq!(words.config_file.as_deref(), Some("f.json"));
    let config = read_layers(&[words.layer]).unwrap();
    assert_eq!(
        (config.mock.delay, config.ip_count, config.imdsv2),
        (12, Some(-1), true)
    );
    assert_eq!(config.spot["action"], "stop");
    let words =
        told("--mock-ip-count 3 scheduledevents -o instance-stop -t completed -b 2030-01-01T00:00:00Z").unwrap();
    assert_eq!(words.mode, Mode::Events);
    let config = read_layers(&[words.layer]).unwrap();
    assert_eq!(
        (config.events["code"].as_str(), config.ip_count),
        ("instance-stop", Some(3))
    );
    assert_eq!(
        told("asg --asg-termination-delay-sec 5").unwrap().mode,
        Mode::Asglifecycle
    );
    assert_eq!(told("").unwrap().mode, Mode::All);
}

#[test]
fn its_variables_are_understood_and_its_command_line_counts_more() {
    let environment = variables(&[
        ("AEMM_MOCK_DELAY_SEC", "12"),
        ("AEMM_SPOT_ITN_INSTANCE_ACTION", "hibernate"),
        ("AEMM_METADATA_VALUES_PUBLIC_IPV4", "192.0.2.7"),
        ("AEMM_SERVER_PORT", "1550"),
        ("AEMM_CONFIG_FILE", "f.json"),
        ("AEMM_WATCH_CONFIG_FILE", "false"),
        ("AEMM_SERVICE_HOST", "10.0.0.1"),
        ("PATH", "/bin"),
    ])
    .unwrap();
    assert_eq!(
        (environment.port.as_deref(), environment.config_file.as_deref()),
        (Some("1550"), Some("f.json"))
    );
    let file = Layer::of_file(
        "f.json",
        r#"{"imdsv2": true, "spot": {"action": "stop"}, "mock-delay-sec": 1}"#,
    )
    .unwrap();
    let config = read_layers(&[file, environment.layer, told("-d 8").unwrap().layer]).unwrap();
    assert_eq!(
        (config.mock.delay, config.imdsv2, config.spot["action"].as_str()),
        (8, true, "hibernate")
    );
    assert_eq!(config.values["public-ipv4"], "192.0.2.7");
}

#[test]
fn what_it_does_not_know_is_refused_by_name() {
    insta::assert_snapshot!(told("spot --acton stop").unwrap_err(), @"
    the command line behind --: unexpected argument '--acton' found

      tip: a similar argument exists: '--action'
    ");
    insta::assert_snapshot!(told("-w").unwrap_err(), @"the command line behind --: --watch-config-file: remove it; nothing is saved, and what is to change while it runs is ordered through the control API");
    insta::assert_snapshot!(variables(&[("AEMM_COLOUR", "red"), ("AEMM_SAVE_CONFIG_TO_FILE", "true")]).unwrap_err(), @"
    the environment: AEMM_COLOUR: remove it; amazon-ec2-metadata-mock has no field of that name
    the environment: AEMM_SAVE_CONFIG_TO_FILE: remove it; nothing is saved, and what is to change while it runs is ordered through the control API
    ");
    let layers = [
        variables(&[("AEMM_IMDSV2", "yes")]).unwrap().layer,
        told("spot -a explode -t soon").unwrap().layer,
    ];
    insta::assert_snapshot!(read_layers(&layers).unwrap_err().to_string(), @r#"
    the command line behind --: spot.action: give one of terminate, stop, hibernate
    the command line behind --: spot.time: give a time such as "2020-01-07T01:03:47Z"
    the environment: imdsv2: give true or false
    "#);
}

proptest! {
    #[test]
    fn no_words_panic(line in "( ?(spot|events|asg|-[a-zA-Z]|--[a-z-]{1,12}|[a-z0-9]{0,4})){0,6}") {
        let _told = told(&line);
    }

    #[test]
    fn no_variable_panics(name in "[A-Z_]{0,30}", value in "\\PC{0,20}") {
        let _told = variables(&[(&format!("AEMM_{name}"), &value)]);
    }
}
