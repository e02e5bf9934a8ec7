//! An STS inside the process that tests: on a port of its own, with its own clock, ledger and world, gone when it is dropped.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, RwLockReadGuard, RwLockWriteGuard, Weak};

use fake_kit::clock::Clock;
use fake_kit::control::ControlState;
use fake_kit::ledger::{Entry, Ledger, Size};
use fake_kit::listen::{BindError, Bound, Listen};
use fake_kit::plant::PlantError;
use fake_kit::question::{Assertion, Lost, Matches, Unmet};
use fake_kit::seed::{Canaries, Seed};
use fake_kit::serve::{self, Serving};
use jiff::Timestamp;
use serde_json::Value;
use thiserror::Error;

use crate::ambient;
use crate::answer::FACTS;
use crate::control::{self, AssertionRefused, Made, TokenRefused, WantedToken, issue_token, make_assertion};
use crate::saml::Claim;
use crate::service::Sts;
use crate::state::State;
use crate::world::{self, DEFAULT_WORLD, Faults};

/// STS answers longer bodies with an empty 413.
const MOST_BODY_BYTES: usize = 10_000_000;

/// How the real service wants its wire.
pub(crate) fn wire() -> serve::Options {
    serve::Options {
        title_case_headers: false,
        keep_alive: true,
        body_limit: MOST_BODY_BYTES,
    }
}

/// A fake that is not served yet.
pub(crate) fn assemble(state: State, clock: Clock, ledger: Size) -> Arc<Sts> {
    let seed = state.seed.clone();
    let mut control = ControlState {
        ledger: Arc::new(Ledger::bounded(ledger)),
        ..ControlState::new(clock, Canaries::new(seed.clone()), FACTS)
    };
    Arc::new_cyclic(|sts: &Weak<Sts>| {
        let sts = sts.clone();
        control.on_reset = Arc::new(move || {
            if let Some(sts) = sts.upgrade() {
                sts.restore();
            }
        });
        Sts::new(state, seed, control)
    })
}

/// Where a world comes from.
#[derive(Debug)]
enum Source {
    Text(String),
    File(PathBuf),
}

/// What a [`FakeSts`] is to be.
#[derive(Debug)]
#[must_use = "nothing is served before it is started"]
pub struct Builder {
    world: Source,
    permissive: bool,
    clock: Clock,
    seed: Seed,
    ledger: Size,
    listen: Vec<Listen>,
    control: Option<Listen>,
}

/// Why it does not serve.
#[derive(Debug, Error)]
pub enum StartError {
    /// The world file cannot be read.
    #[error("cannot read {}", path.display())]
    UnreadableWorld {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The world is broken.
    #[error(transparent)]
    BrokenWorld(#[from] Faults),
    /// A listener cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The kernel does not say where it listens.
    #[error("cannot say where it listens")]
    System(#[from] std::io::Error),
}

/// A running STS.
#[derive(Debug)]
pub struct FakeSts {
    sts: Arc<Sts>,
    addresses: Vec<Listen>,
    control_address: Option<Listen>,
    serving: Serving,
}

impl Builder {
    /// Knows this world (the text of a `world.toml`) instead of the built-in one.
    pub fn world(mut self, text: impl Into<String>) -> Self {
        self.world = Source::Text(text.into());
        self
    }

    /// Knows the world of this file, which is read at the start.
    pub fn world_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.world = Source::File(path.into());
        self
    }

    /// Grants every role to whoever signs correctly: no trust or identity policy is asked.
    pub fn permissive(mut self) -> Self {
        self.permissive = true;
        self
    }

    /// Keeps this time instead of the machine's. Clients sign with theirs: more than 15 minutes apart, no signature is right.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The time stands still at that moment until it is moved.
    pub fn frozen_at(self, at: Timestamp) -> Self {
        self.clock(Clock::frozen(at))
    }

    /// Derives ids, keys and canaries from this. Fakes with one seed take each other's sessions, as regions of AWS do.
    pub fn seed(mut self, seed: impl Into<String>) -> Self {
        self.seed = Seed::new(seed);
        self
    }

    /// Keeps more requests in the ledger, or fewer: so much memory. When it is full the oldest are dropped, and claims fail.
    pub fn ledger(mut self, size: Size) -> Self {
        self.ledger = size;
        self
    }

    /// Listens there too; without this on a free port of 127.0.0.1.
    pub fn listen(mut self, listen: Listen) -> Self {
        self.listen.push(listen);
        self
    }

    /// Serves the control API there.
    pub fn control(mut self, listen: Listen) -> Self {
        self.control = Some(listen);
        self
    }

    /// Serves, in the runtime that runs.
    ///
    /// # Errors
    /// The world is broken, or a listener cannot be had.
    pub async fn start(self) -> Result<FakeSts, StartError> {
        let (text, name) = match self.world {
            Source::Text(text) => (text, "world".to_owned()),
            Source::File(path) => match ambient::read_file(&path) {
                Ok(text) => (text, path.display().to_string()),
                Err(source) => return Err(StartError::UnreadableWorld { path, source }),
            },
        };
        let world = world::read(&text, &name, &self.seed)?;
        let sts = assemble(State::new(world, self.permissive, self.seed), self.clock, self.ledger);
        let mut listen = self.listen;
        if listen.is_empty() {
            listen.push(Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))));
        }
        let mut data = Vec::with_capacity(listen.len());
        for listen in &listen {
            data.push(listen.bind().await?);
        }
        let addresses = data.iter().map(Bound::listen).collect::<Result<_, _>>()?;
        let mut control = None;
        if let Some(listen) = &self.control {
            control = Some((listen.bind().await?, control::router(Arc::clone(&sts))));
        }
        let control_address = control.as_ref().map(|(bound, _)| bound.listen()).transpose()?;
        let serving = serve::start(data, control, Arc::clone(&sts), wire());
        Ok(FakeSts {
            sts,
            addresses,
            control_address,
            serving,
        })
    }
}

impl FakeSts {
    /// One with the built-in world, the machine's time and a port of its own.
    pub fn builder() -> Builder {
        Builder {
            world: Source::Text(DEFAULT_WORLD.to_owned()),
            permissive: false,
            clock: Clock::system(),
            seed: Seed::default(),
            ledger: Size::DEFAULT,
            listen: Vec::new(),
            control: None,
        }
    }

    /// Where it listens, in the order asked for.
    #[must_use]
    pub fn addresses(&self) -> &[Listen] {
        &self.addresses
    }

    /// Where the control API listens.
    #[must_use]
    pub fn control_address(&self) -> Option<&Listen> {
        self.control_address.as_ref()
    }

    /// What `AWS_ENDPOINT_URL_STS` and `AWS_ENDPOINT_URL_IAM` would be: the first address.
    #[must_use]
    pub fn url(&self) -> String {
        self.addresses
            .first()
            .map(|listen| format!("http://{listen}"))
            .unwrap_or_default()
    }

    /// The time; clones of it are the same clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.state().clock
    }

    /// Ledger, faults, holds and canaries.
    #[must_use]
    pub fn state(&self) -> &ControlState {
        self.sts.control()
    }

    /// The accounts as they are now, to look at. No request is answered while they are changed.
    pub fn accounts(&self) -> RwLockReadGuard<'_, State> {
        self.sts.state()
    }

    /// The accounts, to change. No request is answered meanwhile.
    pub fn accounts_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.sts.state_mut()
    }

    /// Plants a fault, as the control API takes it; its number.
    ///
    /// # Errors
    /// It is none, or cannot be meant.
    pub fn plant(&self, fault: &str) -> Result<u64, PlantError> {
        self.state().plant(fault)
    }

    /// The requests that these match.
    ///
    /// # Errors
    /// The ledger has lost requests, which may have matched.
    pub fn requests(&self, matches: impl Into<Matches>) -> Result<Vec<Entry>, Lost> {
        self.state().ledger.find(matches)
    }

    /// Whether a claim about the requests holds.
    ///
    /// # Errors
    /// It does not; the error says why and shows the requests.
    pub fn check(&self, assertion: &Assertion) -> Result<(), Box<Unmet>> {
        self.state().ledger.check(assertion)
    }

    /// Makes a role, or changes it: a `[[role]]` as JSON. Its ARN.
    ///
    /// # Errors
    /// It is none.
    pub fn put_role(&self, role: &Value) -> Result<String, Faults> {
        let mut accounts = self.accounts_mut();
        let role = world::read_role(role, &accounts.world.account)?;
        let role = accounts.world.put_role(role, self.sts.seed());
        self.state().canaries.plant(&format!("role:{}", role.arn.name));
        Ok(role.arn.to_string())
    }

    /// A token that an issuer of the world signs: a GitLab job's, a pod's, or one of stated claims.
    ///
    /// # Errors
    /// Nobody in the world issues it.
    pub fn token(&self, wanted: &WantedToken) -> Result<String, TokenRefused> {
        let (serial, now) = (self.sts.next_serial(), self.clock().now());
        issue_token(&mut self.accounts_mut(), wanted, serial, now).map(|(token, _)| token)
    }

    /// A SAML response that an identity provider of the world signs.
    ///
    /// # Errors
    /// Nobody in the world is played.
    pub fn assertion(&self, claim: Claim) -> Result<Made, AssertionRefused> {
        let (serial, now) = (self.sts.next_serial(), self.clock().now());
        make_assertion(&mut self.accounts_mut(), claim, serial, now)
    }

    /// As at the start, with an empty ledger; `POST /reset` does the same. Sessions of roles that are still there stay good: nobody remembers them.
    pub fn reset(&self) {
        self.state().reset();
    }

    /// Ends the connections within a second. Dropping it ends them too, without waiting.
    pub async fn stop(self) {
        self.serving.stop().await;
    }
}
