//! What of an answer of STS is passed on, and that none of it can be printed.

use std::time::Duration;

use proptest::prelude::*;

use super::deploy;
use crate::credentials::{Assumed, Failure, Issued, Key, Secret};
use crate::fixture::PausedClock;

#[test]
fn an_answer_with_another_source_identity_is_not_passed_on() {
    let check = |asked: Option<&str>, answered: Option<&str>| {
        let key = Key {
            source_identity: asked.map(str::to_owned),
            ..Key::clone(&deploy())
        };
        let assumed = Assumed {
            assumed_role_arn: "arn:aws:sts::123456789012:assumed-role/deploy/20-302-Ab3dEf9_x".to_owned(),
            source_identity: answered.map(str::to_owned),
            access_key_id: "ASIA".to_owned(),
            secret_access_key: Secret::new("a".to_owned()),
            session_token: Secret::new("b".to_owned()),
            expires: PausedClock::epoch() + Duration::from_hours(1),
        };
        Issued::check(&key, &assumed, PausedClock::epoch()).map(drop)
    };
    assert_eq!(check(Some("20-302"), Some("20-302")), Ok(()));
    assert_eq!(check(Some("20-302"), Some("20-303")), Err(Failure::WrongAnswer));
    assert_eq!(check(Some("20-302"), None), Err(Failure::WrongAnswer));
    // The base credentials brought it.
    assert_eq!(check(None, Some("operator")), Ok(()));
}

#[test]
fn nothing_secret_can_be_printed() {
    let key = deploy();
    let assumed = Assumed {
        assumed_role_arn: "arn:aws:sts::123456789012:assumed-role/deploy/20-302-Ab3dEf9_x".to_owned(),
        source_identity: None,
        access_key_id: "ASIA".to_owned(),
        secret_access_key: Secret::new("hidden1".to_owned()),
        session_token: Secret::new("hidden2".to_owned()),
        expires: PausedClock::epoch() + Duration::from_hours(1),
    };
    let issued = Issued::check(&key, &assumed, PausedClock::epoch()).unwrap();
    let printed = format!(
        "{assumed:?} {issued:?} {} {:?}",
        assumed.session_token, assumed.session_token
    );
    assert!(!printed.contains("hidden"), "{printed}");
    assert!(issued.reveal_document().contains("hidden1"));
}

proptest! {
    #[test]
    fn no_answer_of_sts_breaks_the_document(id in ".{0,20}", secret in ".{0,20}", token in ".{0,20}") {
        let assumed = Assumed {
            assumed_role_arn: "arn:aws:sts::123456789012:assumed-role/deploy/20-302-Ab3dEf9_x".to_owned(),
            source_identity: None,
            access_key_id: id.clone(),
            secret_access_key: Secret::new(secret),
            session_token: Secret::new(token),
            expires: PausedClock::epoch() + Duration::from_hours(1),
        };
        if let Ok(issued) = Issued::check(&deploy(), &assumed, PausedClock::epoch()) {
            let document: serde_json::Value = serde_json::from_str(issued.reveal_document()).unwrap();
            prop_assert_eq!(&document["AccessKeyId"], &serde_json::Value::String(id));
            prop_assert_eq!(document.as_object().unwrap().len(), 7);
            let text = issued.reveal_container_document(&deploy().role);
            let container: serde_json::Value = serde_json::from_str(&text).unwrap();
            for name in ["AccessKeyId", "SecretAccessKey", "Token", "Expiration"] {
                prop_assert_eq!(&container[name], &document[name]);
            }
            prop_assert_eq!(container.as_object().unwrap().len(), 5);
        }
    }
}
