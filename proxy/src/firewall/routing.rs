//! Policy routing, the second layer: no netfilter tool touches it. Packets for the instance's link-local services are routed only if
//! the host itself made them.

use serde_json::{Map, Value, json};

/// One routing rule: how `ip` is told of it, and how it lists it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RoutingRule {
    pub(crate) is_v6: bool,
    priority: u32,
    kind: &'static [&'static str],
    selector: Vec<String>,
    target: &'static [&'static str],
    pub(crate) listed: Value,
}

impl RoutingRule {
    /// The arguments of `ip` that add or delete it.
    pub(crate) fn command(&self, verb: &'static str) -> Vec<String> {
        let family = if self.is_v6 { "-6" } else { "-4" };
        let mut words: Vec<String> = vec![family.to_owned(), "rule".to_owned(), verb.to_owned()];
        words.extend(self.kind.iter().map(|word| (*word).to_owned()));
        words.extend(["pref".to_owned(), self.priority.to_string()]);
        words.extend(self.selector.iter().cloned());
        words.extend(self.target.iter().map(|word| (*word).to_owned()));
        words
    }

    /// Whether the live rule is this one.
    pub(crate) fn is_listed_as(&self, live: &Value) -> bool {
        comparable(live) == comparable(&self.listed)
    }

    /// Whether the live rule stands at this one's place.
    pub(crate) fn shares_place(&self, live: &Value) -> bool {
        live.get("priority").and_then(Value::as_u64) == Some(u64::from(self.priority))
    }
}

/// All routing rules, in the order in which they are added: what lets the host through comes before what stops everybody else.
pub(crate) fn rules() -> Vec<RoutingRule> {
    // Below every usual rule (the main table is 32766), above the table of local addresses (0).
    let mut rules = vec![
        left_open(85, "169.254.169.253", "udp", 53),
        left_open(86, "169.254.169.253", "tcp", 53),
        left_open(87, "169.254.169.123", "udp", 123),
    ];
    for (is_v6, network, prefix) in [(false, "169.254.0.0", 16), (true, "fd00:ec2::", 32)] {
        rules.push(RoutingRule {
            is_v6,
            priority: 88,
            kind: &[],
            selector: vec!["to".to_owned(), format!("{network}/{prefix}"), "iif".to_owned(), "lo".to_owned()],
            target: &["lookup", "main"],
            listed: json!({"priority": 88, "src": "all", "dst": network, "dstlen": prefix, "iif": "lo", "table": "main"}),
        });
        rules.push(RoutingRule {
            is_v6,
            priority: 89,
            kind: &["blackhole"],
            selector: vec!["to".to_owned(), format!("{network}/{prefix}")],
            target: &[],
            listed: json!({"priority": 89, "src": "all", "dst": network, "dstlen": prefix, "action": "blackhole"}),
        });
    }
    rules
}

fn left_open(priority: u32, address: &str, protocol: &str, port: u16) -> RoutingRule {
    let words = [
        "to",
        &format!("{address}/32"),
        "ipproto",
        protocol,
        "dport",
        &port.to_string(),
    ];
    RoutingRule {
        is_v6: false,
        priority,
        kind: &[],
        selector: words.map(ToOwned::to_owned).to_vec(),
        target: &["lookup", "main"],
        listed: json!({"priority": priority, "src": "all", "dst": address, "ipproto": protocol, "dport": port, "table": "main"}),
    }
}

/// Newer releases of `ip` also tell who made a rule.
fn comparable(rule: &Value) -> Option<Map<String, Value>> {
    let mut rule = rule.as_object()?.clone();
    rule.remove("protocol");
    Some(rule)
}
