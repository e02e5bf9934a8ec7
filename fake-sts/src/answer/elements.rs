//! The elements of each answer, in the order in which STS writes them.

use super::Form;
use crate::envelope::Element;
use crate::state::{Caller, Owner, Session};

pub(super) fn identity(caller: &Caller) -> Vec<Element> {
    let attributes = caller.attributes();
    vec![
        Element::Text("Arn", attributes.arn.to_owned()),
        Element::Text("UserId", caller.user_id()),
        Element::Text("Account", attributes.account.to_owned()),
    ]
}

/// The name of the action and its result, once the credentials exist.
#[must_use]
pub fn granted(session: &Session, form: &Form) -> (&'static str, Vec<Element>) {
    let source_identity = || {
        session
            .source_identity
            .clone()
            .map(|text| Element::Text("SourceIdentity", text))
    };
    let packed_size = |packed: &Option<i64>| packed.map(|percent| Element::Number("PackedPolicySize", percent));
    match form {
        Form::AssumeRole(packed) => {
            let mut elements = vec![assumed_user(session), credentials(session)];
            elements.extend(source_identity());
            elements.extend(packed_size(packed));
            ("AssumeRole", elements)
        }
        Form::WebIdentity(identified, packed) => {
            let mut elements = vec![
                Element::Text("SubjectFromWebIdentityToken", identified.subject.clone()),
                Element::Text("Audience", identified.audience.clone()),
                assumed_user(session),
                credentials(session),
            ];
            elements.extend(source_identity());
            elements.push(Element::Text("Provider", identified.issuer.clone()));
            elements.extend(packed_size(packed));
            ("AssumeRoleWithWebIdentity", elements)
        }
        Form::Saml(asserted, packed) => {
            let mut elements = vec![
                Element::Text("Issuer", asserted.issuer.clone()),
                assumed_user(session),
                credentials(session),
                Element::Text("Audience", asserted.audience.clone()),
                Element::Text("SubjectType", asserted.subject_type.clone()),
            ];
            elements.extend(packed_size(packed));
            elements.push(Element::Text("NameQualifier", asserted.name_qualifier.clone()));
            elements.extend(source_identity());
            elements.push(Element::Text("Subject", asserted.subject.clone()));
            ("AssumeRoleWithSAML", elements)
        }
        Form::SessionToken => ("GetSessionToken", vec![credentials(session)]),
        Form::FederationToken(packed) => {
            let user = Element::Group(
                "FederatedUser",
                vec![
                    Element::Text("FederatedUserId", session.owner.user_id()),
                    Element::Text("Arn", session.arn.clone()),
                ],
            );
            let packed = Element::Number("PackedPolicySize", *packed);
            ("GetFederationToken", vec![credentials(session), user, packed])
        }
        Form::AssumeRoot => {
            let mut elements = vec![credentials(session)];
            elements.extend(source_identity());
            ("AssumeRoot", elements)
        }
    }
}

fn assumed_user(session: &Session) -> Element {
    Element::Group(
        "AssumedRoleUser",
        vec![
            Element::Text("AssumedRoleId", session.owner.user_id()),
            Element::Text("Arn", session.arn.clone()),
        ],
    )
}

fn credentials(session: &Session) -> Element {
    Element::Group(
        "Credentials",
        vec![
            Element::Text("AccessKeyId", session.access_key_id.clone()),
            Element::Secret("SecretAccessKey", session.secret.clone()),
            Element::Secret("SessionToken", session.token.clone()),
            Element::Time("Expiration", session.expiration),
        ],
    )
}

/// Who a canary is named after: the role, or whoever else the session is of.
#[must_use]
pub(crate) fn canary_name(owner: &Owner) -> String {
    match owner {
        Owner::Role { arn, .. } => format!("role:{}", arn.name),
        Owner::User(user) => format!("user:{}", user.name),
        Owner::Federated { name, .. } => format!("federated:{name}"),
        Owner::Root { account, .. } => format!("root:{account}"),
    }
}
