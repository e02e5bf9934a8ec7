//! What names look like.

use crate::config::{Host, Image, Region, Role};
use crate::fixture::config;

#[test]
fn a_region_is_words_and_a_number() {
    for good in ["eu-central-1", "us-gov-west-1", "ap-southeast-10"] {
        assert!(Region::parse(good).is_ok(), "{good}");
    }
    let long = format!("eu-{}-1", "a".repeat(30));
    for bad in [
        "eu-1",
        "eu-central",
        "EU-central-1",
        "eu--1",
        "eu-central-1a",
        "eu.central.1",
        "",
        &long,
    ] {
        assert!(Region::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_host_may_have_a_port_as_one_writes_it() {
    for good in ["gitlab.example.com", "gitlab.example.com:8443", "10.0.0.1:1", "a:65535"] {
        assert!(Host::parse(good).is_ok(), "{good}");
    }
    for bad in [
        "a:0", "a:080", "a:65536", "a:+1", "a:", "a:b", ":80", "a..b", "-a", "a-", "A",
    ] {
        assert!(Host::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_image_is_a_whole_digest() {
    let hex = "0123456789abcdef".repeat(4);
    assert!(Image::parse(&format!("sha256:{hex}")).is_ok());
    for bad in [
        hex.clone(),
        format!("sha256:{}", &hex[1..]),
        format!("sha256:{hex}0"),
        format!("sha256:{}g", &hex[1..]),
        format!("sha256:{}", hex.to_uppercase()),
        "sha256:".to_owned(),
    ] {
        assert!(Image::parse(&bad).is_err(), "{bad}");
    }
}

#[test]
fn the_arn_of_a_role_says_role_and_a_slash() {
    let home = config("").aws.home;
    assert!(Role::parse("arn:aws:iam::123456789012:role/team/deploy", &home).is_ok());
    for bad in ["role", "rolex/deploy", "role-x/deploy", "user/deploy", "role:deploy"] {
        assert!(
            Role::parse(&format!("arn:aws:iam::123456789012:{bad}"), &home).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn an_arn_of_a_role_has_a_partition_an_account_and_a_path_and_nothing_else() {
    for good in [
        "arn:aws:iam::123456789012:role/deploy",
        "arn:aws-us-gov:iam::000000000000:role/ci/teams/deploy",
    ] {
        assert!(Role::is_arn(good), "{good}");
    }
    for bad in [
        "",
        "deploy",
        "/deploy",
        "arn:aws:iam::123456789012:role",
        "arn:aws:iam::123456789012:role/",
        "arn:aws:iam::123456789012:user/deploy",
        "arn:aws:iam:eu-central-1:123456789012:role/deploy",
        "arn:aws:iam::+23456789012:role/deploy",
        "arn:aws:iam::12345678901:role/deploy",
        "arn:awsQ`{:iam::123456789012:role/deploy",
        "arn:aws:iam::123456789012:role/de\\ploy",
        "arn:aws:iam::123456789012:role/a:iam::123456789012:role/deploy",
        "x:aws:iam::123456789012:role/deploy",
    ] {
        assert!(!Role::is_arn(bad), "{bad}");
    }
}
