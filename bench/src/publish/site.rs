//! A client, a host that publishes, a server that takes every connection.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use lb_userspace::lab::{Lab, LabPlan, Topology, vip_v4};

/// The first port that is published.
pub(super) const FIRST_PORT: u16 = 20_000;
/// Where the server listens.
pub(super) const SERVER_PORT: u16 = 8080;
/// What no way needs; a broken one would wait forever.
const PATIENCE: Duration = Duration::from_mins(5);

/// The network of one case.
pub(super) struct Site {
    pub(super) lab: Lab,
}

impl Site {
    pub(super) fn new() -> Result<Self> {
        let plan = LabPlan {
            backends: 1,
            topology: Topology::Bridge,
            ipv6: false,
            forwarding: true,
            checksum_offload: true,
            gro: false,
        };
        let lab = Lab::new("weirbench", plan)?;
        let site = Self { lab };
        let at = (site.server(), SERVER_PORT);
        let backend = site.lab.backends().first().context("a site without a server")?;
        accept_all(backend.netns.in_netns(|| TcpListener::bind(at))??);
        Ok(site)
    }

    /// The server's address.
    pub(super) fn server(&self) -> Ipv4Addr {
        self.lab.backends().first().map_or(Ipv4Addr::UNSPECIFIED, |backend| backend.v4)
    }

    /// Tries to connect until it works.
    pub(super) fn connect(&self, address: IpAddr, port: u16) -> Result<()> {
        let address = SocketAddr::new(address, port);
        let connected = self.lab.client().in_netns(|| {
            let limit = Instant::now() + PATIENCE;
            while Instant::now() < limit {
                // A SYN that nobody took is sent again after a second: rather a new one soon.
                if TcpStream::connect_timeout(&address, Duration::from_millis(1)).is_ok() {
                    return true;
                }
                thread::sleep(Duration::from_micros(200));
            }
            false
        })?;
        ensure!(connected, "nothing answers at {address}");
        Ok(())
    }

    /// The address that is published, where it is none of the host's own.
    pub(super) fn vip() -> IpAddr {
        IpAddr::V4(vip_v4(1))
    }
}

/// Takes connections and lets them go, until the process ends.
pub(super) fn accept_all(listener: TcpListener) {
    thread::spawn(move || -> io::Result<()> {
        loop {
            drop(listener.accept()?);
        }
    });
}
