//! The program under test with its maps, written as the controller writes them.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
};

use anyhow::{Context as _, Result, anyhow, bail};
use aya::programs::TcAttachType;
use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Array, HashMap, Map, MapData, PerCpuArray, ProgramArray},
    programs::{ProgramFd, ProgramInfo, SchedClassifier, Xdp, tc::SchedClassifierLinkId},
};
use lb_common::{
    abi::{
        ABI_VERSION,
        address::Address,
        backend::{Backend, backend_state},
        service::{
            ListenKey, PAGE_SLOTS, Page, PageSlots, PortSet, Service, forward, service_flag,
        },
        settings::Settings,
        stats::Traffic,
    },
    maps::{CONNS_MAX, EMBRYOS_MAX, PAGES_MAX, SERVICES_MAX, stage},
    pipeline::verdict::Reason,
};
use lb_userspace::{
    model::{Endpoint, Policy, Protocol},
    reconcile::TableBackend,
    table,
};

/// No flow ends by idling while a bench runs.
const NEVER: u32 = 1 << 30;

/// The two programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Xdp,
    Tc,
}

impl Hook {
    /// The program on the hook, and those of the later stages.
    pub(crate) fn programs(self) -> impl Iterator<Item = &'static str> {
        let (first, later): (_, &[_]) = match self {
            Self::Xdp => ("weir_xdp", &stage::XDP),
            Self::Tc => ("weir_tc", &stage::TC),
        };
        std::iter::once(first).chain(later.iter().copied())
    }
}

/// A server and the way to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// One of [`way`](lb_common::abi::backend::way).
    pub(crate) way: u8,
    pub(crate) ifindex: u32,
    pub(crate) dst_mac: [u8; 6],
    pub(crate) src_mac: [u8; 6],
}

/// What the VIP offers at one address.
pub(crate) struct Offer<'a> {
    pub(crate) listen: SocketAddr,
    pub(crate) protocol: u8,
    pub(crate) policy: Policy,
    /// Bits of [`service_flag`], besides what the policy wants.
    pub(crate) flags: u8,
    /// What the servers see in place of the clients' addresses, with full NAT.
    pub(crate) source: Option<IpAddr>,
    pub(crate) servers: &'a [Server],
}

/// Elements of the maps that a bench wants larger than they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) services: u32,
    pub(crate) conns: u32,
    pub(crate) embryos: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { services: SERVICES_MAX, conns: CONNS_MAX, embryos: EMBRYOS_MAX }
    }
}

impl Sizes {
    fn of_maps(self) -> [(&'static str, u32); 7] {
        let services = self.services.max(SERVICES_MAX);
        [
            ("CONNS4", self.conns),
            ("CONNS6", self.conns),
            ("EMBRYOS", self.embryos),
            ("DATAGRAMS", self.embryos),
            ("CURSORS", services),
            ("SERVICE_STATS", services),
            ("PAGES", self.services.max(PAGES_MAX)),
        ]
    }
}

/// The loaded object.
pub(crate) struct Weir {
    ebpf: Ebpf,
    /// The kernel empties such an array when nobody holds it.
    _stages: [ProgramArray<MapData>; 2],
    /// The pre-filters as they are in the map: TCP, UDP.
    ports: [Box<PortSet>; 2],
    /// Ids by listen address and protocol.
    services: BTreeMap<(SocketAddr, u8), u32>,
    pages: u32,
    backends: u32,
}

impl Weir {
    /// Loads both programs.
    pub(crate) fn load(object: &Path, sizes: &Sizes) -> Result<Self> {
        let bytes = fs::read(object).with_context(|| {
            format!("cannot read {}: build it with \"cargo xtask build\"", object.display())
        })?;
        let mut loader = EbpfLoader::new();
        let sizes = sizes.of_maps();
        for (name, size) in sizes {
            loader.map_max_entries(name, size);
        }
        let mut ebpf = loader.load(&bytes).context("the kernel refused the maps")?;
        // The loader takes any name.
        if let Some((name, _)) = sizes.iter().find(|(name, _)| ebpf.map(name).is_none()) {
            bail!("no map {name}");
        }
        for name in Hook::Xdp.programs() {
            program::<Xdp>(&mut ebpf, name)?.load().context(name)?;
        }
        for name in Hook::Tc.programs() {
            program::<SchedClassifier>(&mut ebpf, name)?.load().context(name)?;
        }
        let stages = [join(&mut ebpf, Hook::Xdp)?, join(&mut ebpf, Hook::Tc)?];
        let mut weir = Self {
            ebpf,
            _stages: stages,
            ports: <_>::default(),
            services: BTreeMap::new(),
            pages: 0,
            backends: 0,
        };
        weir.set("SETTINGS", 0, settings())?;
        Ok(weir)
    }

    /// Adds a service.
    pub(crate) fn serve(&mut self, offer: &Offer<'_>) -> Result<()> {
        let Offer { listen, protocol, policy, source, servers, .. } = *offer;
        let mut backends = Vec::new();
        for server in servers {
            self.backends += 1;
            let id = self.backends;
            self.set("BACKENDS", id, backend(server, protocol, source))?;
            let tcp = i32::from(protocol) == libc::IPPROTO_TCP;
            let (address, port) = (server.address.ip(), server.address.port());
            let protocol = if tcp { Protocol::Tcp } else { Protocol::Udp };
            let identity = Endpoint { address, port, protocol };
            backends.push(TableBackend { id, identity, weight: 1, capacity: 1 });
        }
        let table = table::build(policy, &backends);
        let first_page = self.pages;
        for part in table.entries.chunks(PAGE_SLOTS as usize) {
            let mut slots = PageSlots::default();
            slots.0[..part.len()].copy_from_slice(part);
            self.set("PAGES", self.pages, Page { slots })?;
            self.pages += 1;
        }
        let id = u32::try_from(self.services.len())? + 1;
        self.services.insert((listen, protocol), id);
        let turns = if policy.counts_requests() { service_flag::TURNS } else { 0 };
        let service = Service {
            id,
            select: table.select,
            flags: offer.flags | turns,
            usable: u16::try_from(backends.len())?,
            table_page: first_page,
            table_len: table.len,
            affinity_ticks: 0,
            hash_seed: 1,
            generation: 1,
            forward: if source.is_some() { forward::FULL_NAT } else { forward::NAT },
            ..Service::default()
        };
        self.open(listen.port(), servers, protocol)?;
        let key = ListenKey {
            address: listen.ip().into(),
            port: listen.port().to_be(),
            protocol,
            zero: 0,
        };
        let map = self.ebpf.map_mut("LISTEN").context("no map LISTEN")?;
        let mut map: HashMap<_, ListenKey, Service> = map.try_into()?;
        map.insert(key, service, 0).context("map LISTEN")
    }

    /// Lets packets of a service through the pre-filter, both ways.
    fn open(&mut self, port: u16, servers: &[Server], protocol: u8) -> Result<()> {
        let index = u32::from(i32::from(protocol) == libc::IPPROTO_UDP);
        let [tcp, udp] = &mut self.ports;
        let set = if index == 0 { tcp } else { udp };
        set_bit(&mut set.services, port);
        for server in servers {
            set_bit(&mut set.backends, server.address.port());
        }
        let set = **set;
        self.set("PORTS", index, set)
    }

    fn set<V: Pod>(&mut self, name: &'static str, index: u32, value: V) -> Result<()> {
        let map = self.ebpf.map_mut(name).ok_or_else(|| anyhow!("no map {name}"))?;
        let mut map: Array<_, V> = map.try_into()?;
        map.set(index, value, 0).with_context(|| format!("map {name}, element {index}"))
    }

    /// Flows of a service that began so far; none if there is no such service.
    pub(crate) fn flows(&self, listen: SocketAddr, protocol: u8) -> Result<u64> {
        let Some(id) = self.services.get(&(listen, protocol)) else { return Ok(0) };
        let map = self.ebpf.map("SERVICE_STATS").context("no map SERVICE_STATS")?;
        let map: PerCpuArray<_, Traffic> = map.try_into()?;
        let traffic = map.get(id, 0).context("map SERVICE_STATS")?;
        Ok(traffic.iter().map(|traffic| traffic.flows).sum())
    }

    /// How often each reason was given so far.
    pub(crate) fn reasons(&self) -> Result<[u64; Reason::COUNT]> {
        let map = self.ebpf.map("REASONS").context("no map REASONS")?;
        let map: PerCpuArray<_, u64> = map.try_into()?;
        let mut sums = [0; Reason::COUNT];
        for (index, sum) in (0..).zip(&mut sums) {
            *sum = map.get(&index, 0).context("map REASONS")?.iter().sum();
        }
        Ok(sums)
    }

    /// What `/proc` says of a map.
    pub(crate) fn map_info(&self, name: &str) -> Result<String> {
        let map = self.ebpf.map(name).with_context(|| format!("no map {name}"))?;
        let (Map::Array(data)
        | Map::PerCpuArray(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)) = map
        else {
            bail!("map {name} is of another kind");
        };
        let path = format!("/proc/self/fdinfo/{}", data.fd().as_fd().as_raw_fd());
        fs::read_to_string(&path).context(path)
    }

    /// A program for the array that a tail call takes it from.
    pub(crate) fn fd(&self, hook: Hook) -> Result<ProgramFd> {
        let entry = hook.programs().next().context("no program")?;
        let program = self.ebpf.program(entry).context("no program")?;
        Ok(program.fd()?.try_clone()?)
    }

    /// What the kernel says of a program.
    pub(crate) fn info(&self, name: &str) -> Result<ProgramInfo> {
        Ok(self.ebpf.program(name).context("no program")?.info()?)
    }

    /// Attaches the TC program to the ingress of an interface of this thread's network namespace.
    pub(crate) fn attach_tc(&mut self, interface: &str) -> Result<SchedClassifierLinkId> {
        let program = program::<SchedClassifier>(&mut self.ebpf, "weir_tc")?;
        let attached = program.attach(interface, TcAttachType::Ingress);
        attached.with_context(|| format!("cannot attach to {interface}"))
    }
}

/// Fills the array through which the program on a hook becomes the later stages.
fn join(ebpf: &mut Ebpf, hook: Hook) -> Result<ProgramArray<MapData>> {
    let map = if hook == Hook::Xdp { "XDP_STAGES" } else { "TC_STAGES" };
    let mut stages = ProgramArray::try_from(ebpf.take_map(map).context("no array of stages")?)?;
    for (place, name) in (0..).zip(hook.programs().skip(1)) {
        let program = ebpf.program(name).context("no program")?;
        stages.set(place, program.fd()?, 0).with_context(|| format!("{map}, {name}"))?;
    }
    Ok(stages)
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = aya::programs::ProgramError>,
{
    let program = ebpf.program_mut(name).ok_or_else(|| anyhow!("no program {name}"))?;
    Ok(program.try_into()?)
}

fn settings() -> Settings {
    Settings {
        abi_version: ABI_VERSION,
        tcp_new_ticks: NEVER,
        tcp_established_ticks: NEVER,
        tcp_half_closed_ticks: NEVER,
        tcp_closed_ticks: NEVER,
        udp_new_ticks: NEVER,
        udp_established_ticks: NEVER,
        ticks_per_second: 1000,
        source_port_first: 32_768,
        source_ports: 28_232,
        generation: 1,
        ..Settings::default()
    }
}

fn backend(server: &Server, protocol: u8, source: Option<IpAddr>) -> Backend {
    Backend {
        address: server.address.ip().into(),
        port: server.address.port().to_be(),
        state: backend_state::UP,
        way: server.way,
        generation: 1,
        capacity: 1,
        ifindex: server.ifindex,
        dst_mac: server.dst_mac,
        src_mac: server.src_mac,
        protocol: u32::from(protocol),
        source: source.map_or_else(Address::default, Address::from),
        ..Backend::default()
    }
}

fn set_bit(words: &mut [u64], port: u16) {
    if let Some(word) = words.get_mut(usize::from(port / 64)) {
        *word |= 1 << (port % 64);
    }
}
