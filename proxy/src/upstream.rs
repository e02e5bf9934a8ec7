//! The way to AWS, for everything that the proxy asks there (P17), and to GitLab: straight to where it was told, through no intermediary that the
//! environment names and to no other place that an answer names, and no answer longer than what such an answer can be.

use aws_smithy_http_client::tls::{self, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector, HttpClientError};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http_body_util::Limited;

/// Bytes of an answer. Session tokens have a few thousand characters; what GitLab says of a job is longer only if its commit's message is.
const ANSWER_MAX: usize = 64 * 1024;

/// A client that keeps to this; one is enough for a process, since each has its own authorities and connections. The SDK's own default follows
/// `HTTP_PROXY` and `HTTPS_PROXY`, even to the metadata endpoint.
#[must_use]
pub fn client() -> SharedHttpClient {
    let direct = Builder::new()
        .tls_provider(tls::Provider::Rustls(CryptoMode::AwsLc))
        .build_https();
    SharedHttpClient::new(Bounded { inner: direct })
}

/// The same for a server that is no part of AWS. Certificates are judged by these authorities alone (PEM, without a fault), else by those of the
/// platform.
///
/// # Errors
/// Never, as the library is now.
pub fn connector(authorities: Option<Vec<u8>>) -> Result<SharedHttpConnector, HttpClientError> {
    let store = match authorities {
        Some(certificates) => TrustStore::empty().with_pem_certificate(certificates),
        None => TrustStore::default(),
    };
    let direct = Connector::builder()
        .tls_provider(tls::Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(TlsContext::builder().with_trust_store(store).build()?)
        .build();
    let inner = SharedHttpConnector::new(direct);
    Ok(SharedHttpConnector::new(Bounded { inner }))
}

#[derive(Debug)]
struct Bounded<T> {
    inner: T,
}

impl HttpClient for Bounded<SharedHttpClient> {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Bounded { inner })
    }
}

impl HttpConnector for Bounded<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let call = self.inner.call(request);
        HttpConnectorFuture::new(async move {
            let answer = call.await?;
            // Read to its end by whoever asked; beyond the bound that reading fails.
            Ok(answer.map(|body| SdkBody::from_body_1_x(Limited::new(body, ANSWER_MAX))))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::ANSWER_MAX;
    use crate::ambient;
    use crate::config::{Aws, Base};
    use crate::credentials::{AssumeRole as _, Failure, Key, Sts};
    use crate::fixture::{RULE, config, facts};
    use crate::policy::{Decision, Policy, decide};

    /// An STS whose answers do not end; its URL, and how many bytes it got rid of.
    async fn endless() -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let written = Arc::new(AtomicUsize::new(0));
        let sum = Arc::clone(&written);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let sum = Arc::clone(&sum);
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    let _read = stream.read(&mut request).await;
                    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 100000000000\r\n\r\n<a>";
                    let _written = stream.write_all(head.as_bytes()).await;
                    while stream.write_all(&[b' '; 4096]).await.is_ok() {
                        sum.fetch_add(4096, Ordering::SeqCst);
                    }
                });
            }
        });
        (url, written)
    }

    #[tokio::test]
    async fn an_answer_that_does_not_end_is_given_up_early() {
        let (url, written) = endless().await;
        let config = config(RULE);
        let Decision::Grant(grant) = decide(&Policy::new(&config), &facts()) else {
            panic!("refused")
        };
        let aws = Aws {
            credentials: Base::Environment,
            sts_endpoint: Some(url),
            ..config.aws
        };
        let sts = Sts::new(&aws, &ambient::clock(), &super::client(), |_| {
            Some("AKIAENV".to_owned())
        })
        .unwrap();
        let failure = sts.assume_role(&Key::new(&grant)).await.unwrap_err();
        assert_eq!(failure, Failure::Broken);
        // Two tries, and what the kernel holds of each.
        let written = written.load(Ordering::SeqCst);
        assert!((ANSWER_MAX..32 << 20).contains(&written), "{written}");
    }
}
