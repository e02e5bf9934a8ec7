//! The proxy's own credentials, from the one source that the configuration states.

use std::path::PathBuf;
use std::time::SystemTime;

use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_sts::config::Region;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::SharedTimeSource;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use thiserror::Error;
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use crate::config::{Aws, Base, Role};
use crate::instance::{self, NoEndpoint};

/// Names the proxy's own session in CloudTrail.
const SESSION: &str = "metadata-proxy";
/// Bytes of a web identity token that STS takes.
const TOKEN_MAX: u64 = 20_000;
const ACCESS_KEY: &str = "AWS_ACCESS_KEY_ID";
const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";
const IMDS_DISABLED: &str = "AWS_EC2_METADATA_DISABLED";

/// Why there are no base credentials.
#[derive(Debug, Error)]
pub enum NoBase {
    /// The client of the real endpoint cannot be made.
    #[error(transparent)]
    Endpoint(#[from] NoEndpoint),
    /// The environment lacks what the configuration says is there.
    #[error("aws.credentials is \"environment\", and {name} is not set")]
    Variable {
        /// Which.
        name: &'static str,
    },
    /// The SDK would not ask the endpoint that the configuration names.
    #[error("aws.credentials is \"imds\", and {IMDS_DISABLED} says that it must not be asked: unset it")]
    Disabled,
}

/// The provider that the configuration names. `anonymous` calls STS without a signature; `variable` reads the environment.
pub(super) fn provider(
    aws: &Aws,
    clock: &SharedTimeSource,
    http: &SharedHttpClient,
    anonymous: aws_sdk_sts::Client,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<SharedCredentialsProvider, NoBase> {
    let provider_config = ProviderConfig::empty()
        .with_http_client(http.clone())
        .with_time_source(clock.clone())
        .with_sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .with_region(Some(Region::new(aws.region.as_str().to_owned())));
    Ok(match &aws.credentials {
        Base::Imds if variable(IMDS_DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true")) => {
            return Err(NoBase::Disabled);
        }
        Base::Imds => SharedCredentialsProvider::new(
            ImdsCredentialsProvider::builder()
                .configure(&provider_config)
                .imds_client(instance::connect(clock, http)?)
                .build(),
        ),
        Base::Environment => {
            let require = |name| variable(name).ok_or(NoBase::Variable { name });
            let (id, secret) = (require(ACCESS_KEY)?, require(SECRET_KEY)?);
            let keys = Credentials::new(id, secret, variable(SESSION_TOKEN), None, "environment");
            SharedCredentialsProvider::new(keys)
        }
        Base::Profile { name } => SharedCredentialsProvider::new(
            ProfileFileCredentialsProvider::builder()
                .configure(&provider_config)
                .profile_name(name)
                .build(),
        ),
        Base::WebIdentity { role, token_file } => SharedCredentialsProvider::new(WebIdentity {
            sts: anonymous,
            role: role.clone(),
            token_file: token_file.clone(),
        }),
    })
}

/// Exchanges a token for credentials, at the same STS as everything else. The SDK's own provider would ask the one of the environment.
#[derive(Debug)]
struct WebIdentity {
    sts: aws_sdk_sts::Client,
    role: Role,
    token_file: PathBuf,
}

impl ProvideCredentials for WebIdentity {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.exchange())
    }
}

impl WebIdentity {
    async fn exchange(&self) -> provider::Result {
        let token = self.read_token().await.map_err(CredentialsError::not_loaded)?;
        let call = self
            .sts
            .assume_role_with_web_identity()
            .role_arn(self.role.arn())
            .role_session_name(SESSION)
            .web_identity_token(token.trim());
        // Its text tells what the token says; the source is left out of the log.
        let answer = call.send().await.map_err(|error| {
            tracing::warn!(role = self.role.arn(), "AssumeRoleWithWebIdentity failed");
            CredentialsError::provider_error(error)
        })?;
        let keys = answer
            .credentials
            .ok_or_else(|| CredentialsError::unhandled("an answer without credentials"))?;
        let expires = SystemTime::try_from(keys.expiration).map_err(CredentialsError::unhandled)?;
        let (id, secret) = (keys.access_key_id, keys.secret_access_key);
        Ok(Credentials::new(
            id,
            secret,
            Some(keys.session_token),
            Some(expires),
            "web-identity",
        ))
    }

    async fn read_token(&self) -> std::io::Result<Zeroizing<String>> {
        let file = tokio::fs::File::open(&self.token_file).await?;
        let mut token = Zeroizing::new(String::new());
        file.take(TOKEN_MAX).read_to_string(&mut token).await?;
        Ok(token)
    }
}

#[cfg(test)]
mod tests;
