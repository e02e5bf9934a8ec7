//! Values that are well by themselves and not together. It must not know how the file was read.

use std::collections::BTreeSet;

use super::{EventState, Instance, Interface, Moment, World};

/// Values that are well by themselves and not together.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Clash {
    pub(super) field: String,
    pub(super) problem: String,
    pub(super) remedy: String,
    /// A text that stands on the line.
    pub(super) around: String,
}

/// What is found so far.
struct Search {
    found: Vec<Clash>,
    anything_goes: bool,
}

/// Everything that clashes in these worlds.
pub(super) fn clashes(worlds: &[World], anything_goes: bool) -> Vec<Clash> {
    let mut search = Search {
        found: Vec::new(),
        anything_goes,
    };
    search.fleet(worlds);
    for world in worlds {
        search.instance(world);
        search.interfaces(&world.instance.stated_interfaces);
        for moment in &world.instance.timeline {
            search.moment(&world.instance, moment);
        }
    }
    search.found.sort();
    search.found.dedup();
    search.found
}

impl Search {
    fn add(&mut self, field: &str, problem: impl Into<String>, remedy: &str, around: &str) {
        self.found.push(Clash {
            field: format!("instance.{field}"),
            problem: problem.into(),
            remedy: remedy.to_owned(),
            around: around.to_owned(),
        });
    }

    fn fleet(&mut self, worlds: &[World]) {
        let (mut ids, mut tokens) = (BTreeSet::new(), BTreeSet::new());
        let mut general = 0;
        for World { instance, .. } in worlds {
            if !ids.insert(&instance.id) {
                let problem = format!("{:?} is two instances", instance.id);
                self.add("id", problem, "give each an id of its own", &instance.id);
            }
            for token in instance.tokens.iter().filter(|token| !tokens.insert(*token)) {
                self.add(
                    "tokens",
                    "one token leads to two instances",
                    "remove it from one",
                    token,
                );
            }
            general +=
                usize::from(instance.listen.is_empty() && instance.sources.is_empty() && instance.tokens.is_empty());
        }
        if general > 1 {
            let problem = format!("{general} of the instances answer whom no other does");
            self.add(
                "listen",
                problem,
                "give all but one of them listen, sources or tokens",
                "[instance",
            );
        }
    }

    fn instance(&mut self, World { account, instance }: &World) {
        if instance.user_data_base64.is_some() && instance.user_data != Instance::default().user_data {
            self.add(
                "user_data",
                "stands beside user_data_base64",
                "keep one of them",
                "user_data_base64",
            );
        }
        if self.anything_goes {
            return;
        }
        if let Some(zone) = instance.zone.as_ref().filter(|zone| !zone.starts_with(&account.region)) {
            let problem = format!("{zone:?} is not in {}", account.region);
            self.add("zone", problem, "give a zone of account.region", zone);
        }
        let over = instance.events.iter().filter(|event| event.state != EventState::Active);
        if over.into_iter().any(|event| event.not_before.is_none()) {
            self.add(
                "event",
                "is over and began in the future",
                "say when it was: not_before",
                "state",
            );
        }
    }

    fn interfaces(&mut self, interfaces: &[Interface]) {
        let (mut macs, mut places, mut addresses) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for interface in interfaces {
            let mac = &interface.mac;
            if !macs.insert(mac) {
                let problem = format!("{mac:?} is two interfaces");
                self.add("interface.mac", problem, "give each a hardware address of its own", mac);
            }
            if self.anything_goes {
                continue;
            }
            if !places.insert((interface.network_card.unwrap_or(0), interface.device_number)) {
                let problem = format!("{} is taken by another interface", interface.device_number);
                self.add("interface.device_number", problem, "count them from 0", mac);
            }
            for address in interface.ipv4.iter().filter(|address| !addresses.insert(*address)) {
                let problem = format!("{address:?} belongs to another interface");
                self.add("interface.ipv4", problem, "give each addresses of its own", mac);
            }
            for (public, private) in &interface.public {
                if !interface.ipv4.contains(private) {
                    let problem = format!("{public:?} belongs to {private:?}, which is not among ipv4");
                    self.add("interface.public", problem, "give one of the interface's ipv4", public);
                }
            }
        }
    }

    fn moment(&mut self, instance: &Instance, moment: &Moment) {
        if moment.after.is_some() == moment.at.is_some() {
            let remedy = "say when: after = 30, or at = \"2026-01-02T03:04:05Z\"";
            self.add(
                "timeline",
                "has not exactly one of after and at",
                remedy,
                "instance.timeline",
            );
        }
        for id in [&moment.complete, &moment.cancel].into_iter().flatten() {
            let told = instance.timeline.iter().filter_map(|moment| moment.event.as_ref());
            if !instance
                .events
                .iter()
                .chain(told)
                .any(|event| event.id.as_ref() == Some(id))
            {
                let problem = format!("there is no event {id:?}");
                self.add("timeline", problem, "give the id of an event that has one", id);
            }
        }
        if moment.profile.as_deref() == Some("")
            && let Some(role) = moment.role.as_deref().filter(|role| !role.is_empty())
        {
            let remedy = "remove role, or name the profile that it belongs to";
            self.add("timeline.role", "has no profile: this moment detaches it", remedy, role);
        }
        if moment.spot.is_some() && instance.life_cycle != "spot" && !self.anything_goes {
            let problem = "interrupts an instance that is not a spot instance";
            self.add("timeline.spot", problem, "say life_cycle = \"spot\"", "spot");
        }
    }
}
