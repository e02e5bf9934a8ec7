//! Puts the parts of the metadata services together. It must not know listeners, files or the command line.

use std::sync::{Arc, Weak};

use axum::Router;
use fake_kit::clock::Clock;
use fake_kit::control::{self, ControlState};
use fake_kit::ledger::{Ledger, Size};
use fake_kit::seed::{Canaries, Seed};

use crate::aemm::Aemm;
use crate::answer::FACTS;
use crate::canonical::Profile;
use crate::fleet::Fleet;
use crate::imds::Imds;
use crate::instance::Marker;
use crate::issuer::{Issuer, StsControl};
use crate::machine::Machine;
use crate::orders;
use crate::purse::Purse;
use crate::service::Endpoint;
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
    /// Shows amazon-ec2-metadata-mock's values instead of the worlds'.
    pub aemm: Option<Aemm>,
    /// The time.
    pub clock: Clock,
    /// What all canaries, tokens and keys are derived from.
    pub seed: Seed,
    /// How much the ledger keeps.
    pub ledger: Size,
}

/// The metadata services of some instances, ready to be served.
#[derive(Debug)]
pub struct Assembly {
    /// What answers metadata requests.
    pub endpoint: Arc<Endpoint>,
    /// The control API.
    pub router: Router,
}

/// Puts the metadata services of these worlds together.
pub fn assemble(worlds: &[World], settings: Settings) -> Assembly {
    let Settings {
        profile,
        keep_alive,
        sts,
        aemm,
        clock,
        seed,
        ledger,
    } = settings;
    let canaries = Canaries::new(seed.clone());
    let started = clock.now();
    let machines = worlds
        .iter()
        .enumerate()
        .map(|(number, world)| {
            let imds = Imds::new(world, number, profile, &seed, &canaries, started);
            let imds = match &aemm {
                Some(aemm) => imds.as_aemm(aemm.clone()),
                None => imds,
            };
            let marker = Marker::of(&canaries, world, number);
            Machine::new(
                imds,
                Purse::new(Issuer::new(world.clone(), seed.clone(), marker, sts.clone())),
            )
        })
        .collect();
    let mut control = ControlState {
        ledger: Arc::new(Ledger::bounded(ledger)),
        ..ControlState::new(clock, canaries, FACTS)
    };
    let endpoint = Arc::new_cyclic(|endpoint: &Weak<Endpoint>| {
        let endpoint = endpoint.clone();
        control.on_reset = Arc::new(move || {
            if let Some(endpoint) = endpoint.upgrade() {
                endpoint.reset();
            }
        });
        Endpoint::new(Fleet::of(worlds), machines, keep_alive, control.clone())
    });
    let router = control::router(control).merge(orders::routes(Arc::clone(&endpoint)));
    Assembly { endpoint, router }
}
