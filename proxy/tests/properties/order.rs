//! Lines of the control socket: orders and replies.

use metadata_proxy::control::{Order, Reply, refuse_older};
use metadata_proxy::policy::{Decision, Reason, Revocations, Target, decide};

use crate::world::{GRANT, POLICY, facts};

/// A line that is read says the same when it is written; and whom an order means it means by the whole name.
pub(crate) fn check(bytes: &[u8]) {
    if let Ok(reply) = serde_json::from_slice::<Reply>(bytes) {
        let written = serde_json::to_string(&reply).unwrap();
        assert!(!written.contains(['\n', '\r', '\x1b']));
        assert_eq!(serde_json::from_str::<Reply>(&written).unwrap(), reply);
    }
    let Ok(order) = serde_json::from_slice::<Order>(bytes) else {
        return;
    };
    let written = serde_json::to_string(&order).unwrap();
    assert!(!written.contains(['\n', '\r', '\x1b']));
    assert_eq!(serde_json::from_str::<Order>(&written).unwrap(), order);
    assert!(["revoke", "lift", "list"].contains(&order.to_string().as_str()));
    let (Order::Revoke(target) | Order::Lift(target)) = order else {
        return;
    };
    let is_meant = match &target {
        Target::Job(id) => *id == 302,
        Target::Project(id) => *id == 20,
        Target::Role(arn) => {
            drop(refuse_older(arn, std::time::SystemTime::UNIX_EPOCH));
            arn == "arn:aws:iam::123456789012:role/deploy"
        }
        Target::Container(id) => facts().run.container_id.starts_with(id),
    };
    let mut revocations = Revocations::default();
    assert_eq!(
        revocations.add(target.clone(), std::time::SystemTime::UNIX_EPOCH),
        Ok(true)
    );
    let left = revocations.apply(&facts(), decide(&POLICY, &facts()));
    let expected = if is_meant {
        Decision::Deny(Reason::Revoked)
    } else {
        Decision::Grant(Box::new(GRANT.clone()))
    };
    assert_eq!(left, expected);
    assert!(revocations.lift(&target) && revocations.iter().next().is_none());
}
