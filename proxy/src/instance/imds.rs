//! The real endpoint, asked by the proxy for itself: IMDSv2 with a token of its own, through the official client.

use aws_config::imds::Client;
use aws_config::provider_config::ProviderConfig;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::SharedTimeSource;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use thiserror::Error;

use super::{Fetching, Leaf, Unreadable, Upstream};

/// Stated here, so that neither environment (`AWS_EC2_METADATA_SERVICE_ENDPOINT`) nor profile files are asked.
const ENDPOINT: &str = "http://169.254.169.254";

/// Why there is no client.
#[derive(Debug, Error)]
#[error("the instance metadata endpoint {endpoint} is no URL")]
pub struct NoEndpoint {
    endpoint: String,
}

/// A client of the real endpoint.
///
/// # Errors
/// Never with the endpoint that is built in.
pub(crate) fn connect(clock: &SharedTimeSource, http: &SharedHttpClient) -> Result<Client, NoEndpoint> {
    let provider_config = ProviderConfig::empty()
        .with_http_client(http.clone())
        .with_time_source(clock.clone())
        .with_sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .with_region(None);
    let client = Client::builder()
        .configure(&provider_config)
        .endpoint(ENDPOINT)
        .map_err(|_| NoEndpoint {
            endpoint: ENDPOINT.to_owned(),
        })?;
    Ok(client.build())
}

/// The instance's values, from the real endpoint.
#[derive(Debug, Clone)]
pub struct Imds {
    client: Client,
}

impl Imds {
    /// Asks nothing yet.
    ///
    /// # Errors
    /// Never with the endpoint that is built in.
    pub fn new(clock: &SharedTimeSource, http: &SharedHttpClient) -> Result<Self, NoEndpoint> {
        Ok(Self {
            client: connect(clock, http)?,
        })
    }
}

impl Upstream for Imds {
    fn fetch(&self, leaf: Leaf) -> Fetching<'_> {
        Box::pin(async move {
            let path = format!("/latest/meta-data/{}", leaf.path());
            match self.client.get(path).await {
                Ok(value) => Ok(value.into()),
                Err(error) => {
                    tracing::warn!(%leaf, %error, "the real endpoint does not answer");
                    Err(Unreadable::Failed)
                }
            }
        })
    }
}
