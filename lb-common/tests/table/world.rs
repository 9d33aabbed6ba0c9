//! The world of the table: services, backends and settings, in map layouts.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::{
    abi::{
        ABI_VERSION,
        address::Address,
        backend::{Backend, backend_state, way},
        service::{
            ListenKey, Page, PortSet, RangeKey, Service, SourceKey, forward, select, service_flag,
        },
        settings::{Settings, settings_flag},
    },
    tables::MemoryTables,
};

/// Interfaces of the world; test runs arrive on the loopback, whose index is 1.
pub const UPLINK: u32 = 1;
pub const VETH: u32 = 7;
pub const OTHER_LINK: u32 = 9;
/// MAC addresses on the way to the backends.
pub const BACKEND_MAC: [u8; 6] = [2, 0, 0, 0, 10, 2];
pub const BRIDGE_MAC: [u8; 6] = [2, 0, 0, 0, 10, 1];

/// Everything the control maps hold.
#[derive(Debug, Default)]
pub struct World {
    pub settings: Settings,
    pub ports: [Box<PortSet>; 2],
    pub backends: BTreeMap<u32, Backend>,
    pub pages: BTreeMap<u32, Box<Page>>,
    pub listens: BTreeMap<ListenKey, Service>,
    pub ranges: BTreeMap<(u32, RangeKey), Service>,
    pub sources: BTreeSet<(u32, SourceKey)>,
}

pub fn address(text: &str) -> Address {
    text.parse::<std::net::IpAddr>().unwrap().into()
}

impl World {
    /// The world that [`rows`](super::rows::rows) speaks of.
    pub fn new() -> Self {
        let mut world = Self::default();
        world.settings = Settings {
            abi_version: ABI_VERSION,
            flags: settings_flag::RANGES | settings_flag::RESETS,
            tcp_new_ticks: 1 << 20,
            tcp_established_ticks: 1 << 20,
            tcp_half_closed_ticks: 1 << 20,
            tcp_closed_ticks: 1 << 20,
            udp_new_ticks: 1 << 20,
            udp_established_ticks: 1 << 20,
            hairpin_v4: address("198.19.0.8"),
            hairpin_v6: address("fd00:19::8"),
            ticks_per_second: 100,
            tunnel_v4: address("198.19.128.0"),
            tunnel_v4_mask: u32::from_ne_bytes([0, 0, 0x7f, 0xff]),
            gue_port: 6080_u16.to_be(),
            source_port_first: 20000,
            source_ports: 1,
            ..Settings::default()
        };
        world.backend(1, "198.18.10.2", 8080, 6, way::PEER, VETH, backend_state::UP);
        world.backend(2, "fd00:18:10::2", 8080, 6, way::PEER, VETH, backend_state::UP);
        world.backend(3, "198.18.10.2", 5353, 17, way::LINK, OTHER_LINK, backend_state::UP);
        world.backend(4, "198.18.10.3", 0, 17, way::STACK, 0, backend_state::UP);
        world.backend(5, "198.18.10.5", 8080, 6, way::LINK, UPLINK, backend_state::UP);
        world.backend(6, "198.18.10.6", 8080, 6, way::PEER, VETH, backend_state::CLOSED);
        world.backend(7, "fd00:18:10::2", 5353, 17, way::LINK, OTHER_LINK, backend_state::UP);
        let hash = |id| Service { id, select: select::HASH_FLOW, usable: 1, ..Service::default() };
        world.listen("198.18.1.1", 80, 6, hash(1), &[1]);
        world.listen("fd00:18:1::1", 80, 6, hash(2), &[2]);
        world.listen("198.18.1.1", 53, 17, hash(3), &[3]);
        world.listen("fd00:18:1::1", 53, 17, hash(9), &[7]);
        world.listen("198.18.1.2", 80, 6, hash(4), &[5]);
        world.listen("198.18.1.1", 81, 6, Service { usable: 0, ..hash(5) }, &[]);
        world.listen("198.18.1.1", 83, 6, hash(6), &[6]);
        let limited = Service { flags: service_flag::SOURCES, ..hash(7) };
        world.listen("198.18.1.1", 82, 6, limited, &[1]);
        let service = 7_u32.to_ne_bytes();
        let source = SourceKey { service, address: address("198.18.0.0").octets() };
        world.sources.insert((SourceKey::BITS_BEFORE_ADDRESS + 96 + 24, source));
        let turns =
            |id| Service { flags: service_flag::TURNS, select: select::SCAN_REQUESTS, ..hash(id) };
        world.listen("198.18.1.3", 80, 6, turns(10), &[1, 100, 1]);
        world.listen("fd00:18:1::3", 80, 6, turns(11), &[2, 100, 1]);
        world.listen("198.18.1.3", 53, 17, turns(12), &[3, 100, 1]);
        world.backend(8, "198.18.10.8", 80, 6, way::LINK, OTHER_LINK, backend_state::UP);
        world.backend(9, "fd00:18:10::8", 80, 6, way::PEER, VETH, backend_state::UP);
        world.backend(10, "198.18.10.8", 53, 17, way::LINK, UPLINK, backend_state::UP);
        world.backend(11, "198.18.10.9", 80, 6, way::STACK, 0, backend_state::UP);
        let direct = |id| Service { forward: forward::DSR, ..hash(id) };
        world.listen("198.18.1.4", 80, 6, direct(13), &[8]);
        world.listen("fd00:18:1::4", 80, 6, direct(14), &[9]);
        world.listen("198.18.1.4", 53, 17, direct(15), &[10]);
        world.listen("198.18.1.5", 80, 6, direct(16), &[11]);
        let flags = service_flag::TURNS;
        world.listen("198.18.1.6", 80, 6, Service { flags, ..direct(17) }, &[8]);
        world.backend(12, "198.18.10.12", 80, 6, way::LINK, OTHER_LINK, backend_state::UP);
        world.backend(13, "fd00:18:10::12", 80, 6, way::LINK, UPLINK, backend_state::UP);
        world.backend(14, "198.18.10.14", 53, 17, way::PEER, VETH, backend_state::UP);
        world.backend(15, "198.18.10.15", 80, 6, way::LINK, OTHER_LINK, backend_state::UP);
        world.backend(16, "fd00:18:10::16", 80, 6, way::LINK, OTHER_LINK, backend_state::UP);
        for narrow in [15, 16] {
            world.backends.get_mut(&narrow).unwrap().mtu = 300;
        }
        let tunnel = |id, forward| Service { forward, ..hash(id) };
        world.listen("198.18.1.7", 80, 6, tunnel(18, forward::IPIP), &[12]);
        world.listen("fd00:18:1::7", 80, 6, tunnel(19, forward::IPIP), &[13]);
        world.listen("198.18.1.8", 80, 6, tunnel(20, forward::GUE), &[12]);
        world.listen("fd00:18:1::8", 80, 6, tunnel(21, forward::GUE), &[13]);
        world.listen("198.18.1.7", 53, 17, tunnel(22, forward::IPIP), &[14]);
        world.listen("198.18.1.29", 80, 6, tunnel(23, forward::IPIP), &[15]);
        world.listen("fd00:18:1::29", 80, 6, tunnel(24, forward::GUE), &[16]);
        world.listen("198.18.1.30", 80, 6, tunnel(25, forward::GUE), &[11]);
        let limited = |id| {
            // Two flows at once, then one in four seconds.
            let (flow_interval_ns, source_interval_ns) = (4_000_000_000, 4_000_000_000);
            let flags = service_flag::LIMITED;
            Service { flags, flow_interval_ns, source_interval_ns, burst_us: 4_000_000, ..hash(id) }
        };
        world.listen("198.18.1.40", 80, 6, limited(26), &[1]);
        world.listen("fd00:18:1::40", 80, 6, limited(27), &[2]);
        world.backend(17, "198.18.10.17", 8080, 6, way::LINK, OTHER_LINK, backend_state::UP);
        world.backend(18, "fd00:18:10::17", 8080, 6, way::PEER, VETH, backend_state::UP);
        world.backend(19, "198.18.10.17", 5353, 17, way::LINK, OTHER_LINK, backend_state::UP);
        world.backend(20, "198.18.10.20", 8080, 6, way::LINK, OTHER_LINK, backend_state::UP);
        world.backends.get_mut(&20).unwrap().source = Address::default();
        let full = |id| Service { forward: forward::FULL_NAT, ..hash(id) };
        world.listen("198.18.1.50", 80, 6, full(28), &[17]);
        world.listen("fd00:18:1::50", 80, 6, full(29), &[18]);
        world.listen("198.18.1.50", 53, 17, full(30), &[19]);
        world.listen("198.18.1.51", 80, 6, full(31), &[8]);
        world.listen("198.18.1.52", 80, 6, full(32), &[11]);
        world.listen("198.18.1.53", 80, 6, full(33), &[20]);
        world.backend(21, "198.18.10.21", 8080, 6, way::LINK, OTHER_LINK, backend_state::UP);
        world.backend(22, "fd00:18:10::22", 8080, 6, way::PEER, VETH, backend_state::UP);
        world.backend(23, "198.18.10.21", 5353, 17, way::LINK, UPLINK, backend_state::UP);
        world.backend(24, "fd00:18:10::22", 5353, 17, way::LINK, OTHER_LINK, backend_state::UP);
        world.backend(25, "198.18.10.25", 8080, 6, way::LINK, OTHER_LINK, backend_state::UP);
        let both = Service { forward: forward::FULL_NAT, ..turns(38) };
        world.listen("fd00:18:1::70", 80, 6, both, &[25, 100, 1]);
        world.listen("fd00:18:1::60", 80, 6, full(34), &[21]);
        world.listen("198.18.1.60", 80, 6, full(35), &[22]);
        world.listen("fd00:18:1::60", 53, 17, full(36), &[23]);
        world.listen("198.18.1.60", 53, 17, full(37), &[24]);
        // Datagrams for nobody.
        let nobody = |id| Service { usable: 0, ..hash(id) };
        world.backend(30, "198.18.10.17", 54, 17, way::PEER, VETH, backend_state::CLOSED);
        world.listen("198.18.1.1", 54, 17, nobody(40), &[]);
        world.listen("fd00:18:1::1", 54, 17, nobody(41), &[]);
        world.listen("198.18.1.1", 55, 17, hash(42), &[30]);
        for group in ["224.0.0.18", "255.255.255.255", "ff02::12"] {
            world.listen(group, 54, 17, nobody(43), &[]);
        }
        // Pings: no service listens on port 0, so that the pre-filter is none the wiser.
        for (vip, protocol) in [("198.18.1.1", 1), ("fd00:18:1::1", 58)] {
            let key = ListenKey { address: address(vip), port: 0, protocol, zero: 0 };
            world.listens.insert(key, hash(1));
        }
        world.range("198.18.1.1", 27008, 13, 17, hash(8), &[4]);
        world
    }

    /// The same in plain memory.
    pub fn memory(self) -> MemoryTables {
        let ports = |index: usize, of: fn(&PortSet) -> &[u64]| {
            let protocol = if index == 0 { 6 } else { 17 };
            let set = of(&self.ports[index]).to_vec();
            (0..=u16::MAX)
                .filter(move |port| set[usize::from(*port) / 64] >> (port % 64) & 1 == 1)
                .map(move |port| (protocol, port))
        };
        let services = ports(0, |set| &set.services).chain(ports(1, |set| &set.services)).collect();
        let backends = ports(0, |set| &set.backends).chain(ports(1, |set| &set.backends)).collect();
        MemoryTables {
            settings: self.settings,
            service_ports: services,
            backend_ports: backends,
            listens: self.listens,
            ranges: self.ranges,
            sources: self.sources,
            pages: self.pages.into_iter().map(|(n, page)| (n, page.slots.0.to_vec())).collect(),
            backends: self.backends,
            ..MemoryTables::default()
        }
    }

    fn backend(
        &mut self,
        id: u32,
        ip: &str,
        port: u16,
        protocol: u32,
        way: u8,
        ifindex: u32,
        state: u8,
    ) {
        let backend = Backend {
            address: address(ip),
            port: port.to_be(),
            state,
            way,
            generation: 1,
            capacity: 1,
            ifindex,
            dst_mac: BACKEND_MAC,
            src_mac: BRIDGE_MAC,
            protocol,
            source: address(if ip.contains(':') { "fd00:18:10::1" } else { "198.18.10.1" }),
            mtu: 1500,
        };
        self.backends.insert(id, backend);
        let index = usize::from(protocol == 17);
        let ports = if port == 0 { 27008..=27015 } else { port..=port };
        for port in ports {
            self.ports[index].backends[usize::from(port) / 64] |= 1 << (port % 64);
        }
    }

    fn table(&mut self, service: Service, slots: &[u32]) -> Service {
        let page = service.id;
        let mut slots_of = Box::<Page>::default();
        slots_of.slots.0[..slots.len()].copy_from_slice(slots);
        self.pages.insert(page, slots_of);
        let row = if service.select == select::SCAN_REQUESTS { 3 } else { 1 };
        Service { table_page: page, table_len: slots.len() as u32 / row, ..service }
    }

    fn listen(&mut self, ip: &str, port: u16, protocol: u8, service: Service, slots: &[u32]) {
        let service = self.table(service, slots);
        let key = ListenKey { address: address(ip), port: port.to_be(), protocol, zero: 0 };
        self.listens.insert(key, service);
        let index = usize::from(protocol == 17);
        self.ports[index].services[usize::from(port) / 64] |= 1 << (port % 64);
    }

    fn range(
        &mut self,
        ip: &str,
        port: u16,
        bits: u32,
        protocol: u8,
        service: Service,
        slots: &[u32],
    ) {
        let service = self.table(service, slots);
        let (address, first) = (address(ip).octets(), port.to_be_bytes());
        let key = RangeKey { protocol, address, port: first, zero: 0 };
        self.ranges.insert((RangeKey::BITS_BEFORE_PORT + bits, key), service);
        for port in port..port + (1 << (16 - bits)) {
            self.ports[1].services[usize::from(port) / 64] |= 1 << (port % 64);
        }
    }
}
