//! SimulatePrincipalPolicy: what the identity policies of a principal say of some actions.

use super::roles::whole;
use super::{Call, Done};
use crate::arn::RoleArn;
use crate::envelope::Element;
use crate::policy::{Ask, Attributes, Keys, Standing, decide_identity};
use crate::refusal::Refusal;
use crate::world::Holder;

/// Actions times resources that are answered at once.
const MOST_RESULTS: usize = 1_000;

impl Call<'_> {
    fn source(&self) -> Result<(String, Holder), Refusal> {
        let arn = self.text("PolicySourceArn")?;
        let world = &self.state.world;
        let role = RoleArn::parse(&arn).and_then(|arn| world.role_by_arn(&arn));
        let holder = match role {
            Some(role) => Some(role.holder.clone()),
            None => world
                .users()
                .find(|user| user.arn == arn)
                .map(|user| user.holder.clone()),
        };
        match holder.filter(|_| arn.contains(&format!("::{}:", self.account))) {
            Some(holder) => Ok((arn, holder)),
            None => {
                let text = format!("Invalid Entity Arn: {arn} does not clearly define entity type and name.");
                Err(Refusal::of_iam(400, "InvalidInput", text))
            }
        }
    }

    fn context(&self, source: &str) -> Keys {
        let mut keys = Keys::default();
        keys.set("aws:PrincipalArn", [source]);
        keys.set("aws:PrincipalAccount", [self.account.as_str()]);
        keys.set("aws:CurrentTime", [self.now.to_string()]);
        keys.set("aws:EpochTime", [self.now.as_second().to_string()]);
        let mut named: Vec<(u32, String, Vec<String>)> = Vec::new();
        for (index, field, value) in self.parameters.members("ContextEntries") {
            if named.last().is_none_or(|(own, ..)| *own != index) {
                named.push((index, String::new(), Vec::new()));
            }
            let Some((_, name, values)) = named.last_mut() else {
                continue;
            };
            if field == "ContextKeyName" {
                value.clone_into(name);
            } else if field.starts_with("ContextKeyValues.member.") {
                values.push(value.to_owned());
            }
        }
        for (_, name, values) in named {
            keys.set(&name, values);
        }
        keys
    }
}

pub(super) fn simulate(call: &mut Call<'_>) -> Done {
    let (source, holder) = call.source()?;
    let list = |name: &str| -> Vec<String> {
        let members = call.parameters.members(name).into_iter();
        members.map(|(_, _, text)| text.to_owned()).collect()
    };
    let actions = list("ActionNames");
    let mut resources = list("ResourceArns");
    if resources.is_empty() {
        resources.push("*".to_owned());
    }
    if actions.is_empty() || actions.len().saturating_mul(resources.len()) > MOST_RESULTS {
        let text = "1 validation error detected: Value at 'actionNames' failed to satisfy constraint: Member must not be null or too long";
        return Err(Refusal::of_iam(400, "ValidationError", text));
    }
    let world = &call.state.world;
    let standing = Standing {
        of_role: source.contains(":role/"),
        identity: holder.identity(world),
        boundary: holder.limit(world),
        session: Vec::new(),
    };
    let keys = call.context(&source);
    let caller = Attributes {
        arn: &source,
        principal_arn: &source,
        unique_id: "",
        account: &call.account,
        partition: &call.partition,
        service: None,
        federated: None,
    };
    let mut results = Vec::new();
    for action in &actions {
        for resource in &resources {
            let ask = Ask {
                action,
                resource,
                caller: &caller,
                keys: &keys,
            };
            let decision = decide_identity(&standing, &ask);
            let word = match (decision.allowed, decision.because.contains("explicit deny")) {
                (true, _) => "allowed",
                (false, true) => "explicitDeny",
                (false, false) => "implicitDeny",
            };
            results.push(vec![
                Element::Text("EvalActionName", action.clone()),
                Element::Text("EvalResourceName", resource.clone()),
                Element::Text("EvalDecision", word.to_owned()),
            ]);
        }
    }
    Ok(Some(vec![Element::List("EvaluationResults", results), whole()]))
}
