//! The command line: what can be asked of the program. Does nothing itself.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

/// Gives each CI job container the AWS credentials of the role that its operator sanctioned, and nothing else.
///
/// The proxy answers requests to the EC2 instance metadata endpoint (169.254.169.254 and fd00:ec2::254) in place of the real service. The
/// kernel tells it which container asks, the rules of the configuration say which role that container gets, and everything else is refused.
#[derive(Debug, Parser)]
#[command(name = "metadata-proxy", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
First steps:
  metadata-proxy check --config metadata-proxy.toml          every fault of the file at once
  metadata-proxy firewall plan --config metadata-proxy.toml  what would be done to the firewall
  metadata-proxy run --config metadata-proxy.toml            serve, until SIGTERM; the rules stay

Exit codes: 0 success; 1 it failed, or the answer is no; 2 wrong usage or a faulty configuration";

/// What can be asked.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the metadata endpoint until SIGTERM
    ///
    /// Applies and verifies the firewall rules (unless firewall.manage = false), proves with a probe container that callers can be told apart
    /// (unless attestation.self_test = false), and then answers. The rules stay when the proxy ends: a job that then asks gets no
    /// answer, and never the real service's.
    ///
    /// SIGHUP makes it read the file again: the [[rule]]s take the place of those in force at once, with all that the earlier ones had given,
    /// or, if the file has a fault or anything but rules has changed, nothing changes and the log says why.
    Run(ConfigFile),
    /// Check the configuration: every fault with its line and remedy, then what is allowed but unwise
    ///
    /// Of an earlier proxy's settings (compat.environment_file) it says what becomes of each: honoured, tightened, refused or ignored, and
    /// why. One that is refused and would be missed is a fault until compat.given_up names it.
    Check(ConfigFile),
    /// Look for what on this host would break isolation
    ///
    /// Looks at the kernel, the firewall, the engine and the containers that run, at other engines and at firewall managers, and says of
    /// each finding why it matters and what to do. It sends no packet: what only the real endpoint or AWS can say, it says how to ask.
    ///
    /// Exit codes: 0 nothing breaks isolation; 1 something does.
    Doctor(ConfigFile),
    /// Say why a container gets which role, or none
    ///
    /// Asks the engine and the kernel about the container, and goes through the rules of the configuration step by step: what the runner's
    /// labels say and who chooses it, by what each rule failed, what IAM_ROLE selects, whether the kernel shows what attestation needs.
    /// STS is not asked, and a running proxy is not either.
    ///
    /// Exit codes: 0 the container gets credentials; 1 it is refused, or cannot be explained.
    Explain(Explain),
    /// Take from a job, project, role or container what the rules give, now
    ///
    /// Tells the running proxy over its control socket (listen.control). Tokens and cached credentials are worth nothing from then on, and
    /// every request is refused, until it is lifted. A restart of the proxy changes nothing about that where revocations.file says where to
    /// keep it; what should stay away for good belongs out of the rules. Sessions that a job has received already are AWS's to refuse:
    /// --sessions prints how.
    Revoke(Revoke),
    /// Show, install, verify or remove the firewall and routing rules
    Firewall {
        /// What to do with them.
        #[command(subcommand)]
        action: FirewallAction,
    },
    /// Ask the endpoint from inside the self-test's container
    #[command(name = "self-test-call", hide = true)]
    SelfTestCall {
        /// What the self-test's container passes on.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// Which container, and how it is explained.
#[derive(Debug, Clone, Args)]
pub struct Explain {
    /// Where the configuration is.
    #[command(flatten)]
    pub file: ConfigFile,
    /// The container's name, or the beginning of its id
    pub container: String,
    /// For people or for programs
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// Who is revoked.
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("subject").required(true))]
pub struct Revoke {
    /// Where the configuration is.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Every container of the job with this number
    #[arg(long, value_name = "ID", group = "subject")]
    pub job: Option<u64>,
    /// Every container of the project with this number
    #[arg(long, value_name = "ID", group = "subject")]
    pub project: Option<u64>,
    /// Everybody who gets this role: a name, /path/name or ARN
    #[arg(long, value_name = "ROLE", group = "subject")]
    pub role: Option<String>,
    /// The container with this id; twelve digits are enough
    #[arg(long, value_name = "ID", group = "subject")]
    pub container: Option<String>,
    /// Only list who is revoked
    #[arg(long, group = "subject")]
    pub list: bool,
    /// Leave the decision to the rules again
    #[arg(long, conflicts_with = "list")]
    pub lift: bool,
    /// Print the command that makes AWS refuse the role's sessions that were issued until now
    #[arg(long, conflicts_with_all = ["job", "project", "container", "lift", "list"])]
    pub sessions: bool,
}

/// How something is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Where the configuration is.
#[derive(Debug, Clone, Args)]
pub struct ConfigFile {
    /// The configuration file
    #[arg(long = "config", value_name = "FILE")]
    pub path: PathBuf,
}

/// What to do with the rules.
#[derive(Debug, Subcommand)]
pub enum FirewallAction {
    /// Print the rules without touching anything
    Plan(ConfigFile),
    /// Install the rules, or repair them
    Apply(ConfigFile),
    /// Exit 0 only if every rule is in place
    Verify(ConfigFile),
    /// Remove the rules: jobs can then reach the real endpoint
    Remove(ConfigFile),
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn exactly_one_subject_is_revoked() {
        let parse =
            |words: &str| Cli::try_parse_from(format!("x revoke --config f {words}").split_whitespace()).is_ok();
        for good in [
            "--job 1",
            "--project 1 --lift",
            "--role r --sessions",
            "--container aa",
            "--list",
        ] {
            assert!(parse(good), "{good}");
        }
        for bad in [
            "",
            "--lift",
            "--job x",
            "--job 1 --project 1",
            "--job 1 --sessions",
            "--role r --sessions --lift",
            "--list --job 1",
            "--list --lift",
        ] {
            assert!(!parse(bad), "{bad}");
        }
    }

    #[test]
    fn the_help_teaches() {
        insta::assert_snapshot!(Cli::command().term_width(100).render_help(), @r###"
        Gives each CI job container the AWS credentials of the role that its operator sanctioned, and
        nothing else

        Usage: metadata-proxy <COMMAND>

        Commands:
          run       Serve the metadata endpoint until SIGTERM
          check     Check the configuration: every fault with its line and remedy, then what is allowed but
                    unwise
          doctor    Look for what on this host would break isolation
          explain   Say why a container gets which role, or none
          revoke    Take from a job, project, role or container what the rules give, now
          firewall  Show, install, verify or remove the firewall and routing rules
          help      Print this message or the help of the given subcommand(s)

        Options:
          -h, --help     Print help (see more with '--help')
          -V, --version  Print version

        First steps:
          metadata-proxy check --config metadata-proxy.toml          every fault of the file at once
          metadata-proxy firewall plan --config metadata-proxy.toml  what would be done to the firewall
          metadata-proxy run --config metadata-proxy.toml            serve, until SIGTERM; the rules stay

        Exit codes: 0 success; 1 it failed, or the answer is no; 2 wrong usage or a faulty configuration
        "###);
    }
}
