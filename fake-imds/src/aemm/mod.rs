//! amazon-ec2-metadata-mock's world: its default values, what its configuration file changes, and its modes. It must not know how a tree is served.

mod config;
mod defaults;
#[cfg(test)]
mod tests;
pub mod told;

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

pub use config::{BrokenConfig, Config, Fault, Layer, Mode, Trigger, read, read_layers};

use crate::credentials::seconds;
use crate::tree::{Leaf, Live, Tree};
use crate::version::Version;
use defaults::{ASSOCIATED, DYNAMIC, EVENT_ID, MAC, METADATA, ROLE, TAGS, USER_DATA};

/// How many clients see notices when nothing is said.
const IP_COUNT: i64 = 2;
/// Its maintenance ends so much later, and its start can be put off so long.
const NOT_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24);
const DEADLINE: SignedDuration = SignedDuration::from_hours(9 * 24);

/// What only so many clients see.
const NOTICES: [&str; 5] = [
    "meta-data/spot/instance-action",
    "meta-data/spot/termination-time",
    "meta-data/events/recommendations/rebalance",
    "meta-data/events/maintenance/scheduled",
    "meta-data/autoscaling/target-lifecycle-state",
];

/// A configured mock.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Aemm {
    /// Its configuration.
    pub config: Config,
    /// Its command.
    pub mode: Mode,
}

impl Trigger {
    fn time(self, started: Timestamp) -> Timestamp {
        let delayed = started.checked_add(SignedDuration::from_secs(i64::from(self.delay)));
        self.at.unwrap_or_else(|| delayed.unwrap_or(started))
    }
}

impl Aemm {
    /// How many clients see notices; all without a number.
    pub fn audience(&self) -> Option<usize> {
        usize::try_from(self.config.ip_count.unwrap_or(IP_COUNT)).ok()
    }

    /// Whether a path, without its version, is one that only so many clients see.
    pub fn is_notice(path: &str) -> bool {
        NOTICES.contains(&path)
    }

    /// Its trees in their order, each with the time since when it holds; the first holds before everything.
    pub fn trees(&self, started: Timestamp) -> Vec<(Timestamp, Tree)> {
        let config = &self.config;
        let mut times: Vec<Timestamp> = [config.mock, config.rebalance, config.termination]
            .map(|trigger| trigger.time(started))
            .into();
        times.push(Timestamp::MIN);
        times.sort();
        times.dedup();
        times.into_iter().map(|at| (at, self.tree(started, at))).collect()
    }

    fn tree(&self, started: Timestamp, at: Timestamp) -> Tree {
        let mut tree = Tree::default();
        self.metadata(&mut tree);
        for (key, path, value) in DYNAMIC {
            put(
                &mut tree,
                format!("dynamic/{path}"),
                leaf(value, self.config.dynamic.get(*key)),
            );
        }
        let data = self.config.user_data.as_deref().unwrap_or(USER_DATA);
        let data = STANDARD.decode(data).unwrap_or_default();
        put(&mut tree, "user-data".to_owned(), Leaf::UserData(data.into()));
        self.notices(&mut tree, started, at);
        tree
    }

    /// A text that was configured, else the default.
    fn text<'a>(&'a self, key: &str, default: &'a str) -> &'a str {
        self.config.values.get(key).and_then(Value::as_str).unwrap_or(default)
    }

    fn metadata(&self, tree: &mut Tree) {
        let Config { values, paths, .. } = &self.config;
        let (mac, role) = (self.text("mac", MAC), self.text("iam-security-credentials-role", ROLE));
        let associated = self.text("mac-ipv4-associations", ASSOCIATED);
        for (key, path, value) in METADATA {
            let placed = || {
                let path = path.replace(MAC, mac).replace(ROLE, role);
                path.replace(
                    &format!("ipv4-associations/{ASSOCIATED}"),
                    &format!("ipv4-associations/{associated}"),
                )
            };
            let path = paths.get(*key).cloned().unwrap_or_else(placed);
            put(tree, format!("meta-data/{path}"), leaf(value, values.get(*key)));
        }
        // A key of the author's own has a path and a value.
        for (key, path) in paths
            .iter()
            .filter(|(key, _)| METADATA.iter().all(|(known, ..)| known != key))
        {
            if let Some(value) = values.get(key) {
                put(tree, format!("meta-data/{path}"), configured(value));
            }
        }
        let tags: BTreeMap<String, Value> = match values.get("tags-instance").and_then(Value::as_object) {
            Some(tags) => tags.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            None => TAGS.map(|(name, value)| (name.to_owned(), value.into())).into(),
        };
        for (name, value) in tags {
            put(tree, format!("meta-data/tags/instance/{name}"), configured(&value));
        }
    }

    fn notices(&self, tree: &mut Tree, started: Timestamp, at: Timestamp) {
        let Config {
            mock,
            rebalance,
            termination,
            spot,
            events,
            ..
        } = &self.config;
        let plays = |mode| self.mode == Mode::All || self.mode == mode;
        let since = |trigger: &Trigger| at >= trigger.time(started);
        if plays(Mode::Spot) && since(mock) {
            let action = spot.get("action").map_or("terminate", String::as_str).to_owned();
            let time = spot.get("time").cloned();
            let live = Live::SpotAction {
                action,
                time: time.clone(),
            };
            put(tree, "meta-data/spot/instance-action".to_owned(), Leaf::Live(live));
            put(
                tree,
                "meta-data/spot/termination-time".to_owned(),
                Leaf::Live(Live::SpotTime { time }),
            );
        }
        if plays(Mode::Spot) && since(rebalance) {
            let time = spot.get("rebalance-rec-time").cloned();
            put(
                tree,
                "meta-data/events/recommendations/rebalance".to_owned(),
                Leaf::Live(Live::Rebalance { time }),
            );
        }
        if plays(Mode::Events) && since(mock) {
            let time = |key: &str, default: SignedDuration| {
                let stated = events.get(key).and_then(|text| text.parse::<Timestamp>().ok());
                let time = stated.or_else(|| started.checked_add(default).ok()).unwrap_or(started);
                time.strftime("%-d %b %Y %H:%M:%S GMT").to_string()
            };
            let code = events.get("code").map_or("system-reboot", String::as_str);
            let document = object(&[
                ("Code", code.into()),
                ("Description", format!("The instance is scheduled for {code}").into()),
                ("State", events.get("state").map_or("active", String::as_str).into()),
                ("EventId", self.text("event-id", EVENT_ID).into()),
                ("NotBefore", time("not-before", SignedDuration::ZERO).into()),
                ("NotAfter", time("not-after", NOT_AFTER).into()),
                ("NotBeforeDeadline", time("not-before-deadline", DEADLINE).into()),
            ]);
            let list = format!("[\n\t{}\n]", document.replace('\n', "\n\t"));
            put(
                tree,
                "meta-data/events/maintenance/scheduled".to_owned(),
                Leaf::Json(list.into()),
            );
        }
        if plays(Mode::Asglifecycle) {
            let state = if since(termination) { "Terminated" } else { "InService" };
            let path = "meta-data/autoscaling/target-lifecycle-state".to_owned();
            put(tree, path, Leaf::Text(state.into()));
        }
    }
}

fn put(tree: &mut Tree, path: String, leaf: Leaf) {
    // It knows one version alone.
    tree.put(Version::LATEST, path, leaf);
}

/// A default, unless something was configured. Of a document, single fields are.
fn leaf(default: &defaults::Value, stated: Option<&Value>) -> Leaf {
    match (default, stated) {
        (defaults::Value::Document(fields), stated) if stated.is_none_or(Value::is_object) => {
            let fields: Vec<(&str, Value)> = fields
                .iter()
                .map(|(name, text)| {
                    let default = if text.is_empty() {
                        Value::Null
                    } else {
                        Value::from(*text)
                    };
                    (
                        *name,
                        stated.and_then(|stated| stated.get(*name)).cloned().unwrap_or(default),
                    )
                })
                .collect();
            Leaf::Json(object(&fields).into())
        }
        (_, Some(stated)) => configured(stated),
        (defaults::Value::Text(text), None) => Leaf::Text((*text).into()),
        (defaults::Value::Document(_), None) => Leaf::Json("{}".into()),
    }
}

fn configured(value: &Value) -> Leaf {
    match value {
        Value::String(text) => Leaf::Text(text.clone().into()),
        other => Leaf::Json(other.to_string().into()),
    }
}

/// A JSON object as Go lays it out with tabs.
fn object(fields: &[(&str, Value)]) -> String {
    let lines: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("\t{}: {value}", Value::from(*name)))
        .collect();
    format!("{{\n{}\n}}", lines.join(",\n"))
}

impl Live {
    /// What it says now: JSON, or text.
    pub fn say(&self, now: Timestamp) -> (String, bool) {
        let in_two_minutes = || seconds(now.checked_add(SignedDuration::from_mins(2)).unwrap_or(now));
        match self {
            Self::SpotAction { action, time } => {
                let time = time.clone().unwrap_or_else(in_two_minutes);
                (
                    object(&[("action", action.as_str().into()), ("time", time.into())]),
                    true,
                )
            }
            Self::SpotTime { time } => (time.clone().unwrap_or_else(in_two_minutes), false),
            Self::Rebalance { time } => {
                let time = time.clone().unwrap_or_else(|| seconds(now));
                (object(&[("noticeTime", time.into())]), true)
            }
        }
    }
}
