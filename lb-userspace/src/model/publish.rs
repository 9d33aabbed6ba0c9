//! Ports of the host that lead to a container, as `docker run -p` names them.

use std::net::IpAddr;

use super::{PortRange, Protocol};

/// Ports of a container, and the ports of the host that lead to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The address of the host; an unspecified one stands for all of its family, `None` for all.
    pub address: Option<IpAddr>,
    /// The ports of the host.
    pub host: HostPorts,
    /// The ports of the container.
    pub container: PortRange,
    /// The protocol.
    pub protocol: Protocol,
}

/// Which ports of the host are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostPorts {
    /// These, one for each port of the container.
    Fixed(PortRange),
    /// A free one of these, for the only port of the container.
    Within(PortRange),
    /// A free one of those that the configuration sets apart, for each port of the container.
    Auto,
}

impl Publish {
    /// Whether both have a port of the host.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let (HostPorts::Fixed(here), HostPorts::Fixed(there)) = (self.host, other.host) else {
            return false;
        };
        let meet = match (self.address, other.address) {
            (None, _) | (_, None) => true,
            (Some(one), Some(other)) => {
                let any = one.is_unspecified() || other.is_unspecified();
                one == other || any && one.is_ipv4() == other.is_ipv4()
            }
        };
        meet && self.protocol == other.protocol && here.overlaps(there)
    }
}
