use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Algorithm, Check, Extras, Issuer, Jwk, Laxity, SigningKey, TokenError, read_jwks, read_token};
use crate::world::{IssuerKind, IssuerPlan};

/// RSA keys are slow to make, so each algorithm's is made once.
fn keys() -> &'static [SigningKey] {
    static KEYS: std::sync::OnceLock<Vec<SigningKey>> = std::sync::OnceLock::new();
    KEYS.get_or_init(|| {
        Algorithm::ALL
            .into_iter()
            .map(|one| SigningKey::generate(one).unwrap())
            .collect()
    })
}

fn claims() -> Value {
    json!({ "iss": "https://gitlab.example.com", "sub": "project_path:a", "aud": "x", "exp": 4, "iat": 1 })
}

fn piece(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token with this header and payload, and the signature of another.
fn pasted(header: &str, payload: &str) -> String {
    let token = keys()[3].sign(&claims()).unwrap();
    let signature = token.rsplit('.').next().unwrap();
    format!(
        "{}.{}.{signature}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(payload)
    )
}

#[test]
fn what_each_algorithm_signs_its_published_key_verifies_and_no_other() {
    for key in keys() {
        let token = read_token(&key.sign(&claims()).unwrap()).unwrap();
        assert_eq!(token.algorithm, key.algorithm());
        let set = json!({ "keys": [key.public().to_json()] });
        let published = read_jwks(&set.to_string()).unwrap();
        assert_eq!(published, [key.public().clone()]);
        assert!(token.verifies(&published), "{:?}", key.algorithm());
        for other in keys().iter().filter(|other| other.algorithm() != key.algorithm()) {
            // Even under the name of the right key.
            let renamed = Jwk {
                kid: key.public().kid.clone(),
                ..other.public().clone()
            };
            assert!(
                !token.verifies(&[renamed]),
                "{:?} by {:?}",
                key.algorithm(),
                other.algorithm()
            );
        }
    }
}

#[test]
fn every_byte_of_a_token_matters() {
    let key = &keys()[3];
    let text = key.sign(&claims()).unwrap();
    let published = [key.public().clone()];
    assert!(read_token(&text).unwrap().verifies(&published));
    // The last letter of each piece may carry bits that mean nothing; base64url without padding refuses them.
    for at in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        let believed = read_token(&changed).is_ok_and(|token| token.verifies(&published));
        assert!(!believed, "byte {at} of {changed}");
    }
}

#[test]
fn algorithms_and_headers_that_lie_are_refused() {
    let payload = claims().to_string();
    for (header, wanted) in [
        (r#"{"alg":"none"}"#, "signed by none"),
        (r#"{"alg":"HS256"}"#, "signed by HS256"),
        (r#"{"alg":"ES256K"}"#, "signed by ES256K"),
        (r#"{"alg":"es256"}"#, "signed by es256"),
        (r#"{"typ":"JWT"}"#, "alg is missing"),
        (r#"{"alg":["ES256"]}"#, "alg is of the wrong type"),
        (r#"{"alg":"ES256","crit":["b64"],"b64":false}"#, "critical extensions"),
        (r#"{"alg":"none","alg":"ES256"}"#, "a name that stands twice"),
        ("[]", "not a JSON object"),
    ] {
        let error = read_token(&pasted(header, &payload)).unwrap_err().to_string();
        assert!(error.contains(wanted), "{header}: {error}");
    }
    let key = &keys()[3];
    for header in [
        json!({ "alg": "ES256", "kid": "../../etc/passwd" }),
        json!({ "alg": "ES256", "kid": "unknown", "jku": "http://127.0.0.1/keys" }),
        json!({ "alg": "ES256", "kid": "unknown", "jwk": key.public().to_json() }),
        json!({ "alg": "RS256", "kid": key.public().kid }),
    ] {
        let token = read_token(&pasted(&header.to_string(), &payload)).unwrap();
        assert!(!token.verifies(&[key.public().clone()]), "{header}");
    }
}

/// A token of RS256 whose header and payload say something else.
fn odd(header: Value, payload: Option<&str>) -> String {
    let extras = Extras {
        header: header.as_object().cloned().unwrap_or_default(),
        payload: payload.map(str::to_owned),
    };
    keys()[0].sign_with(&claims(), &extras).unwrap()
}

fn unsealed(token: &str, signature: &str) -> String {
    format!("{}.{signature}", token.rsplit_once('.').unwrap().0)
}

fn sealed(token: &str) -> String {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let jwk = keys()[0].public().to_json();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(jwk["n"].as_str().unwrap().as_bytes()).unwrap();
    mac.update(token.rsplit_once('.').unwrap().0.as_bytes());
    unsealed(token, &URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

#[test]
fn each_check_that_is_left_out_opens_its_own_door_and_no_other() {
    let published = [keys()[0].public().clone()];
    let stranger = &keys()[1];
    let embedded = Extras {
        header: json!({ "jwk": stranger.public().to_json() })
            .as_object()
            .cloned()
            .unwrap(),
        payload: None,
    };
    let twice = r#"{"iss":"a","sub":"x","sub":"y"}"#;
    let doors = [
        (Check::Algorithm, unsealed(&odd(json!({ "alg": "none" }), None), "")),
        (Check::Algorithm, unsealed(&odd(json!({ "alg": null }), None), "")),
        (Check::Algorithm, sealed(&odd(json!({ "alg": "HS256" }), None))),
        (Check::Claims, odd(json!({}), Some(twice))),
        (Check::Claims, odd(json!({}), Some(r#"{"iss":"a","sub":["x"]}"#))),
        (Check::KeyId, odd(json!({ "kid": "unknown" }), None)),
        (Check::EmbeddedKey, stranger.sign_with(&claims(), &embedded).unwrap()),
    ];
    let believes = |laxity: &Laxity, token: &str| {
        laxity
            .read(token)
            .is_ok_and(|reading| reading.names_one_of(&published) && reading.verifies(&published))
    };
    let sound = keys()[0].sign(&claims()).unwrap();
    for check in [Check::Algorithm, Check::Claims, Check::KeyId, Check::EmbeddedKey] {
        let lax = Laxity::from_iter([check]);
        assert!(believes(&lax, &sound), "{check:?}");
        assert!(
            !believes(&lax, &unsealed(&sound, "AAAA")),
            "{check:?} asks for a signature all the same"
        );
        for (own, token) in &doors {
            assert_eq!(believes(&lax, token), *own == check, "{check:?}: {token}");
        }
    }
    for (_, token) in &doors {
        assert!(!believes(&Laxity::default(), token), "{token}");
    }
    // With a wrong secret, and with an algorithm that nobody knows.
    let lax = Laxity::from_iter([Check::Algorithm]);
    let hs = odd(json!({ "alg": "HS256" }), None);
    assert!(!believes(&lax, &unsealed(&hs, "AAAA")));
    assert!(!believes(&lax, &odd(json!({ "alg": "HS512" }), None)));
}

#[test]
fn of_a_name_that_stands_twice_a_lax_reader_takes_the_last() {
    let token = odd(json!({}), Some(r#"{"iss":"a","sub":"x","sub":"y"}"#));
    let reading = Laxity::from_iter([Check::Claims]).read(&token).unwrap();
    assert_eq!(reading.token.subject.as_deref(), Some("y"));
}

#[test]
fn claims_of_other_types_are_refused() {
    let header = json!({ "alg": "ES256" }).to_string();
    for (payload, wanted) in [
        (r#"{"iss":"a","sub":["a"]}"#, TokenError::Type("sub")),
        (r#"{"iss":"a","exp":"4"}"#, TokenError::Type("exp")),
        (r#"{"iss":"a","exp":4.5}"#, TokenError::Type("exp")),
        (r#"{"iss":"a","aud":[1]}"#, TokenError::Type("aud")),
        (r#"{"iss":"a","aud":{}}"#, TokenError::Type("aud")),
        (r#"{"iss":1}"#, TokenError::Type("iss")),
        (r#"{"sub":"a"}"#, TokenError::Missing("iss")),
        (
            r#"{"iss":"a","sub":"x","sub":"y"}"#,
            TokenError::Malformed("not JSON, or a name that stands twice"),
        ),
        (
            r#"{"iss":"a","n":{"x":1,"x":2}}"#,
            TokenError::Malformed("not JSON, or a name that stands twice"),
        ),
    ] {
        assert_eq!(read_token(&pasted(&header, payload)), Err(wanted), "{payload}");
    }
}

#[test]
fn sets_of_keys_that_cannot_be_used_say_why() {
    for (text, wanted) in [
        ("{", "is not JSON"),
        ("{}", "has no list called keys"),
        (r#"{"keys":[]}"#, "has no RSA or EC key"),
        (r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#, "has no RSA or EC key"),
        (r#"{"keys":[{"kty":"RSA","n":"!","e":"AQAB"}]}"#, "whose n is no number"),
    ] {
        assert!(read_jwks(text).unwrap_err().contains(wanted), "{text}");
    }
}

#[test]
fn an_issuer_publishes_what_verifiers_need() {
    let mut issuer = Issuer::new(IssuerPlan {
        url: "https://gitlab.example.com".to_owned(),
        kind: IssuerKind::Gitlab,
        algorithms: vec!["ES256".to_owned()],
        sub_components: Vec::new(),
        subjects: Vec::new(),
        jwks: None,
    });
    assert!(issuer.is_bare() && issuer.published().is_empty());
    for name in [
        "issuer",
        "jwks_uri",
        "response_types_supported",
        "subject_types_supported",
        "id_token_signing_alg_values_supported",
    ] {
        assert!(!issuer.discovery()[name].is_null(), "{name}");
    }
    let uri = issuer.discovery()["jwks_uri"].as_str().unwrap().to_owned();
    let asked = uri.trim_start_matches("https://");
    assert!(issuer.owns(asked) && !issuer.owns("gitlab.example.com.evil/oauth/discovery/keys"));
    let set = issuer.document(asked).unwrap().unwrap();
    assert_eq!(read_jwks(&set.to_string()).unwrap().len(), 1);
    for _ in 0..40 {
        issuer.rotate(false).unwrap();
    }
    assert_eq!(issuer.published().len(), 24);
    // Someone else's keys verify and do not sign.
    let foreign = Issuer::new(IssuerPlan {
        url: "https://elsewhere.example.com".to_owned(),
        kind: IssuerKind::Plain,
        algorithms: vec!["ES256".to_owned()],
        sub_components: Vec::new(),
        subjects: Vec::new(),
        jwks: Some(set.to_string()),
    });
    assert_eq!(foreign.published().len(), 1);
    assert!(foreign.sign(&claims(), None).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_readers_panic(text in "\\PC{0,80}", head in "[ -~]{0,30}", body in "[ -~]{0,60}") {
        let _ = read_token(&text);
        let _ = read_token(&pasted(&head, &body));
        let _ = read_token(&format!("{}.{}.{text}", piece(&json!({ "alg": "RS256" })), piece(&claims())));
        let _ = read_jwks(&text);
    }
}
