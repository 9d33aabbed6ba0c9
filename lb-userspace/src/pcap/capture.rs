//! Capture files: pcap and pcapng in, pcap out.

use std::{
    io::{self, Cursor, Read, Write},
    time::Duration,
};

use pcap_file::{
    DataLink, PcapError,
    pcap::{PcapPacket, PcapReader, PcapWriter},
    pcapng::{Block, PcapNgReader},
};

use super::{Frame, FrameError, Place};

/// The block type a pcapng file begins with, the same in both byte orders.
const PCAPNG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// The frames of a pcap or pcapng file; ends after the first error.
pub struct Capture<R: Read> {
    file: File<io::Chain<Cursor<Vec<u8>>, R>>,
    number: u64,
    broken: bool,
}

enum File<R: Read> {
    Pcap(PcapReader<R>),
    PcapNg(Box<PcapNgReader<R>>),
}

/// Opens a pcap or pcapng file, told apart by its first bytes.
pub fn read_capture<R: Read>(mut input: R) -> Result<Capture<R>, FrameError> {
    let mut magic = Vec::new();
    let unreadable = |source| FrameError::Read { place: Place::Packet(1), source };
    (&mut input).take(4).read_to_end(&mut magic).map_err(unreadable)?;
    let is_pcapng = magic == PCAPNG_MAGIC;
    let input = Cursor::new(magic).chain(input);
    let file = if is_pcapng {
        PcapNgReader::new(input).map(|reader| File::PcapNg(Box::new(reader)))
    } else {
        PcapReader::new(input).map(File::Pcap)
    };
    let file = file.map_err(|_| FrameError::NotACapture)?;
    Ok(Capture { file, number: 0, broken: false })
}

impl<R: Read> Iterator for Capture<R> {
    type Item = Result<Frame, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken {
            return None;
        }
        self.number += 1;
        let packet = match &mut self.file {
            File::Pcap(reader) => next_pcap(reader),
            File::PcapNg(reader) => next_pcapng(reader),
        };
        let number = self.number;
        let frame = match packet {
            Ok(packet) => packet.map(|packet| packet.into_frame(number)),
            Err(source) => Some(Err(FrameError::Broken { number, source })),
        };
        self.broken = !matches!(frame, Some(Ok(_)));
        frame
    }
}

/// A packet of a capture before it is found good.
struct Packet {
    link: DataLink,
    length: usize,
    bytes: Vec<u8>,
}

impl Packet {
    fn into_frame(self, number: u64) -> Result<Frame, FrameError> {
        let Self { link, length, bytes } = self;
        let kept = bytes.len();
        if link != DataLink::ETHERNET {
            return Err(FrameError::LinkType { number, link });
        }
        if kept < length {
            return Err(FrameError::CutShort { number, kept, length });
        }
        Frame::checked(Place::Packet(number), number, bytes)
    }
}

/// The raw packet: the checked one refuses whole packets of captures with a small snap length.
fn next_pcap<R: Read>(reader: &mut PcapReader<R>) -> Result<Option<Packet>, PcapError> {
    let link = reader.header().datalink;
    let Some(packet) = reader.next_raw_packet().transpose()? else { return Ok(None) };
    let length = length(packet.orig_len);
    Ok(Some(Packet { link, length, bytes: packet.data.into_owned() }))
}

fn next_pcapng<R: Read>(reader: &mut PcapNgReader<R>) -> Result<Option<Packet>, PcapError> {
    loop {
        let Some(block) = reader.next_block().transpose()? else { return Ok(None) };
        let (interface, length, bytes) = match block {
            Block::EnhancedPacket(packet) => {
                (packet.interface_id, length(packet.original_len), packet.data.into_owned())
            }
            Block::SimplePacket(packet) => {
                // Its data ends with padding, and only the length says where.
                let length = length(packet.original_len);
                let mut bytes = packet.data.into_owned();
                bytes.truncate(length);
                (0, length, bytes)
            }
            Block::Packet(packet) => {
                let interface = u32::from(packet.interface_id);
                (interface, length(packet.original_len), packet.data.into_owned())
            }
            Block::SectionHeader(_)
            | Block::InterfaceDescription(_)
            | Block::NameResolution(_)
            | Block::InterfaceStatistics(_)
            | Block::SystemdJournalExport(_)
            | Block::Unknown(_) => continue,
        };
        let index = usize::try_from(interface).unwrap_or(usize::MAX);
        let described = reader.interfaces().get(index);
        let link = described.ok_or(PcapError::InvalidInterfaceId(interface))?.linktype;
        return Ok(Some(Packet { link, length, bytes }));
    }
}

fn length(on_the_wire: u32) -> usize {
    usize::try_from(on_the_wire).unwrap_or(usize::MAX)
}

/// Writes frames to a pcap file. Their time is 0: a simulation has no clock.
pub struct CaptureWriter<W: Write>(PcapWriter<W>);

impl<W: Write> CaptureWriter<W> {
    /// Writes the head of the file.
    pub fn new(output: W) -> io::Result<Self> {
        PcapWriter::new(output).map(Self).map_err(into_io)
    }

    /// Writes a frame of at most [`FRAME_BYTES_MAX`](super::FRAME_BYTES_MAX) bytes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let packet = PcapPacket::new(Duration::ZERO, length, bytes);
        self.0.write_packet(&packet).map(drop).map_err(into_io)
    }

    /// Writes out what is buffered and gives the output back.
    pub fn finish(self) -> io::Result<W> {
        let mut output = self.0.into_writer();
        output.flush()?;
        Ok(output)
    }
}

fn into_io(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        error @ (PcapError::IncompleteBuffer
        | PcapError::InvalidField(_)
        | PcapError::Utf8Error(_)
        | PcapError::FromUtf8Error(_)
        | PcapError::InvalidInterfaceId(_)) => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use pcap_file::{
        Endianness,
        pcap::{PcapHeader, RawPcapPacket},
        pcapng::{
            PcapNgBlock as _, PcapNgWriter,
            blocks::{
                enhanced_packet::EnhancedPacketBlock,
                interface_description::InterfaceDescriptionBlock, simple_packet::SimplePacketBlock,
            },
        },
    };
    use proptest::prelude::*;

    use super::*;

    fn read(file: &[u8]) -> Vec<Result<Frame, String>> {
        match read_capture(file) {
            Ok(frames) => frames.map(|frame| frame.map_err(|error| error.to_string())).collect(),
            Err(error) => vec![Err(error.to_string())],
        }
    }

    fn frames(rows: &[&[u8]]) -> Vec<Result<Frame, String>> {
        let frame = |(bytes, number): (&&[u8], u64)| Ok(Frame { number, bytes: bytes.to_vec() });
        rows.iter().zip(1..).map(frame).collect()
    }

    /// A pcap with packets of (bytes, length on the wire).
    fn pcap(header: PcapHeader, packets: &[(&[u8], u32)]) -> Vec<u8> {
        let mut writer = PcapWriter::with_header(Vec::new(), header).unwrap();
        for &(data, orig_len) in packets {
            let incl_len = u32::try_from(data.len()).unwrap();
            let data = Cow::Borrowed(data);
            let packet = RawPcapPacket { ts_sec: 1, ts_frac: u32::MAX, incl_len, orig_len, data };
            writer.write_raw_packet(&packet).unwrap();
        }
        writer.into_writer()
    }

    fn pcapng(endianness: Endianness, links: &[DataLink], blocks: &[Block]) -> Vec<u8> {
        let mut writer = PcapNgWriter::with_endianness(Vec::new(), endianness).unwrap();
        for &linktype in links {
            let options = Vec::new();
            let interface = InterfaceDescriptionBlock { linktype, snaplen: 0, options };
            writer.write_pcapng_block(interface).unwrap();
        }
        for block in blocks {
            writer.write_block(block).unwrap();
        }
        writer.into_inner()
    }

    fn enhanced(interface_id: u32, data: &[u8], original_len: u32) -> Block<'_> {
        let (timestamp, options) = (Duration::ZERO, Vec::new());
        let data = Cow::Borrowed(data);
        EnhancedPacketBlock { interface_id, timestamp, original_len, data, options }.into_block()
    }

    fn simple(data: &[u8]) -> Block<'_> {
        let original_len = u32::try_from(data.len()).unwrap();
        SimplePacketBlock { original_len, data: Cow::Borrowed(data) }.into_block()
    }

    #[test]
    fn what_is_written_is_read() {
        let mut writer = CaptureWriter::new(Vec::new()).unwrap();
        writer.write(&[1; 14]).unwrap();
        let longest = vec![2; 65_535];
        writer.write(&longest).unwrap();
        assert!(writer.write(&vec![3; 65_536]).is_err());
        let file = writer.finish().unwrap();
        assert_eq!(read(&file), frames(&[&[1; 14], &longest]));
    }

    #[test]
    fn every_kind_of_capture_is_read() {
        let (a, b) = ([1; 60], [2; 61]);
        let expected = frames(&[&a, &b]);
        for endianness in [Endianness::Big, Endianness::Little] {
            for snaplen in [0, 64, 65_535, 262_144] {
                let header = PcapHeader { endianness, snaplen, ..PcapHeader::default() };
                assert_eq!(read(&pcap(header, &[(&a, 60), (&b, 61)])), expected);
            }
            let blocks = [simple(&a), enhanced(0, &b, 61)];
            assert_eq!(read(&pcapng(endianness, &[DataLink::ETHERNET], &blocks)), expected);
            let blocks = [enhanced(0, &a, 60), simple(&b)];
            assert_eq!(read(&pcapng(endianness, &[DataLink::ETHERNET], &blocks)), expected);
        }
        assert_eq!(read(&pcap(PcapHeader::default(), &[])), []);
        assert_eq!(read(&pcapng(Endianness::Little, &[], &[])), []);
    }

    #[test]
    fn mistakes_are_named_with_their_packet() {
        let raw = PcapHeader { datalink: DataLink::RAW, ..PcapHeader::default() };
        let ethernet = PcapHeader::default();
        let good: (&[u8], u32) = (&[1; 60], 60);
        let long = vec![1; 65_536];
        let whole = pcap(ethernet, &[good, good]);
        let [raw_link, ethernet_link] = [DataLink::RAW, DataLink::ETHERNET];
        for (file, numbers, part) in [
            (Vec::new(), 0, "neither a pcap nor a pcapng"),
            (b"PK\x03\x04 and so on".to_vec(), 0, "neither a pcap nor a pcapng"),
            (whole[..20].to_vec(), 0, "neither a pcap nor a pcapng"),
            (PCAPNG_MAGIC.to_vec(), 0, "neither a pcap nor a pcapng"),
            (pcap(raw, &[good]), 0, "packet 1: its link type is RAW"),
            (pcap(ethernet, &[good, (&[1; 60], 1514)]), 1, "packet 2: only 60 of its 1514 bytes"),
            (pcap(ethernet, &[good, (&[1; 13], 13)]), 1, "packet 2: 13 bytes are less than"),
            (pcap(ethernet, &[(&long, 65_536), good]), 0, "packet 1: 65536 bytes are more than"),
            (whole[..whole.len() - 1].to_vec(), 1, "packet 2: the file is broken: unexpected end"),
            (whole[..24 + 16 + 60 + 5].to_vec(), 1, "packet 2: the file is broken: unexpected end"),
            (
                pcapng(
                    Endianness::Little,
                    &[ethernet_link, raw_link],
                    &[enhanced(1, &[1; 60], 60)],
                ),
                0,
                "packet 1: its link type is RAW",
            ),
            (
                pcapng(Endianness::Little, &[ethernet_link], &[enhanced(0, &[1; 60], 61)]),
                0,
                "packet 1: only 60 of its 61 bytes",
            ),
        ] {
            let found = read(&file);
            let (last, good) = found.split_last().unwrap();
            assert_eq!(good.len(), numbers, "{part}");
            let error = last.as_ref().unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_frames_or_an_error(
            is_pcapng: bool,
            place in 0_usize..160,
            bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut file = if is_pcapng {
                pcapng(Endianness::Little, &[DataLink::ETHERNET], &[enhanced(0, &[1; 60], 60)])
            } else {
                pcap(PcapHeader::default(), &[(&[1; 60], 60)])
            };
            let place = place.min(file.len());
            let end = (place + bytes.len()).min(file.len());
            file.splice(place..end, bytes);
            prop_assert!(read(&file).len() <= 3);
        }
    }
}
