//! What the pages of `docs/fake-sts` tell people to copy is taken, and what they count is right.

use std::path::{Path, PathBuf};

use fake_kit::seed::Seed;

fn pages() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/fake-sts");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<(PathBuf, String)> = files
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path, text)
        })
        .collect();
    pages.sort();
    assert!(pages.len() >= 14);
    pages
}

#[test]
fn every_world_of_the_pages_is_one_that_is_read() {
    let mut read = 0;
    for (path, text) in pages() {
        for block in text.split("\n```toml\n").skip(1) {
            let block = block.split("\n```").next().unwrap();
            let account = "[account]\nid = \"123456789012\"\nregion = \"eu-central-1\"\n";
            let world = if block.contains("[account]") {
                block.to_owned()
            } else {
                format!("{account}{block}\n")
            };
            if let Err(faults) = fake_sts::world::read(&world, "page", &Seed::default()) {
                panic!("{}: {faults}", path.display());
            }
            read += 1;
        }
    }
    assert!(read >= 4, "{read}");
}

#[tokio::test]
async fn every_fault_of_the_page_can_be_meant() {
    let sts = fake_sts::FakeSts::builder().start().await.unwrap();
    let (_, page) = pages()
        .into_iter()
        .find(|(path, _)| path.ends_with("faults.md"))
        .unwrap();
    let mut planted = 0;
    for line in page.lines().filter_map(|line| line.strip_prefix("plant '")) {
        let fault = line.split_once('\'').unwrap().0;
        if let Err(error) = sts.plant(fault) {
            panic!("{fault}: {error}");
        }
        planted += 1;
    }
    assert!(planted >= 12, "{planted}");
    for word in ["status", "body", "truncate", "header:"] {
        assert!(fake_kit::rewrite::is_common(word));
        assert!(
            page.contains(&format!("\"rewrite\": {{\"{word}")),
            "{word} has no example"
        );
        assert!(page.contains(&format!("`{word}")), "{word} is not told of");
    }
}

#[test]
fn the_index_counts_and_names_what_there_is() {
    let pages = pages();
    let (_, index) = pages.iter().find(|(path, _)| path.ends_with("README.md")).unwrap();
    let iam = fake_sts::iam::actions().count();
    assert!(index.contains(&format!("| {iam} actions of IAM |")), "{iam}");
    for (path, _) in &pages {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name == "README.md" || index.contains(&format!("({name})")), "{name}");
    }
    let (_, rules) = pages.iter().find(|(path, _)| path.ends_with("lint.md")).unwrap();
    for rule in fake_sts::lint::RULES {
        assert!(rules.contains(&format!("`{}`", rule.id)), "{}", rule.id);
    }
}
