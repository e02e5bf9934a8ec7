//! What each action needs and takes, and where it can be done. Every action takes `in`, `do`, `note`, `only` and `each` besides.

use super::model::Action;

/// Where an action can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In a container of a job.
    Container,
    /// In a container, on the instance or on another machine.
    Anywhere,
    /// To a whole job.
    Job,
    /// To a container or a whole job.
    ContainerOrJob,
    /// By the lab.
    Lab,
    /// By a process on the instance.
    Host,
}

impl Place {
    pub(super) const fn described(self) -> &'static str {
        match self {
            Self::Container => "a container of a job, such as `a.build`",
            Self::Anywhere => "a container of a job, such as `a.build`, or `host` or `upstream`",
            Self::Job => "a job",
            Self::ContainerOrJob => "a job or one of its containers",
            Self::Lab => "`lab`",
            Self::Host => "`host`",
        }
    }
}

/// One action's keys.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) place: Place,
    pub(super) needs: &'static [&'static str],
    pub(super) takes: &'static [&'static str],
    /// Whether it comes back with a verdict, so that it may be an attempt.
    pub(super) judged: bool,
}

pub(super) fn keys(action: Action) -> Keys {
    use Place::{Anywhere, Container, ContainerOrJob, Host, Job, Lab};
    let judged = |place, needs, takes| Keys {
        place,
        needs,
        takes,
        judged: true,
    };
    let done = |place, needs, takes| Keys {
        place,
        needs,
        takes,
        judged: false,
    };
    match action {
        Action::Imds => judged(Anywhere, &["version"], &["host", "role", "save", "newer_than"]),
        Action::Get => judged(
            Anywhere,
            &["path"],
            &["host", "method", "token", "headers", "bind", "save"],
        ),
        Action::Token => judged(Anywhere, &[], &["host", "headers", "save"]),
        Action::Raw => judged(Anywhere, &["to", "send"], &["bind", "read_ms", "save"]),
        Action::Sdk => judged(Container, &[], &["assume"]),
        Action::Reach => judged(Anywhere, &[], &["host"]),
        Action::Open => done(Anywhere, &["name", "to"], &["bind"]),
        Action::Send => done(Anywhere, &["name", "send"], &[]),
        Action::Receive => judged(Anywhere, &["name"], &["read_ms", "save"]),
        Action::Close => done(Anywhere, &["name"], &["reset"]),
        Action::Listen => done(Anywhere, &["name", "at"], &["send"]),
        Action::Accepted => judged(Anywhere, &["name", "at_most"], &[]),
        Action::Ip => done(Container, &["args"], &[]),
        Action::Launch => done(Job, &[], &[]),
        Action::Remove => done(ContainerOrJob, &[], &[]),
        Action::Kill | Action::Start | Action::Restart | Action::Pause | Action::Unpause | Action::Exec => {
            done(Container, &[], &[])
        }
        Action::Rename | Action::Nest => done(Container, &["name"], &[]),
        Action::Knock => judged(Container, &["to", "protocol"], &[]),
        Action::Run => done(Host, &["program", "args"], &[]),
        Action::Connect => done(Container, &["network"], &["address"]),
        Action::Disconnect => done(Container, &["network"], &[]),
        Action::Proxy => done(Lab, &["signal"], &["without"]),
        Action::Rules | Action::Engine => done(Lab, &["signal"], &[]),
        Action::Fault => done(Lab, &["effect"], &["match", "service", "times"]),
        Action::Hold | Action::Release => done(Lab, &["name"], &[]),
        Action::Expired => done(Lab, &["name"], &["early_seconds"]),
        Action::Began => judged(Container, &[], &[]),
        Action::Give => done(Container, &["name", "taker"], &[]),
        Action::Outlast => done(Container, &[], &[]),
        Action::Assume => judged(
            Anywhere,
            &["role"],
            &["token", "with", "session_name", "duration_seconds", "policy", "save"],
        ),
        Action::IdToken => done(
            Lab,
            &["of", "save"],
            &["issuer", "aud", "claims", "header", "payload", "signature"],
        ),
        Action::Lives => judged(Lab, &["name", "at_most"], &[]),
        Action::Environment => judged(Container, &[], &[]),
        Action::Issuer => done(Lab, &["signal"], &[]),
        Action::Lint => judged(Lab, &["policy", "finds"], &["instance"]),
        Action::Rush => judged(Lab, &["places", "times"], &["version"]),
    }
}
