//! Which proxies are believed when they say for whom they speak.
//!
//! Owns the networks of the trusted ones, and how they say it. Knows neither sockets nor the form of
//! a header.

use std::{error::Error, fmt, net::IpAddr, str::FromStr};

/// Whom a bridge believes about the addresses of clients; by default nobody.
///
/// ```
/// let mut proxies = alle::TrustedProxies::default();
/// proxies.networks = vec!["10.0.0.0/8".parse()?];
/// proxies.header = alle::ProxyHeader::Forwarded;
/// # Ok::<(), alle::CidrError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrustedProxies {
    /// Their networks.
    pub networks: Vec<Cidr>,
    /// The header in which they name the client of a request.
    pub header: ProxyHeader,
    /// Whether each of their connections begins with a preamble of the PROXY protocol, version 1 or 2,
    /// which names the client: then nobody else may connect.
    pub proxy_protocol: bool,
}

impl TrustedProxies {
    /// Whether something is to be believed, and nobody is: no such setting does anything.
    pub(crate) fn is_futile(&self) -> bool {
        let is_default = !self.proxy_protocol && self.header == ProxyHeader::default();
        self.networks.is_empty() && !is_default
    }

    /// Whether one of them has this address.
    pub fn hold(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.holds(address))
    }
}

/// The header in which a proxy names the client of a request. The other one is never read: a proxy
/// that writes one of them passes on whatever a stranger wrote in the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`: addresses, comma separated.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// A network, or one address (RFC 4632, 3.1; RFC 4291, 2.3).
///
/// ```
/// let network: alle::Cidr = "10.0.0.0/8".parse()?;
/// assert!(network.holds("10.1.2.3".parse().unwrap()));
/// assert!("10.0.0.1/8".parse::<alle::Cidr>().is_err());
/// # Ok::<(), alle::CidrError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// Of a network, its first one.
    address: IpAddr,
    /// Leading bits that all addresses have in common.
    prefix_bits: u8,
}

/// Why this names no network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CidrError {
    /// No address, or no length of a prefix that it can have.
    Malformed(String),
    /// The address has bits behind the prefix; the network that may be meant.
    HostBits(String, Cidr),
}

impl Cidr {
    /// Whether the address is in it; one of IPv4 in an IPv6 socket counts as what it is.
    pub fn holds(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4()
            && first_of(address, self.prefix_bits) == self.address
    }

    /// Whether it holds every address of its kind.
    pub fn is_everybody(&self) -> bool {
        self.prefix_bits == 0
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let malformed = || CidrError::Malformed(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| malformed())?;
        let bits_max: u8 = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            None => bits_max,
            Some(digits) if digits.bytes().all(|it| it.is_ascii_digit()) => {
                let bits: u8 = digits.parse().map_err(|_| malformed())?;
                Some(bits)
                    .filter(|&bits| bits <= bits_max)
                    .ok_or_else(malformed)?
            }
            Some(_) => return Err(malformed()),
        };
        let first = first_of(address, prefix_bits);
        if first != address {
            let address = first;
            let meant = Self {
                address,
                prefix_bits,
            };
            return Err(CidrError::HostBits(text.to_owned(), meant));
        }
        // `::ffff:10.0.0.0/104` is 10.0.0.0/8: addresses are compared as what they are.
        Ok(match address.to_canonical() {
            IpAddr::V4(address) if bits_max == 128 && prefix_bits >= MAPPED_BITS => Self {
                address: address.into(),
                prefix_bits: prefix_bits - MAPPED_BITS,
            },
            IpAddr::V4(_) | IpAddr::V6(_) => Self {
                address,
                prefix_bits,
            },
        })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

impl fmt::Display for CidrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(text) => write!(
                f,
                "'{text}' is neither an address nor a network as 10.0.0.0/8 or fd00::/8"
            ),
            Self::HostBits(text, meant) => {
                write!(
                    f,
                    "'{text}' has bits behind its prefix: {meant} is the network"
                )
            }
        }
    }
}

impl Error for CidrError {}

/// The first address of the network that the address is in.
fn first_of(address: IpAddr, prefix_bits: u8) -> IpAddr {
    let kept = |bits_max: u32| bits_max.saturating_sub(u32::from(prefix_bits));
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(kept(u32::BITS)).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(kept(u128::BITS)).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

/// In front of an address of IPv4 that is written as one of IPv6 (RFC 4291, 2.5.5.2).
const MAPPED_BITS: u8 = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.6/31", "192.0.2.7", "192.0.2.8"),
            ("0.0.0.0/0", "203.0.113.9", "::"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.1"),
            ("fd00::/8", "fdff::1", "fe00::"),
            ("::1", "::1", "127.0.0.1"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("2001:db8::/127", "2001:db8::1", "2001:db8::2"),
        ] {
            let parsed: Cidr = network.parse().unwrap();
            assert!(parsed.holds(inside.parse().unwrap()), "{network} {inside}");
            assert!(
                !parsed.holds(outside.parse().unwrap()),
                "{network} {outside}"
            );
        }
    }

    #[test]
    fn what_is_no_network_is_told_why() {
        for wrong in [
            "",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0/8",
            "localhost",
            "10.0.0.0/8/8",
            "10.0.0.0 /8",
            "::/256",
        ] {
            let error = wrong.parse::<Cidr>().unwrap_err();
            assert!(matches!(error, CidrError::Malformed(_)), "{wrong}: {error}");
        }
        for (wrong, meant) in [
            ("10.0.0.1/8", "10.0.0.0/8"),
            ("2001:db8::1/64", "2001:db8::/64"),
            ("0.0.0.1/0", "0.0.0.0/0"),
        ] {
            let error = wrong.parse::<Cidr>().unwrap_err().to_string();
            assert!(
                error.ends_with(&format!("{meant} is the network")),
                "{error}"
            );
        }
    }
}
