//! What texts AWS could produce, and what to do about others. Each is a rule of a field; `--anything-goes` lifts them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a text must be like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub(super) fits: fn(&str) -> bool,
    pub(super) remedy: &'static str,
    /// Whether the fake itself cannot do without it: then it is not lifted.
    pub(super) always: bool,
}

const fn rule(fits: fn(&str) -> bool, remedy: &'static str) -> Rule {
    Rule {
        fits,
        remedy,
        always: false,
    }
}

const fn always(fits: fn(&str) -> bool, remedy: &'static str) -> Rule {
    Rule {
        fits,
        remedy,
        always: true,
    }
}

pub(super) const ACCOUNT: Rule = rule(account, "give twelve digits, in quotes");
pub(super) const REGION: Rule = rule(region, "give a region such as \"eu-central-1\"");
pub(super) const INSTANCE_ID: Rule = rule(|text| id(text, "i-"), "give i- and 17 hexadecimal digits in lower case");
pub(super) const IMAGE: Rule = rule(
    |text| id(text, "ami-"),
    "give ami- and 17 hexadecimal digits in lower case",
);
pub(super) const KERNEL: Rule = rule(
    |text| id(text, "aki-"),
    "give aki- and 8 hexadecimal digits in lower case",
);
pub(super) const RAMDISK: Rule = rule(
    |text| id(text, "ari-"),
    "give ari- and 8 hexadecimal digits in lower case",
);
pub(super) const RESERVATION: Rule = rule(|text| id(text, "r-"), "give r- and 17 hexadecimal digits in lower case");
pub(super) const HOST: Rule = rule(|text| id(text, "h-"), "give h- and 17 hexadecimal digits in lower case");
pub(super) const INTERFACE: Rule = rule(
    |text| id(text, "eni-"),
    "give eni- and 17 hexadecimal digits in lower case",
);
pub(super) const SUBNET: Rule = rule(
    |text| id(text, "subnet-"),
    "give subnet- and 17 hexadecimal digits in lower case",
);
pub(super) const VPC: Rule = rule(
    |text| id(text, "vpc-"),
    "give vpc- and 17 hexadecimal digits in lower case",
);
pub(super) const GROUP_ID: Rule = rule(
    |text| id(text, "sg-"),
    "give sg- and 17 hexadecimal digits in lower case",
);
pub(super) const EVENT_ID: Rule = rule(
    |text| id(text, "instance-event-"),
    "give instance-event- and 17 hexadecimal digits in lower case",
);
pub(super) const NAME_OR_NONE: Rule = rule(
    |text| text.is_empty() || iam_name(text),
    "give up to 64 letters, digits or +=,.@_-, or \"\" for an instance without a profile",
);
pub(super) const KIND: Rule = rule(kind, "give an instance type such as \"m5.large\"");
pub(super) const ZONE: Rule = rule(zone, "give an availability zone such as \"eu-central-1a\"");
pub(super) const ZONE_ID: Rule = rule(zone_id, "give the id of a zone, such as \"euc1-az1\"");
pub(super) const MAC: Rule = always(mac, "give six pairs of hexadecimal digits in lower case, with colons");
pub(super) const IPV4: Rule = rule(|text| text.parse::<Ipv4Addr>().is_ok(), "give an IPv4 address");
pub(super) const IPV6: Rule = rule(|text| text.parse::<Ipv6Addr>().is_ok(), "give an IPv6 address");
pub(super) const NETWORK4: Rule = rule(
    |text| network(text, true),
    "give IPv4 addresses as \"172.31.16.0/20\", with zeros behind the prefix",
);
pub(super) const NETWORK6: Rule = rule(
    |text| network(text, false),
    "give IPv6 addresses as \"2001:db8::/64\", with zeros behind the prefix",
);
pub(super) const SOURCE: Rule = always(
    |text| crate::fleet::Network::read(text).is_some(),
    "give an address, or addresses as \"10.0.0.0/8\"",
);
pub(super) const LISTEN: Rule = always(
    |text| text.parse::<std::net::SocketAddr>().is_ok() || text.parse::<IpAddr>().is_ok() || text.starts_with("unix:"),
    "give an address as it is listened on: 127.0.0.2:80, or 127.0.0.2 for every port",
);
pub(super) const TOKEN: Rule = rule(
    |text| text.len() == 56 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b)),
    "give 56 characters of URL-safe base64",
);
pub(super) const TAG_NAME: Rule = always(
    tag_name,
    "tags in metadata have names of letters, digits and +-=.,_:@ (not . or ..), and values up to 256 bytes",
);
pub(super) const TAG_VALUE: Rule = rule(
    |text| text.len() <= 256,
    "tags in metadata have names of letters, digits and +-=.,_:@ (not . or ..), and values up to 256 bytes",
);
pub(super) const SEGMENT: Rule = always(segment, "give a name without a slash or white space");
pub(super) const PATH: Rule = always(
    |text| {
        text.len() > 1 && text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && !b"?#%".contains(&b))
    },
    "give a path such as \"/v1/credentials\"",
);
pub(super) const LINE: Rule = always(
    |text| !text.is_empty() && text.len() <= 1024 && !text.contains(['\n', '\r']),
    "give one line of text",
);
pub(super) const TEXT: Rule = always(|text| text.len() <= 16 * 1024, "give a text of at most 16384 bytes");
/// EC2 takes 16 KiB of user data; the canary needs some of it.
pub(super) const USER_DATA: Rule = rule(
    |text| text.len() <= 16 * 1024 - 64,
    "give a text of at most 16320 bytes",
);
pub(super) const BASE64: Rule = always(
    |text| super::read::decoded(text).is_some_and(|bytes| bytes.len() <= 16 * 1024),
    "give at most 16384 bytes in base64",
);
pub(super) const TIME: Rule = always(
    |text| text.parse::<jiff::Timestamp>().is_ok(),
    "give a time such as \"2026-01-02T03:04:05Z\"",
);
pub(super) const VERSION: Rule = always(day, "give a day such as \"2025-03-01\", later than 2024-04-11");

fn account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let whole = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
    parts.len() >= 3 && parts.iter().all(whole)
}

fn id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|hex| {
        matches!(hex.len(), 8 | 17) && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

fn iam_name(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(letter) && !matches!(text, "." | "..")
}

fn kind(text: &str) -> bool {
    let whole = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.split_once('.')
        .is_some_and(|(family, size)| whole(family) && whole(size))
}

fn zone(text: &str) -> bool {
    let (letters, last) = text.split_at(text.len().saturating_sub(1));
    text.is_ascii()
        && region(text)
        && last.bytes().all(|b| b.is_ascii_lowercase())
        && letters.ends_with(|c: char| c.is_ascii_digit())
}

fn zone_id(text: &str) -> bool {
    text.split_once("-az").is_some_and(|(region, number)| {
        !region.is_empty()
            && region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && number.parse::<u8>().is_ok()
    })
}

fn mac(text: &str) -> bool {
    let pairs: Vec<&str> = text.split(':').collect();
    let pair = |pair: &&str| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    pairs.len() == 6 && pairs.iter().all(pair)
}

fn network(text: &str, v4: bool) -> bool {
    crate::fleet::Network::read(text)
        .is_some_and(|network| text.contains('/') && network.is_v4() == v4 && network.is_exact())
}

fn tag_name(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"+-=.,_:@".contains(&b);
    (1..=128).contains(&text.len()) && text.bytes().all(letter) && !matches!(text, "." | ".." | "_index")
}

fn segment(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
        && !matches!(text, "." | "..")
}

fn day(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok() && text > "2024-04-11"
}
