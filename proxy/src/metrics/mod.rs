//! What is counted. Every label has a fixed set of values, so that no container can grow it. Knows no caller.

mod endpoint;

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use endpoint::{BindFault, serve};

use crate::caller::Level;
use crate::credentials::{CacheEvent, Observe, Turn};
use crate::gitlab::{Count, Verdict as Confirmation};
use crate::health::Verdict;

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// A server nearby answers in tens of milliseconds; none has more than ten seconds.
const VERIFICATION_SECONDS: [f64; 8] = [0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// The proxy's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    answers: Family<Labels<3>, Counter>,
    observed: Family<Labels<1>, Counter>,
    enforced: Gauge<i64, AtomicI64>,
    sts: Family<Labels<1>, Counter>,
    withheld: Family<Labels<1>, Counter>,
    suspended: Family<Labels<1>, Gauge<i64, AtomicI64>>,
    cache: Family<Labels<1>, Counter>,
    verifications: Family<Labels<1>, Counter>,
    unasked: Family<Labels<1>, Counter>,
    verification_seconds: Histogram,
    connections: Gauge<i64, AtomicI64>,
    accepted: Counter,
    refused: Counter,
    reset: Counter,
    audit_lost: Counter,
    repairs: Counter,
    reloads: Family<Labels<1>, Counter>,
    revoked: Gauge<i64, AtomicI64>,
    ready: Gauge<i64, AtomicI64>,
    engine: Gauge<i64, AtomicI64>,
    firewall: Family<Labels<0>, Gauge<i64, AtomicI64>>,
    attestation: Family<Labels<1>, Gauge<i64, AtomicI64>>,
    proven: Family<Labels<0>, Gauge<i64, AtomicI64>>,
    unproven: Counter,
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("metadata_proxy");
        let answers = Family::default();
        registry.register("answers", "Answers, by route, status and reason", answers.clone());
        let observed = Family::default();
        registry.register(
            "observed",
            "Answers that the rules refuse, given because nothing is enforced, by the reason of the refusal",
            observed.clone(),
        );
        let enforced = Gauge::default();
        registry.register(
            "enforced",
            "1 if what the rules refuse is refused; 0 with compat.mode = \"observe\"",
            enforced.clone(),
        );
        let sts = Family::default();
        registry.register("sts_calls", "Calls of AssumeRole, by how they ended", sts.clone());
        let withheld = Family::default();
        registry.register(
            "sts_calls_withheld",
            "Calls of AssumeRole that were not made, by reason",
            withheld.clone(),
        );
        let suspended = Family::default();
        registry.register(
            "sts_suspended",
            "Breakers that are open: STS is only tried, for all roles (overall) or for so many roles (role)",
            suspended.clone(),
        );
        let cache = Family::default();
        registry.register(
            "credentials",
            "Credentials served, by where they came from",
            cache.clone(),
        );
        let verifications = Family::default();
        registry.register(
            "verifications",
            "Questions to GitLab about a job, by how they ended",
            verifications.clone(),
        );
        let unasked = Family::default();
        registry.register(
            "verifications_withheld",
            "Questions to GitLab that were not asked, by reason",
            unasked.clone(),
        );
        let verification_seconds = Histogram::new(VERIFICATION_SECONDS);
        registry.register(
            "verification_seconds",
            "How long questions to GitLab took",
            verification_seconds.clone(),
        );
        let connections = Gauge::default();
        registry.register("connections", "Connections that are open", connections.clone());
        let accepted = Counter::default();
        registry.register("connections_accepted", "Connections accepted", accepted.clone());
        let refused = Counter::default();
        registry.register(
            "connections_refused",
            "Connections closed at once, because there were too many",
            refused.clone(),
        );
        let reset = Counter::default();
        registry.register("connections_reset", "Connections cut off", reset.clone());
        let audit_lost = Counter::default();
        registry.register(
            "audit_records_lost",
            "Audit records lost, because nobody read them",
            audit_lost.clone(),
        );
        let repairs = Counter::default();
        registry.register(
            "firewall_repairs",
            "Times that the firewall was not as planned",
            repairs.clone(),
        );
        let reloads = Family::default();
        registry.register("reloads", "Reloads of the policy, by how they ended", reloads.clone());
        let revoked = Gauge::default();
        registry.register("revocations", "Subjects that an operator revoked", revoked.clone());
        let ready = Gauge::default();
        registry.register("ready", "1 if every part does its work (see /readyz)", ready.clone());
        let engine = Gauge::default();
        registry.register(
            "engine_connected",
            "1 if the engine's events are followed",
            engine.clone(),
        );
        let firewall = Family::default();
        registry.register(
            "firewall_in_place",
            "1 if every rule was there at the last look; absent with firewall.manage = false",
            firewall.clone(),
        );
        let attestation = Family::default();
        registry.register(
            "attestation_info",
            "1 for the level by which callers are told apart: cgroup, or netns",
            attestation.clone(),
        );
        let proven = Family::default();
        registry.register(
            "self_test_last_success_timestamp_seconds",
            "When the self-test last passed; absent with attestation.self_test = false",
            proven.clone(),
        );
        let unproven = Counter::default();
        registry.register(
            "self_test_failures",
            "Self-tests that failed while the proxy serves",
            unproven.clone(),
        );
        Arc::new(Self {
            registry,
            answers,
            observed,
            enforced,
            sts,
            withheld,
            suspended,
            cache,
            verifications,
            unasked,
            verification_seconds,
            connections,
            accepted,
            refused,
            reset,
            audit_lost,
            repairs,
            reloads,
            revoked,
            ready,
            engine,
            firewall,
            attestation,
            proven,
            unproven,
        })
    }

    /// The text that Prometheus reads, with what is true at this moment.
    #[must_use]
    pub fn text(&self, verdict: &Verdict) -> String {
        self.ready.set(i64::from(verdict.is_ready()));
        self.enforced.set(i64::from(verdict.is_enforced));
        self.engine.set(i64::from(verdict.is_engine_followed));
        if let Some(is_in_place) = verdict.is_firewall_in_place {
            self.firewall.get_or_create(&[]).set(i64::from(is_in_place));
        }
        let mut text = String::new();
        // Writing to a text does not fail.
        let _infallible = encode(&mut text, &self.registry);
        text
    }

    /// One answer.
    pub fn count_answer(&self, route: &'static str, status: &'static str, reason: &'static str) {
        self.answers
            .get_or_create(&[("route", route), ("status", status), ("reason", reason)])
            .inc();
    }

    /// One answer that the rules refuse for this reason.
    pub fn count_observed(&self, reason: &'static str) {
        self.observed.get_or_create(&[("reason", reason)]).inc();
    }

    /// A connection was accepted, and is open.
    pub fn open_connection(&self) {
        self.accepted.inc();
        self.connections.inc();
    }

    /// A connection is not open any more.
    pub fn close_connection(&self) {
        self.connections.dec();
    }

    /// A connection too many.
    pub fn refuse_connection(&self) {
        self.refused.inc();
    }

    /// A connection was reset.
    pub fn reset_connection(&self) {
        self.reset.inc();
    }

    /// The firewall had to be repaired.
    pub fn count_repair(&self) {
        self.repairs.inc();
    }

    /// The policy was reloaded, or not.
    pub fn count_reload(&self, is_applied: bool) {
        let result = if is_applied { "applied" } else { "refused" };
        self.reloads.get_or_create(&[("result", result)]).inc();
    }

    /// Callers are told apart by this.
    pub fn show_attestation(&self, level: Level) {
        self.attestation.get_or_create(&[("level", level.as_str())]).set(1);
    }

    /// The self-test passed at that time.
    pub fn show_proven(&self, at: SystemTime) {
        let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let gauge = self.proven.get_or_create(&[]);
        gauge.set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }

    /// The self-test failed.
    pub fn count_unproven(&self) {
        self.unproven.inc();
    }

    /// So many subjects are revoked.
    pub fn show_revoked(&self, number: usize) {
        self.revoked.set(i64::try_from(number).unwrap_or(i64::MAX));
    }

    /// A record was lost.
    pub fn lose_record(&self) {
        self.audit_lost.inc();
    }
}

impl Observe for Metrics {
    fn observe(&self, event: CacheEvent) {
        let (family, label, value) = match event {
            CacheEvent::Hit => (&self.cache, "from", "cache"),
            CacheEvent::Miss => (&self.cache, "from", "sts"),
            CacheEvent::Old => (&self.cache, "from", "cache-while-sts-fails"),
            CacheEvent::Call(Ok(())) => (&self.sts, "result", "ok"),
            CacheEvent::Call(Err(failure)) => (&self.sts, "result", failure.as_str()),
            CacheEvent::Withheld(failure) => (&self.withheld, "reason", failure.as_str()),
            CacheEvent::Turn(turn) => {
                let (scope, step) = match turn {
                    Turn::Suspended(scope) => (scope, 1),
                    Turn::Resumed(scope) => (scope, -1),
                };
                self.suspended.get_or_create(&[("scope", scope.as_str())]).inc_by(step);
                return;
            }
        };
        family.get_or_create(&[(label, value)]).inc();
    }
}

impl Count for Metrics {
    fn count(&self, verdict: Confirmation, took: Option<Duration>) {
        let result = match verdict {
            Ok(()) => "ok",
            Err(why) => why.as_str(),
        };
        match took {
            Some(took) => {
                self.verifications.get_or_create(&[("result", result)]).inc();
                self.verification_seconds.observe(took.as_secs_f64());
            }
            None => {
                self.unasked.get_or_create(&[("reason", result)]).inc();
            }
        }
    }
}
