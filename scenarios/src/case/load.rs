//! Finds the case files below a folder and reads them all; the only file here that touches the disk.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::check::check;
use super::document::Document;
use super::fault::{Fault, Faults};
use super::model::Case;
use super::variant::spread;

/// Reads `FAMILY/ID-name/case.toml` below `dir`, by id. Every fault of every file is reported.
pub fn load(dir: &Path) -> Result<Vec<Case>, Faults> {
    let mut faults = Vec::new();
    let mut sources = BTreeMap::new();
    let mut cases = Vec::new();
    let mut folders: BTreeMap<String, String> = BTreeMap::new();
    for family in folders_in(dir, &mut faults) {
        for folder in folders_in(&family, &mut faults) {
            let path = folder.join("case.toml");
            let file = path.display().to_string();
            match fs::read_to_string(&path) {
                Ok(text) => match read(&file, &name_of(&family), &name_of(&folder), &text) {
                    Ok(case) => {
                        if let Some(first) = folders.insert(case.id.clone(), file.clone()) {
                            let what = format!("`{}` is the id of {first} too", case.id);
                            let remedy = "give each scenario a number of its own".to_owned();
                            faults.push(Fault {
                                file,
                                line: 1,
                                field: "id".to_owned(),
                                what,
                                remedy,
                                span: None,
                            });
                        } else {
                            cases.push(case);
                        }
                    }
                    Err(mut found) => {
                        faults.append(&mut found.faults);
                        sources.append(&mut found.sources);
                    }
                },
                Err(error) => faults.push(unreadable(&path, &error)),
            }
        }
    }
    if faults.is_empty() {
        cases.sort_by(|left, right| left.id.cmp(&right.id));
        Ok(cases)
    } else {
        faults.sort();
        Err(Faults { faults, sources })
    }
}

/// Reads one case file's text; `file` is its name in faults.
pub(crate) fn read(file: &str, family: &str, folder: &str, text: &str) -> Result<Case, Faults> {
    let mut document = Document::read(file, text);
    let mut read = None;
    if document.is_readable() {
        match document.table.clone().try_into::<Case>() {
            Ok(case) => {
                check(&case, family, folder, &mut document);
                read = Some(case);
            }
            Err(error) => document.add(
                "",
                error.message().to_owned(),
                "compare the file with `scenarios schema`",
            ),
        }
    }
    let mut faults = document.into_faults();
    match read {
        Some(case) if faults.is_empty() => Ok(spread(case)),
        _ => {
            faults.sort();
            faults.dedup();
            let sources = BTreeMap::from([(file.to_owned(), text.to_owned())]);
            Err(Faults { faults, sources })
        }
    }
}

fn folders_in(dir: &Path, faults: &mut Vec<Fault>) -> Vec<PathBuf> {
    let listed = fs::read_dir(dir).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    match listed {
        Ok(entries) => {
            let mut folders: Vec<PathBuf> = entries
                .into_iter()
                .map(|entry| entry.path())
                .filter(|path| path.is_dir() && !name_of(path).starts_with('.'))
                .collect();
            folders.sort();
            folders
        }
        Err(error) => {
            faults.push(unreadable(dir, &error));
            Vec::new()
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Fault {
    Fault {
        file: path.display().to_string(),
        line: 0,
        field: String::new(),
        what: format!("cannot be read: {error}"),
        remedy: "put the scenario into FAMILY/ID-name/case.toml and make it readable".to_owned(),
        span: None,
    }
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
