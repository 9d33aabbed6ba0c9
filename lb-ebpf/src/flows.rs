//! The flow tables: which of the maps an entry is in.

use aya_ebpf::bindings::BPF_NOEXIST;
use lb_common::{
    abi::flow::{Conn, SharedConn},
    pipeline::flow_key::FlowKey,
    wire::protocol,
};

use crate::maps::{CONNS4, CONNS6, DATAGRAMS, EMBRYOS};

/// An entry as the pipeline sees it.
#[inline]
pub fn shared<'a>(conn: Option<*const Conn>) -> Option<&'a SharedConn> {
    // SAFETY: the element lives until this program ends (RCU), and `SharedConn` is a cell
    // around the very layout of the element.
    conn.map(|conn| unsafe { &*conn.cast::<SharedConn>() })
}

/// Looks a flow up. Like the next two a function of its own in the kernel: what it saves in code
/// is more than what the call costs where flows begin and end. The verifier follows each table by itself;
/// so there is one for both families where flows begin.
#[inline(never)]
pub fn find(embryo: bool, key: &FlowKey) -> Option<&'static SharedConn> {
    shared(if embryo {
        if key.is_disguised() {
            None
        } else if key.protocol() == protocol::UDP {
            DATAGRAMS.get_ptr(key.v6())
        } else {
            EMBRYOS.get_ptr(key.v6())
        }
    } else if key.is_v6() {
        CONNS6.get_ptr(key.v6())
    } else {
        CONNS4.get_ptr(&key.v4())
    })
}

/// Adds an entry unless one is there; a negative error number if that fails.
#[inline(never)]
pub fn insert(embryo: bool, key: &FlowKey, conn: &Conn) -> i32 {
    let flags = u64::from(BPF_NOEXIST);
    let result = if embryo {
        if key.protocol() == protocol::UDP {
            DATAGRAMS.insert(key.v6(), conn, flags)
        } else {
            EMBRYOS.insert(key.v6(), conn, flags)
        }
    } else if key.is_v6() {
        CONNS6.insert(key.v6(), conn, flags)
    } else {
        CONNS4.insert(&key.v4(), conn, flags)
    };
    match result {
        Ok(()) => 0,
        Err(error) => error,
    }
}

/// Removes an entry; a negative error number if there is none.
#[inline(never)]
pub fn remove(embryo: bool, key: &FlowKey) -> i32 {
    let result = if embryo {
        if key.protocol() == protocol::UDP {
            DATAGRAMS.remove(key.v6())
        } else {
            EMBRYOS.remove(key.v6())
        }
    } else if key.is_v6() {
        CONNS6.remove(key.v6())
    } else {
        CONNS4.remove(&key.v4())
    };
    match result {
        Ok(()) => 0,
        Err(error) => error,
    }
}
