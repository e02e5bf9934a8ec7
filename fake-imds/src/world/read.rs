//! Reads `world.toml`: the tables of this fake strictly, those of the other fakes by name only.
//! It must not know where the text comes from.

use std::fmt;

use thiserror::Error;
use toml::de::DeTable;

use super::World;
use super::table::{Fault, Faults, Table};
use crate::options::{Endpoint, HOP_LIMITS, HttpTokens};

/// Tables that other fakes read.
const TABLES: [&str; 5] = ["account", "instance", "role", "user", "oidc_provider"];
/// EC2 takes 16 KiB of user data; the canary needs some of it.
const USER_DATA_BYTES: usize = 16 * 1024 - 64;

/// A world file with everything that is wrong with it.
#[derive(Debug, Error)]
pub struct BrokenWorld {
    file: String,
    faults: Vec<Fault>,
}

impl BrokenWorld {
    /// The faults, in the order of the file.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for BrokenWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self
            .faults
            .iter()
            .map(|fault| format!("{}:{fault}", self.file))
            .collect();
        f.write_str(&lines.join("\n"))
    }
}

/// Reads the text of a world file; `file` names it in faults. What it does not say is as in the default world.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn parse(file: &str, text: &str) -> Result<World, BrokenWorld> {
    let mut faults = Faults::of(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        faults.add(
            error.span().unwrap_or(0..0),
            String::new(),
            error.message().replace('\n', ", "),
            "correct the TOML",
        );
    }
    let root = Table::root(document.get_ref());
    root.only(&mut faults, &TABLES);
    let mut world = World::default();
    if let Some(account) = root.table(&mut faults, "account") {
        read_account(&mut faults, &account, &mut world);
    }
    if let Some(instance) = root.table(&mut faults, "instance") {
        read_instance(&mut faults, &instance, &mut world);
    }
    let faults = faults.finish();
    if faults.is_empty() {
        Ok(world)
    } else {
        Err(BrokenWorld {
            file: file.to_owned(),
            faults,
        })
    }
}

fn read_account(faults: &mut Faults<'_>, account: &Table<'_>, world: &mut World) {
    account.only(faults, &["id", "region", "partition"]);
    let twelve = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    set(
        &mut world.account_id,
        account.text(faults, "id", twelve, "give twelve digits, in quotes"),
    );
    let region = |text: &str| {
        let parts: Vec<&str> = text.split('-').collect();
        parts.len() >= 3
            && parts
                .iter()
                .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()))
    };
    set(
        &mut world.region,
        account.text(faults, "region", region, "give a region such as \"eu-central-1\""),
    );
    let partition = |text: &str| matches!(text, "aws" | "aws-cn" | "aws-us-gov");
    let remedy = "give \"aws\", \"aws-cn\" or \"aws-us-gov\"";
    set(
        &mut world.partition,
        account.text(faults, "partition", partition, remedy),
    );
}

fn read_instance(faults: &mut Faults<'_>, instance: &Table<'_>, world: &mut World) {
    instance.only(
        faults,
        &[
            "id",
            "profile",
            "role",
            "http_tokens",
            "hop_limit",
            "endpoint",
            "ipv6",
            "user_data",
            "tags",
        ],
    );
    let id = |text: &str| {
        text.strip_prefix("i-").is_some_and(|hex| {
            matches!(hex.len(), 8 | 17) && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        })
    };
    let remedy = "give i- and 17 hexadecimal digits in lower case";
    set(&mut world.instance_id, instance.text(faults, "id", id, remedy));
    let remedy = "give up to 64 letters, digits or +=,.@_-, or \"\" for an instance without a profile";
    let name_or_none = |text: &str| text.is_empty() || iam_name(text);
    set(
        &mut world.profile,
        instance.text(faults, "profile", name_or_none, remedy),
    );
    set(&mut world.role, instance.text(faults, "role", name_or_none, remedy));
    let words = |text: &str| matches!(text, "optional" | "required");
    let tokens = instance.text(faults, "http_tokens", words, "give \"optional\" or \"required\"");
    let tokens = tokens.map(|word| {
        if word == "required" {
            HttpTokens::Required
        } else {
            HttpTokens::Optional
        }
    });
    set(&mut world.options.http_tokens, tokens);
    set(
        &mut world.options.hop_limit,
        instance.number(faults, "hop_limit", HOP_LIMITS),
    );
    let words = |text: &str| matches!(text, "enabled" | "disabled");
    let endpoint = instance.text(faults, "endpoint", words, "give \"enabled\" or \"disabled\"");
    let endpoint = endpoint.map(|word| {
        if word == "disabled" {
            Endpoint::Disabled
        } else {
            Endpoint::Enabled
        }
    });
    set(&mut world.options.endpoint, endpoint);
    set(&mut world.options.ipv6, instance.flag(faults, "ipv6"));
    let short = |text: &str| text.len() <= USER_DATA_BYTES;
    let remedy = format!("give a text of at most {USER_DATA_BYTES} bytes");
    // A stated empty text is an instance without user data.
    if let Some(data) = instance.text(faults, "user_data", short, &remedy) {
        world.user_data = (!data.is_empty()).then_some(data);
    }
    if let Some(tags) = instance.table(faults, "tags") {
        let value = |text: &str| text.len() <= 256;
        let remedy =
            "tags in metadata have names of letters, digits and +-=.,_:@ (not . or ..), and values up to 256 bytes";
        world.tags = tags.texts(faults, tag_name, value, remedy).into_iter().collect();
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn iam_name(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(letter) && !matches!(text, "." | "..")
}

fn tag_name(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"+-=.,_:@".contains(&b);
    (1..=128).contains(&text.len()) && text.bytes().all(letter) && !matches!(text, "." | ".." | "_index")
}
