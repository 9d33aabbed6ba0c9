//! A million flows, opened by packets through the program, and held.

use lb_common::{abi::service::ListenKey, pipeline::verdict::Reason, tables::Stage};
use lb_userspace::{
    dataplane::{Dataplane, testrun::Mode},
    maps::{LbMaps as _, Write},
    model::Limits,
};

use crate::{
    fill, load_with,
    table::{
        frame::tcp,
        world::{World, address},
    },
};

const FLOWS: u32 = 1_000_000;
/// Room in the table: two entries a flow, and some.
const ENTRIES: u32 = 1 << 21;
/// Bytes of a flow over IPv4, as the manual has it.
const BYTES: u64 = 288;
/// Where source address, source and destination port lie.
const SOURCE: usize = 26;
const PORT: usize = 34;

/// Each flow has an address and a port of its own, at both ends of a packet.
fn of_flow(frame: &mut [u8], flow: u32, reply: bool) {
    let (host, port) = (100 + flow / 50_000, 10_000 + flow % 50_000);
    let (address, at) = if reply { (SOURCE + 4, PORT + 2) } else { (SOURCE, PORT) };
    frame[address + 3] = u8::try_from(host).unwrap();
    frame[at..at + 2].copy_from_slice(&u16::try_from(port).unwrap().to_be_bytes());
}

fn run(dataplane: &mut Dataplane, frame: &[u8]) -> (Reason, u32) {
    let trace = dataplane.test_run(Mode::Xdp, frame).unwrap().trace;
    (Reason::from_number(trace.reason).unwrap(), trace.backend)
}

/// Bytes that the kernel has for the table of established flows over IPv4.
fn bytes_of_table() -> u64 {
    let sizes = std::fs::read_dir("/proc/self/fdinfo").unwrap().flatten().filter_map(|entry| {
        let text = std::fs::read_to_string(entry.path()).ok()?;
        let field = |name: &str| -> Option<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').trim().parse().ok()
        };
        // BPF_MAP_TYPE_LRU_HASH; other tests of the process have smaller ones.
        let is_it = field("map_type") == Some(9) && field("key_size") == Some(16);
        (is_it && field("max_entries") == Some(ENTRIES.into())).then(|| field("memlock"))?
    });
    sizes.max().unwrap()
}

#[test]
fn a_million_flows_are_held() {
    let mut dataplane = load_with(Limits { conns: ENTRIES, embryos: 1 << 16, ..Limits::default() });
    fill(&mut dataplane, World::new());
    let (vip, backend) = ("198.18.1.1:80", "198.18.10.2:8080");
    let [mut syn, mut ack] = ["S", "A"].map(|flags| tcp("198.18.0.2:1", vip, flags).build());
    for flow in 0..FLOWS {
        for frame in [&mut syn, &mut ack] {
            of_flow(frame, flow, false);
            assert_eq!(run(&mut dataplane, frame), (Reason::Forwarded, 1), "flow {flow}");
        }
    }
    let load = dataplane.readings(std::iter::once(1)).unwrap()[&1].load;
    assert_eq!(load.flows, u64::from(FLOWS));
    let mut entries = 0;
    dataplane.each_flow(|flow| entries += u32::from(flow.stage == Stage::Conn));
    assert_eq!(entries, 2 * FLOWS, "two entries each");
    let bytes = bytes_of_table();
    println!("{FLOWS} flows, room for {}: {bytes} bytes", ENTRIES / 2);
    // The table has a little of its own beside.
    assert!(bytes / u64::from(ENTRIES / 2) <= BYTES, "{bytes} bytes");
    // Without its service nobody is let in: who goes on is known.
    let (address, port) = (address("198.18.1.1"), 80_u16.to_be());
    let listen = ListenKey { address, port, protocol: 6, zero: 0 };
    dataplane.maps.write(&Write::RemoveListen(listen)).unwrap();
    let mut data = tcp("198.18.0.2:1", vip, "A").payload(b"more").build();
    let mut answer = tcp(backend, "198.18.0.2:1", "A").payload(b"answer").build();
    for flow in (0..FLOWS).step_by(97) {
        of_flow(&mut data, flow, false);
        assert_eq!(run(&mut dataplane, &data), (Reason::Forwarded, 1), "flow {flow}");
        of_flow(&mut answer, flow, true);
        assert_eq!(run(&mut dataplane, &answer), (Reason::Replied, 1), "flow {flow}");
    }
    of_flow(&mut data, FLOWS, false);
    assert_eq!(run(&mut dataplane, &data).0, Reason::NoListener, "one more");
}
