use super::*;

#[test]
fn every_unknown_key_is_told_with_its_line() {
    let error = RunnerConfig::parse(
        "config.toml",
        "concurrent = 1\nspeed = 9\n[[runners]]\nenvironment = []\nenviroment = []\n[runners.docker]\ncap_add = []\ncap_ad = []\n\
         [runners.feature_flags]\nFF_ANY = true\n[[runners.docker.services]]\nname = \"a\"\nimage = \"b\"\n",
    )
    .unwrap_err();
    insta::assert_snapshot!(error, @r#"
    config.toml:8: runners.docker.cap_ad: unknown key; use a key of config.toml that shapes containers, or leave it out
    config.toml:13: runners.docker.services.image: unknown key; use a key of config.toml that shapes containers, or leave it out
    config.toml:5: runners.enviroment: unknown key; use a key of config.toml that shapes containers, or leave it out
    config.toml:2: speed: unknown key; use a key of config.toml that shapes containers, or leave it out
    "#);
}

#[test]
fn a_value_of_the_wrong_type_is_told_with_its_line() {
    let error = RunnerConfig::parse(
        "config.toml",
        "[[runners]]\nid = 1\n[runners.docker]\nprivileged = \"yes\"\n",
    )
    .unwrap_err();
    assert_eq!(error.faults.first().unwrap().line, 4);
    assert_eq!(RunnerConfig::parse("c", "runners = 3").unwrap_err().faults.len(), 1);
    assert_eq!(RunnerConfig::parse("c", "= nonsense").unwrap_err().faults.len(), 1);
    assert_eq!(
        RunnerConfig::parse("c", "[[runners]]\n[[runners]]")
            .unwrap_err()
            .faults
            .len(),
        1
    );
}

proptest::proptest! {
    #[test]
    fn hostile_configurations_never_panic(text in "\\PC*") {
        let _ = RunnerConfig::parse("config.toml", &text);
    }
}
