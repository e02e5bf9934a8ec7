//! STS through the official SDK: AssumeRole with the proxy's own credentials, and what its failures mean.

use std::time::{Duration, SystemTime};

use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_sdk_sts::config::{BehaviorVersion, Region};
use aws_sdk_sts::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_sts::operation::assume_role::{AssumeRoleError, AssumeRoleOutput};
use aws_sdk_sts::types::{PolicyDescriptorType, Tag};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::SharedTimeSource;
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use super::base::{self, NoBase};
use super::{AssumeRole, Assumed, Failure, Key, Secret};
use crate::config::Aws;

const CONNECT: Duration = Duration::from_secs(2);
const ATTEMPT: Duration = Duration::from_secs(3);
const CALL: Duration = Duration::from_secs(5);
const ATTEMPTS: u32 = 2;

/// The client of STS.
#[derive(Debug, Clone)]
pub struct Sts {
    client: aws_sdk_sts::Client,
}

impl Sts {
    /// A client that signs with the credentials of the configured source, and asks over `http`. `variable` reads the environment, for the one
    /// source that is there.
    ///
    /// # Errors
    /// When the source is known not to have any.
    pub fn new(
        aws: &Aws,
        clock: &SharedTimeSource,
        http: &SharedHttpClient,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, NoBase> {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(ATTEMPT)
            .operation_timeout(CALL)
            .build();
        let mut config = aws_sdk_sts::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(aws.region.as_str().to_owned()))
            .http_client(http.clone())
            .time_source(clock.clone())
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS));
        if let Some(endpoint) = &aws.sts_endpoint {
            config = config.endpoint_url(endpoint);
        }
        let anonymous = aws_sdk_sts::Client::from_conf(config.clone().build());
        let base = base::provider(aws, clock, http, anonymous, variable)?;
        Ok(Self {
            client: aws_sdk_sts::Client::from_conf(config.credentials_provider(base).build()),
        })
    }
}

impl AssumeRole for Sts {
    async fn assume_role(&self, key: &Key) -> Result<Assumed, Failure> {
        let seconds = i32::try_from(key.duration_seconds).map_err(|_| Failure::Rejected)?;
        let mut tags = Vec::new();
        for (name, value) in &key.tags {
            tags.push(
                Tag::builder()
                    .key(name)
                    .value(value)
                    .build()
                    .map_err(|_| Failure::Rejected)?,
            );
        }
        let arns = key.policy_arns.iter();
        let arns: Vec<PolicyDescriptorType> = arns
            .map(|arn| PolicyDescriptorType::builder().arn(arn.as_str()).build())
            .collect();
        let call = self
            .client
            .assume_role()
            .role_arn(key.role.arn())
            .role_session_name(&key.session_name)
            .duration_seconds(seconds)
            .set_external_id(key.external_id.as_ref().map(ToString::to_string))
            .set_policy(key.policy.as_ref().map(|policy| policy.as_str().to_owned()))
            .set_policy_arns((!arns.is_empty()).then_some(arns))
            .set_tags((!tags.is_empty()).then_some(tags))
            .set_transitive_tag_keys((!key.transitive.is_empty()).then(|| key.transitive.iter().cloned().collect()))
            .set_source_identity(key.source_identity.clone());
        match call.send().await {
            Ok(output) => read_answer(output).ok_or(Failure::Broken),
            Err(error) => {
                let failure = classify(&error);
                let code = error.code().unwrap_or("-");
                let remedy = failure.remedy().unwrap_or("-");
                tracing::warn!(role = key.role.arn(), session = key.session_name, code, %failure, remedy, "AssumeRole failed");
                Err(failure)
            }
        }
    }
}

fn read_answer(output: AssumeRoleOutput) -> Option<Assumed> {
    let user = output.assumed_role_user?;
    let credentials = output.credentials?;
    let expires = SystemTime::try_from(credentials.expiration).ok()?;
    Some(Assumed {
        assumed_role_arn: user.arn,
        source_identity: output.source_identity,
        access_key_id: credentials.access_key_id,
        secret_access_key: Secret::new(credentials.secret_access_key),
        session_token: Secret::new(credentials.session_token),
        expires,
    })
}

fn classify(error: &SdkError<AssumeRoleError>) -> Failure {
    match error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            match service.err().code() {
                Some("AccessDenied") => classify_denial(service.err().message().unwrap_or_default()),
                Some("Throttling" | "ThrottlingException" | "RequestLimitExceeded") => Failure::Throttled,
                Some(_) | None if status >= 500 => Failure::Broken,
                Some(_) | None => Failure::Rejected,
            }
        }
        SdkError::TimeoutError(_) => Failure::TimedOut,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => Failure::TimedOut,
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => Failure::Unreachable,
        SdkError::ResponseError(_) => Failure::Broken,
        _ => Failure::Broken,
    }
}

/// STS names the action that it denies: "User: ARN is not authorized to perform: ACTION on resource: ARN". No ARN holds the words around it.
fn classify_denial(message: &str) -> Failure {
    let action = message
        .split_once(" is not authorized to perform: ")
        .map(|(_, rest)| rest);
    match action.and_then(|rest| rest.split(' ').next()) {
        Some("sts:TagSession") => Failure::TagsDenied,
        Some("sts:SetSourceIdentity") => Failure::SourceIdentityDenied,
        Some(_) | None => Failure::Denied,
    }
}

#[cfg(test)]
mod tests {
    use super::classify_denial;
    use crate::credentials::Failure;

    #[test]
    fn a_denial_tells_which_permission_is_lacking() {
        let denial = |action: &str| {
            classify_denial(&format!(
                "User: arn:aws:sts::123456789012:assumed-role/lab-host/i-0123456789abcdef0 is not authorized to perform: {action} on resource: \
                 arn:aws:iam::123456789012:role/deploy"
            ))
        };
        assert_eq!(denial("sts:AssumeRole"), Failure::Denied);
        assert_eq!(denial("sts:TagSession"), Failure::TagsDenied);
        assert_eq!(denial("sts:SetSourceIdentity"), Failure::SourceIdentityDenied);
        assert_eq!(classify_denial(""), Failure::Denied);
        assert_eq!(classify_denial("sts:TagSession"), Failure::Denied);
    }
}
