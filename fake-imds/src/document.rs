//! The instance identity document and its signatures. The signatures have the form of real ones and carry the canary, but no key
//! signed them. It must not know how they are served.

use fake_kit::seed::{Canary, Seed};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::credentials::{object, seconds};
use crate::instance::Facts;
use crate::world::World;

/// Characters in a line of the signatures (captures).
const LINE: usize = 76;

/// The identity document: 15 keys in their order. The canary stands where an AWS Marketplace product code would.
pub fn identity(world: &World, facts: &Facts, canary: &Canary, started: Timestamp) -> String {
    let fields: [(&str, Value); 15] = [
        ("accountId", world.account_id.as_str().into()),
        ("architecture", "x86_64".into()),
        ("availabilityZone", facts.availability_zone.as_str().into()),
        ("billingProducts", Value::Null),
        ("devpayProductCodes", Value::Null),
        ("marketplaceProductCodes", json!([canary.as_str()])),
        ("imageId", facts.image_id.as_str().into()),
        ("instanceId", world.instance_id.as_str().into()),
        ("instanceType", facts.instance_type.as_str().into()),
        ("kernelId", Value::Null),
        ("pendingTime", seconds(started).into()),
        ("privateIp", facts.private_ip.as_str().into()),
        ("ramdiskId", Value::Null),
        ("region", world.region.as_str().into()),
        ("version", "2017-09-30".into()),
    ];
    object(fields)
}

/// A signature of the form of `name` (`signature`, `pkcs7`, `rsa2048`, `dsa2048`), with the canary at its start.
pub fn signature(seed: &Seed, name: &str, canary: &Canary) -> String {
    // Lengths of real ones: 128 bytes of RSA, and PKCS7 envelopes of a document and one or two signatures.
    let (start, length) = match name {
        "signature" => ("", 172),
        "pkcs7" => ("MIAGCSqGSIb3DQEHAqCAMIACAQExCzAJ", 980),
        _ => ("MIAGCSqGSIb3DQEHAqCAMIACAQExDzAN", 1412),
    };
    let filled = format!("{start}{canary}");
    let rest = seed.base64(
        &format!("document-{name}"),
        0,
        usize::saturating_sub(length, filled.len()),
    );
    let text = format!("{filled}{rest}");
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(LINE)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canary_is_not_broken_over_lines() {
        let seed = Seed::default();
        let canary = Canary::derive(&seed, "identity-document");
        for name in ["signature", "pkcs7", "rsa2048", "dsa2048"] {
            let text = signature(&seed, name, &canary);
            assert!(text.contains(canary.as_str()), "{name}");
            assert!(text.lines().all(|line| line.len() <= LINE));
        }
    }
}
