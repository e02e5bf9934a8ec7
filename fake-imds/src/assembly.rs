//! Puts the parts of one metadata service together. It must not know listeners, files or the command line.

use std::sync::{Arc, Weak};

use axum::Router;
use fake_kit::clock::Clock;
use fake_kit::control::{self, ControlState};
use fake_kit::seed::{Canaries, Seed};

use crate::answer::{FACTS, Imds};
use crate::canonical::Profile;
use crate::issuer::{Issuer, StsControl};
use crate::purse::Purse;
use crate::service::{self, Endpoint};
use crate::world::World;

/// How a metadata service is set up, beside its world.
#[derive(Debug)]
pub struct Settings {
    /// How much to tolerate.
    pub profile: Profile,
    /// Whether connections serve further requests.
    pub keep_alive: bool,
    /// Where credentials come from; without it they are minted.
    pub sts: Option<StsControl>,
    /// The time.
    pub clock: Clock,
    /// What all canaries, tokens and keys are derived from.
    pub seed: Seed,
}

/// A metadata service, ready to be served.
#[derive(Debug)]
pub struct Assembly {
    /// What answers metadata requests.
    pub endpoint: Arc<Endpoint>,
    /// The control API.
    pub router: Router,
}

/// Puts a metadata service together.
pub fn assemble(world: World, settings: Settings) -> Assembly {
    let Settings {
        profile,
        keep_alive,
        sts,
        clock,
        seed,
    } = settings;
    let canaries = Canaries::new(seed.clone());
    let imds = Imds::new(&world, profile, &seed, &canaries, clock.now());
    let options = world.options;
    let purse = Purse::new(Issuer::new(world, seed, canaries.clone(), sts));
    let mut control = ControlState::new(clock, canaries, FACTS);
    let endpoint = Arc::new_cyclic(|endpoint: &Weak<Endpoint>| {
        let endpoint = endpoint.clone();
        control.on_reset = Arc::new(move || {
            if let Some(endpoint) = endpoint.upgrade() {
                endpoint.reset();
            }
        });
        Endpoint::new(imds, profile, keep_alive, options, purse, control.clone())
    });
    let router = control::router(control).merge(service::routes(Arc::clone(&endpoint)));
    Assembly { endpoint, router }
}
