//! Parameters of IAM's actions, and documents as IAM judges them. It must not change anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Call;
use crate::arn::{Arn, RoleArn};
use crate::envelope::Element;
use crate::parameters::check::{Check, IAM_NAME_TEXT};
use crate::policy::{Document, Kind, Principal, read_document};
use crate::refusal::Refusal;
use crate::world::Holder;

/// Characters of a trust policy (IAM's quota).
const TRUST_CHARACTERS: usize = 2_048;

/// Tags of a role or user (IAM's quota).
const MOST_TAGS: usize = 50;

impl Call<'_> {
    /// A name that must be there.
    pub(super) fn name(&self, parameter: &str, most: usize) -> Result<String, Refusal> {
        let mut check = Check::default();
        let member = lower_first(parameter);
        let name = check.text(
            self.parameters,
            parameter,
            &member,
            1..=most,
            Some(&IAM_NAME_TEXT),
            true,
        );
        check.done()?;
        Ok(name.unwrap_or_default())
    }

    /// A text that must be there.
    pub(super) fn text(&self, parameter: &str) -> Result<String, Refusal> {
        let mut check = Check::default();
        let member = lower_first(parameter);
        let text = check.text(self.parameters, parameter, &member, 1..=131_072, None, true);
        check.done()?;
        Ok(text.unwrap_or_default())
    }

    pub(super) fn path(&self) -> Result<String, Refusal> {
        let path = self.parameters.get("Path").unwrap_or("/");
        let sound = path.starts_with('/') && path.ends_with('/') && path.len() <= 512;
        if sound && path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(path.to_owned());
        }
        Err(Refusal::of_iam(
            400,
            "ValidationError",
            "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.",
        ))
    }

    /// The user that is named, or the one that asks.
    pub(super) fn user_name(&self) -> Result<String, Refusal> {
        match (self.parameters.get("UserName"), self.caller.user()) {
            (None, Some(user)) => Ok(user.name.clone()),
            _ => self.name("UserName", 128),
        }
    }

    pub(super) fn tags(&self) -> Result<BTreeMap<String, String>, Refusal> {
        let mut check = Check::default();
        let pairs = check.tags(self.parameters);
        check.done()?;
        let tags: BTreeMap<String, String> = pairs.iter().cloned().collect();
        if tags.len() > MOST_TAGS || tags.len() != pairs.len() {
            let text = "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
            return Err(Refusal::of_iam(400, "InvalidInput", text));
        }
        Ok(tags)
    }

    pub(super) fn identity_document(&self, parameter: &str) -> Result<Arc<Document>, Refusal> {
        document(&self.text(parameter)?, Kind::Identity)
    }

    /// A trust policy. IAM takes none that names a principal of a known account which is not there.
    pub(super) fn trust_document(&self, parameter: &str) -> Result<Arc<Document>, Refusal> {
        let text = self.text(parameter)?;
        if text.chars().filter(|one| !one.is_whitespace()).count() > TRUST_CHARACTERS {
            let text = format!("Cannot exceed quota for ACLSizePerRole: {TRUST_CHARACTERS}");
            return Err(Refusal::of_iam(409, "LimitExceeded", text));
        }
        let document = document(&text, Kind::Trust)?;
        let statements = document.policy().statements.iter();
        for principal in statements
            .filter_map(|statement| statement.principals.as_ref())
            .flat_map(|list| &list.named)
        {
            if let Principal::Arn(arn) = principal
                && self.is_missing(arn)
            {
                let text = format!("Invalid principal in policy: \"AWS\":\"{arn}\"");
                return Err(Refusal::of_iam(400, "MalformedPolicyDocument", text));
            }
        }
        Ok(document)
    }

    fn is_missing(&self, text: &str) -> bool {
        let Some(arn) = Arn::parse(text) else { return false };
        let world = &self.state.world;
        if arn.service != "iam" || !world.has_account(arn.account) {
            return false;
        }
        if let Some(user) = arn.resource.strip_prefix("user/") {
            let name = user.rsplit('/').next().unwrap_or_default();
            return world
                .user_by_name(arn.account, name)
                .is_none_or(|user| user.arn != text);
        }
        RoleArn::parse(text).is_some_and(|role| world.role_by_arn(&role).is_none())
    }

    /// The ARN of a managed policy that is there.
    pub(super) fn managed_arn(&self, parameter: &str) -> Result<String, Refusal> {
        let arn = self.text(parameter)?;
        if self.state.world.managed(&arn).is_some() {
            return Ok(arn);
        }
        let text = format!("Policy {arn} does not exist or is not attachable.");
        Err(Refusal::of_iam(404, "NoSuchEntity", text).because(
            "AWS's own policies other than AdministratorAccess are not known here: describe those that you need as [[policy]] in the world file",
        ))
    }
}

fn document(text: &str, kind: Kind) -> Result<Arc<Document>, Refusal> {
    read_document(text, kind).map(Arc::new).map_err(|faults| {
        let problems: Vec<String> = faults
            .iter()
            .map(|fault| format!("{} {}", fault.at, fault.problem).trim().to_owned())
            .collect();
        let text = match (kind, faults.iter().find(|fault| fault.at.contains("rincipal"))) {
            (Kind::Trust, Some(fault)) if fault.problem.ends_with("is no principal") => {
                let named = fault.problem.trim_end_matches(" is no principal");
                format!("Invalid principal in policy: \"AWS\":\"{named}\"")
            }
            _ => "Syntax errors in policy.".to_owned(),
        };
        Refusal::of_iam(400, "MalformedPolicyDocument", text).because(problems.join("; "))
    })
}

/// `RoleName` is told as `roleName`.
fn lower_first(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// Documents are written percent-encoded.
pub(super) fn encoded(text: &str) -> String {
    crate::signature::escape(text)
}

/// When something was made: the world file's entities were there before anybody looked.
pub(super) fn created(at: Option<jiff::Timestamp>) -> Element {
    Element::Time("CreateDate", at.unwrap_or(jiff::Timestamp::UNIX_EPOCH))
}

/// The tags, where there are any.
pub(super) fn tag_list(holder: &Holder) -> Option<Element> {
    let members: Vec<Vec<Element>> = holder
        .tags
        .iter()
        .map(|(key, value)| vec![Element::Text("Key", key.clone()), Element::Text("Value", value.clone())])
        .collect();
    (!members.is_empty()).then_some(Element::List("Tags", members))
}
