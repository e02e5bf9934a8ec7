//! The probe's operations for a program that carries them out in its own process, without the protocol in between.

use super::protocol::{Failure, Http, HttpAnswer, Sdk, SdkAnswer};
use super::{host, sdk as unmodified};

/// One HTTP request, exactly as told.
pub(crate) async fn http(http: &Http) -> Result<HttpAnswer, Failure> {
    host::exchange(http).await
}

/// The unmodified SDK's default chain and `GetCallerIdentity`.
pub(crate) async fn sdk(sdk: &Sdk) -> Result<SdkAnswer, Failure> {
    unmodified::identify(sdk).await
}
