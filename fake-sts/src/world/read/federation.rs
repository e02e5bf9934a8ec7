//! Managed policies, identity providers, issuers and the organization of a world file.

use fake_kit::seed::Seed;
use serde_json::{Map, Value};

use super::Reader;
use crate::arn::{Arn, is_account};
use crate::oidc::Algorithm;
use crate::policy::Kind;
use crate::saml::read_metadata;
use crate::world::federation::{
    IssuerKind, IssuerPlan, OidcProvider, Organization, SUB_COMPONENTS, SamlProvider, SamlSource, bare_issuer,
    provider_arn, saml_provider_arn,
};
use crate::world::{Account, Managed, World};

impl Reader {
    pub(super) fn federation(&mut self, table: &Map<String, Value>, world: &mut World, seed: &Seed) {
        for (field, entry) in self.entries(table, "policy") {
            if let Some(managed) = self.managed(&field, entry, seed) {
                world.put_managed(managed);
            }
        }
        for (field, entry) in self.entries(table, "oidc_provider") {
            if let Some(provider) = self.provider(&field, entry, &world.account) {
                world.put_provider(provider);
            }
        }
        for (field, entry) in self.entries(table, "saml_provider") {
            if let Some(provider) = self.saml_provider(&field, entry, &world.account) {
                if world.saml_provider(&provider.arn).is_some() {
                    self.fault(&format!("{field}.name"), "is taken", "describe each provider once");
                }
                world.put_saml_provider(provider);
            }
        }
        for (field, entry) in self.entries(table, "issuer") {
            if let Some(issuer) = self.issuer(&field, entry) {
                if world.issuers.iter().any(|other| other.url == issuer.url) {
                    self.fault(&format!("{field}.url"), "is taken", "describe each issuer once");
                }
                world.issuers.push(issuer);
            }
        }
        if let Some(value) = table.get("organization") {
            world.organization = self.organization(value);
        }
        let known: Vec<String> = world.managed.keys().cloned().collect();
        let mut wanted: Vec<String> = Vec::new();
        for holder in world
            .roles
            .values()
            .map(|role| &role.holder)
            .chain(world.users.values().map(|user| &user.holder))
        {
            wanted.extend(holder.attached.iter().chain(&holder.boundary).cloned());
        }
        wanted.sort();
        wanted.dedup();
        for arn in wanted.into_iter().filter(|arn| !known.contains(arn)) {
            self.fault(
                "policy_arns",
                format!("or boundary names {arn}, which no [[policy]] describes"),
                format!("write [[policy]] with arn = \"{arn}\" and its document"),
            );
        }
    }

    fn managed(&mut self, at: &str, table: &Map<String, Value>, seed: &Seed) -> Option<Managed> {
        self.unknown(at, table, &["arn", "document"]);
        let remedy = "write arn = \"arn:aws:iam::123456789012:policy/deploy\"";
        let arn = self.text(at, table, "arn", None, remedy);
        if let Some(arn) = &arn
            && !Arn::parse(arn).is_some_and(|arn| arn.service == "iam" && arn.resource.starts_with("policy/"))
        {
            self.fault(&format!("{at}.arn"), "is no ARN of a policy", remedy);
        }
        let document = match table.get("document") {
            Some(value) => self.document(&format!("{at}.document"), value, Kind::Identity),
            None => {
                self.fault(
                    &format!("{at}.document"),
                    "is missing",
                    "write what the policy says, as a table or as JSON",
                );
                None
            }
        };
        let arn = arn?;
        Some(Managed {
            id: format!("ANPA{}", seed.base32(&format!("policy:{arn}"), 0, 17)),
            arn,
            document: document?,
            created_at: None,
        })
    }

    fn issuer_url(&mut self, at: &str, table: &Map<String, Value>) -> Option<String> {
        let remedy = "write url = \"https://gitlab.example.com\"";
        let url = self.text(at, table, "url", None, remedy)?;
        let plain = bare_issuer(&url).is_some_and(|bare| !bare.contains(['?', '#', ' ', '@']));
        if !plain {
            self.fault(
                &format!("{at}.url"),
                "is no https URL of an issuer, without query and fragment",
                remedy,
            );
        }
        Some(url)
    }

    fn provider(&mut self, at: &str, table: &Map<String, Value>, account: &Account) -> Option<OidcProvider> {
        self.unknown(at, table, &["url", "account", "client_ids", "custom_claims"]);
        let url = self.issuer_url(at, table);
        let remedy = "write account = \"123456789012\"";
        let own = self.text(at, table, "account", Some(&account.id), remedy)?;
        if !is_account(&own) {
            self.fault(&format!("{at}.account"), "is not twelve digits", remedy);
        }
        let remedy = "write client_ids = [\"https://gitlab.example.com\"]: the audiences that are taken";
        let client_ids = self.texts(at, table, "client_ids", remedy);
        if client_ids.is_empty() || client_ids.len() > 100 {
            self.fault(&format!("{at}.client_ids"), "must have 1 to 100 audiences", remedy);
        }
        let custom_claims = self.flag(at, table, "custom_claims");
        let url = url?;
        Some(OidcProvider {
            arn: provider_arn(&account.partition, &own, &url)?,
            account: own,
            url,
            client_ids,
            thumbprints: Vec::new(),
            custom_claims,
        })
    }

    fn saml_provider(&mut self, at: &str, table: &Map<String, Value>, account: &Account) -> Option<SamlProvider> {
        self.unknown(at, table, &["name", "account", "entity_id", "metadata", "subjects"]);
        let name = self.text(at, table, "name", None, "write name = \"corp\"");
        let remedy = "write account = \"123456789012\"";
        let own = self.text(at, table, "account", Some(&account.id), remedy)?;
        if !is_account(&own) {
            self.fault(&format!("{at}.account"), "is not twelve digits", remedy);
        }
        let remedy = "write entity_id = \"https://idp.example.com/saml\" and let the fake play it, or metadata = \"\"\"<EntityDescriptor …\"\"\"";
        let source = match (table.contains_key("entity_id"), table.contains_key("metadata")) {
            (true, false) => {
                let entity_id = self.text(at, table, "entity_id", None, remedy)?;
                SamlSource::Played { entity_id }
            }
            (false, true) => {
                let document = self.text(at, table, "metadata", None, remedy)?;
                match read_metadata(&document) {
                    Ok(metadata) => SamlSource::Foreign { document, metadata },
                    Err(error) => {
                        let remedy = "write what the identity provider publishes";
                        self.fault(&format!("{at}.metadata"), format!("is not taken: {error}"), remedy);
                        return None;
                    }
                }
            }
            (true, true) | (false, false) => {
                self.fault(at, "has not one of entity_id and metadata", remedy);
                return None;
            }
        };
        let subjects = self.texts(
            at,
            table,
            "subjects",
            "write subjects = [\"alice\"]: whom it vouches for",
        );
        let name = name?;
        Some(SamlProvider {
            arn: saml_provider_arn(&account.partition, &own, &name),
            account: own,
            name,
            source,
            subjects,
        })
    }

    fn issuer(&mut self, at: &str, table: &Map<String, Value>) -> Option<IssuerPlan> {
        self.unknown(
            at,
            table,
            &["url", "kind", "algorithms", "sub_components", "subjects", "jwks"],
        );
        let url = self.issuer_url(at, table);
        let remedy = "write kind = \"gitlab\", \"kubernetes\" or \"plain\"";
        let kind = match self.text(at, table, "kind", Some("plain"), remedy)?.as_str() {
            "gitlab" => Some(IssuerKind::Gitlab),
            "kubernetes" => Some(IssuerKind::Kubernetes),
            "plain" => Some(IssuerKind::Plain),
            other => {
                self.fault(&format!("{at}.kind"), format!("is {other}"), remedy);
                None
            }
        };
        let remedy = "write algorithms = [\"RS256\"], of RS256, RS384, RS512, ES256, ES384, ES512";
        let mut algorithms = self.texts(at, table, "algorithms", remedy);
        if algorithms.iter().any(|name| Algorithm::parse(name).is_none()) {
            self.fault(&format!("{at}.algorithms"), "has one that does not exist", remedy);
        }
        if algorithms.is_empty() {
            algorithms.push("RS256".to_owned());
        }
        let remedy = "write sub_components = [\"project_path\", \"ref_type\", \"ref\"], or fewer, project_path first";
        let mut sub_components = self.texts(at, table, "sub_components", remedy);
        if sub_components.is_empty() {
            sub_components = SUB_COMPONENTS.map(str::to_owned).to_vec();
        }
        let known = sub_components.iter().all(|one| SUB_COMPONENTS.contains(&one.as_str()));
        if !known || sub_components.first().map(String::as_str) != Some("project_path") {
            self.fault(&format!("{at}.sub_components"), "is not what GitLab takes", remedy);
        }
        let remedy = "write subjects = [\"project_path:group/app:ref_type:branch:ref:main\"]";
        let subjects = self.texts(at, table, "subjects", remedy);
        let jwks = table.get("jwks").and_then(|value| {
            let text = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let read = crate::oidc::read_jwks(&text);
            if let Err(problem) = &read {
                self.fault(
                    &format!("{at}.jwks"),
                    problem.clone(),
                    "write the JSON that the issuer serves at its jwks_uri",
                );
            }
            read.is_ok().then_some(text)
        });
        Some(IssuerPlan {
            url: url?,
            kind: kind?,
            algorithms,
            sub_components,
            subjects,
            jwks,
        })
    }

    fn organization(&mut self, value: &Value) -> Option<Organization> {
        let remedy =
            "write [organization] with id = \"o-exampleorgid\", management = \"123456789012\", accounts = [\"...\"]";
        let Some(table) = value.as_object() else {
            self.fault("organization", "is not a table", remedy);
            return None;
        };
        let at = "organization";
        self.unknown(at, table, &["id", "management", "accounts", "root_sessions"]);
        let id = self.text(at, table, "id", None, remedy);
        let management = self.text(at, table, "management", None, remedy);
        let accounts = self.texts(at, table, "accounts", remedy);
        for account in accounts
            .iter()
            .chain(&management)
            .filter(|account| !is_account(account))
        {
            self.fault(at, format!("names {account}, not twelve digits"), remedy);
        }
        let root_sessions = self.flag(at, table, "root_sessions");
        let management = management?;
        Some(Organization {
            id: id?,
            accounts: accounts.into_iter().chain([management.clone()]).collect(),
            management,
            root_sessions,
        })
    }
}
