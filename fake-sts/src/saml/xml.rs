//! Reading XML strictly: no document types, so no entities; no processing instructions; names by namespace, texts whole. It must not know
//! what elements mean.

use roxmltree::{Attribute, Document, Node, ParsingOptions};
use thiserror::Error;

pub(super) const ASSERTION: &str = "urn:oasis:names:tc:SAML:2.0:assertion";
pub(super) const PROTOCOL: &str = "urn:oasis:names:tc:SAML:2.0:protocol";
pub(super) const METADATA: &str = "urn:oasis:names:tc:SAML:2.0:metadata";
pub(super) const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";

/// A response of 100,000 characters has no more elements and texts than this, and metadata of a federation is cut to one provider first.
const MOST_NODES: u32 = 50_000;

/// Why a document is not believed. The texts are for the ledger; what a client is told is shorter.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SamlError {
    /// Not base64.
    #[error("not base64")]
    Encoding,
    /// Not XML, or with what is not taken.
    #[error("{0}")]
    Xml(String),
    /// Not a response, or not metadata, as SAML says they are.
    #[error("{0}")]
    Shape(String),
    /// The identity provider says that it failed.
    #[error("the identity provider answered {status}")]
    Rejected {
        /// The status code, as written.
        status: String,
    },
    /// Of another identity provider.
    #[error("the issuer is {found}, the provider's metadata are of {wanted}")]
    Issuer {
        /// As written.
        found: String,
        /// As in the metadata.
        wanted: String,
    },
    /// No signature covers what would be read, or it is wrong.
    #[error("{0}")]
    Signature(String),
}

pub(super) fn shape(text: impl Into<String>) -> SamlError {
    SamlError::Shape(text.into())
}

/// Reads a document.
pub(super) fn parse(text: &str) -> Result<Document<'_>, SamlError> {
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: MOST_NODES,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(text, options).map_err(|error| SamlError::Xml(error.to_string()))?;
    if document.descendants().any(|node| node.is_pi()) {
        return Err(SamlError::Xml("it has a processing instruction".to_owned()));
    }
    Ok(document)
}

pub(super) fn is(node: Node<'_, '_>, namespace: &str, name: &str) -> bool {
    node.is_element() && node.tag_name().name() == name && node.tag_name().namespace() == Some(namespace)
}

/// The children of that name.
pub(super) fn children<'a, 'i>(
    node: Node<'a, 'i>,
    namespace: &'static str,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |one| is(*one, namespace, name))
}

/// The one child of that name.
pub(super) fn only<'a, 'i>(
    node: Node<'a, 'i>,
    namespace: &'static str,
    name: &'static str,
) -> Result<Node<'a, 'i>, SamlError> {
    let mut found = children(node, namespace, name);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(shape(format!("{} has no {name}", node.tag_name().name()))),
        (Some(_), Some(_)) => Err(shape(format!("{} has more than one {name}", node.tag_name().name()))),
    }
}

/// The whole text of an element that has no other elements: comments in it divide nothing. White space around it takes no part.
pub(super) fn text(node: Node<'_, '_>) -> Result<String, SamlError> {
    if node.children().any(|one| one.is_element()) {
        return Err(shape(format!("{} has elements for a text", node.tag_name().name())));
    }
    let whole: String = node
        .children()
        .filter(Node::is_text)
        .filter_map(|one| one.text())
        .collect();
    Ok(whole.trim().to_owned())
}

/// An attribute without a namespace.
pub(super) fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.attributes()
        .find(|one| one.namespace().is_none() && one.name() == name)
        .map(|one| one.value())
}

/// The name of an element as it is written, with its prefix.
pub(super) fn written<'i>(node: Node<'_, 'i>) -> &'i str {
    let input = node.document().input_text();
    let start = input.get(node.range().start..).unwrap_or_default();
    let name = start.trim_start_matches('<');
    let end = name.find(|letter: char| letter.is_ascii_whitespace() || matches!(letter, '/' | '>'));
    name.get(..end.unwrap_or(name.len())).unwrap_or_default()
}

/// The name of an attribute as it is written.
pub(super) fn written_attribute<'i>(node: Node<'_, 'i>, attribute: &Attribute<'_, 'i>) -> &'i str {
    let input = node.document().input_text();
    input.get(attribute.range_qname()).unwrap_or_default()
}

/// The prefix of a written name.
pub(super) fn prefix(written: &str) -> Option<&str> {
    written.split_once(':').map(|(prefix, _)| prefix)
}
