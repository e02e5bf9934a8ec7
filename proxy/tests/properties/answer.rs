//! GitLab's answers about the job of a token, and about a ref.

use metadata_proxy::config::{RefType, Verification};
use metadata_proxy::gitlab::{read_answer, read_protection};
use metadata_proxy::policy::read_labels;
use serde_json::{Value, json};

use crate::world::facts;

/// A yes says, in every part, what the labels say; and who wants to know more gets a yes less often, never more often.
pub(crate) fn check(bytes: &[u8]) {
    let facts = facts();
    let job = read_labels(&facts.labels, &facts.image_labels).unwrap();
    let answer: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let plain = read_answer(bytes, &job, &Verification::default());
    if plain.is_ok() {
        let pipeline = &answer["pipeline"];
        let told = json!([
            answer["id"],
            answer["status"],
            answer["ref"],
            pipeline["id"],
            pipeline["project_id"]
        ]);
        assert_eq!(told, json!([302, "running", "main", 574, 20]));
        let machine = &answer["runner_manager"]["system_id"];
        assert!(machine.is_null() || machine == "s_0123456789ab");
    }
    for protected in [false, true] {
        for kind in RefType::ALL {
            let wanted = Verification {
                protected,
                ref_types: [kind].into(),
            };
            let Ok(told) = read_answer(bytes, &job, &wanted) else {
                continue;
            };
            assert!(plain.is_ok() && told == Some(kind));
            let of_request = answer["pipeline"]["source"] == "merge_request_event";
            assert_eq!(of_request, kind == RefType::MergeRequest);
            assert_eq!(answer["tag"], kind == RefType::Tag);
            assert!(!protected || !of_request);
        }
    }
    if read_protection(bytes, &job.r#ref).is_ok() {
        assert!(answer["name"] == "main" && answer["protected"] == true);
    }
}
