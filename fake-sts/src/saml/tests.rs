use proptest::prelude::*;
use serde_json::Value;

use super::canonical::Canonical;
use super::xml::parse;
use super::{ATTRIBUTES, Claim, IdentityProvider, Metadata, SIGN_IN, SamlError, Signed, read_metadata, read_response};

/// Made and signed with Python's signxml on libxml2.
const METADATA: &str = include_str!("tests/metadata.xml");
const ASSERTION_SIGNED: &str = include_str!("tests/assertion-signed.xml");
const RESPONSE_SIGNED: &str = include_str!("tests/response-signed.xml");

/// Random documents, and what libxml2 makes of one of their elements.
const CANONICAL: &str = include_str!("tests/canonical.json");

fn theirs() -> Metadata {
    read_metadata(METADATA).unwrap()
}

fn refusal(xml: &str) -> SamlError {
    read_response(xml, &theirs()).unwrap_err()
}

fn is_unsigned(error: &SamlError) -> bool {
    matches!(error, SamlError::Signature(_))
}

#[test]
fn elements_are_canonicalized_as_another_library_does() {
    let cases: Vec<Value> = serde_json::from_str(CANONICAL).unwrap();
    assert!(cases.len() >= 60);
    for case in &cases {
        let text = |name: &str| case[name].as_str().unwrap();
        let document = parse(text("xml")).unwrap();
        let at = usize::try_from(case["at"].as_u64().unwrap()).unwrap();
        let node = document.descendants().filter(|one| one.is_element()).nth(at).unwrap();
        let inclusive = case["inclusive"].as_array().unwrap().iter();
        let canonical = Canonical {
            without: None,
            inclusive: inclusive.map(Value::as_str).collect(),
        };
        assert_eq!(canonical.write(node).unwrap(), text("canonical"), "{}", text("xml"));
    }
}

/// libxml2 does not look at `#default` in a list of prefixes; the recommendation has it stand for the default namespace.
#[test]
fn the_default_namespace_may_be_inclusive() {
    let document = parse("<a:x xmlns:a=\"urn:a\" xmlns=\"urn:d\"><a:y/></a:x>").unwrap();
    let canonical = Canonical {
        without: None,
        inclusive: [None].into(),
    };
    assert_eq!(
        canonical.write(document.root_element()).unwrap(),
        "<a:x xmlns=\"urn:d\" xmlns:a=\"urn:a\"><a:y></a:y></a:x>"
    );
}

#[test]
fn responses_that_another_library_signed_are_read() {
    for xml in [ASSERTION_SIGNED, RESPONSE_SIGNED] {
        for xml in [xml.to_owned(), xml.replace('\n', "\r\n")] {
            let assertion = read_response(&xml, &theirs()).unwrap();
            assert_eq!(assertion.issuer, "https://idp.example.com/saml");
            assert_eq!(assertion.subject, "al<ice@example.com & \"co\"");
            assert_eq!(assertion.confirmations[0].recipient, SIGN_IN);
            assert_eq!(assertion.audiences, [[SIGN_IN]]);
            let roles = &assertion.attributes[&format!("{ATTRIBUTES}Role")];
            assert_eq!(
                *roles,
                ["arn:aws:iam::123456789012:role/people,arn:aws:iam::123456789012:saml-provider/corp"]
            );
        }
    }
}

#[test]
fn what_was_signed_may_not_be_changed() {
    for xml in [ASSERTION_SIGNED, RESPONSE_SIGNED] {
        for (from, to) in [
            ("role/people", "role/admins"),
            ("ice&#x40;example", "eve&#x40;example"),
            ("FriendlyName=\"a", "FriendlyName=\"b"),
            ("05:11:07Z", "06:11:07Z"),
            ("&gt; &amp;", "&gt;  &amp;"),
        ] {
            let changed = xml.replace(from, to);
            assert_ne!(changed, xml);
            let error = refusal(&changed);
            assert!(is_unsigned(&error), "{from}: {error}");
            assert!(error.to_string().contains("the digest differs"), "{from}: {error}");
        }
        let other = IdentityProvider::new("https://idp.example.com/saml");
        assert_eq!(other.metadata(), None);
        let mut other = other;
        assert!(other.equip());
        let metadata = read_metadata(&other.metadata().unwrap()).unwrap();
        let error = read_response(xml, &metadata).unwrap_err();
        assert!(error.to_string().contains("no certificate of the provider"), "{error}");
    }
}

/// The signed assertion, and the same without its signature and with another role.
fn parts() -> (String, String, String) {
    let start = ASSERTION_SIGNED.find("<Assertion").unwrap();
    let end = ASSERTION_SIGNED.find("</Assertion>").unwrap() + "</Assertion>".len();
    let signed = ASSERTION_SIGNED[start..end].to_owned();
    let at = signed.find("<ds:Signature ").unwrap();
    let after = signed.find("</ds:Signature>").unwrap() + "</ds:Signature>".len();
    let signature = signed[at..after].to_owned();
    let evil = format!("{}{}", &signed[..at], &signed[after..]).replace("role/people", "role/admins");
    (signed, signature, evil)
}

#[test]
fn no_wrapping_makes_another_assertion_be_read() {
    let (signed, signature, evil) = parts();
    let renamed = evil.replace("_a1", "_evil");
    let with = |at: &str, text: &str| evil.replacen(at, &format!("{text}{at}"), 1);
    let issuer = "</Issuer>";
    let in_object = signature.replace(
        "</ds:Signature>",
        &format!("<ds:Object>{signed}</ds:Object></ds:Signature>"),
    );
    let attacks = [
        // The forged one before, behind, around and inside the signed one.
        ("before", format!("{renamed}{signed}")),
        ("behind", format!("{signed}{renamed}")),
        ("the same ID", format!("{evil}{signed}")),
        ("unsigned", evil.clone()),
        (
            "in extensions",
            format!("<samlp:Extensions>{signed}</samlp:Extensions>{renamed}"),
        ),
        (
            "around it",
            renamed.replace("</Assertion>", &format!("{signed}</Assertion>")),
        ),
        (
            "in an object",
            evil.replacen(issuer, &format!("{issuer}{in_object}"), 1)
                .replacen("ID=\"_a1\"", "ID=\"_evil\"", 1),
        ),
        (
            "its signature taken over",
            evil.replacen(issuer, &format!("{issuer}{signature}"), 1),
        ),
        (
            "its signature and another id",
            renamed.replacen(issuer, &format!("{issuer}{signature}"), 1),
        ),
        ("a signature elsewhere", with("</Conditions>", &signature)),
        (
            "two signatures",
            signed.replacen(issuer, &format!("{issuer}{signature}"), 1),
        ),
        (
            "a second subject",
            signed.replace("</Subject>", "</Subject><Subject><NameID>eve</NameID></Subject>"),
        ),
        (
            "another namespace",
            format!("{signed}<x:Assertion xmlns:x=\"urn:oasis:names:tc:SAML:1.0:assertion\"/>"),
        ),
    ];
    for (what, assertion) in attacks {
        let xml = ASSERTION_SIGNED.replace(&signed, &assertion);
        assert_ne!(xml, ASSERTION_SIGNED, "{what}");
        let error = refusal(&xml);
        assert!(
            matches!(error, SamlError::Signature(_) | SamlError::Shape(_)),
            "{what}: {error}"
        );
    }
}

#[test]
fn a_signature_says_exactly_what_saml_has_it_say() {
    let exclusive = "http://www.w3.org/2001/10/xml-exc-c14n#";
    for (from, to, wanted) in [
        (
            "xmldsig-more#rsa-sha256",
            "xmldsig-more#hmac-sha256",
            "RSA with SHA-256, SHA-384 or SHA-512 is taken",
        ),
        (
            "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
            "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
            "RSA with SHA-256, SHA-384 or SHA-512 is taken",
        ),
        (
            "http://www.w3.org/2001/04/xmlenc#sha256",
            "http://www.w3.org/2000/09/xmldsig#sha1",
            "SHA-256, SHA-384 or SHA-512 is taken",
        ),
        (
            exclusive,
            "http://www.w3.org/TR/2001/REC-xml-c14n-20010315",
            "is not taken here",
        ),
        (
            "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
            "http://www.w3.org/TR/1999/REC-xslt-19991116",
            "is not taken here",
        ),
        (
            "URI=\"#_a1\"",
            "URI=\"\"",
            "does not refer to the element that it stands in",
        ),
        (
            "URI=\"#_a1\"",
            "URI=\"#_r1\"",
            "does not refer to the element that it stands in",
        ),
        (
            "</ds:Reference>",
            "</ds:Reference><ds:Reference URI=\"#_r1\"/>",
            "more than one Reference",
        ),
        ("</ds:KeyInfo>", "</ds:KeyInfo><ds:Object/>", "carries an Object"),
        ("<ds:SignatureValue>", "<ds:SignatureValue>*", "is not base64"),
        ("<ds:SignatureValue>", "<ds:SignatureValue>AAAA", "no certificate"),
    ] {
        let changed = ASSERTION_SIGNED.replace(from, to);
        assert_ne!(changed, ASSERTION_SIGNED);
        let told = refusal(&changed).to_string();
        assert!(told.contains(wanted), "{from} -> {to}: {told}");
    }
}

#[test]
fn document_types_and_instructions_are_refused_and_comments_divide_nothing() {
    for (before, wanted) in [
        ("<!DOCTYPE x [<!ENTITY e \"evil\">]>", "DTD"),
        (
            "<!DOCTYPE x SYSTEM \"file:///etc/passwd\"><?xml-stylesheet href=\"x\"?>",
            "DTD",
        ),
        ("<?xml-stylesheet href=\"x\"?>", "processing instruction"),
    ] {
        let told = refusal(&format!("{before}{ASSERTION_SIGNED}")).to_string();
        assert!(told.contains(wanted), "{told}");
    }
    // The canonical form has no comments, so the signature still holds: what is read must not end at one.
    for (from, to) in [
        ("example.com<![CDATA[", "example.com<!-- x --><![CDATA["),
        ("role/people", "role/<!---->people"),
    ] {
        let commented = ASSERTION_SIGNED.replace(from, to);
        assert_ne!(commented, ASSERTION_SIGNED);
        assert_eq!(
            read_response(&commented, &theirs()),
            read_response(ASSERTION_SIGNED, &theirs())
        );
    }
    let inside = ASSERTION_SIGNED.replace("role/people", "role/<b/>people");
    assert!(read_response(&inside, &theirs()).is_err());
    let deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
    let hidden = ASSERTION_SIGNED.replace("<empty>", &format!("<empty>{deep}"));
    assert!(read_response(&hidden, &theirs()).is_err());
    let deep = format!("{}{}", "<a>".repeat(500), "</a>".repeat(500));
    let hidden = ASSERTION_SIGNED.replace("<empty>", &format!("<empty>{deep}"));
    assert!(refusal(&hidden).to_string().contains("nested too deep"));
}

#[test]
fn responses_of_others_are_told_apart() {
    let other = Metadata {
        entity_id: "https://other.example.com".to_owned(),
        ..theirs()
    };
    assert_eq!(
        read_response(ASSERTION_SIGNED, &other).unwrap_err().to_string(),
        "the issuer is https://idp.example.com/saml, the provider's metadata are of https://other.example.com"
    );
    let failed = ASSERTION_SIGNED.replace("status:Success", "status:Requester");
    assert!(matches!(refusal(&failed), SamlError::Rejected { .. }));
    assert!(matches!(refusal("<x/>"), SamlError::Shape(_)));
    assert!(matches!(refusal("x"), SamlError::Xml(_)));
}

#[test]
fn metadata_without_a_key_to_sign_with_are_refused() {
    assert_eq!(theirs().keys.len(), 1);
    for (from, to, wanted) in [
        ("use=\"signing\"", "use=\"encryption\"", "has no X509Certificate"),
        ("<md:IDPSSODescriptor", "<md:SPSSODescriptor", "not closed"),
        (" entityID=\"https://idp.example.com/saml\"", "", "has no entityID"),
        ("EntityDescriptor", "EntitiesDescriptor", "no EntityDescriptor"),
        ("<ds:X509Certificate>\n", "<ds:X509Certificate>\n*", "not base64"),
        (
            "<ds:X509Certificate>\n",
            "<ds:X509Certificate>\nAAAA",
            "has no X509Certificate",
        ),
    ] {
        let changed = METADATA.replace(from, to);
        let told = read_metadata(&changed);
        match told {
            Err(error) if wanted == "not closed" => assert!(matches!(error, SamlError::Xml(_)), "{error}"),
            Err(error) => assert!(error.to_string().contains(wanted), "{from}: {error}"),
            Ok(_) => panic!("{from}"),
        }
    }
}

fn played() -> (IdentityProvider, Metadata) {
    let mut provider = IdentityProvider::new("https://idp.example.com/?a=1&b=2");
    assert!(provider.equip());
    let metadata = read_metadata(&provider.metadata().unwrap()).unwrap();
    (provider, metadata)
}

#[test]
fn what_the_played_provider_signs_is_believed_and_nothing_else() {
    let (provider, metadata) = played();
    assert_eq!(metadata.keys, [provider.public_key().unwrap()]);
    assert!(
        provider.metadata().unwrap().len() >= 1_000,
        "IAM takes no shorter metadata"
    );
    let now = "2026-03-04T05:06:07.5Z".parse().unwrap();
    for sign in [Signed::Assertion, Signed::Response, Signed::Both, Signed::Nothing] {
        let claim = Claim {
            subject: "a<b>&\"c".to_owned(),
            tags: [("team".to_owned(), "r&d".to_owned())].into(),
            sign,
            ..Claim::default()
        };
        let read = read_response(&provider.respond(&claim, 1, now).unwrap(), &metadata);
        if sign == Signed::Nothing {
            assert!(is_unsigned(&read.unwrap_err()));
            continue;
        }
        let assertion = read.unwrap();
        assert_eq!(assertion.subject, "a<b>&\"c");
        assert_eq!(assertion.attributes[&format!("{ATTRIBUTES}PrincipalTag:team")], ["r&d"]);
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_readers_panic(text in "\\PC{0,200}", markup in "(<[a-z:!?/\\[]{0,6}[ a-z=\"'&;#x0-9>-]{0,20}){0,12}") {
        for xml in [&text, &markup] {
            let _ = read_metadata(xml);
            let _ = read_response(xml, &theirs());
        }
    }

    #[test]
    fn a_signed_response_that_is_mutilated_says_the_same_or_nothing(
        at: prop::sample::Index,
        length in 0_usize..40,
        put in "[ -~]{0,8}",
        whole: bool,
    ) {
        let xml = if whole { RESPONSE_SIGNED } else { ASSERTION_SIGNED };
        let at = at.index(xml.len());
        let end = (at + length).min(xml.len());
        prop_assume!(xml.is_char_boundary(at) && xml.is_char_boundary(end));
        let changed = format!("{}{put}{}", &xml[..at], &xml[end..]);
        if let Ok(read) = read_response(&changed, &theirs()) {
            // White space between attributes, comments, the unsigned part of the response.
            prop_assert_eq!(Ok(read), read_response(xml, &theirs()));
        }
    }

    #[test]
    fn certificates_that_are_cut_or_changed_give_no_panic(at: prop::sample::Index, byte: u8) {
        let (_, rest) = METADATA.split_once("<ds:X509Certificate>").unwrap();
        let (base64, _) = rest.split_once("</ds").unwrap();
        let mut bytes = super::signature::decode(base64).unwrap();
        let index = at.index(bytes.len());
        bytes[index] = byte;
        for der in [&bytes[..], &bytes[..index]] {
            use base64::Engine as _;
            let encoded = base64::engine::general_purpose::STANDARD.encode(der);
            let _ = read_metadata(&METADATA.replace(base64, &encoded));
        }
    }
}
