//! What is found on hosts of all kinds, and how it reads.

use super::{Host, Level, Manager, judge};
use crate::config::{Config, Environment};
use crate::engine::{NetworkSetting, Setting};
use crate::fixture::{HEADER, RULE, config};

fn host() -> Host {
    Host {
        kernel: "6.1.0-18-cloud-amd64".to_owned(),
        has_cgroup2: true,
        has_cgroup1: false,
        containers: Ok(vec![job()]),
        rules: Ok(Vec::new()),
        old_controllers: Vec::new(),
        networks: Vec::new(),
        is_socket_open: false,
        engines: Vec::new(),
        legacy_tables: Vec::new(),
        managers: Vec::new(),
        own_container: None,
    }
}

fn job() -> Setting {
    Setting {
        id: "aa".to_owned(),
        name: "runner-ab3def9x-project-20-concurrent-0-build".to_owned(),
        job: Some("https://gitlab.example.com/g/p/-/jobs/302".to_owned()),
        network_mode: "default".to_owned(),
        networks: ["nn".to_owned()].into(),
        ..Setting::default()
    }
}

fn open() -> Config {
    Config::read(
        "x",
        &format!("{HEADER}[firewall]\nhost = \"open\"\n{RULE}"),
        &Environment::default(),
    )
    .unwrap()
}

/// The dangers, and the other findings that are not on every host.
fn found(host: &Host, config: &Config) -> (usize, usize) {
    let findings = judge(host, config);
    for line in findings.to_string().lines() {
        assert!(line.chars().count() <= 100 || line.contains("fix: aws"), "{line}");
    }
    let count = |level| findings.0.iter().filter(|finding| finding.level == level).count();
    assert_eq!(findings.are_harmless(), count(Level::Danger) == 0);
    (count(Level::Danger), count(Level::Note) - 1)
}

#[test]
fn a_good_host_has_only_what_nobody_can_see_from_it() {
    assert_eq!(found(&host(), &config(RULE)), (0, 0));
    insta::assert_snapshot!(judge(&host(), &config(RULE)), @r###"
    note    the hop limit, IMDSv2 and the instance profile are not looked at: that would take a request
            to the real endpoint
            why: a hop limit of 2 lets containers on a bridge reach the endpoint whenever the rules are
                 missing; a rich profile makes that worth it
            fix: aws ec2 modify-instance-metadata-options --instance-id ID --http-tokens required --http-put-response-hop-limit 1
            fix: give the instance profile sts:AssumeRole on the jobs' roles, and nothing else
    ok      kernel 6.1.0-18-cloud-amd64
    ok      cgroup v2 is mounted
    ok      every firewall and routing rule is in place
    ok      nothing odd about the containers that run: 1
    0 to be put right, 1 to be known, 4 as it should be
    "###);
}

#[test]
fn what_is_wrong_comes_first_with_why_and_what_to_do() {
    let host = Host {
        kernel: "5.4.0".to_owned(),
        has_cgroup2: false,
        has_cgroup1: true,
        old_controllers: vec!["net_cls"],
        containers: Ok(vec![Setting {
            is_privileged: true,
            shares_processes: true,
            network_mode: "host".to_owned(),
            mounts: ["/var/run/docker.sock", "/sys/fs/cgroup"].map(ToOwned::to_owned).into(),
            ..job()
        }]),
        networks: vec![NetworkSetting {
            id: "nn".to_owned(),
            name: "lan".to_owned(),
            driver: "macvlan".to_owned(),
        }],
        is_socket_open: true,
        engines: vec!["a rootless one (rootlesskit runs)".to_owned()],
        legacy_tables: vec!["ip nat".to_owned()],
        managers: vec![Manager::Firewalld, Manager::Ufw],
        rules: Ok(vec!["the table inet metadata_proxy is missing".to_owned()]),
        own_container: None,
    };
    insta::assert_snapshot!(judge(&host, &config(RULE)), @r###"
    danger  kernel 5.4.0
            why: only Linux 5.8 and later say which container opened a connection
            fix: run a newer kernel; the proxy refuses to start until then
            fix: or write attestation.level = "netns"; `check` says what that gives up
    danger  no cgroup v2 hierarchy is mounted
            why: the kernel then cannot say which container opened a connection
            fix: boot with systemd.unified_cgroup_hierarchy=1
            fix: or write attestation.level = "netns"; `check` says what that gives up
    danger  cgroup v1 controllers in use: net_cls
            why: below Linux 5.15 a socket that one of them has touched loses its cgroup v2 id
            fix: unmount them, boot with cgroup_no_v1=net_cls,net_prio, or run a newer kernel
            fix: or write attestation.level = "netns"; `check` says what that gives up
    danger  the firewall is not as planned: the table inet metadata_proxy is missing
            why: jobs may reach the real endpoint, and with it the instance's own role
            fix: metadata-proxy firewall apply --config FILE
    danger  everybody on this host may open unix:///var/run/docker.sock
            why: whoever does makes containers with any label
            fix: chmod 0660 the socket
    danger  a job's container runner-ab3def9x-project-20-concurrent-0-build is privileged
            why: it can take the host, and every role with it
            fix: privileged = false in the runner's config.toml, or machines of their own for such jobs
    danger  a job's container runner-ab3def9x-project-20-concurrent-0-build has /var/run/docker.sock of
            the host
            why: an engine's socket makes containers with any label, so that rules mean nothing
            fix: remove the volume from the runner's config.toml
    danger  a job's container runner-ab3def9x-project-20-concurrent-0-build has /sys/fs/cgroup of the
            host
            why: it can move processes to another container's cgroup, and be taken for it
            fix: remove the volume; a container has a cgroup file system of its own
    danger  a job's container runner-ab3def9x-project-20-concurrent-0-build sees the host's processes
            why: with rights over them it enters other containers, and asks from there
            fix: remove pid = "host"
    danger  containers on network lan of driver macvlan
            why: they are on the host's own link, past every rule on the host: they reach the endpoint
                 as the instance does
            fix: put jobs on bridge networks; a hop limit of 1 does not stop these
    note    another engine: a rootless one (rootlesskit runs)
            why: what leaves through the host itself meets no redirect; firewall.host = "closed" rejects
                 it, so that it gets nothing
            fix: stop it, or run jobs with the configured engine only: the proxy serves no other
    note    a job's container runner-ab3def9x-project-20-concurrent-0-build is in the host's network
            why: what leaves through the host itself meets no redirect; firewall.host = "closed" rejects
                 it, so that it gets nothing
            fix: remove network_mode = "host"
    note    firewalld is active
            why: a job's request arrives at the proxy's port after the redirect, and what drops it there
                 leaves jobs without credentials; who connects to the port without the redirect is
                 dropped by the proxy's own rules
            fix: firewall-cmd --permanent --zone=docker --add-port=0/tcp && firewall-cmd --reload
            fix: the same for the zone of any other bridge; then metadata-proxy firewall verify
    note    ufw is active
            why: a job's request arrives at the proxy's port after the redirect, and what drops it there
                 leaves jobs without credentials; who connects to the port without the redirect is
                 dropped by the proxy's own rules
            fix: ufw allow proto tcp from 172.16.0.0/12 to any port 0
            fix: the same for every other range of the engine's networks
    note    iptables-legacy has tables: ip nat
            why: both backends see every packet, and what one drops the other cannot save; its rules do
                 not show in nft
            fix: iptables-legacy-save shows them; move them to nftables, and let the engine use
                 iptables-nft
    note    the hop limit, IMDSv2 and the instance profile are not looked at: that would take a request
            to the real endpoint
            why: a hop limit of 2 lets containers on a bridge reach the endpoint whenever the rules are
                 missing; a rich profile makes that worth it
            fix: aws ec2 modify-instance-metadata-options --instance-id ID --http-tokens required --http-put-response-hop-limit 1
            fix: give the instance profile sts:AssumeRole on the jobs' roles, and nothing else
    10 to be put right, 6 to be known, 0 as it should be
    "###);
}

#[test]
fn what_a_job_must_not_have_an_operators_container_may() {
    for change in [
        |setting: &mut Setting| setting.is_privileged = true,
        |setting: &mut Setting| setting.shares_processes = true,
        |setting: &mut Setting| setting.mounts = ["/run/docker.sock".to_owned()].into(),
        |setting: &mut Setting| setting.mounts = ["/".to_owned()].into(),
        |setting: &mut Setting| setting.mounts = ["/sys/fs/cgroup/unified".to_owned()].into(),
    ] {
        let mut setting = job();
        change(&mut setting);
        let with = |setting: Setting| Host {
            containers: Ok(vec![setting]),
            ..host()
        };
        assert_eq!(found(&with(setting.clone()), &config(RULE)), (1, 0));
        setting.job = None;
        assert_eq!(found(&with(setting.clone()), &config(RULE)), (0, 1));
        let own = Host {
            own_container: Some(setting.id.clone()),
            ..with(setting)
        };
        assert_eq!(found(&own, &config(RULE)), (0, 0));
    }
}

#[test]
fn what_leaves_through_the_host_is_dangerous_only_where_the_host_is_open() {
    let on_host = Setting {
        network_mode: "host".to_owned(),
        ..job()
    };
    let on_host = Host {
        containers: Ok(vec![on_host]),
        ..host()
    };
    let rootless = Host {
        engines: vec!["x".to_owned()],
        ..host()
    };
    for seen in [on_host, rootless] {
        assert_eq!(found(&seen, &config(RULE)), (0, 1));
        assert_eq!(found(&seen, &open()), (1, 1));
    }
}

#[test]
fn what_cannot_be_looked_at_is_not_taken_for_good() {
    for seen in [
        Host {
            containers: Err("refused".to_owned()),
            ..host()
        },
        Host {
            rules: Err("no nft".to_owned()),
            ..host()
        },
        Host {
            kernel: String::new(),
            ..host()
        },
        Host {
            kernel: "5.7.19".to_owned(),
            ..host()
        },
        Host {
            has_cgroup2: false,
            has_cgroup1: true,
            ..host()
        },
    ] {
        assert_eq!(found(&seen, &config(RULE)), (1, 0));
    }
    // They do no harm to a newer kernel.
    assert_eq!(
        found(
            &Host {
                old_controllers: vec!["net_cls"],
                ..host()
            },
            &config(RULE)
        ),
        (0, 0)
    );
    let old = Host {
        kernel: "5.10.0".to_owned(),
        old_controllers: vec!["net_cls"],
        ..host()
    };
    assert_eq!(found(&old, &config(RULE)), (1, 0));
}

#[test]
fn a_network_past_the_host_matters_once_somebody_is_on_it() {
    let network = |id: &str| NetworkSetting {
        id: id.to_owned(),
        name: "lan".to_owned(),
        driver: "ipvlan".to_owned(),
    };
    assert_eq!(
        found(
            &Host {
                networks: vec![network("other")],
                ..host()
            },
            &config(RULE)
        ),
        (0, 0)
    );
    assert_eq!(
        found(
            &Host {
                networks: vec![network("nn")],
                ..host()
            },
            &config(RULE)
        ),
        (1, 0)
    );
}

#[test]
fn a_proxy_that_enforces_nothing_is_a_danger() {
    let observe = "[compat]\nprofile = \"lyft\"\nmode = \"observe\"\nobserved_roles = \"legacy\"\n";
    assert_eq!(found(&host(), &config(&format!("{observe}{RULE}"))), (1, 0));
    assert_eq!(
        found(
            &host(),
            &config(&format!("{}{RULE}", observe.replace("\"observe", "\"enforce")))
        ),
        (0, 0)
    );
}

#[test]
fn a_weaker_level_is_noted_with_what_it_gives_up_and_what_it_still_needs() {
    let config = Config::read(
        "x",
        &format!("{HEADER}[attestation]\nlevel = \"netns\"\n{RULE}"),
        &Environment::default(),
    )
    .unwrap();
    let old = Host {
        kernel: "5.4.0-150-generic".to_owned(),
        has_cgroup2: false,
        has_cgroup1: true,
        old_controllers: vec!["net_cls"],
        ..host()
    };
    assert_eq!(found(&old, &config), (0, 1));
    let text = judge(&old, &config).to_string();
    let noted: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.contains("attestation.level"))
        .take(4)
        .collect();
    insta::assert_snapshot!(noted.join("\n"), @r#"
    note    attestation.level is "netns"
            why: a connection is taken to be its network namespace's only container's: nothing says
                 which process opened it, and containers that share a network namespace are all refused
            fix: run Linux 5.8 or newer with cgroup v2, and remove it then
    "#);
    assert!(judge(&host(), &config).to_string().contains("can do with the default"));
    // What it needs itself.
    let lacking = Host {
        kernel: "4.19.0".to_owned(),
        has_cgroup1: false,
        ..old
    };
    assert_eq!(found(&lacking, &config), (2, 1));
    // Where nothing weaker would work either, nothing weaker is named.
    let text = judge(&lacking, &self::config(RULE)).to_string();
    assert!(!text.contains("netns"), "{text}");
}
