//! The command line. It must not read files or listen.

use std::path::PathBuf;

use clap::Parser;
use fake_kit::listen::Listen;

/// A fake AWS STS: AssumeRole and GetCallerIdentity, with signatures verified and trust policies evaluated as the real service does.
#[derive(Debug, Parser)]
#[command(
    name = "fake-sts",
    version,
    after_long_help = "\
Try it, without any AWS account:

  fake-sts --listen 127.0.0.1:4566 --control 127.0.0.1:4567 &
  export AWS_ENDPOINT_URL_STS=http://127.0.0.1:4566 AWS_REGION=eu-central-1
  export AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE
  export AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
  aws sts get-caller-identity

Roles, their trust and identity policies, and users stand in a world file; --print-world shows the built-in one to start from.

What the fake saw, and what to make it do (control API; keep it away from what is tested):

  curl 127.0.0.1:4567/ledger                    every request: caller, role, external id, result, and denied_by when refused
  curl 127.0.0.1:4567/faults -d '{\"match\":{\"action\":\"AssumeRole\"},\"times\":1,\"effect\":{\"error\":{\"status\":503,\"code\":\"ServiceUnavailable\",\"message\":\"later\"}}}' -H content-type:application/json
      effects: hold, error, lifetime_seconds, reset, rewrite (assumed_role_arn, assumed_role_id, access_key_id, secret_access_key,
      session_token, expiration, arn, user_id, account; role_arn issues the session of another role)
      facts to match: action, role_arn, session_name, external_id, duration, caller, access_key_id
  POST /clock, POST /reset, GET /holds/NAME, POST /holds/NAME/release, GET /canaries
  POST /credentials     credentials of an instance, as EC2 gets them
  PUT /roles/NAME, DELETE /roles/NAME

Each session token tells where it came from: 16 characters of prefix, 16 of canary, then base64 of a JSON text.

Exit codes: 0 stopped on SIGTERM or SIGINT, 1 could not serve, 2 usage or a broken world file."
)]
pub struct Options {
    /// Where STS is served: ADDRESS:PORT, port 0 for a free one; may be given several times
    #[arg(long, required_unless_present = "print_world")]
    pub listen: Vec<Listen>,

    /// Where the control API is served: ADDRESS:PORT or unix:PATH
    #[arg(long, required_unless_present = "print_world")]
    pub control: Option<Listen>,

    /// World file: accounts, roles, users
    #[arg(long, value_name = "FILE")]
    pub world: Option<PathBuf>,

    /// What every id, key and canary is derived from
    #[arg(long, default_value = fake_kit::seed::Seed::DEFAULT)]
    pub seed: String,

    /// Grant every role to whoever signs correctly: no trust or identity policy is asked
    #[arg(long)]
    pub permissive: bool,

    /// Print the built-in world and exit
    #[arg(long)]
    pub print_world: bool,
}
