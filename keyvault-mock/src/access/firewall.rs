//! A vault's network rules.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Who may reach a vault, by address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firewall {
    /// Whether addresses that no rule names may come in.
    #[serde(default = "yes")]
    pub default_allow: bool,
    /// The addresses and networks that may come in, such as `10.1.0.0/16` or `::1`.
    #[serde(default)]
    pub ip_rules: Vec<IpRule>,
    /// Whether the vault can be reached from public networks at all. When not, every address is one.
    #[serde(default = "yes")]
    pub public_network_access: bool,
}

impl Default for Firewall {
    fn default() -> Self {
        Firewall {
            default_allow: true,
            ip_rules: Vec::new(),
            public_network_access: true,
        }
    }
}

impl Firewall {
    /// Whether a rule lets the address in.
    pub fn lets_in(&self, address: IpAddr) -> bool {
        self.default_allow || self.ip_rules.iter().any(|rule| rule.contains(address))
    }
}

fn yes() -> bool {
    true
}

/// A network in CIDR notation; an address alone is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IpRule {
    network: IpAddr,
    prefix_bits: u8,
}

impl IpRule {
    /// Whether the address lies in the network. A v4 address in v6 clothes is taken as what it is.
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix_bits);
                let kept = |bits: u32| bits.checked_shr(shift).unwrap_or(0);
                kept(network.to_bits()) == kept(address.to_bits())
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix_bits);
                let kept = |bits: u128| bits.checked_shr(shift).unwrap_or(0);
                kept(network.to_bits()) == kept(address.to_bits())
            }
            _ => false,
        }
    }
}

impl TryFrom<String> for IpRule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bad = || {
            format!(
                "`{text}` is no network: write an address, or an address and a prefix such as 10.1.0.0/16"
            )
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text.as_str(), None),
        };
        let network: IpAddr = address.parse().map_err(|_| bad())?;
        let longest = if network.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| bad())?,
            None => longest,
        };
        if prefix_bits > longest {
            return Err(bad());
        }
        Ok(IpRule {
            network,
            prefix_bits,
        })
    }
}

impl From<IpRule> for String {
    fn from(rule: IpRule) -> String {
        format!("{}/{}", rule.network, rule.prefix_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> IpRule {
        IpRule::try_from(text.to_owned()).unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Goal: a network holds its first and its last address, and not their neighbours.
    #[test]
    fn networks_end_where_they_end() {
        for (network, inside, outside) in [
            ("10.1.0.0/16", "10.1.255.255", "10.2.0.0"),
            ("10.1.0.0/16", "10.1.0.0", "10.0.255.255"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::1", "::1", "::2"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::/0", "::1", "10.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::ffff:11.0.0.1"),
        ] {
            assert!(
                rule(network).contains(address(inside)),
                "{network} {inside}"
            );
            assert!(
                !rule(network).contains(address(outside)),
                "{network} {outside}"
            );
        }
    }

    /// Goal: what is no network is refused with a word about what one looks like.
    #[test]
    fn nonsense_is_no_network() {
        for text in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "host",
            "10.0.0.0/",
            "10.0.0.0/-1",
        ] {
            let refusal = IpRule::try_from(text.to_owned()).unwrap_err();
            assert!(refusal.contains("10.1.0.0/16"), "{text}: {refusal}");
        }
    }

    /// Goal: a firewall from JSON is the firewall that was meant, and a misspelt field is refused.
    #[test]
    fn firewalls_are_read_from_json() {
        let firewall: Firewall =
            serde_json::from_str(r#"{"default_allow":false,"ip_rules":["10.0.0.0/8"]}"#).unwrap();
        assert!(firewall.public_network_access);
        assert!(firewall.lets_in(address("10.2.3.4")));
        assert!(!firewall.lets_in(address("127.0.0.1")));
        assert!(serde_json::from_str::<Firewall>(r#"{"default_alow":false}"#).is_err());
    }
}
