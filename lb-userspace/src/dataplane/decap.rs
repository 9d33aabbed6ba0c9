//! The program that unwraps what balancers send to this host, as `weir decap` holds it: it goes with the
//! process, whatever ends that.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv6Addr},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, LpmTrie, MapData, PerCpuArray, lpm_trie::Key},
    programs::{ProgramError, SchedClassifier, TcAttachType, tc::qdisc_add_clsact},
};
use ipnet::IpNet;
use lb_common::{
    abi::{
        address::Address,
        decap::{DecapSettings, PeerKey},
    },
    decap::Reason,
};

use super::{LoadError, host};
use crate::maps::{MapError, kernel};

const PROGRAM: &str = "weir_decap";

/// The loaded program and its maps.
pub struct Decapsulator {
    ebpf: Ebpf,
    locals: HashMap<MapData, Address, u32>,
    known: BTreeSet<IpAddr>,
    reasons: PerCpuArray<MapData, u64>,
}

impl Decapsulator {
    /// Loads the program: it takes tunnels from these networks, and with a UDP header by this port.
    pub fn load(from: &[IpNet], gue_port: u16) -> Result<Self, LoadError> {
        static OBJECT: &[u8] =
            aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/weir-decap.o"));
        if OBJECT.is_empty() {
            return Err(LoadError::NoObject);
        }
        host::check()?;
        let mut ebpf = EbpfLoader::new().load(OBJECT)?;
        let mut settings: Array<_, DecapSettings> = take(&mut ebpf, "DECAP_SETTINGS")?;
        let settings_value = DecapSettings { gue_port: gue_port.to_be(), zero: 0 };
        settings.set(0, settings_value, 0).map_err(kernel::error("DECAP_SETTINGS"))?;
        let mut peers: LpmTrie<_, PeerKey, u32> = take(&mut ebpf, "DECAP_PEERS")?;
        for network in from {
            peers.insert(&key(network), 0, 0).map_err(kernel::error("DECAP_PEERS"))?;
        }
        let locals = take(&mut ebpf, "DECAP_LOCALS")?;
        let reasons = take(&mut ebpf, "DECAP_REASONS")?;
        let mut this = Self { ebpf, locals, known: BTreeSet::new(), reasons };
        this.refresh()?;
        let refused = |source| LoadError::Program { name: PROGRAM, source: Box::new(source) };
        this.program().and_then(SchedClassifier::load).map_err(refused)?;
        Ok(this)
    }

    fn program(&mut self) -> Result<&mut SchedClassifier, ProgramError> {
        let program = self.ebpf.program_mut(PROGRAM).ok_or(ProgramError::NotLoaded)?;
        program.try_into()
    }

    /// Puts the program where packets arrive; it is taken off with this value.
    pub fn attach(&mut self, interface: &str) -> Result<(), ProgramError> {
        if !host::has_tcx() {
            // The qdisc may be there already; the attachment tells whether it works.
            drop(qdisc_add_clsact(interface));
        }
        self.program()?.attach(interface, TcAttachType::Ingress)?;
        Ok(())
    }

    /// Reads this host's addresses anew.
    pub fn refresh(&mut self) -> Result<(), MapError> {
        let failed = kernel::error("DECAP_LOCALS");
        let kernel = |source| MapError::Kernel { map: "DECAP_LOCALS", source };
        let now = addresses().map_err(kernel)?;
        for address in now.difference(&self.known) {
            self.locals.insert(Address::from(*address), 0, 0).map_err(&failed)?;
        }
        for address in self.known.difference(&now) {
            kernel::gone("DECAP_LOCALS", self.locals.remove(&Address::from(*address)))?;
        }
        self.known = now;
        Ok(())
    }

    /// How many packets ended how.
    pub fn counters(&self) -> Result<Vec<(Reason, u64)>, MapError> {
        let of = |reason: Reason| {
            let values = self.reasons.get(&u32::from(reason as u8), 0);
            let values = values.map_err(kernel::error("DECAP_REASONS"))?;
            Ok((reason, values.iter().sum()))
        };
        Reason::ALL.into_iter().map(of).collect()
    }
}

fn take<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, MapError>
where
    M: TryFrom<aya::maps::Map, Error = aya::maps::MapError>,
{
    let map = ebpf.take_map(name).ok_or(MapError::Missing(name))?;
    map.try_into().map_err(kernel::error(name))
}

/// IPv4 networks lie in the IPv4-mapped part of the tree.
fn key(network: &IpNet) -> Key<PeerKey> {
    let before = if network.addr().is_ipv4() { 96 } else { 0 };
    let bits = before + u32::from(network.prefix_len());
    Key::new(bits, PeerKey { address: Address::from(network.network()) })
}

/// The addresses of this network namespace that packets may be sent to from elsewhere.
fn addresses() -> io::Result<BTreeSet<IpAddr>> {
    let interfaces = nix::ifaddrs::getifaddrs()?;
    let address = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|it| IpAddr::V4(it.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|it| IpAddr::V6(it.ip())))
    };
    let loopback = |address: &IpAddr| match address {
        IpAddr::V4(v4) => v4.is_loopback(),
        IpAddr::V6(v6) => *v6 == Ipv6Addr::LOCALHOST,
    };
    Ok(interfaces.filter_map(address).filter(|address| !loopback(address)).collect())
}
