//! Frames, built by `etherparse`.

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpNumber, Ipv4Options, PacketBuilder, PacketBuilderStep, VlanId, ip_number};

/// MAC address of the client.
pub const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// MAC address of the balancer's uplink.
pub const LOCAL_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// A frame to build.
#[derive(Clone, Debug)]
pub struct Frame {
    pub macs: ([u8; 6], [u8; 6]),
    pub vlan: Option<u16>,
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub hop_limit: u8,
    pub options: bool,
    pub flags: &'static str,
    pub udp: bool,
    pub payload: &'static [u8],
}

/// A TCP frame from a client, with flags as letters: `S` SYN, `A` ACK, `F` FIN, `R` RST.
pub fn tcp(source: &str, destination: &str, flags: &'static str) -> Frame {
    Frame {
        macs: (CLIENT_MAC, LOCAL_MAC),
        vlan: None,
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        hop_limit: 64,
        options: false,
        flags,
        udp: false,
        payload: b"",
    }
}

/// A UDP frame from a client.
pub fn udp(source: &str, destination: &str) -> Frame {
    Frame { udp: true, payload: b"hello", ..tcp(source, destination, "") }
}

impl Frame {
    pub fn payload(self, payload: &'static [u8]) -> Self {
        Self { payload, ..self }
    }

    pub fn vlan(self, id: u16) -> Self {
        Self { vlan: Some(id), ..self }
    }

    pub fn hops(self, hop_limit: u8) -> Self {
        Self { hop_limit, ..self }
    }

    pub fn options(self) -> Self {
        Self { options: true, ..self }
    }

    pub fn from_mac(self, source: [u8; 6]) -> Self {
        Self { macs: (source, self.macs.1), ..self }
    }

    /// The same frame one hop later, with other addresses and MACs (source, destination).
    pub fn sent(self, source: &str, destination: &str, macs: Option<([u8; 6], [u8; 6])>) -> Self {
        Self {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            hop_limit: self.hop_limit - 1,
            macs: macs.unwrap_or(self.macs),
            ..self
        }
    }

    pub fn build(&self) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2(self.macs.0, self.macs.1);
        let step = match self.vlan {
            Some(id) => self.ip_over_vlan(ethernet.vlan(etherparse::VlanHeader::Single(
                etherparse::SingleVlanHeader {
                    pcp: etherparse::VlanPcp::ZERO,
                    drop_eligible_indicator: false,
                    vlan_id: VlanId::try_new(id).unwrap(),
                    ether_type: if self.source.is_ipv4() {
                        etherparse::EtherType::IPV4
                    } else {
                        etherparse::EtherType::IPV6
                    },
                },
            ))),
            None => ethernet.ip(self.ip()),
        };
        let mut out = Vec::new();
        if self.udp {
            let step = step.udp(self.source.port(), self.destination.port());
            step.write(&mut out, self.payload).unwrap();
        } else {
            let mut step = step.tcp(self.source.port(), self.destination.port(), 1000, 64000);
            for flag in self.flags.chars() {
                step = match flag {
                    'S' => step.syn(),
                    'A' => step.ack(77),
                    'F' => step.fin(),
                    'R' => step.rst(),
                    other => panic!("no flag {other}"),
                };
            }
            step.write(&mut out, self.payload).unwrap();
        }
        out
    }

    fn ip_over_vlan(
        &self,
        step: PacketBuilderStep<etherparse::VlanHeader>,
    ) -> PacketBuilderStep<etherparse::IpHeaders> {
        step.ip(self.ip())
    }

    fn ip(&self) -> etherparse::IpHeaders {
        let number: IpNumber = if self.udp { ip_number::UDP } else { ip_number::TCP };
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header = etherparse::Ipv4Header::new(
                    0,
                    self.hop_limit,
                    number,
                    source.octets(),
                    destination.octets(),
                )
                .unwrap();
                header.dont_fragment = true;
                if self.options {
                    header.options = Ipv4Options::try_from(&[1, 1, 1, 0][..]).unwrap();
                }
                etherparse::IpHeaders::Ipv4(header, Default::default())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let header = etherparse::Ipv6Header {
                    hop_limit: self.hop_limit,
                    next_header: number,
                    source: source.octets(),
                    destination: destination.octets(),
                    ..Default::default()
                };
                let extensions = if self.options {
                    etherparse::Ipv6Extensions {
                        hop_by_hop_options: Some(
                            etherparse::Ipv6RawExtHeader::new_raw(number, &[1, 4, 0, 0, 0, 0])
                                .unwrap(),
                        ),
                        ..Default::default()
                    }
                } else {
                    Default::default()
                };
                etherparse::IpHeaders::Ipv6(header, extensions)
            }
            _ => panic!("two families in one packet"),
        }
    }
}
