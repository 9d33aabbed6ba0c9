//! The host's part in published ports: its addresses, its ports, and the file that remembers who
//! has which.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        socket::{
            AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
        },
    },
};

use crate::{
    docker::{Host, Leases},
    model::{Listen, Protocol},
};

/// The widest range whose ports are taken one by one.
const HELD_WIDTH_MAX: u16 = 256;

/// The host's addresses and ports.
#[derive(Debug, Default)]
pub struct Ports {
    addresses: Vec<IpAddr>,
    leases: Leases,
    file: Option<PathBuf>,
    held: RefCell<BTreeMap<Listen, Vec<OwnedFd>>>,
}

impl Ports {
    /// Reads the file, if there is one. What cannot be read is begun anew.
    pub fn open(file: Option<&Path>) -> (Self, anyhow::Result<()>) {
        let mut ports = Self { file: file.map(Path::to_owned), ..Self::default() };
        let result = ports.read();
        (ports, result)
    }

    fn read(&mut self) -> anyhow::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let name = || format!("cannot read {}", file.display());
        let text = match fs::read_to_string(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            text => text.with_context(name)?,
        };
        self.leases = Leases::from_text(&text).with_context(name)?;
        Ok(())
    }

    /// Takes the addresses of these links; says whether they are others than before.
    pub fn look(&mut self, links: &BTreeSet<String>) -> anyhow::Result<bool> {
        let addresses = addresses_of(links).context("cannot read the host's addresses")?;
        let changed = self.addresses != addresses;
        self.addresses = addresses;
        Ok(changed)
    }

    /// Whether the automatic ports are remembered there.
    pub fn is_from(&self, file: Option<&Path>) -> bool {
        self.file.as_deref() == file
    }

    /// Asks with the host as it is; ports that are free are taken.
    pub fn with_host<T>(&self, ask: impl FnOnce(&Host<'_>) -> T) -> T {
        let hold = |listen| self.hold(listen);
        ask(&Host { addresses: &self.addresses, leases: &self.leases, hold: &hold })
    }

    /// Asks the same without taking anything: what others listen on is not looked at.
    pub fn with_idle_host<T>(&self, ask: impl FnOnce(&Host<'_>) -> T) -> T {
        ask(&Host { addresses: &self.addresses, leases: &self.leases, hold: &|_| true })
    }

    /// Keeps these ports and lets all others go; remembers who has which.
    pub fn keep(&mut self, held: &BTreeSet<Listen>, leases: &Leases) -> anyhow::Result<()> {
        self.held.get_mut().retain(|listen, _| held.contains(listen));
        if self.leases == *leases {
            return Ok(());
        }
        self.leases = leases.clone();
        let Some(file) = &self.file else { return Ok(()) };
        let text = self.leases.to_text()?;
        write(file, &text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Takes ports, so that nobody else gets them: neither who listens, nor the kernel for a
    /// connection of a process, whose answers would go to a container then. `false`: somebody has
    /// one. Where none can be taken for another reason, such as an address that is not the host's
    /// own, nobody stands in the way.
    fn hold(&self, listen: Listen) -> bool {
        let mut held = self.held.borrow_mut();
        // Which of two services has a port is not decided here.
        if held.keys().any(|ours| meet(*ours, listen)) {
            return true;
        }
        let ports = listen.ports;
        if ports.width() > HELD_WIDTH_MAX || held.values().map(Vec::len).sum::<usize>() > room() {
            return true;
        }
        let mut taken = Vec::new();
        for port in ports.first()..=ports.last() {
            match take(listen.address, port, listen.protocol) {
                Ok(socket) => taken.push(socket),
                Err(Errno::EADDRINUSE) => return false,
                Err(error) => tracing::debug!(%listen, port, %error, "not taken"),
            }
        }
        held.insert(listen, taken);
        true
    }
}

/// Whether two of them have a port that only one can take.
fn meet(one: Listen, other: Listen) -> bool {
    let any = one.address.is_unspecified() || other.address.is_unspecified();
    (any || one.address == other.address)
        && one.protocol == other.protocol
        && one.ports.overlaps(other.ports)
}

/// How many ports may be taken: half of the files that the process may have.
fn room() -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    usize::try_from(limit / 2).unwrap_or(usize::MAX)
}

/// As many files as the process may have: every port that is taken is one.
pub fn allow_many_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::debug!(%error, "the number of open files stays as it is");
    }
}

/// A socket that is bound and does nothing. Without IPv6 the host has only IPv4 addresses.
fn take(address: IpAddr, port: u16, protocol: Protocol) -> Result<OwnedFd, Errno> {
    match bound(address, port, protocol) {
        Err(Errno::EAFNOSUPPORT) if address.is_unspecified() => {
            bound(Ipv4Addr::UNSPECIFIED.into(), port, protocol)
        }
        result => result,
    }
}

fn bound(address: IpAddr, port: u16, protocol: Protocol) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let kind = match protocol {
        Protocol::Tcp => SockType::Stream,
        Protocol::Udp => SockType::Datagram,
    };
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &!address.is_unspecified())?;
    }
    if protocol == Protocol::Udp {
        // Nobody reads what arrives; the kernel takes its smallest size.
        setsockopt(&socket, sockopt::RcvBuf, &0)?;
    }
    let place = SockaddrStorage::from(SocketAddr::new(address, port));
    match bind(socket.as_raw_fd(), &place) {
        // What is left of connections of a server that ended is in nobody's way. Those who share a
        // port with us afterwards can bind to it, but not listen.
        Err(Errno::EADDRINUSE) if protocol == Protocol::Tcp => {
            setsockopt(&socket, sockopt::ReuseAddr, &true)?;
            bind(socket.as_raw_fd(), &place)?;
            setsockopt(&socket, sockopt::ReuseAddr, &false)?;
        }
        result => result?,
    }
    Ok(socket)
}

/// The addresses that others reach the links by: a link-local one has no meaning elsewhere.
fn addresses_of(links: &BTreeSet<String>) -> io::Result<Vec<IpAddr>> {
    let own = |address: &IpAddr| match address {
        IpAddr::V4(address) => !address.is_link_local() && !address.is_unspecified(),
        IpAddr::V6(address) => !address.is_unicast_link_local() && !address.is_unspecified(),
    };
    let found: BTreeSet<IpAddr> = getifaddrs()?
        .filter(|one| links.contains(&one.interface_name))
        .filter_map(|one| {
            let address = one.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .filter(own)
        .collect();
    Ok(found.into_iter().collect())
}

/// Writes a file so that it is either the old one or the new one, whenever the power goes.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory)?;
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut writer = File::create(&new)?;
    writer.write_all(text.as_bytes())?;
    writer.sync_all()?;
    fs::rename(&new, file)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, TcpListener, TcpStream, UdpSocket};

    use super::*;
    use crate::model::PortRange;

    fn listen(address: IpAddr, port: u16, protocol: Protocol) -> Listen {
        Listen { address, ports: PortRange::new(port, port).unwrap(), protocol }
    }

    const ALL: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn a_port_that_somebody_has_is_not_to_be_had_and_one_that_is_held_is_nobody_else_s() {
        let listener = TcpListener::bind((LOCAL, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mut ports, _) = Ports::open(None);
        assert!(!ports.hold(listen(ALL, port, Protocol::Tcp)));
        assert!(!ports.hold(listen(LOCAL, port, Protocol::Tcp)));
        drop(listener);
        assert!(ports.hold(listen(ALL, port, Protocol::Tcp)));
        assert!(ports.hold(listen(ALL, port, Protocol::Tcp)), "it is ours");
        let error = TcpListener::bind((LOCAL, port)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        ports.keep(&BTreeSet::new(), &Leases::default()).unwrap();
        drop(TcpListener::bind((LOCAL, port)).unwrap());
    }

    #[test]
    fn what_is_left_of_connections_is_in_nobody_s_way() {
        let listener = TcpListener::bind((LOCAL, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        // Whoever closes first keeps the port for a minute (RFC 9293, TIME-WAIT).
        drop(listener.accept().unwrap());
        drop(client);
        drop(listener);
        assert_eq!(bound(ALL, address.port(), Protocol::Tcp).map(drop), Ok(()));
        let (ports, _) = Ports::open(None);
        assert!(ports.hold(listen(ALL, address.port(), Protocol::Tcp)));
        let error = TcpListener::bind(address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn ports_of_our_own_are_not_somebody_s() {
        let port = TcpListener::bind((LOCAL, 0)).unwrap().local_addr().unwrap().port();
        let (ports, _) = Ports::open(None);
        for address in [ALL, LOCAL, ALL] {
            assert!(ports.hold(listen(address, port, Protocol::Tcp)), "{address}");
        }
    }

    #[test]
    fn datagrams_have_ports_of_their_own_and_strange_addresses_are_in_nobody_s_way() {
        let socket = UdpSocket::bind((LOCAL, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let (ports, _) = Ports::open(None);
        assert!(!ports.hold(listen(ALL, port, Protocol::Udp)));
        assert!(ports.hold(listen("198.18.255.254".parse().unwrap(), port, Protocol::Udp)));
        assert!(ports.hold(Listen {
            ports: PortRange::new(1, u16::MAX).unwrap(),
            ..listen(ALL, 1, Protocol::Udp)
        }));
    }

    #[test]
    fn the_file_remembers_and_a_broken_one_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("state/ports.json");
        let (mut ports, result) = Ports::open(Some(&file));
        result.unwrap();
        let leases = Leases::from_text(r#"{"ports":{"web 80/tcp":50000}}"#).unwrap();
        ports.keep(&BTreeSet::new(), &leases).unwrap();
        let (again, result) = Ports::open(Some(&file));
        result.unwrap();
        assert_eq!(again.leases, leases);
        let names = fs::read_dir(file.parent().unwrap()).unwrap();
        assert_eq!(names.count(), 1, "nothing else is left behind");

        fs::write(&file, "{").unwrap();
        let (broken, result) = Ports::open(Some(&file));
        assert_eq!(broken.leases, Leases::default());
        let error = format!("{:#}", result.unwrap_err());
        assert!(error.starts_with("cannot read ") && error.contains("no list of ports"), "{error}");
        let nowhere = directory.path().join("state/ports.json/file");
        let (mut ports, _) = Ports::open(Some(&nowhere));
        assert!(ports.keep(&BTreeSet::new(), &leases).is_err());
    }

    #[test]
    fn the_addresses_of_a_link_are_known() {
        let (mut ports, _) = Ports::open(None);
        assert!(ports.look(&BTreeSet::from(["lo".to_owned()])).unwrap());
        assert!(ports.addresses.contains(&LOCAL), "{:?}", ports.addresses);
        assert!(!ports.look(&BTreeSet::from(["lo".to_owned()])).unwrap());
        assert!(ports.look(&BTreeSet::new()).unwrap());
    }
}
