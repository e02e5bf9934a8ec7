//! Applying, verifying and removing the plan on this host, in the network namespace of the calling process.

use serde_json::Value;

use super::difference::{self, Difference};
use super::document::{self, TABLE};
use super::programs::{FirewallError, IP, NFT};
use super::{ENDPOINTS, Plan, routing};
use crate::attest::conntrack::{self, Tracked};

/// Puts everything in place: routing rules that are missing, then the table in one transaction, then connections that were made
/// before are cut. Applying twice changes nothing.
///
/// # Errors
/// A program is missing or refuses. What was applied until then stays.
pub async fn apply(plan: Plan) -> Result<(), FirewallError> {
    // Routing first: it only closes, and the host's own way comes before the black hole.
    for is_v6 in [false, true] {
        let live = list_routing(is_v6).await?;
        for rule in routing::rules().into_iter().filter(|rule| rule.is_v6 == is_v6) {
            if !live.iter().any(|live| rule.is_listed_as(live)) {
                IP.run(&rule.command("add"), "").await?;
            }
        }
    }
    let transaction = document::transaction(&document::commands(plan));
    NFT.run(&words(&["-j", "-f", "-"]), &transaction).await?;
    // A connection that was tracked before the redirect existed keeps its destination for as long as its entry lives. Those that are
    // redirected to us already are left alone.
    let is_old = |tracked: &Tracked| {
        ENDPOINTS.contains(&tracked.destination)
            && (tracked.answerer == tracked.destination || tracked.answerer.port() != plan.port.get())
    };
    conntrack::forget_all(is_old).map_err(FirewallError::Tracked)?;
    Ok(())
}

/// Compares what is live with the plan, and names each difference.
///
/// # Errors
/// A program is missing, refuses, or cannot be understood.
pub async fn verify(plan: Plan) -> Result<Vec<Difference>, FirewallError> {
    let tables = NFT.read(&NFT.run(&words(&["-j", "list", "tables", "inet"]), "").await?)?;
    let is_ours = |object: &Value| {
        object
            .get("table")
            .and_then(|table| table.get("name"))
            .and_then(Value::as_str)
            == Some(TABLE)
    };
    let exists = tables
        .get("nftables")
        .and_then(Value::as_array)
        .is_some_and(|objects| objects.iter().any(is_ours));
    let listing = if exists {
        Some(NFT.read(&NFT.run(&words(&["-j", "list", "table", "inet", TABLE]), "").await?)?)
    } else {
        None
    };
    let mut differences = difference::of_table(plan, listing.as_ref());
    for is_v6 in [false, true] {
        differences.extend(difference::of_routing(is_v6, &Value::Array(list_routing(is_v6).await?)));
    }
    Ok(differences)
}

/// Removes our table and our routing rules, and nothing else.
///
/// # Errors
/// A program is missing or refuses.
pub async fn remove() -> Result<(), FirewallError> {
    NFT.run(&words(&["-j", "-f", "-"]), &document::removal()).await?;
    for is_v6 in [false, true] {
        let live = list_routing(is_v6).await?;
        for rule in routing::rules().into_iter().filter(|rule| rule.is_v6 == is_v6) {
            if live.iter().any(|live| rule.is_listed_as(live)) {
                IP.run(&rule.command("del"), "").await?;
            }
        }
    }
    Ok(())
}

async fn list_routing(is_v6: bool) -> Result<Vec<Value>, FirewallError> {
    let family = if is_v6 { "-6" } else { "-4" };
    let listing = IP.read(&IP.run(&words(&[family, "-j", "rule", "show"]), "").await?)?;
    Ok(listing.as_array().cloned().unwrap_or_default())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
