//! The runner's side of a fake's control listener: markers, ledger, faults, holds. Only this file knows its routes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::oracle::ledger::Entry;

/// A fake's control listener.
#[derive(Debug, Clone)]
pub struct Control {
    client: reqwest::Client,
    service: &'static str,
}

/// Why a fake could not be controlled.
#[derive(Debug, thiserror::Error)]
#[error("the control listener of fake-{service} does not do {what}: {why}")]
pub struct ControlError {
    service: &'static str,
    what: String,
    why: String,
}

#[derive(Deserialize)]
struct LedgerPage {
    entries: Vec<Entry>,
    next: u64,
    #[serde(default)]
    dropped: u64,
}

#[derive(Deserialize)]
struct MadeToken {
    token: String,
}

#[derive(Deserialize)]
struct Issuers {
    issuers: Vec<KnownIssuer>,
}

#[derive(Deserialize)]
struct KnownIssuer {
    url: String,
    jwks: Jwks,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct FaultId {
    id: u64,
}

impl Control {
    /// Speaks through a unix socket.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn new(service: &'static str, socket: &Path) -> Result<Self, ControlError> {
        reqwest::Client::builder()
            .unix_socket(socket)
            .no_proxy()
            .timeout(Duration::from_secs(15))
            .build()
            .map(|client| Self { client, service })
            .map_err(|error| ControlError {
                service,
                what: "anything".to_owned(),
                why: error.to_string(),
            })
    }

    /// Marker name → marker.
    ///
    /// # Errors
    /// When the fake does not answer.
    pub async fn canaries(&self) -> Result<BTreeMap<String, String>, ControlError> {
        self.read(self.client.get("http://control/canaries"), "canaries").await
    }

    /// Everything recorded so far. A ledger that lost entries is an error: a verdict from part of it would be luck.
    ///
    /// # Errors
    /// When the fake does not answer, or entries are lost.
    pub async fn ledger(&self) -> Result<Vec<Entry>, ControlError> {
        let mut entries = Vec::new();
        let mut since = 0;
        loop {
            let url = format!("http://control/ledger?since={since}");
            let page: LedgerPage = self.read(self.client.get(url), "ledger").await?;
            if page.dropped > 0 {
                return Err(self.error("ledger", format!("{} entries are lost", page.dropped)));
            }
            let done = page.entries.is_empty() || page.next <= since;
            since = page.next;
            entries.extend(page.entries);
            if done {
                return Ok(entries);
            }
        }
    }

    /// Plants a fault, for so many requests or for all; gives its id.
    ///
    /// # Errors
    /// When the fake refuses it.
    pub async fn plant(
        &self,
        matching: &BTreeMap<String, String>,
        times: Option<u64>,
        effect: &Value,
    ) -> Result<u64, ControlError> {
        let body = json!({"match": matching, "times": times, "effect": effect});
        let planted: FaultId = self
            .read(self.client.post("http://control/faults").json(&body), "faults")
            .await?;
        Ok(planted.id)
    }

    /// Takes a fault away.
    ///
    /// # Errors
    /// When the fake does not know it.
    pub async fn lift(&self, id: u64) -> Result<(), ControlError> {
        let lifted = self.client.delete(format!("http://control/faults/{id}")).send().await;
        let status = lifted
            .map_err(|error| self.error("faults", error.to_string()))?
            .status();
        // A fault for so many requests is gone by itself once they were made.
        if status.is_success() || status == reqwest::StatusCode::NOT_FOUND {
            Ok(())
        } else {
            Err(self.error("faults", format!("status {status}")))
        }
    }

    /// Waits until a request is held under that name.
    ///
    /// # Errors
    /// When none comes within ten seconds.
    pub async fn wait_held(&self, name: &str) -> Result<(), ControlError> {
        self.send(
            self.client.get(format!("http://control/holds/{name}?waiting=1")),
            "holds",
        )
        .await
        .map(drop)
    }

    /// Lets held answers go.
    ///
    /// # Errors
    /// When the fake does not answer.
    pub async fn release(&self, name: &str) -> Result<(), ControlError> {
        self.send(
            self.client.post(format!("http://control/holds/{name}/release")),
            "release",
        )
        .await
        .map(drop)
    }

    /// A web identity token, as the fake STS's issuers sign them.
    ///
    /// # Errors
    /// When the fake refuses to make it.
    pub async fn id_token(&self, wanted: &Value) -> Result<String, ControlError> {
        let made: MadeToken = self
            .read(self.client.post("http://control/tokens").json(wanted), "tokens")
            .await?;
        Ok(made.token)
    }

    /// The published keys of an issuer, as JSON Web Keys.
    ///
    /// # Errors
    /// When the fake does not know it.
    pub async fn published_keys(&self, issuer: &str) -> Result<Vec<Value>, ControlError> {
        let known: Issuers = self.read(self.client.get("http://control/issuers"), "issuers").await?;
        let found = known.issuers.into_iter().find(|known| known.url == issuer);
        found
            .map(|found| found.jwks.keys)
            .ok_or_else(|| self.error("issuers", format!("no issuer {issuer}")))
    }

    /// Does something to an issuer's keys: `rotate`, `withdraw` (and rotate), `unavailable`, `available`.
    ///
    /// # Errors
    /// When the fake refuses.
    pub async fn change_issuer(&self, issuer: &str, signal: &str) -> Result<(), ControlError> {
        let (route, body) = match signal {
            "rotate" | "withdraw" => ("rotate", json!({"issuer": issuer, "withdraw": signal == "withdraw"})),
            _ => (
                "availability",
                json!({"issuer": issuer, "unavailable": signal == "unavailable"}),
            ),
        };
        let request = self.client.post(format!("http://control/issuers/{route}")).json(&body);
        self.send(request, "issuers").await.map(drop)
    }

    async fn read<T: serde::de::DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
        what: &str,
    ) -> Result<T, ControlError> {
        let answer = self.send(request, what).await?;
        answer.json().await.map_err(|error| self.error(what, error.to_string()))
    }

    async fn send(&self, request: reqwest::RequestBuilder, what: &str) -> Result<reqwest::Response, ControlError> {
        let answer = request
            .send()
            .await
            .map_err(|error| self.error(what, error.to_string()))?;
        if answer.status().is_success() {
            Ok(answer)
        } else {
            Err(self.error(what, format!("status {}", answer.status())))
        }
    }

    fn error(&self, what: &str, why: String) -> ControlError {
        ControlError {
            service: self.service,
            what: what.to_owned(),
            why,
        }
    }
}
