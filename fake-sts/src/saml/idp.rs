//! An identity provider that the fake plays: its key, its metadata, and the responses that it signs. It must not know who may be what.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::canonical::Canonical;
use super::metadata::RSA_ENCRYPTION;
use super::signature::{DIGEST_SHA256, ENVELOPED, EXCLUSIVE, RSA_SHA256};
use super::xml::{ASSERTION, DSIG, METADATA, PROTOCOL, parse};
use super::{ATTRIBUTES, SIGN_IN};

/// What of a response is signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signed {
    /// The assertion.
    #[default]
    Assertion,
    /// The response around it.
    Response,
    /// Both.
    Both,
    /// Nothing: to see it refused.
    Nothing,
}

/// What a response claims.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Claim {
    /// Which SAML provider of the world, by name or ARN; needed where several are played.
    pub provider: Option<String>,
    /// ARNs of roles, or pairs of role and provider, `ROLE,PROVIDER`.
    pub roles: Vec<String>,
    /// `NameID`.
    pub subject: String,
    /// Its format; `persistent` when none is named.
    pub format: Option<String>,
    /// `RoleSessionName`; the subject when none is named.
    pub session_name: Option<String>,
    /// `SessionDuration`, in seconds.
    pub session_duration: Option<u32>,
    /// AWS's when none is named.
    pub audience: Option<String>,
    /// AWS's when none is named.
    pub recipient: Option<String>,
    /// `PrincipalTag:…`.
    pub tags: BTreeMap<String, String>,
    /// `TransitiveTagKeys`.
    pub transitive_tag_keys: Vec<String>,
    /// `SourceIdentity`.
    pub source_identity: Option<String>,
    /// How long it is good for; 300 seconds when none is named.
    pub lifetime_seconds: Option<u32>,
    /// Further attributes by their whole name.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// What is signed.
    pub sign: Signed,
}

/// An identity provider. Its key is made when it is first asked for, anew in each run.
pub struct IdentityProvider {
    entity_id: String,
    key: Option<(KeyPair, Vec<u8>)>,
}

impl std::fmt::Debug for IdentityProvider {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("IdentityProvider")
            .field("entity_id", &self.entity_id)
            .finish_non_exhaustive()
    }
}

impl IdentityProvider {
    /// One without a key.
    #[must_use]
    pub fn new(entity_id: &str) -> Self {
        Self {
            entity_id: entity_id.to_owned(),
            key: None,
        }
    }

    /// `entityID`.
    #[must_use]
    pub fn entity_id(&self) -> &str {
        &self.entity_id
    }

    /// Makes the key; false when the machine gives no randomness.
    pub fn equip(&mut self) -> bool {
        if self.key.is_none() {
            self.key = KeyPair::generate(KeySize::Rsa2048).ok().and_then(|key| {
                let certificate = certificate(&key, &self.entity_id)?;
                Some((key, certificate))
            });
        }
        self.key.is_some()
    }

    /// The public key, as RSAPublicKey in DER; none before [`Self::equip`].
    #[must_use]
    pub fn public_key(&self) -> Option<&[u8]> {
        self.key.as_ref().map(|(key, _)| key.public_key().as_ref())
    }

    /// Its `EntityDescriptor`, as IAM takes it; none before [`Self::equip`].
    #[must_use]
    pub fn metadata(&self) -> Option<String> {
        let (_, certificate) = self.key.as_ref()?;
        let id = escape(&self.entity_id);
        Some(format!(
            "<EntityDescriptor xmlns=\"{METADATA}\" entityID=\"{id}\">\
             <IDPSSODescriptor WantAuthnRequestsSigned=\"false\" protocolSupportEnumeration=\"{PROTOCOL}\">\
             <KeyDescriptor use=\"signing\"><KeyInfo xmlns=\"{DSIG}\"><X509Data><X509Certificate>{}</X509Certificate></X509Data></KeyInfo></KeyDescriptor>\
             <SingleSignOnService Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect\" Location=\"{id}\"/>\
             </IDPSSODescriptor></EntityDescriptor>",
            STANDARD.encode(certificate)
        ))
    }

    /// A response as XML; none before [`Self::equip`].
    #[must_use]
    pub fn respond(&self, claim: &Claim, serial: u64, now: Timestamp) -> Option<String> {
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let issuer = escape(&self.entity_id);
        let mut assertion = self.assertion(claim, serial, now);
        if matches!(claim.sign, Signed::Assertion | Signed::Both) {
            assertion = self.sign(&assertion)?;
        }
        let response = format!(
            "<samlp:Response xmlns:samlp=\"{PROTOCOL}\" ID=\"_response-{serial}\" Version=\"2.0\" IssueInstant=\"{now}\" Destination=\"{SIGN_IN}\">\
             <saml:Issuer xmlns:saml=\"{ASSERTION}\">{issuer}</saml:Issuer>\
             <samlp:Status><samlp:StatusCode Value=\"urn:oasis:names:tc:SAML:2.0:status:Success\"/></samlp:Status>\
             {assertion}</samlp:Response>"
        );
        if matches!(claim.sign, Signed::Response | Signed::Both) {
            return self.sign(&response);
        }
        Some(response)
    }

    fn assertion(&self, claim: &Claim, serial: u64, now: Timestamp) -> String {
        let ends = now
            .saturating_add(SignedDuration::from_secs(i64::from(
                claim.lifetime_seconds.unwrap_or(300),
            )))
            .unwrap_or(now);
        let or = |stated: &Option<String>, usual: &str| escape(stated.as_deref().unwrap_or(usual));
        let format = or(&claim.format, "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent");
        let (recipient, audience) = (or(&claim.recipient, SIGN_IN), or(&claim.audience, SIGN_IN));
        let mut attributes: Vec<(String, Vec<String>)> = Vec::new();
        let mut aws = |name: &str, values: Vec<String>| {
            if !values.is_empty() {
                attributes.push((format!("{ATTRIBUTES}{name}"), values));
            }
        };
        let name = claim.session_name.as_ref().unwrap_or(&claim.subject);
        aws("Role", claim.roles.clone());
        aws("RoleSessionName", vec![name.clone()]);
        aws(
            "SessionDuration",
            claim.session_duration.iter().map(u32::to_string).collect(),
        );
        aws("SourceIdentity", claim.source_identity.iter().cloned().collect());
        for (key, value) in &claim.tags {
            aws(&format!("PrincipalTag:{key}"), vec![value.clone()]);
        }
        aws("TransitiveTagKeys", claim.transitive_tag_keys.clone());
        attributes.extend(claim.attributes.clone());
        let attributes: String = attributes.iter().map(|(name, values)| written(name, values)).collect();
        format!(
            "<saml:Assertion xmlns:saml=\"{ASSERTION}\" ID=\"_assertion-{serial}\" Version=\"2.0\" IssueInstant=\"{now}\">\
             <saml:Issuer>{}</saml:Issuer>\
             <saml:Subject><saml:NameID Format=\"{format}\">{}</saml:NameID>\
             <saml:SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:bearer\">\
             <saml:SubjectConfirmationData NotOnOrAfter=\"{ends}\" Recipient=\"{recipient}\"/></saml:SubjectConfirmation></saml:Subject>\
             <saml:Conditions NotBefore=\"{now}\" NotOnOrAfter=\"{ends}\"><saml:AudienceRestriction><saml:Audience>{audience}</saml:Audience></saml:AudienceRestriction></saml:Conditions>\
             <saml:AuthnStatement AuthnInstant=\"{now}\"><saml:AuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:unspecified</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>\
             <saml:AttributeStatement>{attributes}</saml:AttributeStatement></saml:Assertion>",
            escape(&self.entity_id),
            escape(&claim.subject),
        )
    }

    /// The element with a signature behind its issuer, where the schema has it.
    fn sign(&self, element: &str) -> Option<String> {
        let (key, certificate) = self.key.as_ref()?;
        let plain = Canonical {
            without: None,
            inclusive: [].into(),
        };
        let document = parse(element).ok()?;
        let root = document.root_element();
        let id = root.attribute("ID")?;
        let hash = digest(&SHA256, plain.write(root).ok()?.as_bytes());
        let info = format!(
            "<ds:SignedInfo xmlns:ds=\"{DSIG}\"><ds:CanonicalizationMethod Algorithm=\"{EXCLUSIVE}\"/><ds:SignatureMethod Algorithm=\"{RSA_SHA256}\"/>\
             <ds:Reference URI=\"#{id}\"><ds:Transforms><ds:Transform Algorithm=\"{ENVELOPED}\"/><ds:Transform Algorithm=\"{EXCLUSIVE}\"/></ds:Transforms>\
             <ds:DigestMethod Algorithm=\"{DIGEST_SHA256}\"/><ds:DigestValue>{}</ds:DigestValue></ds:Reference></ds:SignedInfo>",
            STANDARD.encode(hash)
        );
        let message = plain.write(parse(&info).ok()?.root_element()).ok()?;
        let mut value = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut value)
            .ok()?;
        let signature = format!(
            "<ds:Signature xmlns:ds=\"{DSIG}\">{info}<ds:SignatureValue>{}</ds:SignatureValue>\
             <ds:KeyInfo><ds:X509Data><ds:X509Certificate>{}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></ds:Signature>",
            STANDARD.encode(value),
            STANDARD.encode(certificate)
        );
        let end = "</saml:Issuer>";
        let at = element.find(end)? + end.len();
        Some(format!("{}{signature}{}", element.get(..at)?, element.get(at..)?))
    }
}

fn written(name: &str, values: &[String]) -> String {
    let values: String = values
        .iter()
        .map(|value| format!("<saml:AttributeValue>{}</saml:AttributeValue>", escape(value)))
        .collect();
    format!("<saml:Attribute Name=\"{}\">{values}</saml:Attribute>", escape(name))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match u8::try_from(content.len()) {
        Ok(length) if length < 0x80 => out.push(length),
        _ => {
            let bytes = content.len().to_be_bytes();
            let digits: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
            // Eight digits at most.
            out.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
            out.extend(digits);
        }
    }
    out.extend(content);
    out
}

/// A certificate that signs itself, of the first version: nobody judges more of it than its key.
fn certificate(key: &KeyPair, name: &str) -> Option<Vec<u8>> {
    let algorithm = |last: u8| {
        let mut id = RSA_ENCRYPTION;
        *id.last_mut()? = last;
        Some(der(0x30, &[&der(0x06, &[&id]), &der(0x05, &[])]))
    };
    let signed_with = algorithm(11)?;
    let common_name = der(
        0x30,
        &[&der(0x06, &[&[0x55, 0x04, 0x03]]), &der(0x0c, &[name.as_bytes()])],
    );
    let name = der(0x30, &[&der(0x31, &[&common_name])]);
    let validity = der(
        0x30,
        &[&der(0x17, &[b"200101000000Z"]), &der(0x17, &[b"491231235959Z"])],
    );
    let info = der(0x30, &[&algorithm(1)?, &der(0x03, &[&[0], key.public_key().as_ref()])]);
    let body = der(
        0x30,
        &[&der(0x02, &[&[1]]), &signed_with, &name, &validity, &name, &info],
    );
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &body, &mut signature)
        .ok()?;
    Some(der(0x30, &[&body, &signed_with, &der(0x03, &[&[0], &signature])]))
}
