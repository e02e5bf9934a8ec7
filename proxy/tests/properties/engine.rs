//! Answers of the container engine.

use bollard::models::{ContainerInspectResponse, ContainerSummary, EventMessage, ImageInspect, Network};
use metadata_proxy::engine::{Change, Image, Inspected, Listed, NetworkSetting, Setting};
use metadata_proxy::policy::{Decision, decide};
use serde_json::Value;

use crate::world::{POLICY, facts};

/// What is read of an answer stands in it, word for word; and a role is given for the labels that stand there and for no others.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(answer) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    if let Ok(inspected) = serde_json::from_slice::<ContainerInspectResponse>(bytes) {
        if let Some(setting) = Setting::read(inspected.clone()) {
            assert_eq!(answer["Id"], setting.id.as_str());
            assert_eq!(setting.is_privileged, answer["HostConfig"]["Privileged"] == true);
            assert_eq!(setting.shares_processes, answer["HostConfig"]["PidMode"] == "host");
        }
        if let Some(inspected) = Inspected::read(inspected) {
            check_inspected(&answer, inspected);
        }
    }
    if let Ok(image) = serde_json::from_slice::<ImageInspect>(bytes) {
        let image = Image::read(image);
        assert_eq!(texts(&answer["Config"]["Env"]), image.env);
        assert_eq!(texts(&answer["RepoDigests"]), image.repo_digests);
        for (key, value) in &image.labels {
            assert_eq!(answer["Config"]["Labels"][key], value.as_str());
        }
    }
    if let Some(listed) = serde_json::from_slice::<ContainerSummary>(bytes)
        .ok()
        .and_then(Listed::read)
    {
        assert_eq!(answer["Id"], listed.id.as_str());
        let mode = answer["HostConfig"]["NetworkMode"].as_str().unwrap_or_default();
        assert_eq!(listed.shares_network, mode.starts_with("container:"));
    }
    if let Some(network) = serde_json::from_slice::<Network>(bytes)
        .ok()
        .and_then(NetworkSetting::read)
    {
        assert_eq!(answer["Id"], network.id.as_str());
    }
    if let Some(change) = serde_json::from_slice::<EventMessage>(bytes)
        .ok()
        .and_then(|event| Change::read(&event))
    {
        let actor = &answer["Actor"];
        let member = &actor["Attributes"]["container"];
        let action = answer["Action"].as_str().unwrap_or_default();
        let (container, is_so) = match &change {
            Change::Arrived { container } => (container, ["start", "connect"].contains(&action)),
            Change::Ended { container } => (container, ["die", "destroy"].contains(&action)),
            Change::Disconnected { container } => (container, action == "disconnect"),
        };
        let named = if answer["Type"] == "container" {
            &actor["ID"]
        } else {
            member
        };
        assert!(is_so && *named == container.as_str(), "{change:?}");
    }
}

fn check_inspected(answer: &Value, inspected: Inspected) {
    assert_eq!(answer["Id"], inspected.id.as_str());
    assert_eq!(answer["Image"], inspected.image_id.as_str());
    assert_eq!(answer["State"]["StartedAt"], inspected.started_at.as_str());
    assert_eq!(answer["State"]["Running"], inspected.is_running);
    assert_eq!(
        answer["State"]["Pid"].as_i64().unwrap_or_default(),
        i64::from(inspected.pid)
    );
    assert_eq!(texts(&answer["Config"]["Env"]), inspected.env);
    let labels = &answer["Config"]["Labels"];
    assert_eq!(
        labels.as_object().map_or(0, serde_json::Map::len),
        inspected.labels.len()
    );
    for (key, value) in &inspected.labels {
        assert_eq!(labels[key], value.as_str());
    }
    let of_endpoints = inspected.endpoints.iter().map(|endpoint| endpoint.addresses.len());
    assert_eq!(of_endpoints.sum::<usize>(), inspected.addresses.len());
    let networks = answer["NetworkSettings"]["Networks"].as_object();
    for address in &inspected.addresses {
        let mut written = networks.into_iter().flat_map(serde_json::Map::values);
        let is = |text: &Value| text.as_str().and_then(|text| text.parse().ok()) == Some(*address);
        assert!(written.any(|network| is(&network["IPAddress"]) || is(&network["GlobalIPv6Address"])));
    }
    assert_eq!(inspected.is_same_run(&inspected.clone()), inspected.is_running);
    let mut facts = facts();
    facts.run.started_at = inspected.started_at;
    (facts.labels, facts.env) = (inspected.labels, inspected.env);
    facts.image_id = inspected.image_id;
    if let Decision::Grant(grant) = decide(&POLICY, &facts) {
        let label = |key: &str| {
            labels[format!("com.gitlab.gitlab-runner.{key}")]
                .as_str()
                .unwrap_or_default()
        };
        assert!(label("runner.id") == "Ab3dEf9_x" && label("project.id") == "20" && label("type") == "build");
        assert!(label("job.url").starts_with("https://gitlab.example.com/"));
        assert!(!label("job.ref").starts_with("refs/") && grant.until.is_some());
        assert_eq!(grant.role.name(), "deploy");
    }
}

fn texts(list: &Value) -> Vec<String> {
    let texts = list.as_array().into_iter().flatten();
    texts.filter_map(|text| text.as_str().map(str::to_owned)).collect()
}
