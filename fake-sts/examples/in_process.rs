//! An STS in a test's own process: a session is given, a refusal says why, and the ledger counts.
//! `cargo run -p fake-sts --example in_process`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use aws_credential_types::Credentials;
use aws_sdk_sts::config::{BehaviorVersion, Region, SharedCredentialsProvider};
use aws_sdk_sts::error::ProvideErrorMetadata as _;
use fake_kit::question::{Assertion, matches};
use fake_sts::FakeSts;

const WORLD: &str = r#"
[account]
id = "123456789012"
region = "eu-central-1"

[[user]]
name = "alice"
access_key_id = "AKIAIOSFODNN7EXAMPLE"
secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

[[role]]
name = "deploy"
trust = { Statement = { Effect = "Allow", Principal = { AWS = "arn:aws:iam::123456789012:user/alice" }, Action = "sts:AssumeRole", Condition = { StringEquals = { "sts:ExternalId" = "secret-7" } } } }
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sts = FakeSts::builder().world(WORLD).start().await?;
    let keys = Credentials::new(
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        None,
        None,
        "example",
    );
    let config = aws_sdk_sts::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .endpoint_url(sts.url())
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .build();
    let client = aws_sdk_sts::Client::from_conf(config);
    let assume = client
        .assume_role()
        .role_arn("arn:aws:iam::123456789012:role/deploy")
        .role_session_name("job-1");
    let given = assume.clone().external_id("secret-7").send().await?;
    if let Some(user) = given.assumed_role_user() {
        println!("given    {}", user.arn());
    }
    if let Err(error) = assume.send().await {
        println!("refused  {}", error.message().unwrap_or_default());
    }
    for entry in sts.requests(matches([("result", "AccessDenied")]))? {
        println!("because  {}", entry.facts.get("denied_by").map_or("", String::as_str));
    }
    sts.check(&Assertion::exactly(2, matches([("action", "AssumeRole")])))?;
    Ok(())
}
