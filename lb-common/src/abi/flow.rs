//! Flows: the 5-tuple as seen on the wire, and what is remembered of it (conntrack).

use core::mem::offset_of;

use super::{abi, address::Address};
use crate::wire::Macs;

abi! {
    /// An IPv4 flow: key of `CONNS4`.
    #[derive(PartialOrd, Ord, Hash)]
    pub struct FlowKey4: 16 {
        /// Source address as on the wire.
        pub source: u32,
        /// Destination address as on the wire.
        pub destination: u32,
        /// Source port, network byte order.
        pub source_port: u16,
        /// Destination port, network byte order.
        pub destination_port: u16,
        /// IP protocol number.
        pub protocol: u32,
    }
}

abi! {
    /// An IPv6 flow: key of `CONNS6`; and a flow of either family, key of `EMBRYOS` and `DATAGRAMS`, where IPv4
    /// addresses are IPv4-mapped ones.
    #[derive(PartialOrd, Ord, Hash)]
    pub struct FlowKey6: 40 {
        /// Source address as on the wire.
        pub source: Address,
        /// Destination address as on the wire.
        pub destination: Address,
        /// Source port, network byte order.
        pub source_port: u16,
        /// Destination port, network byte order.
        pub destination_port: u16,
        /// IP protocol number.
        pub protocol: u32,
    }
}

/// Which way the packets of an entry go: [`Conn::kind`].
pub mod conn_kind {
    /// From the client to the VIP: the destination is rewritten to the backend.
    pub const FORWARD: u8 = 0;
    /// From the backend to the client: the source is rewritten to the VIP.
    pub const REPLY: u8 = 1;
}

/// How far a flow has come: [`Conn::state`].
pub mod conn_state {
    /// First packet seen.
    pub const NEW: u8 = 0;
    /// Both sides have spoken (TCP: past the handshake; UDP: answered).
    pub const ESTABLISHED: u8 = 1;
    /// The client has sent FIN.
    pub const FIN_CLIENT: u8 = 2;
    /// The backend has sent FIN.
    pub const FIN_BACKEND: u8 = 3;
    /// Both have sent FIN: only late acknowledgements follow.
    pub const CLOSED: u8 = 4;
}

/// Bits of [`Conn::flags`].
pub mod conn_flag {
    /// The backend is its own client: the source is rewritten as well (hairpin).
    pub const HAIRPIN: u16 = 1;
    /// A flow without a reply entry: of a handshake `ORIGINS` leads from the backend's replies to this
    /// one, of a flow that is [`DIRECT`] nothing does.
    pub const SINGLE: u16 = 2;
    /// The turns of this flow are counted: a client's payload until the backend's.
    pub const TURNS: u16 = 4;
    /// A turn is open: the backend is to answer.
    pub const WAITING: u16 = 8;
    /// The backend answers its client by itself: no reply comes by here, and none has an entry.
    pub const DIRECT: u16 = 16;
    /// Packets are wrapped in packets to the backend.
    pub const TUNNEL: u16 = 32;
    /// There is a UDP header between the two IP headers (GUE).
    pub const UDP: u16 = 64;
    /// The backend sees an address and a port of this host in place of the client's (full NAT).
    pub const FULL_NAT: u16 = 128;
}

abi! {
    /// The service address that a backend's handshakes lead back to: value of `ORIGINS`, whose key
    /// is the backend's own address, port and protocol.
    pub struct Origin: 20 {
        /// The VIP.
        pub address: Address,
        /// Its port, network byte order.
        pub port: u16,
        /// Always 0.
        pub zero: u16,
    }
}

abi! {
    /// What is remembered of one direction of a flow. The forward and the reply entry share no
    /// bytes; each holds all that its packets need.
    pub struct Conn: 64 {
        /// Forward: the backend's address. Reply: the VIP.
        pub address: Address,
        /// Forward: the backend's port. Reply: the service's port. Network byte order.
        pub port: u16,
        /// One of [`conn_kind`].
        pub kind: u8,
        /// One of [`conn_state`].
        pub state: u8,
        /// Backend id.
        pub backend: u32,
        /// Generation of the backend when the flow began.
        pub generation: u32,
        /// Service id.
        pub service: u32,
        /// Jiffies of the last packet.
        pub last_seen: u32,
        /// Interface on which the client's packets arrive; 0: replies go to the stack. The reply entry of
        /// [`conn_flag::FULL_NAT`] has the client's address in this field and the next two.
        pub client_ifindex: u32,
        /// MAC address the client's packets come from.
        pub client_mac: [u8; 6],
        /// MAC address the client's packets are sent to.
        pub local_mac: [u8; 6],
        /// Bits of [`conn_flag`].
        pub flags: u16,
        /// With [`conn_flag::FULL_NAT`], forward: the port of this host that the backend sees. Reply: the
        /// client's port. Network byte order; otherwise 0.
        pub peer_port: u16,
        /// Jiffies of the first packet.
        pub created: u32,
        /// When the open turn began, in microseconds; they wrap after 71 minutes.
        pub turn_us: u32,
    }
}

impl Conn {
    /// The MAC addresses of a frame to the client.
    #[inline]
    #[must_use]
    #[expect(clippy::multiple_unsafe_ops_per_block, reason = "one read, in three steps")]
    pub const fn client_macs(&self) -> Macs {
        // SAFETY: the two fields are twelve bytes side by side, aligned to a word, as asserted.
        let words = unsafe {
            core::ptr::from_ref(self).cast::<u32>().add(CLIENT_MACS).cast::<[u32; 3]>().read()
        };
        Macs { words }
    }

    /// Sets where the client's packets come from.
    #[inline]
    #[expect(clippy::multiple_unsafe_ops_per_block, reason = "one write, in three steps")]
    pub const fn set_client(&mut self, client: &Client) {
        self.client_ifindex = client.ifindex;
        // SAFETY: as above.
        unsafe {
            core::ptr::from_mut(self)
                .cast::<u32>()
                .add(CLIENT_MACS)
                .cast::<[u32; 3]>()
                .write(client.macs.words);
        }
    }

    /// Whether it is an entry of full NAT.
    #[inline]
    #[must_use]
    pub const fn is_full_nat(&self) -> bool {
        self.flags & conn_flag::FULL_NAT != 0
    }

    /// The client's address in a reply entry of full NAT.
    #[inline]
    #[must_use]
    pub const fn client_address(&self) -> Address {
        let [a, b, c] = self.client_macs().words;
        Address { words: [self.client_ifindex, a, b, c] }
    }

    /// Sets it, where the way to the client was: that is in the forward entry.
    #[inline]
    pub const fn set_client_address(&mut self, address: Address) {
        let [ifindex, a, b, c] = address.words;
        self.set_client(&Client { ifindex, macs: Macs { words: [a, b, c] } });
    }
}

/// Where the words of `client_mac` and `local_mac` begin.
const CLIENT_MACS: usize = offset_of!(Conn, client_mac) / 4;
const _: () = assert!(
    offset_of!(Conn, local_mac) == offset_of!(Conn, client_mac) + 6
        && offset_of!(Conn, client_mac) % 4 == 0
);

/// An entry inside a flow table, where other CPUs change it too.
///
/// Reads go through a short-lived shared reference, writes through the cell; no reference to the
/// whole lives across a write. Fields are single words, and no two of them have to agree.
#[repr(transparent)]
#[derive(Debug)]
pub struct SharedConn(core::cell::UnsafeCell<Conn>);

impl SharedConn {
    /// Wraps an entry.
    #[must_use]
    pub const fn new(conn: Conn) -> Self {
        Self(core::cell::UnsafeCell::new(conn))
    }

    /// Marks the entry as used at `now`.
    #[inline]
    pub fn touch(&self, now: u32) {
        // SAFETY: no reference into the cell outlives the expression that made it.
        unsafe { (*self.0.get()).last_seen = now };
    }

    /// Moves the entry to another [`conn_state`].
    #[inline]
    pub fn set_state(&self, state: u8, now: u32) {
        // SAFETY: as above.
        let conn = unsafe { &mut *self.0.get() };
        conn.state = state;
        conn.last_seen = now;
    }

    /// Begins or ends a turn.
    #[inline]
    pub fn set_turn(&self, flags: u16, turn_us: u32) {
        // SAFETY: as above.
        let conn = unsafe { &mut *self.0.get() };
        conn.flags = flags;
        conn.turn_us = turn_us;
    }

    /// Remembers where the client's packets come from.
    #[inline]
    pub fn set_client(&self, client: &Client) {
        // SAFETY: as above.
        unsafe { &mut *self.0.get() }.set_client(client);
    }

    /// Replaces the whole entry.
    #[inline]
    pub fn replace(&self, conn: &Conn) {
        // SAFETY: as above; an entry is never replaced by itself.
        unsafe { core::ptr::copy_nonoverlapping(core::ptr::from_ref(conn), self.0.get(), 1) };
    }
}

impl core::ops::Deref for SharedConn {
    type Target = Conn;

    #[inline]
    fn deref(&self) -> &Conn {
        // SAFETY: callers read a field and let go before anything is written.
        unsafe { &*self.0.get() }
    }
}

/// Where a client's packets come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Interface; 0 where replies must go through the stack.
    pub ifindex: u32,
    /// MAC addresses of a frame to it: its own (or its router's), and the one it sends to.
    pub macs: Macs,
}
