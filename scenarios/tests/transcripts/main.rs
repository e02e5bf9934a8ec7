//! The fakes give every recorded answer: `cargo test -p scenarios --test transcripts`. Loopback alone; the lab is not needed.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may end the program"
)]

mod fake;
mod request;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use scenarios::ambient::Ambient;
use transcript::{Transcript, Values};

use fake::Fake;
use request::Signer;

/// What a fake is started for: its service, and the world's name.
type Stand = (String, String);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let records = Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts");
    let mut recorded = Vec::new();
    for service in ["imds", "sts"] {
        recorded.extend(read(service, &records.join(service)));
    }
    let stands: Arc<BTreeMap<Stand, Fake>> = Arc::new(if arguments.list {
        BTreeMap::new()
    } else {
        start(&recorded, &records)
    });
    let table = Trial::test("sts::each record stands once in the table, with its title", {
        let (folder, recorded) = (records.join("sts"), titles(&recorded, "sts"));
        move || check_table(&folder, &recorded).map_err(Failed::from)
    });
    let trials = recorded
        .into_iter()
        .map(|(name, service, transcript)| {
            let stands = Arc::clone(&stands);
            Trial::test(name, move || {
                judge(&stands, &service, &transcript?).map_err(Failed::from)
            })
        })
        .chain([table])
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(stands);
    conclusion.exit_code()
}

type Recorded = (String, String, Result<Transcript, String>);

/// Every record of a folder; one that cannot be read is a test that fails.
fn read(service: &str, folder: &Path) -> Vec<Recorded> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "http"))
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let transcript = Transcript::parse(&text).map_err(|faults| {
                let faults: Vec<String> = faults
                    .iter()
                    .map(|fault| format!("{}:{fault}", path.display()))
                    .collect();
                faults.join("\n")
            });
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (format!("{service}::{name}"), service.to_owned(), transcript)
        })
        .collect()
}

/// Name and title of each record of a service.
fn titles(recorded: &[Recorded], service: &str) -> BTreeMap<String, String> {
    let of_service = recorded.iter().filter(|(_, own, _)| own == service);
    of_service
        .filter_map(|(name, _, transcript)| {
            let name = name.strip_prefix(&format!("{service}::"))?.to_owned();
            Some((name, transcript.as_ref().ok()?.title.clone()))
        })
        .collect()
}

/// The table of a folder says of each record what its first line says.
fn check_table(folder: &Path, recorded: &BTreeMap<String, String>) -> Result<(), String> {
    let table = std::fs::read_to_string(folder.join("README.md")).map_err(|error| error.to_string())?;
    let mut told = BTreeMap::new();
    for line in table.lines().filter(|line| line.ends_with(".http) |")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let (Some(title), Some(link)) = (cells.first(), cells.last()) else {
            return Err(format!("no row: {line}"));
        };
        let name = link.trim_start_matches('[').split(']').next().unwrap_or_default();
        if !link.ends_with(&format!("]({name}.http)")) || told.insert(name.to_owned(), (*title).to_owned()).is_some() {
            return Err(format!("{name} stands twice, or its link leads elsewhere"));
        }
    }
    for (name, title) in recorded {
        match told.remove(name) {
            Some(own) if own == *title => {}
            Some(own) => return Err(format!("{name}: the table says `{own}`, the record `{title}`")),
            None => {
                return Err(format!(
                    "{name}: not in README.md; add `| {title} | … | [{name}]({name}.http) |`"
                ));
            }
        }
    }
    match told.pop_first() {
        Some((name, _)) => Err(format!("{name}: in README.md, but there is no such record")),
        None => Ok(()),
    }
}

fn start(recorded: &[Recorded], records: &Path) -> BTreeMap<Stand, Fake> {
    let ambient = Ambient::read().expect("this program knows where it lies");
    build_programs(&ambient);
    let mut stands = BTreeMap::new();
    for (_, service, transcript) in recorded {
        let Ok(transcript) = transcript else { continue };
        let stand = (service.clone(), transcript.state.clone());
        stands.entry(stand).or_insert_with(|| {
            let world = match transcript.state.as_str() {
                "" => "world.toml".to_owned(),
                state => format!("world-{state}.toml"),
            };
            let program = ambient.programs.join(format!("fake-{service}"));
            Fake::start(&program, &records.join(service).join(world), ambient.now())
        });
    }
    stands
}

/// Values of `transcripts/*/world.toml`.
fn values() -> Values {
    Values::new()
        .with("account", "123456789012")
        .with("region", "eu-central-1")
        .with("instance", "i-0123456789abcdef0")
        .with("profile", "lab-host-profile")
        .with("role", "lab-host")
}

fn judge(stands: &BTreeMap<Stand, Fake>, service: &str, transcript: &Transcript) -> Result<(), String> {
    if !transcript.applies.iter().any(|who| who == "fake") {
        return Err("a record that does not apply to the fake belongs elsewhere".to_owned());
    }
    let fake = stands
        .get(&(service.to_owned(), transcript.state.clone()))
        .ok_or("its fake was not started")?;
    let mut values = values();
    if transcript.request_head.iter().any(|line| line.contains("{token}")) {
        values = values.with("token", fake.session_token());
    }
    if !transcript.minted.is_empty() {
        let minted = fake.mint(&transcript.minted)?;
        values = values.with("minted", minted.bytes().map(request::escape).collect::<String>());
    }
    let request = Signer { fake }.request(transcript, &values)?;
    let received = fake.exchange(&request);
    transcript
        .judge(&values, &received)
        .map_err(|difference| format!("{}\n{difference}", transcript.title))
}

/// `cargo test -p scenarios` does not build the fakes, so this does, in the same profile.
#[expect(clippy::disallowed_methods, reason = "the programs are built here and nowhere else")]
fn build_programs(ambient: &Ambient) {
    let Some(cargo) = &ambient.cargo else { return };
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--bins", "-p", "fake-imds", "-p", "fake-sts"])
        .status();
    assert!(status.is_ok_and(|status| status.success()), "the fakes cannot be built");
}
