//! Whole trees.

use super::*;
use crate::timeline::states;
use crate::tree::Found;
use crate::world::{Tolerance, parse};

fn started() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn grown(world: &World) -> (Tree, Canaries) {
    let seed = Seed::default();
    let canaries = Canaries::new(seed.clone());
    let marker = Marker::of(&canaries, world, 0);
    let moments: Vec<_> = world
        .instance
        .timeline
        .iter()
        .map(|moment| (crate::timeline::time_of(moment, started()), moment.clone()))
        .collect();
    let state = states(world, started(), &moments).pop().unwrap().1;
    let mark = marker.show("identity-document");
    let identity = Identity::of(world, &seed, mark.as_ref().map(Canary::as_str), started());
    (tree(world, &state, &seed, &marker, &identity, started()), canaries)
}

fn world(text: &str) -> World {
    parse("world.toml", text, Tolerance::Plausible)
        .unwrap_or_else(|error| panic!("{error}"))
        .pop()
        .unwrap()
}

/// Every leaf with its text.
fn shown(tree: &Tree) -> String {
    let lines: Vec<String> = tree
        .paths()
        .map(|path| match tree.find(Version::LATEST, path, None).unwrap() {
            Found::Leaf(Leaf::Text(text) | Leaf::Notice(text, _) | Leaf::UserData(text)) => {
                format!("{path} = {}", String::from_utf8_lossy(&text).replace('\n', "⏎"))
            }
            Found::Leaf(leaf) => format!("{path} = ({leaf:?})"),
            Found::Listing(_) => panic!("{path} is a leaf"),
        })
        .collect();
    lines.join("\n")
}

#[test]
fn zone_ids_use_the_short_region() {
    for (region, short) in [
        ("eu-central-1", "euc1-az1"),
        ("us-east-1", "use1-az1"),
        ("ap-southeast-2", "apse2-az1"),
        ("us-gov-west-1", "usgovw1-az1"),
    ] {
        let mut world = World::default();
        world.account.region = region.to_owned();
        assert_eq!(world.zone_id(), short);
    }
}

#[test]
fn every_canary_but_the_issued_ones_stands_in_the_tree() {
    let (tree, canaries) = grown(&World::default());
    let all = shown(&tree);
    let names: Vec<String> = canaries.all().into_keys().collect();
    assert_eq!(
        names,
        ["host-iam-info", "identity-document", "public-key", "tags", "user-data"]
    );
    for (name, canary) in canaries.all() {
        assert!(all.contains(canary.as_str()), "{name}");
    }
}

#[test]
fn without_canaries_nothing_is_added_to_what_the_world_says() {
    let (tree, canaries) = grown(&world("[instance]\ncanaries = false\nuser_data = \"as it is\"\n"));
    assert!(canaries.all().is_empty());
    insta::assert_snapshot!(shown(&tree));
}

#[test]
fn an_instance_has_everything_that_its_world_names() {
    let (tree, _) = grown(&world(include_str!("../../examples/everything.toml")));
    insta::assert_snapshot!(shown(&tree));
}
