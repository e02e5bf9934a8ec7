//! Serves the metrics where no job can reach them: a socket file that only root can open, or a loopback address (P16).

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use super::Metrics;
use crate::config::MetricsAddress;

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
    stop: CancellationToken,
) -> Result<String, BindFault> {
    let router = Router::new()
        .route(
            "/metrics",
            get(move || async move { ([(CONTENT_TYPE, CONTENT)], metrics.text()) }),
        )
        .route("/healthz", get(|| async { "ok\n" }));
    match address {
        MetricsAddress::Unix(path) => {
            let listener = bind_unix(path).map_err(|source| BindFault::Unix {
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

const CONTENT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

async fn run(server: impl IntoFuture<Output = io::Result<()>>) {
    if let Err(error) = server.await {
        tracing::error!(%error, "metrics are not served any more");
    }
}

/// Makes the socket under another name and moves it into place, so that it never stands there with a wider mode, and a socket that an
/// earlier process left gives way.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    drop(std::fs::remove_file(&fresh));
    let listener = UnixListener::bind(&fresh)?;
    std::fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
    std::fs::rename(&fresh, path)?;
    Ok(listener)
}
