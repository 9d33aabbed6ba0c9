//! The flow table as the controller reads it: a list, and the sweep that ends what is idle.

use std::collections::BTreeMap;

use aya::maps::{HashMap, MapData};
use lb_common::{
    abi::{
        backend::BackendLoad,
        flow::{Conn, conn_kind, conn_state},
        settings::Settings,
    },
    pipeline::{
        conntrack::{idle, idle_limit},
        flow_key::FlowKey,
    },
    tables::Stage,
};

use super::Dataplane;
use crate::maps::{MapError, kernel};

/// One direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowEntry {
    /// Source address and port, host byte order.
    pub source: (std::net::IpAddr, u16),
    /// Destination address and port, host byte order.
    pub destination: (std::net::IpAddr, u16),
    /// IP protocol number.
    pub protocol: u8,
    /// Whether the handshake is over.
    pub stage: Stage,
    /// What is remembered.
    pub conn: Conn,
}

impl Dataplane {
    /// Calls `visit` with every entry, in no order.
    pub fn each_flow(&self, mut visit: impl FnMut(FlowEntry)) {
        let maps = &self.maps;
        list(&maps.conns4, Stage::Conn, &mut visit);
        list(&maps.embryos4, Stage::Embryo, &mut visit);
        list(&maps.conns6, Stage::Conn, &mut visit);
        list(&maps.embryos6, Stage::Embryo, &mut visit);
    }

    /// Removes entries past their idle limit, and sets the backends' open flows to what the table
    /// says: counters that follow closings drift. Returns how many entries went.
    pub fn sweep(&mut self, settings: &Settings, now: u32) -> Result<u64, MapError> {
        let mut open = BTreeMap::new();
        let maps = &mut self.maps;
        let removed = sweep_map(&mut maps.conns4, Stage::Conn, settings, now, &mut open)?
            + sweep_map(&mut maps.embryos4, Stage::Embryo, settings, now, &mut open)?
            + sweep_map(&mut maps.conns6, Stage::Conn, settings, now, &mut open)?
            + sweep_map(&mut maps.embryos6, Stage::Embryo, settings, now, &mut open)?;
        let known: Vec<u32> = maps.backends_in_use()?;
        for id in known {
            let flows = open.get(&id).copied().unwrap_or(0);
            maps.load.set(id, BackendLoad { flows }, 0).map_err(kernel::error("BACKEND_LOAD"))?;
        }
        Ok(removed)
    }
}

/// The table changes while it is read: an entry that went meanwhile is no error.
fn list<K: FlowKey + aya::Pod>(
    map: &HashMap<MapData, K, Conn>,
    stage: Stage,
    visit: &mut impl FnMut(FlowEntry),
) {
    for (key, conn) in map.iter().flatten() {
        let (source_port, destination_port, protocol) = key.ports();
        visit(FlowEntry {
            source: (key.source().into(), u16::from_be(source_port)),
            destination: (key.destination().into(), u16::from_be(destination_port)),
            protocol,
            stage,
            conn,
        });
    }
}

fn sweep_map<K: FlowKey + aya::Pod>(
    map: &mut HashMap<MapData, K, Conn>,
    stage: Stage,
    settings: &Settings,
    now: u32,
    open: &mut BTreeMap<u32, u64>,
) -> Result<u64, MapError> {
    let is_expired = |key: &K, conn: &Conn| {
        let (_, _, protocol) = key.ports();
        idle(now, conn.last_seen) > idle_limit(settings, protocol, stage, conn.state)
    };
    let mut expired = Vec::new();
    for (key, conn) in map.iter().flatten() {
        if is_expired(&key, &conn) {
            expired.push(key);
        } else if conn.kind == conn_kind::FORWARD && conn.state != conn_state::CLOSED {
            *open.entry(conn.backend).or_default() += 1;
        }
    }
    let mut removed = 0;
    for key in &expired {
        // To read the whole table takes a while, in which a client may have used its port again:
        // the entry under this key is a new flow's then.
        if !map.get(key, 0).is_ok_and(|conn| is_expired(key, &conn)) {
            continue;
        }
        match map.remove(key) {
            Ok(()) => removed += 1,
            Err(error) => kernel::gone("CONNS", Err(error))?,
        }
    }
    Ok(removed)
}
