//! STS through the SDK, with base credentials of the instance profile.

use std::time::Duration;

use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_sts::Client;
use aws_sdk_sts::error::ProvideErrorMetadata as _;
use aws_sdk_sts::types::PolicyDescriptorType;
use jiff::Timestamp;

use super::{Ask, Credentials, IssueError, Issuer, Secret};
use crate::config::Aws;
use crate::hole::{Hole, Switches};

/// A held answer of STS may take its time (the fakes hold at most 30 s); a client gives up earlier.
const TIMEOUT: Duration = Duration::from_secs(40);
/// A caller waits a second or two: a failing STS must have failed by then.
const BACKOFF: Duration = Duration::from_millis(100);

/// The real issuer.
#[derive(Debug, Clone)]
pub struct Sts {
    client: Client,
    session_seconds: i32,
    switches: Switches,
}

impl Sts {
    /// A client that honours `sts_endpoint`, else `AWS_ENDPOINT_URL_STS`, else the regional default.
    pub async fn new(aws: &Aws, switches: Switches) -> Self {
        let sdk = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(aws.region.clone()))
            .credentials_provider(ImdsCredentialsProvider::builder().build())
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(2)
                    .with_initial_backoff(BACKOFF),
            )
            .timeout_config(TimeoutConfig::builder().operation_timeout(TIMEOUT).build())
            .load()
            .await;
        let mut config = aws_sdk_sts::config::Builder::from(&sdk);
        if let Some(endpoint) = &aws.sts_endpoint {
            config = config.endpoint_url(endpoint);
        }
        Self {
            client: Client::from_conf(config.build()),
            session_seconds: aws.session_seconds,
            switches,
        }
    }
}

impl Issuer for Sts {
    async fn issue(&self, ask: &Ask) -> Result<Credentials, IssueError> {
        let arns = ask.session.policy_arns.iter();
        let arns: Vec<PolicyDescriptorType> = arns
            .map(|arn| PolicyDescriptorType::builder().arn(arn).build())
            .collect();
        let answer = self
            .client
            .assume_role()
            .role_arn(&ask.role_arn)
            .role_session_name(&ask.session_name)
            .set_external_id(ask.external_id.clone())
            .set_policy(ask.session.policy.clone())
            .set_policy_arns((!arns.is_empty()).then_some(arns))
            .duration_seconds(ask.session.duration_seconds.unwrap_or(self.session_seconds))
            .send();
        // Boxed: the SDK's futures are large.
        let answer = Box::pin(answer).await.map_err(|error| {
            let code = error
                .as_service_error()
                .and_then(|error| error.code())
                .unwrap_or("no answer");
            tracing::warn!(role = ask.role_arn, code, "STS gives nothing");
            if code == "AccessDenied" {
                IssueError::Denied
            } else {
                IssueError::Unavailable
            }
        })?;
        let assumed = answer.assumed_role_user.map(|user| user.arn).unwrap_or_default();
        if !self.switches.open(Hole::TrustsStsAnswer) && !is_session_of(&assumed, ask) {
            tracing::warn!(role = ask.role_arn, assumed, "STS assumed another role");
            return Err(IssueError::Unavailable);
        }
        let given = answer.credentials.ok_or(IssueError::Unavailable)?;
        let expiration = Timestamp::from_second(given.expiration.secs()).map_err(|_| IssueError::Unavailable)?;
        Ok(Credentials {
            access_key_id: given.access_key_id,
            secret_access_key: Secret::new(given.secret_access_key),
            session_token: Secret::new(given.session_token),
            expiration,
        })
    }
}

/// Whether `arn:aws:sts::1:assumed-role/NAME/SESSION` is a session of what was asked for.
fn is_session_of(assumed: &str, ask: &Ask) -> bool {
    let Some((before, path)) = ask.role_arn.split_once(":role/") else {
        return false;
    };
    let name = path.rsplit('/').next().unwrap_or_default();
    let before = before.replacen(":iam:", ":sts:", 1);
    assumed == format!("{before}:assumed-role/{name}/{}", ask.session_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Session;

    #[test]
    fn a_session_is_of_the_role_account_and_name_that_were_asked_for() {
        let ask = Ask {
            role_arn: "arn:aws:iam::123456789012:role/team/deploy".to_owned(),
            external_id: None,
            session_name: "20-1".to_owned(),
            session: Session::default(),
        };
        assert!(is_session_of(
            "arn:aws:sts::123456789012:assumed-role/deploy/20-1",
            &ask
        ));
        for other in [
            "",
            "arn:aws:sts::123456789012:assumed-role/admin/20-1",
            "arn:aws:sts::999999999999:assumed-role/deploy/20-1",
            "arn:aws:sts::123456789012:assumed-role/deploy/20-2",
        ] {
            assert!(!is_session_of(other, &ask), "{other}");
        }
    }
}
