//! How people and requests name what the model knows: backends and protocols as text.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::model::{Endpoint, Protocol};

/// A backend as a person names it: `198.18.10.2:8080`, or with `/tcp` or `/udp` where the same
/// address serves both and only one is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackendName {
    /// Address.
    pub address: IpAddr,
    /// Port; 0 names a backend that keeps the port of the packet.
    pub port: u16,
    /// Only this protocol.
    pub protocol: Option<Protocol>,
}

impl BackendName {
    /// Whether the name means this endpoint.
    #[must_use]
    pub fn matches(&self, endpoint: &Endpoint) -> bool {
        self.address == endpoint.address
            && self.port == endpoint.port
            && self.protocol.is_none_or(|protocol| protocol == endpoint.protocol)
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", SocketAddr::new(self.address, self.port))?;
        match self.protocol {
            Some(protocol) => write!(f, "/{protocol}"),
            None => Ok(()),
        }
    }
}

/// Why a text names nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not `address:port`.
    #[error("\"{0}\" is not address:port, as in 198.18.10.2:8080 or [fd00::2]:8080")]
    Address(String),
    /// A zone makes no sense for a backend.
    #[error("\"{0}\" has a zone (%): name the address without it")]
    Zone(String),
    /// Neither `tcp` nor `udp`.
    #[error("\"{0}\" is neither tcp nor udp")]
    Protocol(String),
}

impl FromStr for BackendName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (address, protocol) = match text.split_once('/') {
            Some((address, name)) => (address, Some(parse_protocol(name)?)),
            None => (text, None),
        };
        let parsed = parse_address(address)?;
        Ok(Self { address: parsed.ip(), port: parsed.port(), protocol })
    }
}

/// The address and port of a flow's end or a backend, without an IPv6 zone.
pub fn parse_address(text: &str) -> Result<SocketAddr, NameError> {
    let parsed: SocketAddr = text.parse().map_err(|_| NameError::Address(text.to_owned()))?;
    match parsed {
        SocketAddr::V6(_) if text.contains('%') => Err(NameError::Zone(text.to_owned())),
        SocketAddr::V4(_) | SocketAddr::V6(_) => Ok(parsed),
    }
}

/// The protocol of `tcp` or `udp`.
pub fn parse_protocol(name: &str) -> Result<Protocol, NameError> {
    match name {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        other => Err(NameError::Protocol(other.to_owned())),
    }
}

impl Serialize for BackendName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BackendName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Reads a [`Protocol`] back from the name it is written as.
pub(super) fn deserialize_protocol<'de, D>(deserializer: D) -> Result<Protocol, D::Error>
where
    D: Deserializer<'de>,
{
    parse_protocol(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_back() {
        for text in [
            "198.18.10.2:8080",
            "198.18.10.2:8080/tcp",
            "198.18.10.2:53/udp",
            "198.18.10.2:0",
            "[fd00::2]:8080",
            "[fd00::2]:53/udp",
        ] {
            let name: BackendName = text.parse().unwrap();
            assert_eq!(name.to_string(), text);
            let json = serde_json::to_string(&name).unwrap();
            assert_eq!(serde_json::from_str::<BackendName>(&json).unwrap(), name);
        }
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for (text, part) in [
            ("", "not address:port"),
            ("web", "not address:port"),
            ("198.18.10.2", "not address:port"),
            ("198.18.10.2:", "not address:port"),
            ("198.18.10.2:65536", "not address:port"),
            ("198.18.10:80", "not address:port"),
            ("198.18.10.2:80-90", "not address:port"),
            (" 198.18.10.2:80", "not address:port"),
            ("fd00::2:80", "not address:port"),
            ("[fd00::2]", "not address:port"),
            ("[fe80::2%3]:80", "zone"),
            ("198.18.10.2:80/", "\"\" is neither"),
            ("198.18.10.2:80/sctp", "\"sctp\" is neither"),
            ("198.18.10.2:80/TCP", "\"TCP\" is neither"),
            ("198.18.10.2:80/tcp/udp", "\"tcp/udp\" is neither"),
        ] {
            let error = text.parse::<BackendName>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_name_means_one_protocol_or_both() {
        let tcp =
            Endpoint { address: "198.18.10.2".parse().unwrap(), port: 53, protocol: Protocol::Tcp };
        let udp = Endpoint { protocol: Protocol::Udp, ..tcp };
        for (text, expected) in [
            ("198.18.10.2:53", [true, true]),
            ("198.18.10.2:53/tcp", [true, false]),
            ("198.18.10.2:53/udp", [false, true]),
            ("198.18.10.2:54", [false, false]),
            ("198.18.10.3:53", [false, false]),
        ] {
            let name: BackendName = text.parse().unwrap();
            assert_eq!([name.matches(&tcp), name.matches(&udp)], expected, "{text}");
        }
    }
}
