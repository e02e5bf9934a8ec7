//! The real AWS SDK as a job would use it: the default chain, unmodified, `GetCallerIdentity`, and `AssumeRole` where that is asked for.

use std::time::{Duration, UNIX_EPOCH};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sdk_sts::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use super::protocol::{
    Assume, Assumed, Failure, FailureKind, Keys, MAX_MS, Sdk, SdkAnswer, SdkAssumed, SdkCredentials, SdkIdentity,
};

/// Asks for credentials and then STS for whose they are. Region and endpoints come from the environment, as in any job.
pub(super) async fn identify(sdk: &Sdk) -> Result<SdkAnswer, Failure> {
    let asking = Box::pin(ask(sdk));
    tokio::time::timeout(Duration::from_millis(MAX_MS), asking)
        .await
        .unwrap_or_else(|_| {
            Err(Failure {
                kind: FailureKind::Credentials,
                message: format!("the SDK did not finish within {MAX_MS} ms"),
            })
        })
}

async fn ask(sdk: &Sdk) -> Result<SdkAnswer, Failure> {
    let credentials_failure = |message: String| Failure {
        kind: FailureKind::Credentials,
        message,
    };
    let config = aws_config::defaults(BehaviorVersion::latest()).load().await;
    let provider = config
        .credentials_provider()
        .ok_or_else(|| credentials_failure("the chain has no provider".to_owned()))?;
    let credentials = provider
        .provide_credentials()
        .await
        .map_err(|error| credentials_failure(DisplayErrorContext(&error).to_string()))?;
    let client = aws_sdk_sts::Client::new(&config);
    let identity = client.get_caller_identity().send().await.map_err(|error| Failure {
        kind: FailureKind::Sts,
        message: DisplayErrorContext(&error).to_string(),
    })?;
    let assumed = match &sdk.assume {
        None => None,
        Some(role) => {
            let call = client.assume_role().role_arn(role).role_session_name("from-a-job");
            Some(match call.send().await {
                Ok(output) => SdkAssumed::Token(
                    output
                        .credentials
                        .map(|credentials| credentials.session_token)
                        .unwrap_or_default(),
                ),
                Err(error) => SdkAssumed::Refused(DisplayErrorContext(&error).to_string()),
            })
        }
    };
    Ok(SdkAnswer {
        assumed,
        credentials: SdkCredentials {
            access_key_id: credentials.access_key_id().to_owned(),
            session_token: credentials.session_token().map(str::to_owned),
            expires: credentials
                .expiry()
                .and_then(|expiry| expiry.duration_since(UNIX_EPOCH).ok())
                .map(|since| since.as_secs()),
        },
        identity: SdkIdentity {
            arn: identity.arn().unwrap_or_default().to_owned(),
            account: identity.account().unwrap_or_default().to_owned(),
            user_id: identity.user_id().unwrap_or_default().to_owned(),
        },
    })
}

/// Asks STS for a role, as a job that picks its role itself does.
pub(super) async fn assume(assume: Assume) -> Result<Assumed, Failure> {
    let asking = Box::pin(ask_for_role(assume));
    tokio::time::timeout(Duration::from_millis(MAX_MS), asking)
        .await
        .map_err(|_| Failure {
            kind: FailureKind::Sts,
            message: format!("the SDK did not finish within {MAX_MS} ms"),
        })
}

async fn ask_for_role(asked: Assume) -> Assumed {
    let loader = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(asked.region))
        .endpoint_url(asked.endpoint);
    let loader = match asked.keys {
        Some(keys) => loader.credentials_provider(Credentials::new(
            keys.access_key_id,
            keys.secret_access_key,
            Some(keys.session_token),
            None,
            "case",
        )),
        None => loader.no_credentials(),
    };
    let client = aws_sdk_sts::Client::new(&loader.load().await);
    match asked.token {
        Some(token) => {
            let call = client
                .assume_role_with_web_identity()
                .role_arn(asked.role_arn)
                .role_session_name(asked.session_name)
                .web_identity_token(token)
                .set_duration_seconds(asked.duration_seconds)
                .set_policy(asked.policy);
            match call.send().await {
                Ok(output) => issued(output.credentials),
                Err(error) => refused(&error),
            }
        }
        None => {
            let call = client
                .assume_role()
                .role_arn(asked.role_arn)
                .role_session_name(asked.session_name)
                .set_duration_seconds(asked.duration_seconds)
                .set_policy(asked.policy);
            match call.send().await {
                Ok(output) => issued(output.credentials),
                Err(error) => refused(&error),
            }
        }
    }
}

fn issued(credentials: Option<aws_sdk_sts::types::Credentials>) -> Assumed {
    match credentials {
        Some(credentials) => Assumed::Issued {
            expires: credentials.expiration.secs(),
            keys: Keys {
                access_key_id: credentials.access_key_id,
                secret_access_key: credentials.secret_access_key,
                session_token: credentials.session_token,
            },
        },
        None => Assumed::Unreachable {
            message: "an answer without credentials".to_owned(),
        },
    }
}

fn refused<E>(error: &SdkError<E>) -> Assumed
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error.raw_response() {
        Some(response) => Assumed::Refused {
            status: response.status().as_u16(),
            code: error.code().unwrap_or_default().to_owned(),
            message: error.message().unwrap_or_default().to_owned(),
        },
        None => Assumed::Unreachable {
            message: DisplayErrorContext(error).to_string(),
        },
    }
}
