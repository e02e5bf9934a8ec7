//! The command line: what it says, and how it ends.

use crate::running::{Running, run};

#[test]
fn it_says_where_it_listens_and_stops_on_sigterm() {
    let imds = Running::start(&[]);
    assert!(imds.lines[0].starts_with("listening on http://127.0.0.1:"));
    assert!(imds.lines[1].starts_with("listening on http://[::1]:"));
    assert_eq!(imds.lines[2], format!("listening on unix:{}", imds.socket.display()));
    assert_eq!(imds.control("GET", "/healthz", ""), (200, "ok".into()));
    let idle = imds.connect();
    let socket = imds.socket.clone();
    assert_eq!(imds.terminate().code(), Some(0));
    assert!(!socket.exists());
    drop(idle);
}

#[test]
fn a_broken_world_is_refused_with_every_fault() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("world.toml");
    std::fs::write(&file, "[account]\nid = 1\n[instance]\nhop_limit = 0\nx = 1\n").unwrap();
    let file = file.to_str().unwrap();
    let output = run(&["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--world", file]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap().replace(file, "world.toml");
    insta::assert_snapshot!(text, @r#"
    error: the world file is broken
    world.toml:2: account.id: is not a string; give twelve digits, in quotes
    world.toml:4: instance.hop_limit: is out of range; give a whole number from 1 to 64
    world.toml:5: instance.x: is unknown; remove it; `fake-imds schema` prints what may stand here
    "#);
}

#[test]
fn a_taken_port_and_a_missing_file_are_explained() {
    let imds = Running::start(&[]);
    let taken = imds.address.to_string();
    let output = run(&["--listen", &taken, "--control", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap().replace(&taken, "TAKEN");
    insta::assert_snapshot!(text, @r#"
    error: cannot listen on TAKEN
    caused by: Address already in use (os error 98)
    "#);
    let output = run(&[
        "--listen",
        "127.0.0.1:0",
        "--control",
        "127.0.0.1:0",
        "--world",
        "/nonexistent.toml",
    ]);
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap(), @r#"
    error: cannot read the world file /nonexistent.toml
    caused by: No such file or directory (os error 2)
    "#);
}

#[test]
fn wrong_usage_ends_with_2_and_help_teaches_by_example() {
    assert_eq!(run(&[]).status.code(), Some(2));
    assert_eq!(
        run(&["--listen", "nowhere", "--control", "127.0.0.1:0"]).status.code(),
        Some(2)
    );
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["--sts-control", "unix:PATH", "Examples:", "POST /faults", "Exit codes"] {
        assert!(text.contains(part), "{part}");
    }
}

#[test]
fn a_running_fake_is_asked_whether_it_serves() {
    let imds = Running::start(&[]);
    let control = format!("unix:{}", imds.socket.display());
    assert_eq!(run(&["ready", "--control", &control]).status.code(), Some(0));
    imds.terminate();
    let output = run(&["ready", "--control", &control]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap().replace(&control, "CONTROL");
    insta::assert_snapshot!(text, @"
    error: nothing serves at CONTROL
    caused by: No such file or directory (os error 2)
    ");
}

#[test]
fn the_mocks_own_command_line_is_played_behind_two_dashes() {
    let imds = Running::start(&["--profile", "aemm", "--", "spot", "--action", "stop", "-I"]);
    assert!(imds.get("/latest/meta-data/").starts_with("HTTP/1.1 401 "));
    let refused = |words: &[&str]| {
        let output = run(&[&["--control", "127.0.0.1:0"], words].concat());
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let mut said = refused(&["--profile", "ec2", "--", "spot"]);
    said += &refused(&["--profile", "aemm", "--listen", "127.0.0.1:0", "--", "-p", "1"]);
    said += &refused(&["--profile", "aemm", "--", "-n", "here"]);
    said += &refused(&["--profile", "aemm", "--", "-w"]);
    insta::assert_snapshot!(said, @r#"
    error: --aemm-config and words behind -- are for --profile aemm; give that too
    error: --listen and -n or -p both say where to listen; give one of them
    error: "here:1338" is no place to listen; give an IP address as host name (or localhost), and a port from 0 to 65535
    error: the command line behind --: --watch-config-file: remove it; nothing is saved, and what is to change while it runs is ordered through the control API
    "#);
}
