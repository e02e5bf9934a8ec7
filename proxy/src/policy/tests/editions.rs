//! Which rules stay the same when one policy succeeds another.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::config::Config;
use crate::fixture::config;
use crate::policy::{Decision, Edition, Policy, decide};

/// A configuration with these rules: name and project of each.
fn rules(of: &BTreeMap<u8, u8>) -> Config {
    let text: String = of
        .iter()
        .map(|(name, project)| {
            format!(
                "[[rule]]\nname = \"r{name}\"\nrunner = \"Ab3dEf9_x\"\ngitlab = \"gitlab.example.com\"\nproject = {}\nrole = \"deploy\"\n",
                u32::from(*project) + 20
            )
        })
        .collect();
    config(&text)
}

fn editions(policy: &Policy, of: &BTreeMap<u8, u8>) -> BTreeMap<(u8, u8), Edition> {
    of.iter()
        .map(|(name, project)| (*name, *project))
        .zip(policy.editions())
        .collect()
}

proptest! {
    #[test]
    fn a_rule_keeps_its_edition_exactly_as_long_as_it_stays_word_for_word(
        history in proptest::collection::vec(proptest::collection::btree_map(0_u8..4, 0_u8..3, 0..4), 1..8),
    ) {
        let mut policy = Policy::new(&rules(&history[0]));
        let mut before = editions(&policy, &history[0]);
        let mut ever: BTreeSet<Edition> = before.values().copied().collect();
        prop_assert_eq!(ever.len(), history[0].len());
        for step in &history[1..] {
            let next = policy.succeed(&rules(step));
            let now = editions(&next, step);
            for (rule, edition) in &now {
                match before.get(rule) {
                    Some(kept) => prop_assert_eq!(kept, edition),
                    // No number comes twice, also not for a rule that was there some time ago.
                    None => prop_assert!(ever.insert(*edition), "{:?} again", edition),
                }
            }
            let lost = before.keys().filter(|rule| !now.contains_key(*rule)).count();
            prop_assert_eq!(policy.lost_in(&next).len(), lost);
            policy = next;
            before = now;
        }
    }
}

#[test]
fn a_grant_names_the_edition_of_its_rule() {
    let both = BTreeMap::from([(1, 1), (2, 0)]);
    let policy = Policy::new(&rules(&both));
    let Decision::Grant(grant) = decide(&policy, &crate::fixture::facts()) else {
        panic!("refused")
    };
    assert_eq!(
        (grant.rule.as_str(), grant.edition),
        ("r2", editions(&policy, &both)[&(2, 0)])
    );
}
