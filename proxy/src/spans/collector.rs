//! The way of spans to a collector on this machine (OTLP over HTTP). Whom the collector tells, and with which secrets, is its own business.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use super::TARGET;
use crate::config::Traces;

/// For a batch to be taken. What waits meanwhile is bounded (2,048 spans), and what comes on top of it is lost: traces never hold up a request.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a collector's answer.
const ANSWER_MAX: usize = 64 * 1024;

/// Why no spans can be sent.
#[derive(Debug, Error)]
pub enum NoExport {
    /// The thread that sends them has no runtime.
    #[error("starting the runtime that sends traces")]
    Runtime(#[from] io::Error),
    /// The library does not take the settings.
    #[error("making the exporter of traces")]
    Exporter(#[from] ExporterBuildError),
}

/// Sends what is left when it is dropped.
#[derive(Debug)]
pub struct Export {
    provider: SdkTracerProvider,
}

impl Drop for Export {
    fn drop(&mut self) {
        // A collector that is gone costs this much of the proxy's end, and nothing else.
        let _ = self.provider.shutdown_with_timeout(PATIENCE);
    }
}

/// A layer that sends spans to the collector, for as long as what is returned beside it lives.
///
/// # Errors
/// There is no runtime for it, or the library refuses the settings. A collector that does not answer is no error: it may start later.
pub fn export<S>(traces: &Traces) -> Result<(impl Layer<S> + Send + Sync + use<S>, Export), NoExport>
where
    S: Subscriber + for<'s> LookupSpan<'s> + Send + Sync,
{
    let client = Collector {
        address: traces.collector,
        runtime: Builder::new_current_thread().enable_all().build()?,
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("http://{}{}", traces.collector, traces.path))
        .with_timeout(PATIENCE)
        .build()?;
    let share = f64::from(traces.sample_percent) / 100.0;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::TraceIdRatioBased(share))
        .with_resource(Resource::builder_empty().with_service_name("metadata-proxy").build())
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("metadata-proxy"))
        .with_location(false)
        .with_target(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(Targets::new().with_target(TARGET, LevelFilter::INFO));
    Ok((layer, Export { provider }))
}

/// Its own runtime, since a thread of the library waits for it.
#[derive(Debug)]
struct Collector {
    address: SocketAddr,
    runtime: Runtime,
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let exchange = async { timeout(PATIENCE, exchange(self.address, request)).await };
        self.runtime.block_on(exchange)?
    }
}

/// One connection for each batch: they come seconds apart.
async fn exchange(address: SocketAddr, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let (mut parts, body) = request.into_parts();
    parts.headers.insert(http::header::HOST, address.to_string().parse()?);
    // The library gives a whole URL, and an origin server is asked for a path.
    let path = parts.uri.path().to_owned();
    parts.uri = path.parse()?;
    let answer = async {
        let answer = sender.send_request(Request::from_parts(parts, Full::new(body))).await?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await?.to_bytes();
        Ok(Response::from_parts(parts, body))
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // Whichever ends first: with the connection gone, the answer says so.
        _ = connection => answer.await,
    }
}

#[cfg(test)]
mod tests;
