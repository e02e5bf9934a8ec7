//! A program to run, as data.

use std::{ffi::OsString, path::PathBuf};

/// What a program reads.
#[derive(Debug, Clone, Default)]
pub enum Input {
    /// Nothing.
    #[default]
    Nothing,
    /// These bytes, then the end.
    Bytes(Vec<u8>),
}

/// A program to run in an instance.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program: an absolute path, or a name that is looked up in `PATH`.
    pub path: PathBuf,
    /// Its arguments, without the program's own name.
    pub args: Vec<OsString>,
    /// Its environment. Nothing else is inherited but `PATH`.
    pub env: Vec<(OsString, OsString)>,
    /// What it reads.
    pub stdin: Input,
    /// What it is called in messages and in the names of its log files.
    pub label: String,
    /// The control group of its own that it gets, as systemd gives one to each service; without it, it is among the host's other programs.
    pub service: Option<String>,
    /// Its working directory; the root of the instance's files without it.
    pub directory: Option<PathBuf>,
}

impl Program {
    /// The program at `path`, labelled with its file name.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let label = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self {
            path,
            args: Vec::new(),
            env: Vec::new(),
            stdin: Input::Nothing,
            label,
            service: None,
            directory: None,
        }
    }

    /// With one more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// With more arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// With one more variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// With this input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Input::Bytes(bytes.into());
        self
    }

    /// With this label.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// In this working directory.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// In a control group of its own of that name.
    #[must_use]
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.service = Some(name.into());
        self
    }
}
