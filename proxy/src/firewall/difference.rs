//! Where what is live is not what was planned. Pure: it compares listings.

use std::fmt;

use serde_json::Value;

use super::document::{self, TABLE};
use super::routing::RoutingRule;
use super::{Plan, routing};

/// One difference between the plan and what is live.
#[derive(Debug, Clone, PartialEq)]
pub enum Difference {
    /// Our whole table is gone.
    TableMissing,
    /// A chain is gone, or is hooked elsewhere.
    ChainMissing {
        /// The chain as it should be.
        planned: Value,
    },
    /// Something stands in our table that we did not put there.
    Unexpected {
        /// The chain, set or other object as listed.
        live: Value,
    },
    /// A rule is gone.
    RuleMissing {
        /// Its chain.
        chain: &'static str,
        /// Its place in the chain, from 1.
        place: usize,
        /// What it is for.
        comment: &'static str,
    },
    /// Another rule stands in the place of one of ours.
    RuleChanged {
        /// Its chain.
        chain: &'static str,
        /// Its place in the chain, from 1.
        place: usize,
        /// What stands there.
        live: Value,
    },
    /// A rule follows that we did not put there.
    RuleAdded {
        /// Its chain.
        chain: &'static str,
        /// What it says.
        live: Value,
    },
    /// The whole table for the host itself is gone.
    HostTableMissing,
    /// A line of the table for the host itself is another one, or a cgroup that it names was made again.
    HostRule {
        /// As it should be; absent: nothing should stand there.
        planned: Option<String>,
        /// What stands there.
        live: Option<String>,
    },
    /// A routing rule is gone.
    RoutingMissing {
        /// The command that adds it.
        command: String,
    },
    /// A routing rule that is not ours has the priority of one of ours.
    RoutingAdded {
        /// The rule as listed.
        live: Value,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TableMissing => write!(f, "the table inet {TABLE} is missing"),
            Self::ChainMissing { planned } => write!(f, "the chain {planned} is missing"),
            Self::Unexpected { live } => write!(f, "the table inet {TABLE} also contains {live}"),
            Self::RuleMissing { chain, place, comment } => {
                write!(f, "rule {place} of chain {chain} is missing ({comment})")
            }
            Self::RuleChanged { chain, place, live } => write!(f, "rule {place} of chain {chain} is {live} instead"),
            Self::RuleAdded { chain, live } => write!(f, "chain {chain} also contains {live}"),
            Self::HostTableMissing => f.write_str("the table for the host itself is missing"),
            Self::HostRule { planned, live } => {
                let (planned, live) = (planned.as_deref(), live.as_deref());
                let (planned, live) = (planned.unwrap_or("nothing"), live.unwrap_or("nothing"));
                write!(
                    f,
                    "for the host itself there is {live:?} instead of {planned:?}, or its cgroup was made again"
                )
            }
            Self::RoutingMissing { command } => write!(f, "a routing rule is missing: ip {command}"),
            Self::RoutingAdded { live } => write!(f, "a routing rule has the priority of one of ours: {live}"),
        }
    }
}

/// Compares the table. `listing` is what `nft -j list table` printed, or None if there is no such table.
pub(crate) fn of_table(plan: Plan, listing: Option<&Value>) -> Vec<Difference> {
    let Some(listing) = listing else {
        return vec![Difference::TableMissing];
    };
    let objects = listing
        .get("nftables")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut differences = Vec::new();
    let planned_chains = document::chains();
    let live_chains: Vec<Value> = objects
        .iter()
        .filter_map(|object| object.get("chain"))
        .map(without_handle)
        .collect();
    for planned in &planned_chains {
        if !live_chains.contains(planned) {
            differences.push(Difference::ChainMissing {
                planned: planned.clone(),
            });
        }
    }
    differences.extend(
        live_chains
            .into_iter()
            .filter(|live| !planned_chains.contains(live))
            .map(|live| Difference::Unexpected { live }),
    );
    // A dormant table is listed like any other, and does nothing.
    let ours = serde_json::json!({"family": "inet", "name": TABLE});
    let tables = objects.iter().filter_map(|object| object.get("table"));
    differences.extend(
        tables
            .map(without_handle)
            .filter(|table| *table != ours)
            .map(|live| Difference::Unexpected { live }),
    );
    let known = ["metainfo", "table", "chain", "rule"];
    let strange = objects
        .iter()
        .filter(|object| !known.iter().any(|kind| object.get(kind).is_some()));
    differences.extend(strange.map(|live| Difference::Unexpected { live: live.clone() }));
    let planned_rules = document::rules(plan);
    for chain in ["endpoint_redirect", "proxy_input", "link_local_forward"] {
        let live = objects.iter().filter_map(|object| object.get("rule"));
        let live: Vec<&Value> = live
            .filter(|rule| rule.get("chain").and_then(Value::as_str) == Some(chain))
            .filter_map(|rule| rule.get("expr"))
            .collect();
        let planned: Vec<_> = planned_rules.iter().filter(|rule| rule.chain == chain).collect();
        for (index, rule) in planned.iter().enumerate() {
            let place = index + 1;
            match live.get(index) {
                None => differences.push(Difference::RuleMissing {
                    chain,
                    place,
                    comment: rule.comment,
                }),
                Some(live) if **live != rule.expressions => {
                    differences.push(Difference::RuleChanged {
                        chain,
                        place,
                        live: (*live).clone(),
                    });
                }
                Some(_) => {}
            }
        }
        let added = live.iter().skip(planned.len());
        differences.extend(added.map(|live| Difference::RuleAdded {
            chain,
            live: (*live).clone(),
        }));
    }
    differences
}

/// Compares the routing rules of one IP version with what `ip -j rule` printed.
pub(crate) fn of_routing(is_v6: bool, listing: &Value) -> Vec<Difference> {
    let live = listing.as_array().map(Vec::as_slice).unwrap_or_default();
    let planned: Vec<RoutingRule> = routing::rules()
        .into_iter()
        .filter(|rule| rule.is_v6 == is_v6)
        .collect();
    let mut differences = Vec::new();
    for rule in &planned {
        if !live.iter().any(|live| rule.is_listed_as(live)) {
            differences.push(Difference::RoutingMissing {
                command: rule.command("add").join(" "),
            });
        }
    }
    for one in live {
        let in_our_place = planned.iter().any(|rule| rule.shares_place(one));
        if in_our_place && !planned.iter().any(|rule| rule.is_listed_as(one)) {
            differences.push(Difference::RoutingAdded { live: one.clone() });
        }
    }
    differences
}

fn without_handle(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("handle");
    }
    object
}
