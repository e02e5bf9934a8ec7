//! Which of several instances a request is for: by the address it came to, by the address it came from, or by its token. It must not know
//! what they answer.

use std::net::{IpAddr, SocketAddr};

use crate::world::World;

/// An address, or addresses with a common prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads `10.0.0.0/8` or a single address.
    pub fn read(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
        };
        (bits <= most).then_some(Self { address, bits })
    }

    /// Whether it is of IPv4.
    pub fn is_v4(self) -> bool {
        self.address.is_ipv4()
    }

    /// Whether nothing stands behind its prefix.
    pub fn is_exact(self) -> bool {
        let (value, most) = number(self.address);
        let behind = u32::from(most - self.bits);
        value.checked_shr(behind).unwrap_or(0).checked_shl(behind).unwrap_or(0) == value
    }

    /// Whether the address is one of these. An IPv4 address in IPv6 form is an IPv4 address.
    pub fn contains(self, address: IpAddr) -> bool {
        let (own, most) = number(self.address);
        let (other, others) = number(address.to_canonical());
        let behind = u32::from(most - self.bits);
        most == others && own.checked_shr(behind) == other.checked_shr(behind)
    }
}

fn number(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    }
}

/// What of a request tells the instance.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The address and port that it came to, or `unix:PATH`.
    pub local: &'a str,
    /// The address and port that it came from, or `unix`.
    pub source: &'a str,
    /// Its session token.
    pub token: Option<&'a [u8]>,
}

/// Whose requests an instance answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Claim {
    listen: Vec<String>,
    sources: Vec<Network>,
    tokens: Vec<String>,
}

/// The claims of all instances, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    claims: Vec<Claim>,
    general: usize,
}

impl Fleet {
    /// The claims of those worlds.
    pub fn of(worlds: &[World]) -> Self {
        let claims: Vec<Claim> = worlds
            .iter()
            .map(|world| Claim {
                listen: world.instance.listen.clone(),
                sources: world
                    .instance
                    .sources
                    .iter()
                    .filter_map(|text| Network::read(text))
                    .collect(),
                tokens: world.instance.tokens.clone(),
            })
            .collect();
        let general = claims.iter().position(|claim| *claim == Claim::default()).unwrap_or(0);
        Self { claims, general }
    }

    /// The number of the instance that answers: the one that claims the address the request came to, else the one that claims where it came from, else the one
    /// whose token it shows, else the one that claims nothing, else the first.
    pub fn choose(&self, origin: Origin<'_>) -> usize {
        if self.claims.len() < 2 {
            return 0;
        }
        let local: Option<SocketAddr> = origin.local.parse().ok();
        let source: Option<SocketAddr> = origin.source.parse().ok();
        let listens = |claim: &Claim| {
            claim.listen.iter().any(|listen| {
                let address = local.is_some_and(|local| listen.parse() == Ok(local.ip()));
                address || listen == origin.local || local.is_some_and(|local| listen.parse() == Ok(local))
            })
        };
        let comes = |claim: &Claim| {
            source.is_some_and(|source| claim.sources.iter().any(|network| network.contains(source.ip())))
        };
        let shows = |claim: &Claim| {
            origin
                .token
                .is_some_and(|token| claim.tokens.iter().any(|known| known.as_bytes() == token))
        };
        let find = |fits: &dyn Fn(&Claim) -> bool| self.claims.iter().position(fits);
        find(&listens)
            .or_else(|| find(&comes))
            .or_else(|| find(&shows))
            .unwrap_or(self.general)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::world::{Tolerance, parse};

    fn fleet(text: &str) -> Fleet {
        Fleet::of(&parse("world.toml", text, Tolerance::AnythingGoes).unwrap())
    }

    #[test]
    fn address_source_and_token_choose_in_this_order() {
        let fleet = fleet(
            "[[instance]]\nid = \"i-1\"\nlisten = [\"127.0.0.2:80\", \"127.0.0.3\"]\n\
             [[instance]]\nid = \"i-2\"\nsources = [\"10.0.0.0/8\", \"fd00::1\"]\n\
             [[instance]]\nid = \"i-3\"\n\
             [[instance]]\nid = \"i-4\"\ntokens = [\"T\"]\n",
        );
        let choose = |local, source, token: &'static str| {
            let token = (!token.is_empty()).then_some(token.as_bytes());
            fleet.choose(Origin { local, source, token })
        };
        assert_eq!(choose("127.0.0.2:80", "10.1.1.1:9", "T"), 0);
        assert_eq!(choose("127.0.0.2:81", "10.1.1.1:9", "T"), 1);
        assert_eq!(choose("127.0.0.3:81", "10.1.1.1:9", ""), 0);
        assert_eq!(choose("[::1]:81", "[fd00::1]:9", "T"), 1);
        assert_eq!(choose("127.0.0.1:80", "127.0.0.1:9", "T"), 3);
        assert_eq!(choose("127.0.0.1:80", "127.0.0.1:9", "U"), 2);
        assert_eq!(choose("unix:/s", "unix", ""), 2);
    }

    #[test]
    fn networks_are_read_with_their_prefix() {
        for (text, exact) in [
            ("10.0.0.0/8", true),
            ("10.0.0.1/8", false),
            ("10.0.0.1", true),
            ("::/0", true),
            ("2001:db8::1/64", false),
        ] {
            assert_eq!(Network::read(text).map(Network::is_exact), Some(exact), "{text}");
        }
        for text in ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "x"] {
            assert_eq!(Network::read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_address_is_in_its_own_network_and_not_in_another(address: u32, bits in 1_u8..=32) {
            let ip = std::net::Ipv4Addr::from(address);
            let network = Network::read(&format!("{ip}/{bits}")).unwrap();
            prop_assert!(network.contains(ip.into()));
            let flipped = std::net::Ipv4Addr::from(address ^ (1 << (32 - u32::from(bits))));
            prop_assert!(!network.contains(flipped.into()));
        }
    }
}
