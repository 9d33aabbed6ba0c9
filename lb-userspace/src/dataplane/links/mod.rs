//! Where packets to a backend leave: what the kernel's tables of links, neighbours, routes and
//! bridges say, asked by netlink once for all backends.
//!
//! The kernel side never looks up a route. The controller does, here, and writes the answer into the
//! backend's entry. Whatever is not certain is answered with the stack, which is always correct.

mod gro;
mod netlink;
mod tables;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use rtnetlink::{Handle, packet_route::link::LinkMessage};
use tokio::task::AbortHandle;

use self::tables::{Exit, Mac, Tables};
pub use self::{tables::Resolved, watch::watch};

/// The discard service (RFC 863): nobody acts on what it gets.
const DISCARD_PORT: u16 = 9;

/// Why the kernel's tables could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {what} by netlink: {source}")]
pub struct LinkError {
    /// The table.
    what: &'static str,
    /// Cause.
    source: rtnetlink::Error,
}

/// A view of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Links {
    netlink: Handle,
    connection: AbortHandle,
    /// Sockets of the namespace, one per family that it has.
    nudgers: [Option<UdpSocket>; 2],
}

impl Links {
    /// Opens the namespace of the calling thread, within a tokio runtime.
    pub fn open() -> io::Result<Self> {
        let (connection, netlink, _) = rtnetlink::new_connection()?;
        let connection = tokio::spawn(connection).abort_handle();
        let nudger = |any: IpAddr| {
            let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
            socket.set_nonblocking(true).ok()?;
            Some(socket)
        };
        let nudgers = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()].map(nudger);
        Ok(Self { netlink, connection, nudgers })
    }

    /// The way to each of the addresses. One dump per table and one route lookup per address.
    pub async fn resolve(
        &self,
        addresses: &BTreeSet<IpAddr>,
    ) -> Result<BTreeMap<IpAddr, Resolved>, LinkError> {
        let tables = netlink::tables(&self.netlink).await?;
        let mut peers = BTreeMap::new();
        let mut resolved = BTreeMap::new();
        for address in addresses {
            let route = netlink::route(&self.netlink, *address).await?;
            let answer = match tables.exit(*address, &route) {
                Ok(exit) => {
                    let peer = self.peer_mac(&tables, &exit, &mut peers).await;
                    tables.leave(&exit, peer)
                }
                Err(stuck) => stuck.into(),
            };
            resolved.insert(*address, answer);
        }
        Ok(resolved)
    }

    /// Makes the kernel look for the neighbour that leads to the address, and bridges learn the
    /// port it answers from, by an empty datagram to it.
    pub fn nudge(&self, address: IpAddr) {
        let [v4, v6] = &self.nudgers;
        let Some(socket) = (if address.is_ipv4() { v4 } else { v6 }) else { return };
        if let Err(error) = socket.send_to(&[], SocketAddr::new(address, DISCARD_PORT)) {
            // The next resolution says that the neighbour is still unknown.
            tracing::debug!(%address, %error, "cannot nudge");
        }
    }

    /// The links that default routes leave by, preferred ones first.
    pub async fn default_interfaces(&self) -> Result<Vec<String>, LinkError> {
        let names = self.names().await?;
        let mut found = Vec::new();
        for link in netlink::default_routes(&self.netlink).await? {
            match names.get(&link) {
                Some(name) if !found.contains(name) => found.push(name.clone()),
                Some(_) | None => {}
            }
        }
        Ok(found)
    }

    /// The index of a link.
    pub async fn index_of(&self, name: &str) -> Result<Option<u32>, LinkError> {
        let names = self.names().await?;
        Ok(names.into_iter().find_map(|(index, link)| (link == name).then_some(index)))
    }

    /// The names of all links.
    pub async fn names(&self) -> Result<BTreeMap<u32, String>, LinkError> {
        let links = netlink::links(&self.netlink).await?;
        Ok(links.into_iter().map(|(index, link)| (index, link.name)).collect())
    }

    /// The links that are one end of a veth pair.
    pub async fn veths(&self) -> Result<BTreeSet<u32>, LinkError> {
        let links = netlink::links(&self.netlink).await?;
        let veths = links.into_iter().filter(|(_, link)| link.peer.is_some());
        Ok(veths.map(|(index, _)| index).collect())
    }

    /// Switches GRO on at the far end of a veth whose near end is here, and says whether it is on
    /// there. XDP that redirects into a veth needs it: without it the far end does not run NAPI and
    /// drops what comes.
    pub async fn enable_gro_at_peer(&self, host_veth: u32) -> io::Result<bool> {
        gro::enable_at_peer(&self.netlink, host_veth).await
    }

    /// The MAC address at the far end of the veth by which the packets leave, if it is one that
    /// leads out of this namespace.
    async fn peer_mac(
        &self,
        tables: &Tables,
        exit: &Exit,
        known: &mut BTreeMap<u32, Option<Mac>>,
    ) -> Option<Mac> {
        let peer = tables.peer(exit)?;
        if let Some(mac) = known.get(&exit.port) {
            return *mac;
        }
        // A container may go at any moment, and a far end that cannot be asked is no far end.
        let link: Option<LinkMessage> = netlink::peer(&self.netlink, peer).await.ok();
        let mac = link.as_ref().and_then(netlink::mac);
        known.insert(exit.port, mac);
        mac
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
