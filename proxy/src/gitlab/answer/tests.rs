//! Which answers are a yes, one by one and under arbitrary changes.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::{read, read_protection};
use crate::config::{Ref, RefType, Verification};
use crate::fixture::{facts, gitlab};
use crate::gitlab::Unverified;
use crate::policy::{Job, read_labels};

fn job() -> Job {
    let facts = facts();
    read_labels(&facts.labels, &facts.image_labels).unwrap()
}

fn wanted(protected: bool, ref_types: &[RefType]) -> Verification {
    Verification {
        protected,
        ref_types: ref_types.iter().copied().collect(),
    }
}

fn judged(answer: &Value, wanted: &Verification) -> Result<Option<RefType>, Unverified> {
    read(answer.to_string().as_bytes(), &job(), wanted)
}

/// The usual answer, with one place changed.
fn changed(place: &str, value: Value) -> Value {
    let mut answer = gitlab::answer();
    let (parent, key) = place.rsplit_once('/').unwrap();
    let parent = answer.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    parent.insert(key.to_owned(), value);
    answer
}

#[test]
fn the_job_of_the_labels_is_confirmed_and_no_other() {
    let any = Verification::default();
    assert_eq!(judged(&gitlab::answer(), &any), Ok(None));
    for (place, value, part) in [
        ("/id", json!(303), "job"),
        ("/pipeline/project_id", json!(21), "project"),
        ("/pipeline/id", json!(575), "pipeline"),
        ("/ref", json!("main2"), "ref"),
        ("/ref", json!("refs/heads/main"), "ref"),
        ("/runner_manager/system_id", json!("s_0123456789ac"), "machine"),
    ] {
        let told = judged(&changed(place, value), &any);
        assert_eq!(told, Err(Unverified::Differs(part)), "{place}");
    }
}

#[test]
fn a_job_that_does_not_run_is_none() {
    for status in [
        "canceling",
        "canceled",
        "success",
        "failed",
        "pending",
        "Running",
        "running ",
        "",
    ] {
        let told = judged(&changed("/status", json!(status)), &Verification::default());
        assert_eq!(told, Err(Unverified::NotRunning), "{status}");
    }
}

#[test]
fn what_is_needed_and_not_told_is_a_refusal() {
    let any = Verification::default();
    for (place, part) in [
        ("/id", "job"),
        ("/pipeline", "pipeline"),
        ("/pipeline/id", "pipeline"),
        ("/pipeline/project_id", "project"),
        ("/ref", "ref"),
        ("/status", "status"),
    ] {
        assert_eq!(
            judged(&changed(place, Value::Null), &any),
            Err(Unverified::Untold(part)),
            "{place}"
        );
    }
    // Who does not want to know it does not need it.
    let without = changed("/tag", Value::Null);
    assert_eq!(judged(&without, &any), Ok(None));
    for wanted in [wanted(true, &[]), wanted(false, &[RefType::Branch])] {
        assert_eq!(judged(&without, &wanted), Err(Unverified::Untold("type of the ref")));
    }
    // Older servers name no machine.
    for place in ["/runner_manager", "/runner_manager/system_id"] {
        assert_eq!(judged(&changed(place, Value::Null), &any), Ok(None));
    }
}

#[test]
fn a_branch_a_tag_and_a_merge_request_of_one_name_are_told_apart() {
    let main = gitlab::answer();
    let tag = changed("/tag", json!(true));
    let request = changed("/pipeline/source", json!("merge_request_event"));
    let mut odd = request.clone();
    odd["tag"] = json!(true);
    let types = [RefType::Branch, RefType::Tag, RefType::MergeRequest];
    for (answer, expected) in [
        (&main, Some(types[0])),
        (&tag, Some(types[1])),
        (&request, Some(types[2])),
        (&odd, None),
    ] {
        for kind in types {
            let told = judged(answer, &wanted(false, &[kind]));
            let held = if expected == Some(kind) {
                Ok(Some(kind))
            } else {
                Err(Unverified::OtherRefType)
            };
            assert_eq!(told, held, "{answer}");
        }
        let protectable = expected.is_some_and(|kind| kind != RefType::MergeRequest);
        let told = judged(answer, &wanted(true, &[]));
        assert_eq!(
            told,
            if protectable {
                Ok(expected)
            } else {
                Err(Unverified::NotProtected)
            }
        );
    }
}

#[test]
fn what_is_no_answer_about_a_job_is_broken() {
    let whole = gitlab::answer().to_string();
    for text in [
        "",
        "null",
        "[]",
        "[302,\"running\",\"main\",false,[574,20,\"push\"],[\"s_0123456789ab\"]]",
        &whole.replace("\"pipeline\":{", "\"pipeline\":[574,20,\"push\"],\"x\":{"),
        "\"302\"",
        "<html>",
        &whole[..whole.len() - 1],
        &format!("{whole}{whole}"),
        &whole.replace("\"id\":302", "\"id\":\"302\""),
        &whole.replace("\"id\":302", "\"id\":302.0"),
        // One reader takes the first of two, another the last.
        &whole.replace("\"id\":302", "\"id\":302,\"id\":302"),
        &whole.replace("\"tag\":false", "\"tag\":\"false\""),
        &"[".repeat(100_000),
    ] {
        let told = read(text.as_bytes(), &job(), &Verification::default());
        assert!(matches!(told, Err(Unverified::Broken)), "{told:?} {text:.80}");
    }
}

#[test]
fn only_the_ref_itself_is_believed_to_be_protected() {
    let main = Ref::parse("main").unwrap();
    let told = |answer: Value| read_protection(answer.to_string().as_bytes(), &main);
    assert_eq!(
        told(json!({"name": "main", "protected": true, "merged": false})),
        Ok(())
    );
    for (answer, expected) in [
        (json!({"name": "main", "protected": false}), Unverified::NotProtected),
        (json!({"name": "main"}), Unverified::Untold("protection of the ref")),
        (
            json!({"name": "main", "protected": null}),
            Unverified::Untold("protection of the ref"),
        ),
        (json!({"name": "main", "protected": "true"}), Unverified::Broken),
        (json!({"name": "main", "protected": 1}), Unverified::Broken),
        (json!({"name": "Main", "protected": true}), Unverified::Differs("ref")),
        (json!({"protected": true}), Unverified::Untold("ref")),
        (json!([{"name": "main", "protected": true}]), Unverified::Broken),
    ] {
        assert_eq!(told(answer.clone()), Err(expected), "{answer}");
    }
}

#[test]
fn an_answer_that_is_no_text_is_broken() {
    let mut bytes = gitlab::answer().to_string().into_bytes();
    let at = bytes.windows(6).position(|window| window == b"Author").unwrap();
    bytes[at] = 0x80;
    assert_eq!(read(&bytes, &job(), &Verification::default()), Err(Unverified::Broken));
}

/// Places of the answer, what may stand there, and whether it is a yes then.
fn any_answer() -> impl Strategy<Value = (Value, bool)> {
    let place = |good: Value, others: Vec<Value>| {
        prop_oneof![
            8 => Just((good, true)),
            1 => select(others).prop_map(|value| (value, false)),
        ]
    };
    let number = |good: u64| {
        place(
            json!(good),
            vec![json!(good + 1), Value::Null, json!(0), json!(good.to_string())],
        )
    };
    let places = (
        number(302),
        number(20),
        number(574),
        place(
            json!("main"),
            vec![json!("dev"), json!("MAIN"), Value::Null, json!("main\u{0}")],
        ),
        place(
            json!("running"),
            vec![json!("canceling"), json!("success"), Value::Null, json!(true)],
        ),
        place(json!(false), vec![json!(true), Value::Null]),
        place(json!("push"), vec![json!("merge_request_event")]),
        place(json!("s_0123456789ab"), vec![json!("s_1")]),
    );
    places.prop_map(|(id, project, pipeline, reference, status, tag, source, machine)| {
        let is_good = [&id, &project, &pipeline, &reference, &status, &tag, &source, &machine]
            .iter()
            .all(|(_, is_good)| *is_good);
        let answer = json!({
            "id": id.0, "status": status.0, "ref": reference.0, "tag": tag.0,
            "pipeline": {"id": pipeline.0, "project_id": project.0, "source": source.0},
            "runner_manager": {"system_id": machine.0},
        });
        (answer, is_good)
    })
}

proptest! {
    #[test]
    fn nothing_is_confirmed_unless_every_part_is_equal((answer, is_good) in any_answer()) {
        let told = judged(&answer, &wanted(true, &[RefType::Branch]));
        prop_assert_eq!(told.is_ok(), is_good, "{:?} {}", told, answer);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read(&bytes, &job(), &Verification::default()).is_err());
        prop_assert!(read_protection(&bytes, &job().r#ref).is_err());
    }
}
