//! What the bench writes and the floors read. The bench includes this very file.

/// Bytes of every frame: room for IPv6, TCP and two bytes of payload.
pub const FRAME_LEN: usize = 78;
/// Where the frame's 64-bit words begin. From here on no header field straddles two of them, so
/// that a program's load never has to wait for two of the driver's stores.
pub const WORDS_AT: usize = 14;
/// 64-bit words behind the Ethernet header.
pub const WORDS: usize = (FRAME_LEN - WORDS_AT) / 8;

/// Which header fields tell the flows apart.
pub mod shape {
    /// IPv4, from client to service: source address and port.
    pub const CLIENT_V4: u32 = 0;
    /// IPv4, from backend to client: destination address and port.
    pub const REPLY_V4: u32 = 1;
    /// IPv6, from client to service.
    pub const CLIENT_V6: u32 = 2;
    /// IPv6, from backend to client.
    pub const REPLY_V6: u32 = 3;
    /// Nothing: every frame is the template.
    pub const FIXED: u32 = 4;
}

/// One run of a driver: the frame, and how its flows follow each other.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// Bytes 0 to 7 of the frame.
    pub start: u64,
    /// Bytes 8 to 11.
    pub start2: u32,
    /// Bytes 12 and 13.
    pub start3: u32,
    /// Bytes 14 to 77. The fields that tell the flows apart are zero.
    pub words: [u64; WORDS],
    /// One of [`shape`].
    pub shape: u32,
    /// Number of the first flow.
    pub first: u32,
    /// Flows visited in scattered order; 0: every packet is of the next flow.
    pub flows: u32,
    /// Packets so far.
    pub counter: u32,
    /// 1 if every second packet is of the second plan: a client and its backend in turn.
    pub alternate: u32,
    /// Always 0.
    pub zero: u32,
}

impl Plan {
    /// Number of the flow of packet `counter`. A Weyl sequence visits all flows evenly, and
    /// never a neighbour next.
    #[inline]
    pub fn flow(&self, counter: u32) -> u32 {
        let turn = counter >> (self.alternate & 1);
        let offset = if self.flows == 0 {
            turn
        } else {
            let scattered = turn.wrapping_mul(0x9e37_79b1);
            ((u64::from(scattered) * u64::from(self.flows)) >> 32) as u32
        };
        self.first.wrapping_add(offset)
    }
}

/// The fields of a flow, in host byte order.
#[derive(Clone, Copy, Debug)]
pub struct Variation {
    /// Lower half of the address.
    pub address: u16,
    /// Port.
    pub port: u16,
    /// IPv4 identification: makes up for the address, so that the header's checksum stays.
    pub ident: u16,
    /// Last two bytes of the payload: make up for address and port in the transport checksum.
    pub filler: u16,
}

impl Variation {
    /// The fields of flow `flow`, a number of 31 bits: 16 go to the address, 15 to the port.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a number")]
    pub fn of(flow: u32) -> Self {
        let address = flow as u16;
        let port = 0x8000 | (flow >> 16) as u16;
        let sum = u32::from(address) + u32::from(port);
        let filler = !((sum & 0xffff) + (sum >> 16)) as u16;
        Self { address, port, ident: !address, filler }
    }
}

/// Listen address: key of `LISTEN`. In network byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ListenKey {
    /// Address.
    pub address: u32,
    /// Port.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u16,
}

/// Who listens.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Service {
    /// Index in `SERVICE_STATS`.
    pub id: u32,
    /// Elements of `SLOTS` in use.
    pub slots: u32,
}

/// A server, and its next hop.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Backend {
    /// Destination MAC address and the first two bytes of the source.
    pub macs: u64,
    /// The rest of the source.
    pub macs2: u32,
    /// Address, network byte order.
    pub address: u32,
    /// Port, network byte order.
    pub port: u32,
    /// 1 if in use.
    pub state: u32,
}

/// Traffic of a service or a backend, by CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}
