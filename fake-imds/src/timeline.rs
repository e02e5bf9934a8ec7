//! From what is to happen to what is so at a time: notices, maintenance events, wanted states, rotations. It must not know how they are told.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::credentials::Kind;
use crate::options::{Change, Changes};
use crate::world::{Event, EventState, Instance, Moment, ProfileState, SpotAction, World};

/// A terminated or stopped spot instance is told two minutes before (AWS documentation).
const SPOT_LEAD: SignedDuration = SignedDuration::from_mins(2);
/// Scheduled events are announced weeks before.
const EVENT_LEAD: SignedDuration = SignedDuration::from_hours(14 * 24);
/// How long maintenance takes at most.
const EVENT_TIME: SignedDuration = SignedDuration::from_hours(2);
/// Orders of the control API that are kept.
pub const MOST_MOMENTS: usize = 10_000;

/// A spot interruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interruption {
    /// What happens to the instance.
    pub action: SpotAction,
    /// When.
    pub time: Timestamp,
    /// When it was announced.
    pub told: Timestamp,
}

/// A maintenance event with everything that it is told with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    /// `system-reboot` and the like.
    pub code: String,
    /// Its id.
    pub id: String,
    /// What it is, in words.
    pub description: String,
    /// The earliest start.
    pub not_before: Timestamp,
    /// The latest end.
    pub not_after: Timestamp,
    /// Until when the start can be put off.
    pub not_before_deadline: Option<Timestamp>,
    /// How far it has come.
    pub state: EventState,
}

/// The instance profile.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attachment {
    /// The name of the profile; empty without one.
    pub profile: String,
    /// The name of its role; empty without one.
    pub role: String,
    /// What became of it.
    pub state: ProfileState,
    /// Since when it is so, if not from the start: no credentials from before are given.
    pub since: Option<Timestamp>,
}

impl Attachment {
    /// What the instance starts with.
    pub fn first(instance: &Instance) -> Self {
        Self {
            profile: instance.profile.clone(),
            role: instance.role.clone(),
            state: instance.profile_state,
            since: None,
        }
    }

    /// The role whose credentials these are.
    pub fn role(&self, kind: Kind) -> &str {
        match kind {
            Kind::Role => &self.role,
            Kind::Identity => "aws:ec2-instance",
        }
    }

    fn apply(&mut self, moment: &Moment, at: Timestamp) {
        let before = self.clone();
        if let Some(profile) = &moment.profile {
            self.profile.clone_from(profile);
            self.role.clone_from(profile);
            self.state = ProfileState::Attached;
        }
        if let Some(role) = &moment.role {
            self.role.clone_from(role);
        }
        if let Some(state) = moment.profile_state {
            self.state = state;
        }
        if *self != before {
            self.since = Some(at);
        }
    }
}

/// What is so from a time on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// The state that the Auto Scaling group wants, and since when.
    pub lifecycle: Option<(String, Timestamp)>,
    /// The rebalance recommendation.
    pub rebalance: Option<Timestamp>,
    /// The spot interruption.
    pub spot: Option<Interruption>,
    /// All maintenance.
    pub maintenance: Vec<Maintenance>,
    /// When maintenance last changed.
    pub maintained: Timestamp,
    /// The tags.
    pub tags: BTreeMap<String, String>,
    /// Credentials from before are not given any more.
    pub rotated: Option<Timestamp>,
    /// The instance profile.
    pub attachment: Attachment,
}

impl State {
    /// The state at the start.
    pub fn first(world: &World, started: Timestamp) -> Self {
        let instance = &world.instance;
        let mut state = Self {
            lifecycle: instance.lifecycle_state.clone().map(|state| (state, started)),
            tags: instance.tags.clone(),
            maintained: started,
            attachment: Attachment::first(instance),
            ..Self::default()
        };
        for event in &instance.events {
            state.announce(event, started);
        }
        state
    }

    /// Everything that happens at a moment happens.
    pub fn apply(&mut self, moment: &Moment, at: Timestamp) {
        if moment.calm {
            (self.spot, self.rebalance) = (None, None);
        }
        if moment.rebalance {
            self.rebalance = Some(at);
        }
        if let Some(action) = moment.spot {
            let lead = match action {
                SpotAction::Terminate | SpotAction::Stop => SPOT_LEAD,
                SpotAction::Hibernate => SignedDuration::ZERO,
            };
            let time = moment.spot_time.unwrap_or_else(|| later(at, lead));
            self.spot = Some(Interruption { action, time, told: at });
        }
        if let Some(state) = &moment.lifecycle_state {
            self.lifecycle = Some((state.clone(), at));
        }
        if let Some(event) = &moment.event {
            self.announce(event, at);
        }
        for (id, state) in [
            (&moment.complete, EventState::Completed),
            (&moment.cancel, EventState::Canceled),
        ] {
            let Some(id) = id else { continue };
            for event in self.maintenance.iter_mut().filter(|event| event.id == *id) {
                event.state = state;
                self.maintained = at;
            }
        }
        self.attachment.apply(moment, at);
        if moment.rotate {
            self.rotated = Some(at);
        }
        if let Some(tags) = &moment.tags {
            self.tags.clone_from(tags);
        }
    }

    fn announce(&mut self, event: &Event, at: Timestamp) {
        let code = event.code.clone().unwrap_or_else(|| "system-reboot".to_owned());
        let not_before = event.not_before.unwrap_or_else(|| later(at, EVENT_LEAD));
        let words = || match code.as_str() {
            "instance-reboot" => "scheduled instance reboot".to_owned(),
            "system-reboot" => "scheduled reboot".to_owned(),
            "system-maintenance" => "scheduled maintenance".to_owned(),
            "instance-retirement" => "The instance is running on degraded hardware".to_owned(),
            "instance-stop" => "scheduled instance stop".to_owned(),
            other => format!("scheduled {other}"),
        };
        self.maintained = at;
        self.maintenance.push(Maintenance {
            id: event
                .id
                .clone()
                .unwrap_or_else(|| format!("instance-event-{:017x}", self.maintenance.len())),
            description: event.description.clone().unwrap_or_else(words),
            not_before,
            not_after: event.not_after.unwrap_or_else(|| later(not_before, EVENT_TIME)),
            not_before_deadline: event.not_before_deadline,
            state: event.state,
            code,
        });
    }
}

/// That much later; at the end of the calendar, the same time.
fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(at)
}

/// When a moment comes whose seconds count from `from`.
pub fn time_of(moment: &Moment, from: Timestamp) -> Timestamp {
    let seconds = moment
        .after
        .and_then(|seconds| i64::try_from(seconds).ok())
        .unwrap_or(0);
    moment
        .at
        .unwrap_or_else(|| later(from, SignedDuration::from_secs(seconds)))
}

/// The changes of metadata options among those moments; of two at one time the one ordered later comes later.
pub fn changes(moments: &[(Timestamp, Moment)]) -> Changes {
    let changes = moments.iter().map(|(at, moment)| (*at, moment.change()));
    changes.filter(|(_, change)| *change != Change::default()).collect()
}

/// The states of an instance in their order, each with the time since when it holds; the first holds before everything.
pub fn states(world: &World, started: Timestamp, moments: &[(Timestamp, Moment)]) -> Vec<(Timestamp, State)> {
    let mut moments: Vec<&(Timestamp, Moment)> = moments.iter().collect();
    // Of moments at one time, the one ordered later comes later.
    moments.sort_by_key(|(at, _)| *at);
    let mut state = State::first(world, started);
    let mut states = vec![(Timestamp::MIN, state.clone())];
    for (at, moment) in moments {
        state.apply(moment, *at);
        match states.last_mut() {
            Some((last, held)) if last == at => held.clone_from(&state),
            _ => states.push((*at, state.clone())),
        }
    }
    states
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_767_322_800 + seconds).unwrap()
    }

    fn moment(text: &str) -> Moment {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_spot_instance_is_told_two_minutes_before_and_a_hibernated_one_not() {
        let mut state = State::default();
        state.apply(&moment("spot = \"terminate\""), at(0));
        assert_eq!(state.spot.map(|spot| (spot.time, spot.told)), Some((at(120), at(0))));
        state.apply(&moment("spot = \"hibernate\""), at(5));
        assert_eq!(state.spot.map(|spot| spot.time), Some(at(5)));
        state.apply(&moment("rebalance = true"), at(6));
        assert_eq!(state.rebalance, Some(at(6)));
        state.apply(&moment("calm = true"), at(7));
        assert_eq!((state.spot, state.rebalance), (None, None));
    }

    #[test]
    fn an_event_is_announced_and_ends() {
        let mut state = State::default();
        state.apply(&moment("[event]\nid = \"e\"\ncode = \"instance-stop\""), at(0));
        state.apply(&moment("[event]"), at(1));
        assert_eq!(state.maintenance[1].id, "instance-event-00000000000000001");
        state.apply(
            &moment("complete = \"e\"\nlifecycle_state = \"Terminated\"\nrotate = true"),
            at(9),
        );
        assert_eq!(state.maintenance[0].state, EventState::Completed);
        assert_eq!(state.maintenance[1].state, EventState::Active);
        assert_eq!((state.maintained, state.rotated), (at(9), Some(at(9))));
        assert_eq!(state.lifecycle, Some(("Terminated".to_owned(), at(9))));
    }

    proptest! {
        #[test]
        fn states_are_in_order_and_each_holds_what_came_before(times in proptest::collection::vec(0_i64..9, 0..8)) {
            let world = World::default();
            let moments: Vec<(Timestamp, Moment)> = times
                .iter()
                .enumerate()
                .map(|(number, seconds)| (at(*seconds), moment(&format!("lifecycle_state = \"{number}\""))))
                .collect();
            let states = states(&world, at(0), &moments);
            prop_assert!(states.windows(2).all(|pair| pair[0].0 < pair[1].0));
            for (time, state) in states.iter().skip(1) {
                let last = times.iter().enumerate().filter(|(_, seconds)| at(**seconds) == *time).map(|(number, _)| number).max();
                prop_assert_eq!(state.lifecycle.as_ref().map(|(name, _)| name.clone()), last.map(|number| number.to_string()));
            }
        }
    }
}
