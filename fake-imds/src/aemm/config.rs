//! The configuration file of amazon-ec2-metadata-mock: JSON, with its names. It must not know what is served.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};
use thiserror::Error;

/// Which of its commands is played: what the others would serve is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Mode {
    /// Without a command: everything.
    #[default]
    All,
    /// `spot`: interruption and rebalance notices.
    Spot,
    /// `events` (`scheduledevents`): maintenance.
    Events,
    /// `asglifecycle`: the target lifecycle state.
    Asglifecycle,
}

/// When something begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trigger {
    /// Seconds after the start.
    pub delay: u32,
    /// The time, which counts more.
    pub at: Option<Timestamp>,
}

/// Keys with what was said of them.
pub(super) type Values = BTreeMap<String, Value>;

/// A configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// `mock-delay-sec`, `mock-trigger-time`: of spot notices and maintenance.
    pub mock: Trigger,
    /// `rebalance-delay-sec`, `rebalance-trigger-time`.
    pub rebalance: Trigger,
    /// `asg-termination-delay-sec`, `asg-termination-trigger-time`.
    pub termination: Trigger,
    /// `mock-ip-count`: how many clients see notices; without it two, below zero all.
    pub ip_count: Option<i64>,
    /// `imdsv2`.
    pub imdsv2: bool,
    /// `spot`, by the names of its flags.
    pub spot: BTreeMap<String, String>,
    /// `events`, by the names of its flags.
    pub events: BTreeMap<String, String>,
    /// `metadata.values`.
    pub values: Values,
    /// `metadata.paths`, without `/latest/meta-data/`.
    pub paths: BTreeMap<String, String>,
    /// `dynamic.values`.
    pub dynamic: Values,
    /// `userdata.values.userdata`, base64.
    pub user_data: Option<String>,
}

/// Fields of a configuration, from one place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layer {
    /// How faults name the place.
    pub name: String,
    /// The fields.
    pub fields: Map<String, Value>,
}

impl Layer {
    /// Reads the text of a configuration file; `file` names it in faults.
    ///
    /// # Errors
    /// It is not a JSON object.
    pub fn of_file(file: &str, text: &str) -> Result<Self, BrokenConfig> {
        let fault = match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => {
                let name = file.to_owned();
                return Ok(Self { name, fields });
            }
            Ok(_) => Fault::of(file, "", "give a JSON object"),
            Err(error) => Fault::of(
                file,
                &format!("line {}", error.line()),
                &format!("correct the JSON: {error}"),
            ),
        };
        Err(BrokenConfig { faults: vec![fault] })
    }
}

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Where it stands.
    pub place: String,
    /// The field.
    pub field: String,
    /// What to do.
    pub remedy: String,
}

impl Fault {
    pub(super) fn of(place: &str, field: &str, remedy: &str) -> Self {
        Self {
            place: place.to_owned(),
            field: field.to_owned(),
            remedy: remedy.to_owned(),
        }
    }
}

/// A configuration with everything that is wrong with it.
#[derive(Debug, Error)]
pub struct BrokenConfig {
    faults: Vec<Fault>,
}

impl BrokenConfig {
    /// All of them, if there are any.
    pub(super) fn of(mut faults: Vec<Fault>) -> Option<Self> {
        faults.sort();
        (!faults.is_empty()).then_some(Self { faults })
    }
}

impl fmt::Display for BrokenConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = self.faults.iter();
        let lines: Vec<String> = faults
            .map(|fault| format!("{}: {}: {}", fault.place, fault.field, fault.remedy))
            .collect();
        f.write_str(&lines.join("\n"))
    }
}

/// Reads the text of a configuration; `file` names it in faults. Fields that the mock has and that mean nothing here (`server`, `config-file`,
/// `save-config-to-file`, `watch-config-file`) are read over, and so is a path without a value.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn read(file: &str, text: &str) -> Result<Config, BrokenConfig> {
    read_layers(&[Layer::of_file(file, text)?])
}

/// Reads fields from several places; those of later ones count more.
///
/// # Errors
/// Everything that is wrong with them, at once.
pub fn read_layers(layers: &[Layer]) -> Result<Config, BrokenConfig> {
    let mut reading = Reading::default();
    for layer in layers {
        reading.place.clone_from(&layer.name);
        reading.root(&layer.fields);
    }
    BrokenConfig::of(reading.faults).map_or(Ok(reading.config), Err)
}

const ACTIONS: &[&str] = &["terminate", "stop", "hibernate"];
const CODES: &[&str] = &[
    "instance-reboot",
    "system-reboot",
    "system-maintenance",
    "instance-retirement",
    "instance-stop",
];
const STATES: &[&str] = &["active", "completed", "canceled"];
const KNOWN: &str = "remove it; known are metadata, dynamic, userdata, spot, events, server, imdsv2, mock-delay-sec, mock-trigger-time, mock-ip-count, \
                     rebalance-delay-sec, rebalance-trigger-time, asg-termination-delay-sec, asg-termination-trigger-time";

#[derive(Default)]
struct Reading {
    place: String,
    config: Config,
    faults: Vec<Fault>,
}

impl Reading {
    fn fault(&mut self, field: &str, remedy: &str) {
        self.faults.push(Fault::of(&self.place, field, remedy));
    }

    fn root(&mut self, fields: &Map<String, Value>) {
        for (name, value) in fields {
            match name.as_str() {
                "server" | "config-file" | "save-config-to-file" | "watch-config-file" => {}
                "imdsv2" => match value.as_bool() {
                    Some(only) => self.config.imdsv2 = only,
                    None => self.fault(name, "give true or false"),
                },
                "mock-ip-count" => match value.as_i64() {
                    Some(count) => self.config.ip_count = Some(count),
                    None => self.fault(name, "give a whole number; -1 for everybody"),
                },
                "mock-delay-sec" => self.config.mock.delay = self.seconds(name, value),
                "rebalance-delay-sec" => self.config.rebalance.delay = self.seconds(name, value),
                "asg-termination-delay-sec" => self.config.termination.delay = self.seconds(name, value),
                "mock-trigger-time" => self.config.mock.at = self.time(name, value),
                "rebalance-trigger-time" => self.config.rebalance.at = self.time(name, value),
                "asg-termination-trigger-time" => self.config.termination.at = self.time(name, value),
                "spot" | "spot-itn" => self.spot(name, value),
                "events" | "scheduled-events" => self.events(name, value),
                "metadata" | "dynamic" | "userdata" => self.tree(name, value),
                _ => self.fault(name, KNOWN),
            }
        }
    }

    fn seconds(&mut self, name: &str, value: &Value) -> u32 {
        let seconds = value.as_u64().and_then(|seconds| u32::try_from(seconds).ok());
        if seconds.is_none() {
            self.fault(name, "give a whole number of seconds");
        }
        seconds.unwrap_or(0)
    }

    /// An empty text is no time, as in its defaults.
    fn time(&mut self, name: &str, value: &Value) -> Option<Timestamp> {
        if value.as_str() == Some("") {
            return None;
        }
        let time = value.as_str().and_then(|text| text.parse().ok());
        if time.is_none() {
            self.fault(name, "give a time such as \"2020-01-07T01:03:47Z\"");
        }
        time
    }

    fn spot(&mut self, name: &str, value: &Value) {
        for (field, text) in self.texts(name, value) {
            let (path, key) = (format!("{name}.{field}"), field.as_str());
            match key {
                "action" | "instance-action" => {
                    self.word(&path, &text, ACTIONS);
                    self.config.spot.insert("action".to_owned(), text);
                }
                "time" | "termination-time" | "rebalance-rec-time" => {
                    let key = if key == "rebalance-rec-time" { key } else { "time" };
                    if self.time(&path, &Value::from(text.as_str())).is_some() {
                        self.config.spot.insert(key.to_owned(), text);
                    }
                }
                _ => self.fault(&path, "remove it; known are action, time, rebalance-rec-time"),
            }
        }
    }

    fn events(&mut self, name: &str, value: &Value) {
        for (field, text) in self.texts(name, value) {
            let path = format!("{name}.{field}");
            match field.as_str() {
                "code" => self.word(&path, &text, CODES),
                "state" => self.word(&path, &text, STATES),
                "not-before" | "not-after" | "not-before-deadline" => {
                    self.time(&path, &Value::from(text.as_str()));
                }
                _ => self.fault(
                    &path,
                    "remove it; known are code, state, not-before, not-after, not-before-deadline",
                ),
            }
            self.config.events.insert(field, text);
        }
    }

    fn word(&mut self, path: &str, text: &str, words: &[&str]) {
        if !words.contains(&text) {
            self.fault(path, &format!("give one of {}", words.join(", ")));
        }
    }

    fn texts(&mut self, name: &str, value: &Value) -> Vec<(String, String)> {
        let Some(fields) = value.as_object() else {
            self.fault(name, "give an object");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for (field, value) in fields {
            match value.as_str() {
                Some(text) => texts.push((field.clone(), text.to_owned())),
                None => self.fault(&format!("{name}.{field}"), "give a text"),
            }
        }
        texts
    }

    fn tree(&mut self, name: &str, value: &Value) {
        let Some(fields) = value.as_object() else {
            return self.fault(name, "give an object with paths and values");
        };
        for (part, value) in fields {
            let field = format!("{name}.{part}");
            match (name, part.as_str(), value.as_object()) {
                (_, "paths" | "values", None) => self.fault(&field, "give an object"),
                ("metadata", "values", Some(values)) => self.config.values.extend(values.clone()),
                ("dynamic", "values", Some(values)) => self.config.dynamic.extend(values.clone()),
                ("userdata", "values", Some(values)) => match values.get("userdata").map(Value::as_str) {
                    Some(Some(text)) => self.config.user_data = Some(text.to_owned()),
                    Some(None) => self.fault("userdata.values.userdata", "give a text in base64"),
                    None => {}
                },
                ("metadata", "paths", Some(_)) => self.paths(&field, value),
                (_, "paths", Some(_)) => {}
                _ => self.fault(&field, "remove it; known are paths and values"),
            }
        }
    }

    fn paths(&mut self, field: &str, value: &Value) {
        for (key, path) in self.texts(field, value) {
            let inner = path.strip_prefix("/latest/meta-data/").filter(|inner| {
                !inner.is_empty() && inner.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
            });
            match inner {
                Some(inner) => {
                    self.config.paths.insert(key, inner.to_owned());
                }
                None => self.fault(&format!("{field}.{key}"), "give a path below /latest/meta-data/"),
            }
        }
    }
}
