//! A response and the one assertion in it. Signatures are verified before anything is read but who claims to have issued it, and what is
//! read is the element that was verified. It must not know what the time is.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use roxmltree::{Document, Node};

use super::metadata::Metadata;
use super::signature::{is_signed, verify};
use super::xml::{ASSERTION, DSIG, PROTOCOL, SamlError, attribute, children, is, only, parse, shape, text};

const SUCCESS: &str = "urn:oasis:names:tc:SAML:2.0:status:Success";
const BEARER: &str = "urn:oasis:names:tc:SAML:2.0:cm:bearer";

/// For whom, until when: one `SubjectConfirmation` of a bearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// `Recipient`.
    pub recipient: String,
    /// `NotOnOrAfter`.
    pub not_on_or_after: Timestamp,
    /// `NotBefore`.
    pub not_before: Option<Timestamp>,
}

/// An assertion whose signature was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assertion {
    /// `Issuer`.
    pub issuer: String,
    /// `NameID`.
    pub subject: String,
    /// Its format, a URI.
    pub format: Option<String>,
    /// `IssueInstant`.
    pub issued_at: Timestamp,
    /// Where it may be presented, and until when.
    pub confirmations: Vec<Confirmation>,
    /// Of `Conditions`.
    pub not_before: Option<Timestamp>,
    /// Of `Conditions`.
    pub not_on_or_after: Option<Timestamp>,
    /// Audiences of every restriction; all restrictions must be met.
    pub audiences: Vec<Vec<String>>,
    /// Until when sessions may last: `SessionNotOnOrAfter`.
    pub session_ends: Option<Timestamp>,
    /// By name.
    pub attributes: BTreeMap<String, Vec<String>>,
}

/// Reads a response.
///
/// # Errors
/// It is none, not of this provider, or not signed by it.
pub fn read_response(xml: &str, provider: &Metadata) -> Result<Assertion, SamlError> {
    let document = parse(xml)?;
    let root = document.root_element();
    if !is(root, PROTOCOL, "Response") {
        return Err(shape("the root is no Response of SAML 2.0"));
    }
    check_ids(&document)?;
    let status = only(only(root, PROTOCOL, "Status")?, PROTOCOL, "StatusCode")?;
    let status = attribute(status, "Value").unwrap_or_default();
    if status != SUCCESS {
        let status = status.to_owned();
        return Err(SamlError::Rejected { status });
    }
    let assertion = only_assertion(&document)?;
    let issuer = text(only(assertion, ASSERTION, "Issuer")?)?;
    if issuer != provider.entity_id {
        return Err(SamlError::Issuer {
            found: issuer,
            wanted: provider.entity_id.clone(),
        });
    }
    check_signatures(&document, assertion, provider)?;
    read(assertion, issuer)
}

/// Ids must be unique, or a reference could mean another element than the one that is read.
fn check_ids(document: &Document<'_>) -> Result<(), SamlError> {
    let mut seen = BTreeSet::new();
    for node in document.descendants().filter(Node::is_element) {
        for one in node.attributes().filter(|one| one.name().eq_ignore_ascii_case("id")) {
            if !seen.insert(one.value()) {
                return Err(shape(format!("two elements have the ID {}", one.value())));
            }
        }
    }
    Ok(())
}

/// The one assertion of the document, wherever others may hide.
fn only_assertion<'a, 'i>(document: &'a Document<'i>) -> Result<Node<'a, 'i>, SamlError> {
    let named = |name: &'static str| {
        let all = document.descendants().filter(Node::is_element);
        all.filter(move |one| one.tag_name().name() == name)
    };
    if named("EncryptedAssertion").next().is_some() {
        return Err(shape("the assertion is encrypted, which this fake does not read"));
    }
    if named("Assertion").count() > 1 {
        return Err(shape("there is more than one Assertion"));
    }
    only(document.root_element(), ASSERTION, "Assertion")
}

/// Every signature of the document must be the response's or the assertion's own, and right; one of them must be there.
fn check_signatures(document: &Document<'_>, assertion: Node<'_, '_>, provider: &Metadata) -> Result<(), SamlError> {
    let root = document.root_element();
    let wrong = |text: &str| SamlError::Signature(text.to_owned());
    for signature in document.descendants().filter(|one| is(*one, DSIG, "Signature")) {
        let parent = signature.parent().map(|parent| parent.id());
        if parent != Some(root.id()) && parent != Some(assertion.id()) {
            return Err(wrong(
                "a signature stands elsewhere than in the Response or its Assertion",
            ));
        }
    }
    let signed: Vec<Node<'_, '_>> = [root, assertion].into_iter().filter(|one| is_signed(*one)).collect();
    if signed.is_empty() {
        return Err(wrong("neither the Response nor its Assertion is signed"));
    }
    signed.into_iter().try_for_each(|one| verify(one, &provider.keys))
}

fn time(node: Node<'_, '_>, name: &str) -> Result<Option<Timestamp>, SamlError> {
    let read = |text: &str| {
        text.parse()
            .map_err(|_| shape(format!("{name} is {text}, which is no time")))
    };
    attribute(node, name).map(read).transpose()
}

fn read(assertion: Node<'_, '_>, issuer: String) -> Result<Assertion, SamlError> {
    let subject = only(assertion, ASSERTION, "Subject")?;
    let name = only(subject, ASSERTION, "NameID")?;
    let mut confirmations = Vec::new();
    for confirmation in children(subject, ASSERTION, "SubjectConfirmation") {
        if attribute(confirmation, "Method") != Some(BEARER) {
            continue;
        }
        let data = only(confirmation, ASSERTION, "SubjectConfirmationData")?;
        let recipient =
            attribute(data, "Recipient").ok_or_else(|| shape("SubjectConfirmationData has no Recipient"))?;
        let ends = time(data, "NotOnOrAfter")?;
        confirmations.push(Confirmation {
            recipient: recipient.to_owned(),
            not_on_or_after: ends.ok_or_else(|| shape("SubjectConfirmationData has no NotOnOrAfter"))?,
            not_before: time(data, "NotBefore")?,
        });
    }
    let conditions = only(assertion, ASSERTION, "Conditions")?;
    let mut audiences = Vec::new();
    for restriction in children(conditions, ASSERTION, "AudienceRestriction") {
        let named: Result<Vec<String>, SamlError> = children(restriction, ASSERTION, "Audience").map(text).collect();
        audiences.push(named?);
    }
    let mut attributes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for statement in children(assertion, ASSERTION, "AttributeStatement") {
        for one in children(statement, ASSERTION, "Attribute") {
            let name = attribute(one, "Name").ok_or_else(|| shape("an Attribute has no Name"))?;
            let values = attributes.entry(name.to_owned()).or_default();
            for value in children(one, ASSERTION, "AttributeValue") {
                values.push(text(value)?);
            }
        }
    }
    let mut session_ends = None;
    for statement in children(assertion, ASSERTION, "AuthnStatement") {
        session_ends = session_ends
            .into_iter()
            .chain(time(statement, "SessionNotOnOrAfter")?)
            .min();
    }
    Ok(Assertion {
        issuer,
        subject: text(name)?,
        format: attribute(name, "Format").map(str::to_owned),
        issued_at: time(assertion, "IssueInstant")?.ok_or_else(|| shape("the Assertion has no IssueInstant"))?,
        confirmations,
        not_before: time(conditions, "NotBefore")?,
        not_on_or_after: time(conditions, "NotOnOrAfter")?,
        audiences,
        session_ends,
        attributes,
    })
}
