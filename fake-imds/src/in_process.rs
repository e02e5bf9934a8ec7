//! A metadata service inside the process that tests: on a port of its own, with its own clock and ledger, gone when it is dropped.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use fake_kit::clock::Clock;
use fake_kit::control::ControlState;
use fake_kit::ledger::{Entry, Size};
use fake_kit::listen::{BindError, Bound, Listen};
pub use fake_kit::plant::PlantError;
use fake_kit::question::{Assertion, Lost, Matches, Unmet};
use fake_kit::seed::Seed;
use fake_kit::serve::{self, Serving};
use jiff::Timestamp;
use thiserror::Error;

use crate::aemm::Aemm;
use crate::assembly::{Assembly, Settings, assemble};
use crate::canonical::Profile;
use crate::issuer::StsControl;
use crate::machine::Machine;
use crate::options::{Change, MetadataOptions};
use crate::orders::{OrderError, order_at};
use crate::service::Endpoint;
use crate::world::{BrokenWorld, Moment, Tolerance, parse};

/// Bytes of a request's body; the service reads none.
const BODY_BYTES: usize = 64 * 1024;

/// How the real service wants its wire.
pub(crate) fn wire(keep_alive: bool) -> serve::Options {
    serve::Options {
        title_case_headers: true,
        keep_alive,
        body_limit: BODY_BYTES,
    }
}

/// What a [`FakeImds`] is to be.
#[derive(Debug)]
#[must_use = "nothing is served before it is started"]
pub struct Builder {
    world: String,
    tolerance: Tolerance,
    settings: Settings,
    listen: Vec<Listen>,
    control: Option<Listen>,
}

/// Why it does not serve.
#[derive(Debug, Error)]
pub enum StartError {
    /// The world is broken.
    #[error(transparent)]
    BrokenWorld(#[from] BrokenWorld),
    /// A listener cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The kernel does not say where it listens.
    #[error("cannot say where it listens")]
    System(#[from] std::io::Error),
}

/// A running metadata service.
#[derive(Debug)]
pub struct FakeImds {
    endpoint: Arc<Endpoint>,
    addresses: Vec<Listen>,
    control_address: Option<Listen>,
    serving: Serving,
}

impl Builder {
    /// Shows this world (the text of a `world.toml`) instead of the built-in one.
    pub fn world(mut self, text: impl Into<String>) -> Self {
        self.world = text.into();
        self
    }

    /// Takes values that AWS could never produce.
    pub fn anything_goes(mut self) -> Self {
        self.tolerance = Tolerance::AnythingGoes;
        self
    }

    /// Keeps this time instead of the machine's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.settings.clock = clock;
        self
    }

    /// The time stands still at that moment until it is moved.
    pub fn frozen_at(self, at: Timestamp) -> Self {
        self.clock(Clock::frozen(at))
    }

    /// Derives canaries, tokens and keys from this.
    pub fn seed(mut self, seed: impl Into<String>) -> Self {
        self.settings.seed = Seed::new(seed);
        self
    }

    /// Tolerates as much as this.
    pub fn profile(mut self, profile: Profile) -> Self {
        self.settings.profile = profile;
        self
    }

    /// Shows amazon-ec2-metadata-mock's values instead of a world's, with its error pages.
    pub fn aemm(mut self, aemm: Aemm) -> Self {
        self.settings.profile = Profile::Aemm;
        self.settings.aemm = Some(aemm);
        self
    }

    /// Serves further requests on a connection; the real service closes each.
    pub fn keep_alive(mut self) -> Self {
        self.settings.keep_alive = true;
        self
    }

    /// Keeps more requests in the ledger, or fewer: so much memory. When it is full the oldest are dropped, and claims fail.
    pub fn ledger(mut self, size: Size) -> Self {
        self.settings.ledger = size;
        self
    }

    /// Gets credentials from the fake STS that is controlled there.
    pub fn sts_control(mut self, control: StsControl) -> Self {
        self.settings.sts = Some(control);
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
    pub async fn start(self) -> Result<FakeImds, StartError> {
        let worlds = parse("world", &self.world, self.tolerance)?;
        let keep_alive = self.settings.keep_alive;
        let Assembly { endpoint, router } = assemble(&worlds, self.settings);
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
            control = Some((listen.bind().await?, router));
        }
        let control_address = control.as_ref().map(|(bound, _)| bound.listen()).transpose()?;
        let serving = serve::start(data, control, Arc::clone(&endpoint), wire(keep_alive));
        Ok(FakeImds {
            endpoint,
            addresses,
            control_address,
            serving,
        })
    }
}

impl FakeImds {
    /// One with the built-in world, the machine's time and a port of its own.
    pub fn builder() -> Builder {
        Builder {
            world: String::new(),
            tolerance: Tolerance::Plausible,
            settings: Settings {
                profile: Profile::Ec2,
                keep_alive: false,
                sts: None,
                aemm: None,
                clock: Clock::system(),
                seed: Seed::default(),
                ledger: Size::DEFAULT,
            },
            listen: Vec::new(),
            control: None,
        }
    }

    /// Where it listens, in the order asked for.
    pub fn addresses(&self) -> &[Listen] {
        &self.addresses
    }

    /// Where the control API listens.
    pub fn control_address(&self) -> Option<&Listen> {
        self.control_address.as_ref()
    }

    /// What `AWS_EC2_METADATA_SERVICE_ENDPOINT` would be: the first address.
    pub fn url(&self) -> String {
        self.addresses
            .first()
            .map(|listen| format!("http://{listen}"))
            .unwrap_or_default()
    }

    /// The time; clones of it are the same clock.
    pub fn clock(&self) -> &Clock {
        &self.state().clock
    }

    /// Ledger, faults, holds and canaries.
    pub fn state(&self) -> &ControlState {
        self.endpoint.control()
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

    /// All instances.
    pub fn instances(&self) -> &[Machine] {
        self.endpoint.machines()
    }

    /// Something happens to all instances; when.
    ///
    /// # Errors
    /// It cannot.
    pub fn order(&self, moment: &Moment) -> Result<Timestamp, OrderError> {
        let machines: Vec<&Machine> = self.instances().iter().collect();
        order_at(&machines, self.clock().now(), moment)
    }

    /// Changes the metadata options of all instances; those of the first, or none if the hop limit is out of range.
    pub fn change_options(&self, change: Change) -> Option<MetadataOptions> {
        let now = self.clock().now();
        let changed: Option<Vec<_>> = self
            .instances()
            .iter()
            .map(|machine| machine.change(now, change))
            .collect();
        changed?.first().copied()
    }

    /// No token that was given until now is valid, or that one is not.
    pub fn revoke(&self, token: Option<&str>) {
        for machine in self.instances() {
            machine.revoke(token);
        }
    }

    /// As at the start, with an empty ledger.
    pub fn reset(&self) {
        self.state().reset();
    }

    /// Ends the connections within a second. Dropping it ends them too, without waiting.
    pub async fn stop(self) {
        self.serving.stop().await;
    }
}
