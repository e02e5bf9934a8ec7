//! Roles and users of a world file.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Reader;
use crate::arn::{RoleArn, is_account};
use crate::policy::Kind;
use crate::secret::Secret;
use crate::world::{AccessKey, Account, Holder, Role, User};

impl Reader {
    /// Name, path and account of a role or user.
    fn identity(&mut self, at: &str, table: &Map<String, Value>, account: &Account) -> Option<[String; 3]> {
        let name = self.text(at, table, "name", None, "write name = \"deploy\"");
        let path = self.text(at, table, "path", Some("/"), "write path = \"/team/\"");
        let own = self.text(
            at,
            table,
            "account",
            Some(&account.id),
            "write account = \"123456789012\"",
        );
        if let Some(name) = &name
            && !(name.len() <= 64
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte)))
        {
            self.fault(
                &format!("{at}.name"),
                "is no IAM name",
                "use up to 64 letters, digits and _+=,.@-",
            );
        }
        if let Some(path) = &path
            && !(path.starts_with('/') && path.ends_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            self.fault(
                &format!("{at}.path"),
                "is no IAM path",
                "begin and end it with a slash: \"/team/\"",
            );
        }
        if let Some(own) = &own
            && table.contains_key("account")
            && !is_account(own)
        {
            self.fault(
                &format!("{at}.account"),
                format!("is {own}, not twelve digits"),
                "write \"123456789012\"",
            );
        }
        Some([name?, path?, own?])
    }

    pub(super) fn role(&mut self, at: &str, table: &Map<String, Value>, account: &Account) -> Option<Role> {
        self.unknown(
            at,
            table,
            &[
                "name",
                "path",
                "account",
                "max_session_seconds",
                "trust",
                "policy",
                "policy_arns",
                "boundary",
                "tags",
            ],
        );
        let identity = self.identity(at, table, account);
        let max_session_seconds = match table.get("max_session_seconds") {
            None => Some(3_600),
            Some(value) => {
                let seconds = value.as_u64().and_then(|seconds| u32::try_from(seconds).ok());
                let seconds = seconds.filter(|seconds| (3_600..=43_200).contains(seconds));
                if seconds.is_none() {
                    let field = format!("{at}.max_session_seconds");
                    self.fault(
                        &field,
                        format!("is {value}"),
                        "write a number from 3600 to 43200, as IAM allows",
                    );
                }
                seconds
            }
        };
        let trust = match table.get("trust") {
            Some(value) => self.document(&format!("{at}.trust"), value, Kind::Trust),
            None => {
                self.fault(
                    &format!("{at}.trust"),
                    "is missing",
                    "say who may assume the role: trust = { Version = \"2012-10-17\", Statement = [{ Effect = \"Allow\", Principal = { AWS = \"123456789012\" }, Action = \"sts:AssumeRole\" }] }",
                );
                None
            }
        };
        let holder = self.holder(at, table);
        let [name, path, own] = identity?;
        let arn = RoleArn {
            partition: account.partition.clone(),
            account: own,
            path,
            name,
        };
        Some(Role {
            arn,
            id: String::new(),
            max_session_seconds: max_session_seconds?,
            trust: trust?,
            holder,
            created_at: None,
            description: None,
        })
    }

    pub(super) fn user(
        &mut self,
        at: &str,
        table: &Map<String, Value>,
        account: &Account,
    ) -> Option<(User, AccessKey)> {
        self.unknown(
            at,
            table,
            &[
                "name",
                "path",
                "account",
                "access_key_id",
                "secret_access_key",
                "policy",
                "policy_arns",
                "boundary",
                "tags",
                "mfa_serial",
                "mfa_code",
            ],
        );
        let identity = self.identity(at, table, account);
        let key = self.text(
            at,
            table,
            "access_key_id",
            None,
            "write access_key_id = \"AKIAIOSFODNN7EXAMPLE\"",
        );
        let secret = self.text(
            at,
            table,
            "secret_access_key",
            None,
            "write secret_access_key = \"...\", 40 characters",
        );
        if let Some(key) = &key
            && !(key.starts_with("AKIA")
                && (16..=128).contains(&key.len())
                && key.bytes().all(|b| b.is_ascii_alphanumeric()))
        {
            self.fault(
                &format!("{at}.access_key_id"),
                "is no long-lived key id",
                "begin it with AKIA and use 16 to 128 letters and digits",
            );
        }
        let holder = self.holder(at, table);
        let [name, path, own] = identity?;
        let mfa = match (table.get("mfa_serial"), table.get("mfa_code")) {
            (None, None) => None,
            (Some(Value::String(serial)), Some(Value::String(code))) if code.len() == 6 => {
                Some((serial.clone(), Secret::new(code.clone())))
            }
            _ => {
                self.fault(
                    &format!("{at}.mfa_serial"),
                    "needs a code, and a code a serial number",
                    "write mfa_serial = \"arn:aws:iam::123456789012:mfa/alice\" and mfa_code = \"123456\"",
                );
                None
            }
        };
        let user = User {
            arn: format!("arn:{}:iam::{own}:user{path}{name}", account.partition),
            id: String::new(),
            partition: account.partition.clone(),
            account: own,
            name,
            path,
            holder,
            mfa,
            created_at: None,
        };
        let key = AccessKey {
            id: key?,
            secret: Secret::new(secret?),
            owner: user.key(),
            active: true,
            created_at: None,
        };
        Some((user, key))
    }

    fn holder(&mut self, at: &str, table: &Map<String, Value>) -> Holder {
        let field = format!("{at}.policy");
        let list: Vec<(String, &Value)> = match table.get("policy") {
            None => Vec::new(),
            Some(Value::Array(list)) => list
                .iter()
                .enumerate()
                .map(|(index, one)| (format!("{field}[{index}]"), one))
                .collect(),
            Some(one) => vec![(field, one)],
        };
        // A world file gives them no names.
        let alone = list.len() == 1;
        let documents = list.into_iter().enumerate().filter_map(|(index, (field, value))| {
            let name = if alone {
                "policy".to_owned()
            } else {
                format!("policy-{index:02}")
            };
            Some((name, self.document(&field, value, Kind::Identity)?))
        });
        let inline = documents.collect();
        let remedy = "write [\"arn:aws:iam::aws:policy/AdministratorAccess\"]";
        let attached = self.texts(at, table, "policy_arns", remedy).into_iter().collect();
        let boundary = table.get("boundary").and_then(|_| {
            let remedy = "write the ARN of a managed policy";
            self.text(at, table, "boundary", None, remedy)
        });
        let tags = match table.get("tags") {
            None => BTreeMap::new(),
            Some(value) => {
                let pairs = value.as_object().and_then(|tags| {
                    tags.iter()
                        .map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                        .collect()
                });
                pairs.unwrap_or_else(|| {
                    self.fault(
                        &format!("{at}.tags"),
                        "is not a table of texts",
                        "write { team = \"blue\" }",
                    );
                    BTreeMap::new()
                })
            }
        };
        Holder {
            inline,
            attached,
            boundary,
            tags,
        }
    }
}
