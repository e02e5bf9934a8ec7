//! What an instance is told of what is to happen to it: each absent until it is so.

use jiff::Timestamp;
use serde_json::Value;

use super::Growing;
use crate::credentials::{object, seconds};
use crate::timeline::Maintenance;
use crate::tree::Leaf;
use crate::version::Version;
use crate::world::{EventState, Notices, SpotAction};

impl Growing<'_> {
    pub(super) fn notices(&mut self) {
        let state = self.state;
        if let Some((name, since)) = &state.lifecycle {
            self.notice("2021-07-15", "autoscaling/target-lifecycle-state", name.clone(), *since);
        }
        if let Some(at) = state.rebalance {
            let notice = self.laid_out(&[("noticeTime", seconds(at))]);
            self.notice("2020-10-27", "events/recommendations/rebalance", notice, at);
        }
        if let Some(spot) = state.spot {
            let action = match spot.action {
                SpotAction::Terminate => "terminate",
                SpotAction::Stop => "stop",
                SpotAction::Hibernate => "hibernate",
            };
            let time = seconds(spot.time);
            let notice = self.laid_out(&[("action", action.to_owned()), ("time", time.clone())]);
            self.notice("2016-11-15", "spot/instance-action", notice, spot.told);
            if spot.action == SpotAction::Terminate {
                self.notice("2014-11-05", "spot/termination-time", time, spot.told);
            }
        }
        let (active, over): (Vec<&Maintenance>, Vec<&Maintenance>) = state
            .maintenance
            .iter()
            .partition(|event| event.state == EventState::Active);
        for (name, events) in [("scheduled", active), ("history", over)] {
            let path = format!("events/maintenance/{name}");
            self.notice("2018-08-17", &path, maintenance(&events), state.maintained);
        }
    }

    fn notice(&mut self, since: &str, path: &str, text: String, changed: Timestamp) {
        let leaf = Leaf::Notice(text.into(), changed);
        self.tree.put(Version::since(since), format!("meta-data/{path}"), leaf);
    }

    fn laid_out(&self, fields: &[(&str, String)]) -> String {
        match self.world.instance.switches.notices {
            Notices::Line => {
                let fields: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| format!("{}: {}", Value::from(*name), Value::from(value.as_str())))
                    .collect();
                format!("{{{}}}", fields.join(", "))
            }
            Notices::Lines => object(fields.iter().map(|(name, value)| (*name, value.as_str().into()))),
        }
    }
}

/// `21 Jan 2019 09:00:43 GMT`
fn day(at: Timestamp) -> String {
    at.strftime("%-d %b %Y %H:%M:%S GMT").to_string()
}

/// Maintenance events as the documentation shows them; `[]` without any.
fn maintenance(events: &[&Maintenance]) -> String {
    if events.is_empty() {
        return "[]".to_owned();
    }
    let documents: Vec<String> = events
        .iter()
        .map(|event| {
            let (prefix, state) = match event.state {
                EventState::Active => ("", "active"),
                EventState::Completed => ("[Completed] ", "completed"),
                EventState::Canceled => ("[Canceled] ", "canceled"),
            };
            let mut fields = vec![
                ("NotBefore", day(event.not_before)),
                ("Code", event.code.clone()),
                ("Description", format!("{prefix}{}", event.description)),
                ("EventId", event.id.clone()),
                ("NotAfter", day(event.not_after)),
                ("State", state.to_owned()),
            ];
            fields.extend(event.not_before_deadline.map(|at| ("NotBeforeDeadline", day(at))));
            object(fields.into_iter().map(|(name, value)| (name, value.into())))
        })
        .collect();
    format!("[ {} ]", documents.join(", "))
}
