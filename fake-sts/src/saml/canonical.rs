//! Exclusive XML canonicalization without comments (W3C, 18 July 2002): the one text that all ways to write an element have in common,
//! which is what signatures are computed on. It must not know what is signed.

use std::collections::{BTreeMap, BTreeSet};

use roxmltree::{Node, NodeId};

use super::xml::{SamlError, prefix, shape, written, written_attribute};

/// Deeper documents are refused: nobody writes them but to exhaust a stack.
const DEEPEST: usize = 64;

type Rendered<'a> = BTreeMap<Option<&'a str>, &'a str>;

/// What is canonicalized, and how.
pub(super) struct Canonical<'a> {
    /// A child of the element that is left out: its own signature.
    pub(super) without: Option<NodeId>,
    /// Prefixes that are written wherever they are declared (InclusiveNamespaces).
    pub(super) inclusive: BTreeSet<Option<&'a str>>,
}

impl Canonical<'_> {
    /// The canonical text of an element.
    pub(super) fn write(&self, node: Node<'_, '_>) -> Result<String, SamlError> {
        let mut out = String::new();
        self.element(node, &Rendered::new(), 0, &mut out)?;
        Ok(out)
    }

    fn element(
        &self,
        node: Node<'_, '_>,
        around: &Rendered<'_>,
        depth: usize,
        out: &mut String,
    ) -> Result<(), SamlError> {
        if depth > DEEPEST {
            return Err(shape("its elements are nested too deep"));
        }
        let name = written(node);
        let mut used: BTreeSet<Option<&str>> = BTreeSet::from([prefix(name)]);
        used.extend(
            node.attributes()
                .filter_map(|one| prefix(written_attribute(node, &one)))
                .map(Some),
        );
        for one in &self.inclusive {
            if node.lookup_namespace_uri(*one).is_some() {
                used.insert(*one);
            }
        }
        let mut rendered = around.clone();
        out.push('<');
        out.push_str(name);
        // An absent default namespace is written only where it undoes another.
        for one in used.into_iter().filter(|one| *one != Some("xml")) {
            let uri = node.lookup_namespace_uri(one).unwrap_or_default();
            if rendered.get(&one).copied().unwrap_or_default() == uri && (one.is_none() || rendered.contains_key(&one))
            {
                continue;
            }
            match one {
                None => out.push_str(" xmlns=\""),
                Some(prefix) => {
                    out.push_str(" xmlns:");
                    out.push_str(prefix);
                    out.push_str("=\"");
                }
            }
            escape_value(uri, out);
            out.push('"');
            rendered.insert(one, uri);
        }
        let mut attributes: Vec<_> = node.attributes().collect();
        attributes.sort_by_key(|one| (one.namespace().unwrap_or_default(), one.name()));
        for one in &attributes {
            out.push(' ');
            out.push_str(written_attribute(node, one));
            out.push_str("=\"");
            escape_value(one.value(), out);
            out.push('"');
        }
        out.push('>');
        for child in node.children().filter(|child| Some(child.id()) != self.without) {
            if child.is_element() {
                self.element(child, &rendered, depth + 1, out)?;
            } else if child.is_text() {
                escape_text(child.text().unwrap_or_default(), out);
            }
        }
        out.push_str("</");
        out.push_str(name);
        out.push('>');
        Ok(())
    }
}

fn escape_value(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '"' => out.push_str("&quot;"),
            '\t' => out.push_str("&#x9;"),
            '\n' => out.push_str("&#xA;"),
            '\r' => out.push_str("&#xD;"),
            other => out.push(other),
        }
    }
}

fn escape_text(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\r' => out.push_str("&#xD;"),
            other => out.push(other),
        }
    }
}
