//! Serves metrics and health where no job can reach them: a socket file that only root can open, or a loopback address (P16).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Metrics;
use crate::config::MetricsAddress;
use crate::health::Health;
use crate::socket_file;

/// Why metrics cannot be served.
#[derive(Debug, Error)]
pub enum BindFault {
    /// The socket file cannot be made.
    #[error("cannot make the socket {path}")]
    Unix {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The address cannot be bound.
    #[error("cannot listen on {address}")]
    Tcp {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Binds, and serves until it is stopped. Returns what to print.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(
    address: &MetricsAddress,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    stop: CancellationToken,
) -> Result<String, BindFault> {
    let router = router(metrics, health);
    match address {
        MetricsAddress::Unix(path) => {
            let listener = socket_file::bind(path).map_err(|source| BindFault::Unix {
                path: path.clone(),
                source,
            })?;
            tokio::spawn(run(
                axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned())
            ));
            Ok(format!("unix:{}", path.display()))
        }
        MetricsAddress::Loopback(address) => {
            let fault = |source| BindFault::Tcp {
                address: *address,
                source,
            };
            let listener = TcpListener::bind(address).await.map_err(fault)?;
            let bound = listener.local_addr().map_err(fault)?;
            tokio::spawn(run(
                axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned())
            ));
            Ok(format!("http://{bound}"))
        }
    }
}

/// `/metrics`; `/healthz`: the process lives, or 503 and which part of it is stuck; `/readyz`: every part does its work, or 503 and which part
/// does not.
fn router(metrics: Arc<Metrics>, health: Arc<Health>) -> Router {
    let (judged, felt) = (Arc::clone(&health), Arc::clone(&health));
    Router::new()
        .route(
            "/metrics",
            get(move || async move { ([(CONTENT_TYPE, CONTENT)], metrics.text(&judged.verdict())) }),
        )
        .route(
            "/healthz",
            get(move || async move {
                let stuck = felt.pulse().stuck();
                if stuck.is_empty() {
                    (StatusCode::OK, "ok\n".to_owned())
                } else {
                    (
                        StatusCode::SERVICE_UNAVAILABLE,
                        format!("stuck: {}\n", stuck.join(", ")),
                    )
                }
            }),
        )
        .route(
            "/readyz",
            get(move || async move {
                let verdict = health.verdict();
                let status = if verdict.is_ready() {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                };
                (status, verdict.to_string())
            }),
        )
}

const CONTENT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

async fn run(server: impl IntoFuture<Output = io::Result<()>>) {
    if let Err(error) = server.await {
        tracing::error!(%error, "metrics are not served any more");
    }
}
