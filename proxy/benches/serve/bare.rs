//! The server to compare with: axum and nothing else, returning the bytes that the proxy returns.

use std::io;

use axum::Router;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LAST_MODIFIED, SERVER};
use axum::routing::get;
use tokio::net::TcpListener;

/// Serves the document on that port, wherever it is asked for.
pub(crate) async fn serve(port: &str, document: &str) -> io::Result<()> {
    let mut headers = HeaderMap::new();
    // What the proxy sends; axum adds length and date.
    for (name, value) in [
        (HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds"), "21600"),
        (CONTENT_TYPE, "text/plain"),
        (HeaderName::from_static("accept-ranges"), "none"),
        (LAST_MODIFIED, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (SERVER, "EC2ws"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let document = document.to_owned();
    let router = Router::new().fallback(get(move || {
        let answer = (headers.clone(), document.clone());
        async move { answer }
    }));
    let port: u16 = port.parse().map_err(io::Error::other)?;
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    axum::serve(listener, router).await
}
