//! The command line: what can be asked of the program. Does nothing itself.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

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

Exit codes: 0 success; 1 it failed while running; 2 wrong usage or a faulty configuration";

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
    Check(ConfigFile),
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
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
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
          firewall  Show, install, verify or remove the firewall and routing rules
          help      Print this message or the help of the given subcommand(s)

        Options:
          -h, --help     Print help (see more with '--help')
          -V, --version  Print version

        First steps:
          metadata-proxy check --config metadata-proxy.toml          every fault of the file at once
          metadata-proxy firewall plan --config metadata-proxy.toml  what would be done to the firewall
          metadata-proxy run --config metadata-proxy.toml            serve, until SIGTERM; the rules stay

        Exit codes: 0 success; 1 it failed while running; 2 wrong usage or a faulty configuration
        "###);
    }
}
