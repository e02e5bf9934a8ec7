//! SAML providers.

use super::input::created;
use super::{Call, Done};
use crate::envelope::Element;
use crate::refusal::Refusal;
use crate::saml::read_metadata;
use crate::world::{SamlProvider, SamlSource, saml_provider_arn};

/// What IAM takes of metadata at the least, in characters.
const SHORTEST: usize = 1_000;

impl Call<'_> {
    fn saml_provider(&self) -> Result<SamlProvider, Refusal> {
        let arn = self.text("SAMLProviderArn")?;
        let found = self.state.world.saml_provider(&arn);
        found
            .filter(|provider| provider.account == self.account)
            .cloned()
            .ok_or_else(|| Refusal::of_iam(404, "NoSuchEntity", format!("Manifest not found for arn {arn}")))
    }

    fn saml_metadata(&self) -> Result<SamlSource, Refusal> {
        let document = self.text("SAMLMetadataDocument")?;
        let length = document.chars().count();
        if length < SHORTEST {
            let text = "1 validation error detected: Value at 'sAMLMetadataDocument' failed to satisfy constraint: Member must have length greater than or equal to 1000";
            return Err(Refusal::of_iam(400, "ValidationError", text));
        }
        let metadata = read_metadata(&document).map_err(|error| {
            Refusal::of_iam(400, "InvalidInput", "Could not parse metadata").because(error.to_string())
        })?;
        Ok(SamlSource::Foreign { document, metadata })
    }
}

pub(super) fn create(call: &mut Call<'_>) -> Done {
    let name = call.text("Name")?;
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(sound) {
        let text = format!(
            "Value '{name}' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w._-]+"
        );
        return Err(Refusal::of_iam(400, "ValidationError", text));
    }
    let source = call.saml_metadata()?;
    let arn = saml_provider_arn(&call.partition, &call.account, &name);
    if call.state.world.saml_provider(&arn).is_some() {
        let text = format!("SAMLProvider for arn:{arn} already exists.");
        return Err(Refusal::of_iam(409, "EntityAlreadyExists", text));
    }
    call.state.world.put_saml_provider(SamlProvider {
        arn: arn.clone(),
        account: call.account.clone(),
        name,
        source,
        subjects: Vec::new(),
    });
    Ok(Some(vec![Element::Text("SAMLProviderArn", arn)]))
}

pub(super) fn get(call: &mut Call<'_>) -> Done {
    let provider = call.saml_provider()?;
    let document = match &provider.source {
        SamlSource::Foreign { document, .. } => document.clone(),
        SamlSource::Played { entity_id } => call
            .state
            .identity_provider_mut(entity_id)
            .and_then(|idp| {
                idp.equip();
                idp.metadata()
            })
            .unwrap_or_default(),
    };
    Ok(Some(vec![
        Element::Text("SAMLMetadataDocument", document),
        created(None),
    ]))
}

pub(super) fn list(call: &mut Call<'_>) -> Done {
    let own = call.state.world.saml_providers();
    let own = own.filter(|one| one.account == call.account);
    let members = own.map(|one| vec![Element::Text("Arn", one.arn.clone()), created(None)]);
    Ok(Some(vec![Element::List("SAMLProviderList", members.collect())]))
}

pub(super) fn update(call: &mut Call<'_>) -> Done {
    let mut provider = call.saml_provider()?;
    provider.source = call.saml_metadata()?;
    let arn = provider.arn.clone();
    call.state.world.put_saml_provider(provider);
    Ok(Some(vec![Element::Text("SAMLProviderArn", arn)]))
}

pub(super) fn delete(call: &mut Call<'_>) -> Done {
    let arn = call.saml_provider()?.arn;
    call.state.world.delete_saml_provider(&arn);
    Ok(None)
}
