//! What the official client makes of a refusal: how soon it gives up, and what a person reads in its error.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::error::display::DisplayErrorContext;
use tokio::time::Instant;

use super::{World, world};
use crate::caller::Unattested;
use crate::credentials::Failure;
use crate::fixture::{facts, label};

/// The way from the client to the proxy, without a socket.
#[derive(Clone)]
struct Way {
    world: Arc<World>,
    requests: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Way")
    }
}

impl HttpClient for Way {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Way {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let path = request.uri().split_once("169.254.169.254").unwrap().1;
        let headers = request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"));
        let headers: String = headers.collect();
        let line = format!("{} {path} HTTP/1.1", request.method());
        let text = format!("{line}\r\nHost: 169.254.169.254\r\n{headers}\r\n");
        let world = Arc::clone(&self.world);
        HttpConnectorFuture::new(async move {
            let answer = world.ask(&text).await;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let status = head[9..12].parse::<u16>().unwrap().try_into().unwrap();
            let mut response = HttpResponse::new(status, SdkBody::from(body));
            for (name, value) in head.lines().skip(1).filter_map(|line| line.split_once(": ")) {
                response.headers_mut().append(name.to_owned(), value.to_owned());
            }
            Ok(response)
        })
    }
}

/// What the client tells, after how many requests and how long.
async fn told(world: World) -> (String, usize, Duration) {
    let requests = Arc::new(AtomicUsize::new(0));
    let way = Way {
        world: Arc::new(world),
        requests: Arc::clone(&requests),
    };
    let config = ProviderConfig::empty()
        .with_http_client(SharedHttpClient::new(way.clone()))
        .with_time_source(way.world.service.clock.clone())
        .with_sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .with_region(None);
    let client = aws_config::imds::Client::builder()
        .configure(&config)
        .endpoint("http://169.254.169.254")
        .unwrap()
        .build();
    let provider = ImdsCredentialsProvider::builder()
        .configure(&config)
        .imds_client(client)
        .build();
    let start = Instant::now();
    let told = match provider.provide_credentials().await {
        Ok(credentials) => credentials.access_key_id().to_owned(),
        Err(error) => DisplayErrorContext(&error).to_string(),
    };
    (told, requests.load(Ordering::SeqCst), start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn it_gets_what_is_sanctioned() {
    let (told, requests, _) = told(world()).await;
    assert_eq!((told.as_str(), requests), ("ASIA0", 3));
}

#[tokio::test(start_paused = true)]
async fn a_role_that_aws_refuses_is_an_error_with_our_text_and_without_another_try() {
    let world = world();
    world.sts.fail(Some(Failure::Denied));
    let (told, requests, after) = told(world).await;
    assert!(told.contains("AccessDenied") && told.contains("audit log"), "{told}");
    assert!(requests == 3 && after < Duration::from_secs(1), "{requests} {after:?}");
}

#[tokio::test(start_paused = true)]
async fn an_sts_that_is_away_is_an_error_with_our_text_within_seconds() {
    let world = world();
    world.sts.fail(Some(Failure::Unreachable));
    let (told, requests, after) = told(world).await;
    assert!(
        told.contains("ServiceUnavailable") && told.contains("Try again"),
        "{told}"
    );
    assert!(
        (4..=6).contains(&requests) && after < Duration::from_secs(15),
        "{requests} {after:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_gets_nothing_at_all_learns_it_at_once() {
    let (unruled, unattested) = (world(), world());
    let mut stranger = facts();
    label(&mut stranger, "project.id", "21");
    *unruled.attestor.facts.lock().unwrap() = Some(Arc::new(stranger));
    *unattested.attestor.unattested.lock().unwrap() = Some(Unattested::SharedNetwork);
    for world in [unruled, unattested] {
        let (told, requests, after) = told(world).await;
        assert!(told.contains("request forbidden"), "{told}");
        assert!(requests == 1 && after < Duration::from_secs(1), "{requests} {after:?}");
    }
}
