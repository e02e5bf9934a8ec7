//! A configuration that takes the place of another while the proxy serves: all of it or nothing, and its rules only. Decides what may be
//! taken over; [`Origin`] alone reads the file.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::compat::{self, Assessment};
use crate::config::{Config, Environment, Faults, RUNNER_FILE, RunnerFile};
use crate::gitlab;
use crate::runner;

/// Where the configuration comes from, at the start and at every reload.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The file.
    pub path: PathBuf,
    /// What fills the gaps of the file. It is that of the start: a process keeps its environment.
    pub environment: Environment,
}

/// Why a file is no configuration.
#[derive(Debug, Error)]
pub enum Unusable {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its faults.
    #[error(transparent)]
    Faulty(#[from] Faults),
    /// The faults of it and of an earlier proxy's settings.
    #[error("{faults}")]
    Lossy {
        /// Every fault.
        faults: Faults,
        /// What becomes of each setting.
        assessment: Assessment,
    },
}

impl Unusable {
    /// The faults, unless it could not be read at all.
    #[must_use]
    pub const fn faults(&self) -> Option<&Faults> {
        match self {
            Self::Unreadable { .. } => None,
            Self::Faulty(faults) | Self::Lossy { faults, .. } => Some(faults),
        }
    }
}

/// A configuration without faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is allowed but unwise, in it, in the runner's file and in an earlier proxy's settings.
    pub warnings: Vec<String>,
    /// What becomes of an earlier proxy's settings.
    pub assessment: Option<Assessment>,
}

fn read_text(path: &Path) -> Result<String, Unusable> {
    std::fs::read_to_string(path).map_err(|source| Unusable::Unreadable {
        path: path.to_owned(),
        source,
    })
}

/// The runner's file and its text. Only one that the operator named has to be there; one that is there has to be readable.
fn read_runner(file: &RunnerFile) -> Result<Option<(&Path, String)>, Unusable> {
    let path = match file {
        RunnerFile::Off => return Ok(None),
        RunnerFile::At(path) => path.as_path(),
        RunnerFile::Usual => Path::new(RUNNER_FILE),
    };
    match read_text(path) {
        Err(Unusable::Unreadable { source, .. })
            if *file == RunnerFile::Usual && source.kind() == io::ErrorKind::NotFound =>
        {
            Ok(None)
        }
        read => Ok(Some((path, read?))),
    }
}

impl Origin {
    /// Reads the file as it is now, the runner's and that of an earlier proxy's settings.
    ///
    /// # Errors
    /// When one of them cannot be read, or every fault of it at once.
    pub fn read(&self) -> Result<Loaded, Unusable> {
        let text = read_text(&self.path)?;
        let mut config = Config::read(&self.path.display().to_string(), &text, &self.environment)?;
        let mut warnings = config.warnings();
        let mut faults = gitlab::examine(&config.gitlab);
        if let Some((file, text)) = read_runner(&config.runner)? {
            let examined = runner::examine(&file.display().to_string(), &text, &config);
            faults.extend(examined.faults);
            warnings.extend(examined.warnings);
        }
        let mut assessment = None;
        if let Some(mut compat) = config.compat.clone()
            && let Some(file) = &compat.environment_file
        {
            let (name, text) = (file.display().to_string(), read_text(file)?);
            let examined = compat::examine(&name, &text, &compat, &config);
            compat.adopted = examined.adopted;
            config.compat = Some(compat);
            faults.extend(examined.faults);
            warnings.extend(examined.warnings);
            assessment = Some(examined.assessment);
        }
        match (faults.is_empty(), assessment) {
            (true, assessment) => Ok(Loaded {
                config,
                warnings,
                assessment,
            }),
            (false, None) => Err(Faults(faults).into()),
            (false, Some(assessment)) => Err(Unusable::Lossy {
                faults: Faults(faults),
                assessment,
            }),
        }
    }
}

/// The parts of a configuration that only a restart takes over: another port, firewall or engine under a running proxy would leave
/// connections and rules behind that belong to neither.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{} changed, and only [[rule]] can be reloaded\n  remedy: restart the proxy to take over everything, or undo the change",
    tables(.changed)
)]
pub struct NeedsRestart {
    /// The tables, by name.
    pub changed: Vec<&'static str>,
}

fn tables(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("[{name}]")).collect();
    names.join(", ")
}

/// Says whether a new configuration differs from the one that is served in nothing but rules.
///
/// # Errors
/// When it differs in anything else.
pub fn compare(served: &Config, new: &Config) -> Result<(), NeedsRestart> {
    // Taken apart, so that a table that is added to the configuration has to be added here.
    let Config {
        listen,
        engine,
        aws,
        credentials,
        imds,
        container_credentials,
        firewall,
        bridges,
        attestation,
        audit,
        traces,
        revocations,
        reload,
        runner,
        compat,
        gitlab,
        rules: _,
    } = served;
    let changed: Vec<&'static str> = [
        ("listen", *listen != new.listen),
        ("engine", *engine != new.engine),
        ("aws", *aws != new.aws),
        ("credentials", *credentials != new.credentials),
        ("imds", *imds != new.imds),
        (
            "container_credentials",
            *container_credentials != new.container_credentials,
        ),
        ("firewall", *firewall != new.firewall),
        ("bridges", *bridges != new.bridges),
        ("attestation", *attestation != new.attestation),
        ("audit", *audit != new.audit),
        ("traces", *traces != new.traces),
        ("revocations", *revocations != new.revocations),
        ("reload", *reload != new.reload),
        ("runner", *runner != new.runner),
        ("compat", *compat != new.compat),
        ("gitlab", *gitlab != new.gitlab),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect();
    if changed.is_empty() {
        Ok(())
    } else {
        Err(NeedsRestart { changed })
    }
}

#[cfg(test)]
mod tests {
    use super::{Origin, Unusable, compare};
    use crate::config::{Config, Environment};
    use crate::fixture::{HEADER, RULE, config};

    fn with(tables: &str) -> Config {
        Config::read("test.toml", &format!("{HEADER}{tables}{RULE}"), &Environment::default()).unwrap()
    }

    #[test]
    fn rules_may_change_and_nothing_else() {
        let served = config(RULE);
        let other = RULE.replace("project = 20", "project = 21");
        for rules in [
            "",
            RULE,
            &other,
            &format!("{RULE}session_policy = '{{\"Statement\":[]}}'\n"),
        ] {
            assert_eq!(compare(&served, &config(rules)), Ok(()), "{rules}");
        }
        for (tables, name) in [
            ("session_seconds = 1800\n", "aws"),
            ("[engine]\nsocket = \"unix:///other.sock\"\n", "engine"),
            ("[credentials]\nprefetch = true\n", "credentials"),
            ("[imds]\nrequire_token = false\n", "imds"),
            ("[container_credentials]\nenabled = true\n", "container_credentials"),
            ("[firewall]\nhost = \"open\"\n", "firewall"),
            ("[bridges]\nshared = \"allow\"\n", "bridges"),
            ("[attestation]\nself_test = false\n", "attestation"),
            ("[audit]\npath = \"/var/log/audit\"\n", "audit"),
            ("[traces]\notlp = \"http://127.0.0.1:4318\"\n", "traces"),
            ("[revocations]\nfile = \"/var/lib/x\"\n", "revocations"),
            ("[reload]\nwatch = true\n", "reload"),
            ("[runner]\nconfig = \"off\"\n", "runner"),
            ("[compat]\nprofile = \"lyft\"\n", "compat"),
            ("[[gitlab]]\nhost = \"gitlab.example.com\"\n", "gitlab"),
        ] {
            assert_eq!(compare(&served, &with(tables)).unwrap_err().changed, [name]);
        }
        let text = format!("{HEADER}{RULE}").replace("port = 0", "port = 8000");
        let listens = Config::read("test.toml", &text, &Environment::default()).unwrap();
        assert_eq!(compare(&served, &listens).unwrap_err().changed, ["listen"]);
    }

    #[test]
    fn the_runners_file_is_read_with_the_configuration() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        let origin = Origin {
            path: place("proxy.toml"),
            environment: Environment::default(),
        };
        let runner = place("runner.toml");
        let text = format!("{HEADER}[runner]\nconfig = {runner:?}\n{RULE}");
        std::fs::write(&origin.path, &text).unwrap();
        // It was named, and is not there.
        let missing = origin.read().unwrap_err();
        assert!(
            matches!(&missing, Unusable::Unreadable { path, .. } if *path == runner),
            "{missing}"
        );
        let good = "[[runners]]\nurl = 'https://gitlab.example.com'\ntoken = 'Ab3dEf9_x1'\nexecutor = 'docker'\n";
        std::fs::write(&runner, good).unwrap();
        assert_eq!(origin.read().unwrap().warnings, Vec::<String>::new());
        std::fs::write(&runner, good.replace("Ab3", "Zz3")).unwrap();
        let warnings = origin.read().unwrap().warnings;
        assert!(
            warnings.len() == 1 && warnings[0].contains("which is not in"),
            "{warnings:?}"
        );
        let forged = format!("{good}[runners.docker.container_labels]\nx = '$Y'\n");
        std::fs::write(&runner, &forged).unwrap();
        let faults = origin.read().unwrap_err().to_string();
        assert!(faults.starts_with(&format!("{}:6: ", runner.display())), "{faults}");
        std::fs::write(&origin.path, text.replace(&format!("{runner:?}"), "\"off\"")).unwrap();
        assert!(origin.read().is_ok());
    }

    #[test]
    fn an_earlier_proxys_settings_are_read_with_the_configuration() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        let origin = Origin {
            path: place("proxy.toml"),
            environment: Environment::default(),
        };
        let file = place("settings");
        let text = format!(
            "{HEADER}[runner]\nconfig = \"off\"\n[compat]\nprofile = \"lyft\"\nenvironment_file = {file:?}\n{RULE}"
        );
        std::fs::write(&origin.path, &text).unwrap();
        let missing = origin.read().unwrap_err();
        assert!(
            matches!(&missing, Unusable::Unreadable { path, .. } if *path == file),
            "{missing}"
        );
        std::fs::write(&file, "AWS_ACCOUNT_MAP={\"dev\":\"123456789012\"}\nDEBUG=1\n").unwrap();
        let loaded = origin.read().unwrap();
        assert!(loaded.config.compat.unwrap().adopted.accounts.contains_key("dev"));
        assert_eq!(
            (loaded.warnings.len(), loaded.assessment.unwrap().findings.len()),
            (1, 2)
        );
        std::fs::write(&file, "PORT=1\nROLE_MAPPING_FILE=/x\n").unwrap();
        let lossy = origin.read().unwrap_err();
        assert!(
            lossy
                .to_string()
                .starts_with(&format!("{}:2: ROLE_MAPPING_FILE: ", file.display())),
            "{lossy}"
        );
        assert!(matches!(&lossy, Unusable::Lossy { assessment, .. } if assessment.findings.len() == 2));
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let refused = compare(
            &config(RULE),
            &with("session_seconds = 1800\n[imds]\nrequire_token = false\n"),
        );
        insta::assert_snapshot!(refused.unwrap_err(), @r###"
        [aws], [imds] changed, and only [[rule]] can be reloaded
          remedy: restart the proxy to take over everything, or undo the change
        "###);
    }
}
