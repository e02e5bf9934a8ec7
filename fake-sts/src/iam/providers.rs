//! OpenID Connect providers.

use super::input::created;
use super::{Call, Done};
use crate::envelope::{self, Element};
use crate::refusal::Refusal;
use crate::world::{OidcProvider, bare_issuer, provider_arn};

/// IAM's quotas.
const MOST_CLIENTS: usize = 100;
const MOST_THUMBPRINTS: usize = 5;

impl Call<'_> {
    fn provider(&self) -> Result<OidcProvider, Refusal> {
        let arn = self.text("OpenIDConnectProviderArn")?;
        let found = self.state.world.provider(&arn);
        found
            .filter(|provider| provider.account == self.account)
            .cloned()
            .ok_or_else(|| {
                let text = format!("OpenIDConnect Provider not found for arn {arn}");
                Refusal::of_iam(404, "NoSuchEntity", text)
            })
    }

    fn list(&self, name: &str) -> Vec<String> {
        let members = self.parameters.members(name).into_iter();
        members.map(|(_, _, text)| text.to_owned()).collect()
    }

    fn thumbprints(&self) -> Result<Vec<String>, Refusal> {
        let list = self.list("ThumbprintList");
        let sound = |print: &String| print.len() == 40 && print.bytes().all(|byte| byte.is_ascii_hexdigit());
        if list.len() > MOST_THUMBPRINTS {
            let text = format!("Thumbprint list must contain fewer than {MOST_THUMBPRINTS} entries.");
            return Err(Refusal::of_iam(400, "InvalidInput", text));
        }
        if !list.iter().all(sound) {
            let text = "Thumbprint must be a 40 character hexadecimal string.";
            return Err(Refusal::of_iam(400, "InvalidInput", text));
        }
        Ok(list)
    }
}

pub(super) fn create(call: &mut Call<'_>) -> Done {
    let url = call.text("Url")?;
    let client_ids = call.list("ClientIDList");
    let thumbprints = call.thumbprints()?;
    let plain = bare_issuer(&url).is_some_and(|bare| !bare.contains(['?', '#']));
    let Some(arn) = provider_arn(&call.partition, &call.account, &url).filter(|_| plain) else {
        let text = "Invalid Open ID Connect Provider URL";
        return Err(Refusal::of_iam(400, "InvalidInput", text));
    };
    if client_ids.len() > MOST_CLIENTS {
        let text = format!("Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: {MOST_CLIENTS}");
        return Err(Refusal::of_iam(409, "LimitExceeded", text));
    }
    if call.state.world.provider(&arn).is_some() {
        let text = format!("Provider with url {url} already exists.");
        return Err(Refusal::of_iam(409, "EntityAlreadyExists", text));
    }
    let provider = OidcProvider {
        arn: arn.clone(),
        account: call.account.clone(),
        url,
        client_ids,
        thumbprints,
        custom_claims: false,
    };
    call.state.world.put_provider(provider);
    Ok(Some(vec![Element::Text("OpenIDConnectProviderArn", arn)]))
}

pub(super) fn get(call: &mut Call<'_>) -> Done {
    let provider = call.provider()?;
    Ok(Some(vec![
        Element::Text("Url", bare_issuer(&provider.url).unwrap_or_default().to_owned()),
        envelope::texts("ClientIDList", provider.client_ids),
        envelope::texts("ThumbprintList", provider.thumbprints),
        created(None),
    ]))
}

pub(super) fn list(call: &mut Call<'_>) -> Done {
    let own = call.state.world.providers().filter(|one| one.account == call.account);
    let members = own.map(|one| vec![Element::Text("Arn", one.arn.clone())]);
    Ok(Some(vec![Element::List(
        "OpenIDConnectProviderList",
        members.collect(),
    )]))
}

pub(super) fn add_client(call: &mut Call<'_>) -> Done {
    let mut provider = call.provider()?;
    let client = call.text("ClientID")?;
    if !provider.client_ids.contains(&client) {
        provider.client_ids.push(client);
    }
    if provider.client_ids.len() > MOST_CLIENTS {
        let text = format!("Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: {MOST_CLIENTS}");
        return Err(Refusal::of_iam(409, "LimitExceeded", text));
    }
    call.state.world.put_provider(provider);
    Ok(None)
}

pub(super) fn remove_client(call: &mut Call<'_>) -> Done {
    let mut provider = call.provider()?;
    let client = call.text("ClientID")?;
    provider.client_ids.retain(|own| *own != client);
    call.state.world.put_provider(provider);
    Ok(None)
}

pub(super) fn update_thumbprints(call: &mut Call<'_>) -> Done {
    let mut provider = call.provider()?;
    provider.thumbprints = call.thumbprints()?;
    call.state.world.put_provider(provider);
    Ok(None)
}

pub(super) fn delete(call: &mut Call<'_>) -> Done {
    let arn = call.provider()?.arn;
    call.state.world.delete_provider(&arn);
    Ok(None)
}
