//! What amazon-ec2-metadata-mock is told beside its configuration file: its command line, and its environment (`AEMM_…`). Both become fields of that file.
//! It must not know how the process got them.

use clap::{Args, Parser, Subcommand};
use serde_json::{Map, Value};

use super::config::{BrokenConfig, Fault, Layer, Mode};
use super::defaults::{DYNAMIC, METADATA};

/// What all its variables begin with.
pub const PREFIX: &str = "AEMM_";
/// What an orchestrator sets for a service that is called `aemm`.
const FOREIGN: [&str; 2] = ["AEMM_SERVICE_", "AEMM_PORT"];
/// How faults name the variables.
const ENVIRONMENT: &str = "the environment";
/// How faults name the command line.
const COMMAND_LINE: &str = "the command line behind --";

/// What becomes of wishes that have no counterpart.
const NOT_OFFERED: &str =
    "remove it; nothing is saved, and what is to change while it runs is ordered through the control API";

/// Fields at the top of its configuration.
const TOP: [&str; 11] = [
    "mock-delay-sec",
    "mock-trigger-time",
    "mock-ip-count",
    "imdsv2",
    "rebalance-delay-sec",
    "rebalance-trigger-time",
    "asg-termination-delay-sec",
    "asg-termination-trigger-time",
    "config-file",
    "save-config-to-file",
    "watch-config-file",
];
/// Those that are read over where they are false.
const NOWHERE: [&str; 2] = ["save-config-to-file", "watch-config-file"];
/// Fields of its parts; two parts have an older name too.
const PARTS: [(&str, &[&str]); 5] = [
    ("spot", &["action", "time", "rebalance-rec-time"]),
    ("spot-itn", &["instance-action", "time", "rebalance-rec-time"]),
    ("events", EVENT),
    ("scheduled-events", EVENT),
    ("server", &["hostname", "port"]),
];
const EVENT: &[&str] = &["code", "state", "not-before", "not-after", "not-before-deadline"];

/// What it is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// Fields of a configuration.
    pub layer: Layer,
    /// Its command.
    pub mode: Mode,
    /// Where its configuration file is.
    pub config_file: Option<String>,
    /// The host name that it listens on.
    pub hostname: Option<String>,
    /// The port that it listens on.
    pub port: Option<String>,
}

/// The mock's own command line.
#[derive(Debug, Parser)]
#[command(
    name = "fake-imds … --profile aemm --",
    no_binary_name = true,
    disable_version_flag = true,
    disable_help_subcommand = true
)]
struct Words {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    global: Global,
}

/// Flags of every command.
#[derive(Debug, Args)]
struct Global {
    /// Where to listen
    #[arg(short = 'n', long, global = true)]
    hostname: Option<String>,
    /// The port to listen on
    #[arg(short = 'p', long, global = true)]
    port: Option<String>,
    /// The configuration file
    #[arg(short = 'c', long, global = true)]
    config_file: Option<String>,
    /// Not offered
    #[arg(short = 's', long, global = true)]
    save_config_to_file: bool,
    /// Not offered
    #[arg(short = 'w', long, global = true)]
    watch_config_file: bool,
    /// Seconds until notices and maintenance are there
    #[arg(short = 'd', long, global = true)]
    mock_delay_sec: Option<i64>,
    /// When they are there, instead
    #[arg(long, global = true)]
    mock_trigger_time: Option<String>,
    /// How many clients see them
    #[arg(short = 'x', long, global = true, allow_negative_numbers = true)]
    mock_ip_count: Option<i64>,
    /// A token is required
    #[arg(short = 'I', long, global = true)]
    imdsv2: bool,
    /// Seconds until the rebalance recommendation is there
    #[arg(long, global = true)]
    rebalance_delay_sec: Option<i64>,
    /// When it is there, instead
    #[arg(long, global = true)]
    rebalance_trigger_time: Option<String>,
    /// Seconds until the instance is to be terminated
    #[arg(long, global = true)]
    asg_termination_delay_sec: Option<i64>,
    /// When it is to be, instead
    #[arg(long, global = true)]
    asg_termination_trigger_time: Option<String>,
}

/// Its commands.
#[derive(Debug, Subcommand)]
enum Command {
    /// Spot interruption and rebalance notices alone
    Spot {
        /// terminate, stop or hibernate
        #[arg(short = 'a', long)]
        action: Option<String>,
        /// When the instance is interrupted
        #[arg(short = 't', long)]
        time: Option<String>,
        /// When the rebalance recommendation was made
        #[arg(short = 'r', long)]
        rebalance_rec_time: Option<String>,
    },
    /// Maintenance alone
    #[command(visible_aliases = ["se", "scheduledevents"])]
    Events {
        /// What kind of maintenance
        #[arg(short = 'o', long)]
        code: Option<String>,
        /// active, completed or canceled
        #[arg(short = 't', long)]
        state: Option<String>,
        /// The earliest start
        #[arg(short = 'b', long)]
        not_before: Option<String>,
        /// The latest end
        #[arg(short = 'a', long)]
        not_after: Option<String>,
        /// Until when the start can be put off
        #[arg(short = 'l', long)]
        not_before_deadline: Option<String>,
    },
    /// The target lifecycle state alone
    #[command(visible_aliases = ["autoscaling", "asg"])]
    Asglifecycle,
}

/// Why a command line of the mock is not one.
#[derive(Debug, thiserror::Error)]
pub enum BadWords {
    /// It has a word that is not known, or a value that is none.
    #[error("{COMMAND_LINE}: {}", fault_of(.0))]
    Unknown(#[from] clap::Error),
    /// It asks for what is not offered.
    #[error("{COMMAND_LINE}: {0}: {NOT_OFFERED}")]
    NotOffered(&'static str),
}

/// What clap says, without the usage of a program that is not there.
fn fault_of(error: &clap::Error) -> String {
    let text = error.to_string();
    let fault = text.split("\n\nUsage:").next().unwrap_or(&text);
    fault.trim_start_matches("error: ").trim_end().to_owned()
}

/// Reads its command line.
///
/// # Errors
/// It has words that are not known or not offered, or values that are none.
pub fn words(words: &[String]) -> Result<Told, BadWords> {
    let Words { command, global } = Words::try_parse_from(words)?;
    for (name, asked) in [
        ("--save-config-to-file", global.save_config_to_file),
        ("--watch-config-file", global.watch_config_file),
    ] {
        if asked {
            return Err(BadWords::NotOffered(name));
        }
    }
    let mut reading = Reading::named(COMMAND_LINE);
    let flag = |on: bool| on.then(|| Value::from(true));
    for (name, value) in [
        ("imdsv2", flag(global.imdsv2)),
        ("config-file", global.config_file.map(Value::from)),
        ("mock-delay-sec", global.mock_delay_sec.map(Value::from)),
        ("mock-trigger-time", global.mock_trigger_time.map(Value::from)),
        ("mock-ip-count", global.mock_ip_count.map(Value::from)),
        ("rebalance-delay-sec", global.rebalance_delay_sec.map(Value::from)),
        ("rebalance-trigger-time", global.rebalance_trigger_time.map(Value::from)),
        (
            "asg-termination-delay-sec",
            global.asg_termination_delay_sec.map(Value::from),
        ),
        (
            "asg-termination-trigger-time",
            global.asg_termination_trigger_time.map(Value::from),
        ),
    ] {
        reading.put(None, name, value);
    }
    reading.put(Some("server"), "hostname", global.hostname.map(Value::from));
    reading.put(Some("server"), "port", global.port.map(Value::from));
    reading.told.mode = match command {
        None => Mode::All,
        Some(Command::Spot {
            action,
            time,
            rebalance_rec_time,
        }) => {
            for (name, value) in [
                ("action", action),
                ("time", time),
                ("rebalance-rec-time", rebalance_rec_time),
            ] {
                reading.put(Some("spot"), name, value.map(Value::from));
            }
            Mode::Spot
        }
        Some(Command::Events {
            code,
            state,
            not_before,
            not_after,
            not_before_deadline,
        }) => {
            let values = [code, state, not_before, not_after, not_before_deadline];
            for (name, value) in EVENT.iter().zip(values) {
                reading.put(Some("events"), name, value.map(Value::from));
            }
            Mode::Events
        }
        Some(Command::Asglifecycle) => Mode::Asglifecycle,
    };
    Ok(reading.told)
}

/// Reads its variables: those of `variables` that begin with [`PREFIX`].
///
/// # Errors
/// Those that it does not know, all at once.
pub fn environment(variables: impl IntoIterator<Item = (String, String)>) -> Result<Told, BrokenConfig> {
    let mut reading = Reading::named(ENVIRONMENT);
    let mut faults = Vec::new();
    for (variable, text) in variables {
        let own = variable.starts_with(PREFIX) && !FOREIGN.iter().any(|foreign| variable.starts_with(foreign));
        if own && !reading.variable(&variable, &text) {
            let remedy = "remove it; amazon-ec2-metadata-mock has no field of that name";
            faults.push(Fault::of(ENVIRONMENT, &variable, remedy));
        }
        if NOWHERE.iter().any(|name| variable == name_of(&[name])) && text != "false" {
            faults.push(Fault::of(ENVIRONMENT, &variable, NOT_OFFERED));
        }
    }
    BrokenConfig::of(faults).map_or(Ok(reading.told), Err)
}

struct Reading {
    told: Told,
}

impl Reading {
    fn named(name: &str) -> Self {
        let layer = Layer {
            name: name.to_owned(),
            fields: Map::new(),
        };
        Self {
            told: Told {
                layer,
                ..Told::default()
            },
        }
    }

    /// Whether there is such a field.
    fn variable(&mut self, variable: &str, text: &str) -> bool {
        let is = |parts: &[&str]| variable == name_of(parts);
        if let Some(name) = TOP.iter().find(|name| is(&[name])) {
            self.put(None, name, Some(typed(name, text)));
            return true;
        }
        for (part, names) in PARTS {
            if let Some(name) = names.iter().find(|name| is(&[part, name])) {
                self.put(Some(part), name, Some(Value::from(text)));
                return true;
            }
        }
        let keys = METADATA.iter().map(|(key, ..)| ("metadata", *key));
        let keys = keys.chain(DYNAMIC.iter().map(|(key, ..)| ("dynamic", *key)));
        let mut keys = keys.chain([("userdata", "userdata")]);
        let Some((part, key)) = keys.find(|(part, key)| is(&[part, "values", key])) else {
            return false;
        };
        let fields = self.told.layer.fields.entry(part).or_insert_with(|| Map::new().into());
        let values = fields
            .as_object_mut()
            .map(|fields| fields.entry("values").or_insert_with(|| Map::new().into()));
        if let Some(values) = values.and_then(Value::as_object_mut) {
            values.insert(key.to_owned(), Value::from(text));
        }
        true
    }

    fn put(&mut self, part: Option<&str>, name: &str, value: Option<Value>) {
        let Some(value) = value else { return };
        let text = value.as_str().map(str::to_owned);
        match (part, name) {
            (Some("server"), "hostname") => self.told.hostname = text,
            (Some("server"), "port") => self.told.port = text,
            (None, "config-file") => self.told.config_file = text,
            (None, _) => {
                self.told.layer.fields.insert(name.to_owned(), value);
            }
            (Some(part), _) => {
                let fields = self.told.layer.fields.entry(part).or_insert_with(|| Map::new().into());
                if let Some(fields) = fields.as_object_mut() {
                    fields.insert(name.to_owned(), value);
                }
            }
        }
    }
}

/// `AEMM_SPOT_REBALANCE_REC_TIME` of `spot` and `rebalance-rec-time`.
fn name_of(parts: &[&str]) -> String {
    format!("{PREFIX}{}", parts.join("_").replace('-', "_").to_uppercase())
}

/// A variable's text as the field has it; what is no number or flag stays a text, which is a fault later.
fn typed(name: &str, text: &str) -> Value {
    let number = name.ends_with("-sec") || name == "mock-ip-count";
    match (text.parse::<i64>(), text.parse::<bool>()) {
        (Ok(value), _) if number => value.into(),
        (_, Ok(value)) if name == "imdsv2" => value.into(),
        _ => text.into(),
    }
}
