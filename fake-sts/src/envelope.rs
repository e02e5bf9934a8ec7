//! Answers of the Query protocol: a small tree that is written as XML, or as JSON for clients that ask for it. It must not know what any
//! field means.

use serde_json::{Map, Value, json};

use crate::secret::Secret;

/// Namespace of answers and of most errors.
pub const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// Namespace of IAM's answers.
pub const IAM_NAMESPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";

/// Namespace of errors that the front end writes before any service sees the request.
pub const FAULT_NAMESPACE: &str = "http://webservices.amazon.com/AWSFault/2005-15-09";

/// One element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Element {
    /// A text.
    Text(&'static str, String),
    /// A text that must not be printed anywhere else.
    Secret(&'static str, Secret),
    /// A number, written as such in JSON.
    Number(&'static str, i64),
    /// A point in time: a text in XML, seconds since the epoch in JSON.
    Time(&'static str, jiff::Timestamp),
    /// A group.
    Group(&'static str, Vec<Element>),
    /// A list of members, each of them a group's content, or one text under the name `member`.
    List(&'static str, Vec<Vec<Element>>),
}

/// A list of texts.
#[must_use]
pub fn texts(name: &'static str, values: impl IntoIterator<Item = String>) -> Element {
    let members = values.into_iter().map(|value| vec![Element::Text(MEMBER, value)]);
    Element::List(name, members.collect())
}

/// What the members of a list are called.
const MEMBER: &str = "member";

/// How a client wants its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The default.
    Xml,
    /// `Accept: application/json`.
    Json,
}

impl Format {
    /// The content type of this format.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Xml => "text/xml",
            Self::Json => "application/json",
        }
    }
}

/// An answer of an action.
#[must_use]
pub fn success(action: &str, result: Option<&[Element]>, request_id: &str, namespace: &str, format: Format) -> String {
    let name = |suffix: &str| format!("{action}{suffix}");
    match format {
        Format::Xml => {
            let mut text = format!("<{} xmlns=\"{namespace}\">\n", name("Response"));
            if let Some(result) = result {
                write_group(&mut text, &name("Result"), result, 1);
            }
            let metadata = [Element::Text("RequestId", request_id.to_owned())];
            write_group(&mut text, "ResponseMetadata", &metadata, 1);
            text + &format!("</{}>\n", name("Response"))
        }
        Format::Json => {
            let mut content = json!({ "ResponseMetadata": { "RequestId": request_id } });
            if let (Some(result), Some(table)) = (result, content.as_object_mut()) {
                table.insert(name("Result"), to_json(result));
            }
            json!({ (name("Response")): content }).to_string()
        }
    }
}

/// An error.
#[must_use]
pub fn error(
    namespace: &str,
    kind: &str,
    code: &str,
    message: Option<&str>,
    request_id: &str,
    format: Format,
) -> String {
    match format {
        Format::Xml => {
            let mut text = format!("<ErrorResponse xmlns=\"{namespace}\">\n  <Error>\n");
            write_text(&mut text, "Type", kind, 2);
            write_text(&mut text, "Code", code, 2);
            if let Some(message) = message {
                write_text(&mut text, "Message", message, 2);
            }
            text += "  </Error>\n";
            write_text(&mut text, "RequestId", request_id, 1);
            text + "</ErrorResponse>\n"
        }
        Format::Json => {
            json!({ "Error": { "Type": kind, "Code": code, "Message": message }, "RequestId": request_id }).to_string()
        }
    }
}

fn write_element(text: &mut String, element: &Element, depth: usize) {
    match element {
        Element::Text(name, value) => write_text(text, name, value, depth),
        Element::Secret(name, value) => write_text(text, name, value.expose(), depth),
        Element::Number(name, number) => write_text(text, name, &number.to_string(), depth),
        Element::Time(name, at) => write_text(text, name, &at.to_string(), depth),
        Element::Group(name, members) => write_group(text, name, members, depth),
        Element::List(name, members) => write_list(text, name, members, depth),
    }
}

fn write_list(text: &mut String, name: &str, members: &[Vec<Element>], depth: usize) {
    let indent = "  ".repeat(depth);
    if members.is_empty() {
        for part in [&indent, "<", name, "/>\n"] {
            text.push_str(part);
        }
        return;
    }
    for part in [&indent, "<", name, ">\n"] {
        text.push_str(part);
    }
    for member in members {
        match member.as_slice() {
            [one @ Element::Text(MEMBER, _)] => write_element(text, one, depth + 1),
            content => write_group(text, MEMBER, content, depth + 1),
        }
    }
    for part in [&indent, "</", name, ">\n"] {
        text.push_str(part);
    }
}

fn write_group(text: &mut String, name: &str, members: &[Element], depth: usize) {
    let indent = "  ".repeat(depth);
    for part in [&indent, "<", name, ">\n"] {
        text.push_str(part);
    }
    for member in members {
        write_element(text, member, depth + 1);
    }
    for part in [&indent, "</", name, ">\n"] {
        text.push_str(part);
    }
}

fn write_text(text: &mut String, name: &str, value: &str, depth: usize) {
    let indent = "  ".repeat(depth);
    for part in [&indent, "<", name, ">", &escape(value), "</", name, ">\n"] {
        text.push_str(part);
    }
}

fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '\r' => escaped += "&#xD;",
            // XML 1.0 has no way to write these at all.
            other if other.is_control() && !matches!(other, '\n' | '\t') => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

fn to_json(members: &[Element]) -> Value {
    let mut map = Map::new();
    for member in members {
        let (name, value) = match member {
            Element::Text(name, value) => (*name, Value::from(value.as_str())),
            Element::Secret(name, value) => (*name, Value::from(value.expose())),
            Element::Number(name, number) => (*name, Value::from(*number)),
            Element::Time(name, at) => (*name, Value::from(at.as_second())),
            Element::Group(name, members) => (*name, to_json(members)),
            Element::List(name, members) => {
                let values = members.iter().map(|member| match member.as_slice() {
                    [Element::Text(MEMBER, value)] => Value::from(value.as_str()),
                    content => to_json(content),
                });
                (*name, Value::Array(values.collect()))
            }
        };
        map.insert(name.to_owned(), value);
    }
    Value::Object(map)
}

/// Replaces the text of the element at a path such as `["AssumedRoleUser", "Arn"]`; false when there is none.
pub fn replace(members: &mut [Element], path: &[&str], value: &str) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return false;
    };
    for member in members {
        match member {
            Element::Group(name, inner) if name == first => return replace(inner, rest, value),
            Element::Text(name, _) | Element::Secret(name, _) | Element::Number(name, _) | Element::Time(name, _)
                if name == first && rest.is_empty() =>
            {
                let name = *name;
                *member = Element::Text(name, value.to_owned());
                return true;
            }
            Element::Group(..)
            | Element::List(..)
            | Element::Text(..)
            | Element::Secret(..)
            | Element::Number(..)
            | Element::Time(..) => {}
        }
    }
    false
}
