//! The command line. It must not read files or listen.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use fake_kit::ledger::Size;
use fake_kit::listen::Listen;

use crate::lint::Format;
use crate::oidc::Check;

/// A fake AWS STS with the slice of IAM around it: signatures are verified and policies evaluated as the real services do.
#[derive(Debug, Parser)]
#[command(
    name = "fake-sts",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_long_help = "\
Try it, without any AWS account:

  fake-sts --listen 127.0.0.1:4566 --control 127.0.0.1:4567 &
  export AWS_ENDPOINT_URL_STS=http://127.0.0.1:4566 AWS_REGION=eu-central-1
  export AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE
  export AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
  aws sts get-caller-identity

A GitLab job's token, which opens a role of the built-in world (one of another ref does not):

  TOKEN=$(fake-sts token --control 127.0.0.1:4567 --project group/app --ref main)
  curl 127.0.0.1:4566 -d Version=2011-06-15 -d Action=AssumeRoleWithWebIdentity \\
    -d RoleArn=arn:aws:iam::123456789012:role/gitlab-deploy \\
    -d RoleSessionName=job-1 -d WebIdentityToken=$TOKEN

A SAML response; and what policies say, without a server:

  fake-sts saml --control 127.0.0.1:4567 --role arn:aws:iam::123456789012:role/people
  fake-sts explain --role gitlab-deploy --project group/app --ref feature
  fake-sts explain --role people --provider corp --subject alice --tag team=blue
  fake-sts explain --world world.toml --role deploy --caller lab-host --external-id secret-7
  fake-sts lint trust.json plan.json template.yaml
  fake-sts lint --world world.toml --who deploy

Roles, their trust and identity policies, users, issuers and identity providers stand in a world
file; --print-world shows the built-in one to start from.

What the fake saw, and what to make it do (control API; keep it away from what is tested):

  curl 127.0.0.1:4567/ledger   every request: caller, role, result, and denied_by when refused
  curl 127.0.0.1:4567/faults -H content-type:application/json -d '{\"match\":{\"action\":\"AssumeRole\"},
    \"times\":1,\"effect\":{\"error\":{\"status\":503,\"code\":\"ServiceUnavailable\",\"message\":\"later\"}}}'
      effects: hold, error, lifetime_seconds, reset, hang, delay_milliseconds, rewrite
      rewrite keys: status, body, truncate, header:NAME; assumed_role_arn, assumed_role_id,
        access_key_id, secret_access_key, session_token, expiration, arn, user_id, account;
        role_arn issues the session of another role
      which of them: times, skip, percent, from, until
      facts to match: action, role_arn, principal_arn, session_name, external_id, duration, policy,
        policy_arns, caller, access_key_id
  POST /clock, GET /holds/NAME, POST /holds/NAME/release, GET /canaries
  POST /reset   the world as it was read, whatever IAM and /roles did since; issuers with new keys;
        no faults, no holds, an empty ledger; the clock
  POST /credentials            credentials of an instance, as EC2 gets them
  PUT /roles/NAME, DELETE /roles/NAME, POST /roles/NAME/revoke
  POST /tokens, GET /issuers, POST /issuers/rotate, POST /issuers/availability
        issuers of web identity tokens
  POST /saml-responses         responses of SAML identity providers
  POST /authorization-messages a message that DecodeAuthorizationMessage reads

Each session token tells where it came from: 16 characters of prefix, 16 of canary, then base64 of a
JSON text with what only the fake reads behind it.

Exit codes: 0 stopped on SIGTERM or SIGINT, 1 could not serve (lint: there are findings; explain:
denied), 2 usage or a broken world file."
)]
pub struct Options {
    /// Something else than serving
    #[command(subcommand)]
    pub command: Option<Command>,

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

    /// Memory for the ledger (64KiB to what the machine has); when it is full the oldest requests are dropped, and claims fail
    #[arg(long, value_name = "SIZE", default_value_t)]
    pub ledger: Size,

    /// Grant every role to whoever signs correctly: no trust or identity policy is asked
    #[arg(long)]
    pub permissive: bool,

    /// Leave out a check of web identity tokens, which STS never does: for seeing that whoever relies on it notices
    #[arg(long, value_name = "CHECK", value_enum)]
    pub skip_check: Vec<Check>,

    /// Print the built-in world and exit
    #[arg(long)]
    pub print_world: bool,
}

/// What the program does beside serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print a token that a running fake's issuer signs: a GitLab job's, a pod's, or one of stated claims
    #[command(after_help = "\
Without --world the fake plays https://gitlab.example.com:

  fake-sts --listen 127.0.0.1:4566 --control 127.0.0.1:4567 &
  fake-sts token --control 127.0.0.1:4567 --project group/app --ref main")]
    Token(TokenOptions),
    /// Print a SAML response that an identity provider of a running fake signs, in base64
    Saml(SamlOptions),
    /// Say why a caller may or may not assume a role of a world file, policy by policy
    Explain(ExplainOptions),
    /// Look for what lets in more than was meant in policies, Terraform plans and CloudFormation templates; or ask who may assume a role
    Lint(LintOptions),
}

/// `fake-sts token`.
#[derive(Debug, Args)]
pub struct TokenOptions {
    /// Where the running fake's control API is: ADDRESS:PORT or unix:PATH
    #[arg(long)]
    pub control: Listen,

    /// The issuer's URL; needed where the world has several
    #[arg(long, value_name = "URL")]
    pub issuer: Option<String>,

    /// RS256, RS384, RS512, ES256, ES384 or ES512; the issuer's first when none is named
    #[arg(long)]
    pub algorithm: Option<String>,

    /// What the job belongs to; in a merge request's pipeline of a fork, the fork
    #[command(flatten)]
    pub job: JobOptions,

    /// A pod's service account instead of a job: NAMESPACE/NAME
    #[arg(long, value_name = "NAMESPACE/NAME", conflicts_with = "project")]
    pub service_account: Option<String>,

    /// A claim that stands over all others: NAME=JSON, or NAME=TEXT; null takes it away
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    pub claims: Vec<String>,
}

/// `fake-sts saml`.
#[derive(Debug, Args)]
pub struct SamlOptions {
    /// Where the running fake's control API is: ADDRESS:PORT or unix:PATH
    #[arg(long)]
    pub control: Listen,

    /// The SAML provider, by name or ARN; needed where the world plays several
    #[arg(long)]
    pub provider: Option<String>,

    /// A role that the bearer may have; may be given several times
    #[arg(long = "role", value_name = "ARN", required_unless_present = "metadata")]
    pub roles: Vec<String>,

    /// NameID
    #[arg(long, default_value = "alice")]
    pub subject: String,

    /// RoleSessionName; the subject when none is named
    #[arg(long)]
    pub session_name: Option<String>,

    /// SessionDuration, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub session_duration: Option<u32>,

    /// A session tag: KEY=VALUE
    #[arg(long = "tag", value_name = "KEY=VALUE")]
    pub tags: Vec<String>,

    /// A tag that chained sessions inherit
    #[arg(long = "transitive", value_name = "KEY")]
    pub transitive: Vec<String>,

    /// SourceIdentity
    #[arg(long)]
    pub source_identity: Option<String>,

    /// Print the metadata of the identity provider instead, as `aws iam create-saml-provider` takes them
    #[arg(long)]
    pub metadata: bool,
}

/// A GitLab job, as `token` and `explain` take it.
#[derive(Debug, Args)]
pub struct JobOptions {
    /// GitLab project of the job, group/app
    #[arg(long)]
    pub project: Option<String>,

    /// Where the pipeline runs, when that is another project
    #[arg(long, value_name = "PROJECT", requires = "project")]
    pub job_project: Option<String>,

    /// Branch or tag
    #[arg(long = "ref", default_value = "main", value_name = "REF")]
    pub git_ref: String,

    /// The ref is a tag
    #[arg(long)]
    pub tag_ref: bool,

    /// The ref is protected
    #[arg(long)]
    pub protected: bool,

    /// aud; may be given several times
    #[arg(long = "aud", value_name = "AUDIENCE")]
    pub audience: Vec<String>,

    /// The job's environment
    #[arg(long)]
    pub environment: Option<String>,
}

/// `fake-sts explain`.
#[derive(Debug, Args)]
pub struct ExplainOptions {
    /// World file; the built-in world when none is named
    #[arg(long, value_name = "FILE")]
    pub world: Option<PathBuf>,

    /// The role, by name or ARN
    #[arg(long)]
    pub role: String,

    /// Who asks: a user or role by name or ARN, or a service such as ec2.amazonaws.com
    #[arg(long, required_unless_present_any = ["project", "subject", "provider"])]
    pub caller: Option<String>,

    /// A GitLab job asks, with its token
    #[command(flatten)]
    pub job: JobOptions,

    /// Somebody with a token of this sub asks; with --provider, with an assertion of this NameID
    #[arg(long, value_name = "SUB", conflicts_with_all = ["caller", "project"])]
    pub subject: Option<String>,

    /// Somebody with an assertion of this SAML provider asks: alice, or who --subject says; --aud is where it is presented
    #[arg(long, value_name = "NAME|ARN", conflicts_with_all = ["caller", "project", "issuer"])]
    pub provider: Option<String>,

    /// The token's issuer; needed where the world has several
    #[arg(long, value_name = "URL")]
    pub issuer: Option<String>,

    /// ExternalId
    #[arg(long)]
    pub external_id: Option<String>,

    /// RoleSessionName
    #[arg(long, default_value = "session")]
    pub session_name: String,

    /// A session tag: KEY=VALUE
    #[arg(long = "tag", value_name = "KEY=VALUE")]
    pub tags: Vec<String>,

    /// SourceIdentity
    #[arg(long)]
    pub source_identity: Option<String>,

    /// The caller showed a second factor
    #[arg(long)]
    pub mfa: bool,
}

/// `fake-sts lint`.
#[derive(Debug, Args)]
pub struct LintOptions {
    /// Policy documents (JSON), Terraform plans (`terraform show -json`), CloudFormation templates (JSON or YAML)
    #[arg(required_unless_present_any = ["who", "explain"], value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// The account that the policies are for: without it, no account is foreign
    #[arg(long)]
    pub account: Option<String>,

    /// Policy documents that stand by themselves are of the role of an instance
    #[arg(long)]
    pub instance: bool,

    /// What the role of an instance may have beside assuming roles and pulling images: an action or a managed policy's ARN, with *
    #[arg(long = "allow", value_name = "ACTION|ARN")]
    pub allowed: Vec<String>,

    /// Say why there is a rule
    #[arg(long, value_name = "RULE", conflicts_with_all = ["files", "who"])]
    pub explain: Option<String>,

    /// How findings are written
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,

    /// Say who of a world may assume this role, by name or ARN: users, roles, EC2, subjects of issuers, bearers of SAML assertions
    #[arg(long, value_name = "ROLE", conflicts_with = "files")]
    pub who: Option<String>,

    /// World file for --who; the built-in world when none is named
    #[arg(long, value_name = "FILE")]
    pub world: Option<PathBuf>,
}
