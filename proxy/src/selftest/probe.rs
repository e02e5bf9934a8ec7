//! The probe's container, from its image to its end.

use std::collections::HashMap;
use std::error::Error as _;
use std::net::SocketAddr;
use std::time::Duration;

use bollard::errors::Error as ApiError;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptionsBuilder, ListContainersOptionsBuilder, ListImagesOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder, StartContainerOptions,
    WaitContainerOptions,
};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::{SUBCOMMAND, SelfTestError, image};
use crate::engine::{Engine, EngineError, within_time};

/// Marks the probe container, so that one that a crash left behind is found and removed.
const LABEL: &str = "metadata-proxy.self-test";
/// The image's repository.
const REPOSITORY: &str = "metadata-proxy-self-test";
/// For the image to be imported: some ten megabytes over a Unix socket.
const IMPORT: Duration = Duration::from_secs(60);
/// For any other question to the engine. Nobody waits for an answer, and a busy host starts containers slowly: 3 s were too little.
const QUESTION: Duration = Duration::from_secs(20);
/// From the probe's start to its end: three calls of two steps each.
const RETURN: Duration = Duration::from_secs(60);
/// Of what it said.
const WORDS_BYTES: usize = 512;

/// Makes the image of this very program.
pub(super) async fn import(engine: &Engine, nonce: &str) -> Result<(), SelfTestError> {
    let doing = "importing the self-test's image";
    let body = bollard::body_try_stream(image::stream_image().map_err(SelfTestError::Image)?);
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo(REPOSITORY)
        .tag(nonce)
        .build();
    let mut progress = Box::pin(engine.docker().create_image(Some(options), Some(body), None));
    let imported = async {
        while let Some(step) = progress.next().await {
            step.map_err(|source| EngineError::Api {
                doing,
                source: Box::new(source),
            })?;
        }
        Ok(())
    };
    timeout(IMPORT, imported)
        .await
        .unwrap_or(Err(EngineError::TimedOut {
            doing,
            patience: IMPORT,
        }))
        .map_err(SelfTestError::Engine)
}

/// Makes the probe's container, which does not run yet; its id.
pub(super) async fn create(
    engine: &Engine,
    endpoint: SocketAddr,
    nonce: &str,
    more: Option<&str>,
) -> Result<String, EngineError> {
    let endpoint = endpoint.to_string();
    let words = [image::PROGRAM, SUBCOMMAND, &endpoint, nonce].into_iter().chain(more);
    let body = ContainerCreateBody {
        image: Some(format!("{REPOSITORY}:{nonce}")),
        cmd: Some(words.map(ToOwned::to_owned).collect()),
        env: Some(vec![format!("LD_LIBRARY_PATH={}", image::LIBRARIES)]),
        labels: Some(HashMap::from([(LABEL.to_owned(), nonce.to_owned())])),
        host_config: Some(HostConfig {
            cap_drop: Some(vec!["ALL".to_owned()]),
            readonly_rootfs: Some(true),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let create = engine.docker().create_container(None::<CreateContainerOptions>, body);
    let created = within_time(QUESTION, "creating the self-test's container", create).await?;
    Ok(created.id)
}

/// Starts it.
pub(super) async fn start(engine: &Engine, probe: &str) -> Result<(), EngineError> {
    let start = engine.docker().start_container(probe, None::<StartContainerOptions>);
    within_time(QUESTION, "starting the self-test's container", start).await
}

/// How it ended, if it did.
pub(super) async fn exit_code(engine: &Engine, probe: &str) -> Option<i64> {
    let inspect = engine.docker().inspect_container(probe, None);
    let state = within_time(QUESTION, "inspecting the self-test's container", inspect)
        .await
        .ok()?
        .state?;
    if state.running == Some(false) {
        state.exit_code
    } else {
        None
    }
}

/// Waits until it has ended; its exit code.
pub(super) async fn wait(engine: &Engine, probe: &str) -> Result<i64, EngineError> {
    let doing = "waiting for the self-test's container";
    let mut ended = Box::pin(engine.docker().wait_container(probe, None::<WaitContainerOptions>));
    let code = async {
        match ended.next().await {
            Some(Ok(end)) => Ok(Some(end.status_code)),
            Some(Err(ApiError::DockerContainerWaitError { code, .. })) => Ok(Some(code)),
            Some(Err(error)) => Err(error),
            None => Ok(None),
        }
    };
    let code = within_time(RETURN, doing, code).await?;
    code.ok_or(EngineError::Incomplete { doing })
}

/// The end of what it said, in one line: it says what went wrong, and nothing of any answer but its status.
pub(super) async fn last_words(engine: &Engine, probe: &str) -> String {
    let options = LogsOptionsBuilder::default().stderr(true).tail("5").build();
    let mut logs = Box::pin(engine.docker().logs(probe, Some(options)));
    let mut text = String::new();
    let read = async {
        while let Some(Ok(part)) = logs.next().await {
            text.push_str(&part.to_string());
            if text.len() > WORDS_BYTES {
                break;
            }
        }
    };
    // Whatever came by then.
    let _ = timeout(QUESTION, read).await;
    let plain = text.trim().chars().take(WORDS_BYTES);
    plain.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Removes what probes left: this one's container and image, and those that a crash left behind. Labels may be an image's, so that only
/// containers count that were made from an image of ours, and nobody who pulls images can name one like that.
pub(super) async fn sweep(engine: &Engine) {
    // An image whose container stays is needed to recognise it by.
    if sweep_containers(engine).await {
        sweep_images(engine).await;
    }
}

/// Whether none is left.
async fn sweep_containers(engine: &Engine) -> bool {
    let docker = engine.docker();
    let filters = HashMap::from([("label", vec![LABEL])]);
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&filters)
        .build();
    let doing = "listing the self-test's containers";
    let Ok(listed) = within_time(QUESTION, doing, docker.list_containers(Some(options))).await else {
        return false;
    };
    let is_ours = |image: &Option<String>| image.as_deref().is_some_and(is_own_image);
    let ours = listed.into_iter().filter(|container| is_ours(&container.image));
    let mut is_clean = true;
    for id in ours.filter_map(|container| container.id) {
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        let removed = within_time(
            QUESTION,
            "removing the self-test's container",
            docker.remove_container(&id, Some(options)),
        )
        .await;
        if let Err(error) = removed {
            is_clean = false;
            let cause = error.source().map(ToString::to_string);
            tracing::warn!(%error, cause, container = %id, "a container of the self-test could not be removed");
        }
    }
    is_clean
}

/// What cannot be removed now costs space, and nothing else.
async fn sweep_images(engine: &Engine) {
    let docker = engine.docker();
    let filters = HashMap::from([("reference", vec![REPOSITORY])]);
    let options = ListImagesOptionsBuilder::default().filters(&filters).build();
    let doing = "listing the self-test's images";
    let listed = within_time(QUESTION, doing, docker.list_images(Some(options))).await;
    let names = listed.into_iter().flatten().flat_map(|image| image.repo_tags);
    for name in names.filter(|name| is_own_image(name)) {
        let options = RemoveImageOptionsBuilder::default().force(true).build();
        let removed = docker.remove_image(&name, Some(options), None);
        let _ = within_time(QUESTION, "removing the self-test's image", removed).await;
    }
}

fn is_own_image(name: &str) -> bool {
    name.strip_prefix(REPOSITORY).is_some_and(|rest| rest.starts_with(':'))
}

#[cfg(test)]
mod tests {
    use super::is_own_image;

    #[test]
    fn an_image_is_ours_by_its_whole_name() {
        assert!(is_own_image("metadata-proxy-self-test:0123"));
        for other in [
            "metadata-proxy-self-test",
            "metadata-proxy-self-testing:1",
            "registry.example.com/metadata-proxy-self-test:1",
            "sha256:0123",
            "",
        ] {
            assert!(!is_own_image(other), "{other}");
        }
    }
}
