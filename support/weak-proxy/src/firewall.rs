//! The rules of this program's own, for the holes that are about rules. A table of its own, `inet weak_proxy`; nothing else is touched.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::hole::Hole;

/// `nft` did not do it.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// It could not be run.
    #[error("nft cannot be run")]
    Run(#[from] std::io::Error),
    /// It refused.
    #[error("nft refused: {stderr}")]
    Refused {
        /// What it said.
        stderr: String,
    },
}

/// The transaction that replaces the table: a redirect of the endpoint to `port`, and a drop of everything else that is link-local.
#[must_use]
pub fn script(hole: Hole, port: u16) -> String {
    // Hole::Docker0OnlyRules: other bridges are forgotten.
    let from = if hole == Hole::Docker0OnlyRules {
        "iifname \"docker0\" "
    } else {
        ""
    };
    let mut redirects = format!("    {from}ip daddr 169.254.169.254 tcp dport 80 redirect to :{port}\n");
    // Name resolution and time are served at .253 and .123 and hold no secret.
    let mut drops =
        format!("    {from}ip daddr 169.254.0.0/16 ip daddr != {{ 169.254.169.123, 169.254.169.253 }} drop\n");
    // Hole::EndpointOnlyRules: its siblings are forgotten. Hole::Tcp80OnlyRules: what is not redirected goes on.
    if hole == Hole::EndpointOnlyRules {
        drops = "    ip daddr 169.254.169.254 drop\n".to_owned();
    }
    // Hole::Ipv4OnlyRules: the IPv6 endpoint is forgotten.
    if hole != Hole::Ipv4OnlyRules {
        redirects.extend([format!(
            "    {from}ip6 daddr fd00:ec2::254 tcp dport 80 redirect to :{port}\n"
        )]);
        let covered = if hole == Hole::EndpointOnlyRules {
            "fd00:ec2::254"
        } else {
            "fd00:ec2::/32"
        };
        drops.extend([format!("    {from}ip6 daddr {covered} drop\n")]);
    }
    match hole {
        Hole::Tcp80OnlyRules => drops.clear(),
        // Hole::OutputOnlyRules: the host is kept from the endpoint, and containers are not.
        Hole::OutputOnlyRules => {
            return "table inet weak_proxy\ndelete table inet weak_proxy\ntable inet weak_proxy {\n  chain output {\n    \
                 type filter hook output priority 0; policy accept;\n    meta skuid != 0 ip daddr 169.254.169.254 drop\n  }\n}\n"
                .to_owned();
        }
        _ => {}
    }
    format!(
        "table inet weak_proxy\ndelete table inet weak_proxy\ntable inet weak_proxy {{\n  chain prerouting {{\n    \
         type nat hook prerouting priority -110; policy accept;\n{redirects}  }}\n  chain forward {{\n    \
         type filter hook forward priority -300; policy accept;\n{drops}  }}\n}}\n"
    )
}

/// Applies the rules of a rules hole.
///
/// # Errors
/// When `nft` does not.
pub async fn apply(hole: Hole, port: u16) -> Result<(), FirewallError> {
    feed(&script(hole, port)).await
}

/// Removes them ([`Hole::RulesRemovedOnExit`]).
///
/// # Errors
/// When `nft` does not.
pub async fn remove() -> Result<(), FirewallError> {
    feed("delete table inet weak_proxy\n").await
}

async fn feed(script: &str) -> Result<(), FirewallError> {
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = nft.stdin.take() {
        stdin.write_all(script.as_bytes()).await?;
    }
    let output = nft.wait_with_output().await?;
    if output.status.success() {
        return Ok(());
    }
    Err(FirewallError::Refused {
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_rules_cover_every_bridge_and_both_families() {
        insta::assert_snapshot!(script(Hole::RulesRemovedOnExit, 8000), @r"
        table inet weak_proxy
        delete table inet weak_proxy
        table inet weak_proxy {
          chain prerouting {
            type nat hook prerouting priority -110; policy accept;
            ip daddr 169.254.169.254 tcp dport 80 redirect to :8000
            ip6 daddr fd00:ec2::254 tcp dport 80 redirect to :8000
          }
          chain forward {
            type filter hook forward priority -300; policy accept;
            ip daddr 169.254.0.0/16 ip daddr != { 169.254.169.123, 169.254.169.253 } drop
            ip6 daddr fd00:ec2::/32 drop
          }
        }
        ");
    }

    #[test]
    fn each_partial_rule_set_lacks_one_thing() {
        let complete = script(Hole::RulesRemovedOnExit, 8000);
        let docker0 = script(Hole::Docker0OnlyRules, 8000);
        assert_eq!(docker0.replace("iifname \"docker0\" ", ""), complete);
        assert_eq!(docker0.matches("iifname \"docker0\"").count(), 4);
        let endpoint = script(Hole::EndpointOnlyRules, 8000);
        assert!(endpoint.contains("ip daddr 169.254.169.254 drop") && !endpoint.contains("/16"));
        let tcp80 = script(Hole::Tcp80OnlyRules, 8000);
        assert!(tcp80.contains("redirect") && !tcp80.contains("drop"));
        let output = script(Hole::OutputOnlyRules, 8000);
        assert!(!output.contains("forward") && !output.contains("redirect"));
        let ipv4 = script(Hole::Ipv4OnlyRules, 8000);
        let without_ipv6: String = complete
            .lines()
            .filter(|line| !line.contains("ip6"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(ipv4, without_ipv6);
    }
}
