//! The flow table as the controller reads it: a list, and the sweep that ends what is idle.

use std::collections::{BTreeMap, HashSet};

use aya::maps::{HashMap, MapData};
use lb_common::{
    abi::{
        address::Address,
        backend::{Backend, BackendLoad, backend_state},
        flow::{Conn, conn_flag, conn_kind},
        settings::Settings,
    },
    pipeline::{
        conntrack::{idle, idle_limit},
        flow_key::FamilyKey,
        states::is_open,
    },
    tables::Stage,
};

use super::Dataplane;
use crate::maps::{MapError, Snapshot, kernel};

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
        list(&maps.conns6, Stage::Conn, &mut visit);
        list(&maps.embryos, Stage::Embryo, &mut visit);
        list(&maps.datagrams, Stage::Embryo, &mut visit);
    }

    /// Removes entries past their idle limit or of backends that are gone, and sets the backends'
    /// open flows and requests to what the table says: counters that follow closings drift.
    /// Returns how many entries went.
    pub fn sweep(&mut self, observed: &Snapshot, now: u32) -> Result<u64, MapError> {
        let maps = &mut self.maps;
        let Snapshot { settings, backends, .. } = observed;
        let there = |(_, backend): &(&u32, &Backend)| backend.state != backend_state::ABSENT;
        let ids: Vec<u32> = backends.iter().filter(there).map(|(id, _)| *id).collect();
        let before = maps.loads(&ids);
        let mut sweep = Sweep { settings, now, open: BTreeMap::new(), backends };
        let removed = sweep.map(&mut maps.conns4, Stage::Conn)?
            + sweep.map(&mut maps.conns6, Stage::Conn)?
            + sweep.map(&mut maps.embryos, Stage::Embryo)?
            + sweep.map(&mut maps.datagrams, Stage::Embryo)?;
        let open = sweep.open;
        maps.sweep_origins()?;
        let after = maps.loads(&ids);
        for ((id, before), after) in ids.into_iter().zip(before).zip(after) {
            let found = open.get(&id).copied().unwrap_or_default();
            let changes = after.changes.wrapping_sub(before.changes);
            let flows = wrong(before.flows, after.flows, found.flows, changes);
            let requests = wrong(before.requests, after.requests, found.requests, changes);
            if (flows, requests) != (0, 0) {
                maps.correct_load(id, flows, requests);
            }
        }
        Ok(removed)
    }
}

/// By how much a counter is wrong at least, when the table was read between two looks at it and so
/// many changes: what it may have been at some moment meanwhile needs no correction.
fn wrong(before: u64, after: u64, found: u64, changes: u64) -> i64 {
    let [before, after, found] = [before, after, found].map(u64::cast_signed);
    let changes = i64::try_from(changes).unwrap_or(i64::MAX);
    let least = before.min(after).saturating_sub(changes);
    let most = before.max(after).saturating_add(changes);
    found - found.clamp(least, most)
}

/// The table changes while it is read: an entry that went meanwhile is no error.
fn list<K: FamilyKey + aya::Pod>(
    map: &HashMap<MapData, K, Conn>,
    stage: Stage,
    visit: &mut impl FnMut(FlowEntry),
) {
    for (key, conn) in map.iter().flatten() {
        let flow = key.widen();
        let end = |(address, port): (Address, u16)| (address.into(), u16::from_be(port));
        visit(FlowEntry {
            source: end(flow.source()),
            destination: end(flow.destination()),
            protocol: flow.protocol(),
            stage,
            conn,
        });
    }
}

/// One pass over the tables.
struct Sweep<'a> {
    settings: &'a Settings,
    now: u32,
    /// Backends that are there, and which use of their ids it is.
    backends: &'a BTreeMap<u32, Backend>,
    /// Load by backend.
    open: BTreeMap<u32, BackendLoad>,
}

impl Sweep<'_> {
    /// Removes what has ended from one table; returns how many entries went.
    fn map<K: FamilyKey + aya::Pod + Eq + std::hash::Hash>(
        &mut self,
        map: &mut HashMap<MapData, K, Conn>,
        stage: Stage,
    ) -> Result<u64, MapError> {
        let (mut ended, mut seen) = (Vec::new(), HashSet::new());
        for (key, conn) in map.iter().flatten() {
            let counts = conn.kind == conn_kind::FORWARD && is_open(conn.state, conn.flags);
            if self.has_ended(key.widen().protocol(), stage, &conn) {
                ended.push(key);
            } else if counts && seen.insert(key) {
                // The kernel begins anew where the last key is gone when it looks for the next.
                let load = self.open.entry(conn.backend).or_default();
                load.flows += 1;
                load.requests += u64::from(conn.flags & conn_flag::WAITING != 0);
            }
        }
        let mut removed = 0;
        for key in &ended {
            // To read the whole table takes a while, in which a client may have used its port
            // again: the entry under this key is a new flow's then.
            let again = map.get(key, 0);
            if !again.is_ok_and(|conn| self.has_ended(key.widen().protocol(), stage, &conn)) {
                continue;
            }
            match map.remove(key) {
                Ok(()) => removed += 1,
                Err(error) => kernel::gone("CONNS", Err(error))?,
            }
        }
        Ok(removed)
    }

    fn has_ended(&self, protocol: u8, stage: Stage, conn: &Conn) -> bool {
        let limit = idle_limit(self.settings, protocol, stage, conn.state);
        let backend = self.backends.get(&conn.backend);
        let is_there = |it: &&Backend| it.state != backend_state::ABSENT;
        idle(self.now, conn.last_seen) > limit
            || backend.filter(is_there).map(|it| it.generation) != Some(conn.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::wrong;

    #[test]
    fn a_counter_is_corrected_only_by_what_it_never_was() {
        let below_zero = (-1_i64).cast_unsigned();
        let rows = [
            // Before, after, found, changes, wrong by.
            (5, 5, 5, 0, 0),
            (5, 5, 4, 0, -1),
            (5, 5, 7, 0, 2),
            (5, 9, 7, 4, 0),
            (9, 5, 7, 4, 0),
            (0, 0, 1, 2, 0),
            (0, 0, 3, 2, 1),
            (5, 9, 0, 4, -1),
            (5, 9, 14, 4, 1),
            (below_zero, below_zero, 0, 0, 1),
            (below_zero, 1, 3, 2, 0),
            (3, 3, 0, u64::MAX, 0),
        ];
        for (before, after, found, changes, expected) in rows {
            let actual = wrong(before, after, found, changes);
            assert_eq!(actual, expected, "{before} {after} {found} {changes}");
        }
    }
}
