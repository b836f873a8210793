//! From UDP payloads to frames and back.

use crate::fragment::{Bad, Key, Limits, Reassembly};
use crate::{Eui64, FCS_LEN, FRAME_MAX};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Ieee802154Address, Ieee802154Frame, Ieee802154FrameType, Ieee802154FrameVersion, Ieee802154Pan,
    Ieee802154Repr, SixlowpanFragPacket, SixlowpanFragRepr, SixlowpanIphcPacket, SixlowpanIphcRepr,
    SixlowpanNextHeader, SixlowpanPacket, SixlowpanUdpNhcPacket, SixlowpanUdpNhcRepr, UdpRepr,
};
use std::net::Ipv6Addr;

/// IPv6 and UDP header, bytes: what fragment offsets count and compression takes away.
const HEADERS: usize = 40 + 8;

/// Settings of a radio's stack.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The radio's address.
    pub eui64: Eui64,
    /// Its short address, if frames for that are to be taken too.
    pub short: Option<u16>,
    /// The network it is in.
    pub pan_id: u16,
    /// Limits of reassembly.
    pub limits: Limits,
}

impl Config {
    /// A radio in the default network.
    pub fn new(eui64: Eui64) -> Self {
        Self { eui64, short: None, pan_id: 0xABCD, limits: Limits::default() }
    }
}

/// A datagram that arrived whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Sender's address.
    pub src: Ipv6Addr,
    /// Sender's port.
    pub src_port: u16,
    /// Address it was sent to.
    pub dst: Ipv6Addr,
    /// Port it was sent to.
    pub dst_port: u16,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// Why a frame was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Drop {
    /// For another radio or network, or not a data frame.
    #[error("not for this radio")]
    NotOurs,
    /// Not an unsecured data frame between two extended addresses.
    #[error("malformed MAC frame")]
    Mac,
    /// Not IPHC with a UDP next header.
    #[error("malformed or unsupported 6LoWPAN header")]
    Lowpan,
    /// A fragment that contradicts itself or is too large.
    #[error("bad fragment")]
    Fragment,
    /// A wrong UDP checksum.
    #[error("wrong UDP checksum")]
    Checksum,
}

/// Why a datagram cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The destination is not a link-local address made from an EUI-64.
    #[error("{0} is not the link-local address of a radio")]
    Destination(Ipv6Addr),
    /// Longer than reassembly takes.
    #[error("payload of {0} bytes is too long")]
    TooLong(usize),
}

/// What passed and what was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames made.
    pub frames_out: u64,
    /// Their bytes on the air, check sequence included.
    pub bytes_out: u64,
    /// Frames taken.
    pub frames_in: u64,
    /// Their bytes on the air.
    pub bytes_in: u64,
    /// Frames dropped as malformed.
    pub malformed: u64,
    /// Datagrams given up because fragments were missing.
    pub lapsed: u64,
}

/// What the headers of a datagram said.
#[derive(Clone, Copy, Debug)]
struct Header {
    src: Ipv6Addr,
    dst: Ipv6Addr,
    src_port: u16,
    dst_port: u16,
    checksum: Option<u16>,
}

/// One radio's codec.
pub struct Stack {
    config: Config,
    sequence: u8,
    tag: u16,
    reassembly: Reassembly<Header>,
    counters: Counters,
}

impl Stack {
    /// A codec that has sent nothing yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            sequence: 0,
            tag: 0,
            reassembly: Reassembly::new(config.limits),
            counters: Counters::default(),
        }
    }

    /// The radio's own address.
    pub fn address(&self) -> Ipv6Addr {
        self.config.eui64.link_local()
    }

    /// What passed so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The frames of one datagram, in the order in which they are to be sent.
    pub fn encode(
        &mut self,
        dst: Ipv6Addr,
        src_port: u16,
        dst_port: u16,
        payload: &[u8],
    ) -> Result<Vec<Vec<u8>>, EncodeError> {
        let receiver = Eui64::from_link_local(dst).ok_or(EncodeError::Destination(dst))?;
        let size = HEADERS + payload.len();
        if size > self.config.limits.size {
            return Err(EncodeError::TooLong(payload.len()));
        }
        let headers = self.headers(dst, receiver, src_port, dst_port, payload);
        let mac = self.mac(receiver);
        let room = FRAME_MAX - FCS_LEN - mac.buffer_len();
        let mut frames = Vec::new();
        if headers.len() + payload.len() <= room {
            frames.push(self.frame(&mac, &[&headers, payload]));
        } else {
            self.tag = self.tag.wrapping_add(1);
            let (size, tag) = (size as u16, self.tag);
            let first = SixlowpanFragRepr::FirstFragment { size, tag };
            let mut sent = (room - first.buffer_len() - headers.len()) / 8 * 8;
            frames.push(self.frame(&mac, &[&fragment(first), &headers, &payload[..sent]]));
            while sent < payload.len() {
                let next = SixlowpanFragRepr::Fragment { size, tag, offset: ((HEADERS + sent) / 8) as u8 };
                let piece = ((room - next.buffer_len()) / 8 * 8).min(payload.len() - sent);
                frames.push(self.frame(&mac, &[&fragment(next), &payload[sent..sent + piece]]));
                sent += piece;
            }
        }
        Ok(frames)
    }

    fn headers(
        &self,
        dst: Ipv6Addr,
        receiver: Eui64,
        src_port: u16,
        dst_port: u16,
        payload: &[u8],
    ) -> Vec<u8> {
        let src = self.address();
        let iphc = SixlowpanIphcRepr {
            src_addr: src,
            ll_src_addr: Some(Ieee802154Address::Extended(self.config.eui64.0)),
            dst_addr: dst,
            ll_dst_addr: Some(Ieee802154Address::Extended(receiver.0)),
            next_header: SixlowpanNextHeader::Compressed,
            hop_limit: 64,
            ecn: None,
            dscp: None,
            flow_label: None,
        };
        let udp = SixlowpanUdpNhcRepr(UdpRepr { src_port, dst_port });
        let mut bytes = vec![0; iphc.buffer_len() + udp.header_len() + payload.len()];
        let (ip, rest) = bytes.split_at_mut(iphc.buffer_len());
        iphc.emit(&mut SixlowpanIphcPacket::new_unchecked(ip));
        udp.emit(
            &mut SixlowpanUdpNhcPacket::new_unchecked(rest),
            &src,
            &dst,
            payload.len(),
            |room| room.copy_from_slice(payload),
            &ChecksumCapabilities::default(),
        );
        // The payload was only there for its checksum.
        bytes.truncate(iphc.buffer_len() + udp.header_len());
        bytes
    }

    fn mac(&mut self, receiver: Eui64) -> Ieee802154Repr {
        self.sequence = self.sequence.wrapping_add(1);
        Ieee802154Repr {
            frame_type: Ieee802154FrameType::Data,
            security_enabled: false,
            frame_pending: false,
            ack_request: false,
            sequence_number: Some(self.sequence),
            pan_id_compression: true,
            frame_version: Ieee802154FrameVersion::Ieee802154_2006,
            dst_pan_id: Some(Ieee802154Pan(self.config.pan_id)),
            dst_addr: Some(Ieee802154Address::Extended(receiver.0)),
            src_pan_id: Some(Ieee802154Pan(self.config.pan_id)),
            src_addr: Some(Ieee802154Address::Extended(self.config.eui64.0)),
        }
    }

    fn frame(&mut self, mac: &Ieee802154Repr, parts: &[&[u8]]) -> Vec<u8> {
        let mut mac = *mac;
        mac.sequence_number = Some(self.sequence);
        self.sequence = self.sequence.wrapping_add(1);
        let mut frame = vec![0; mac.buffer_len()];
        mac.emit(&mut Ieee802154Frame::new_unchecked(&mut frame[..]));
        for part in parts {
            frame.extend_from_slice(part);
        }
        self.counters.frames_out += 1;
        self.counters.bytes_out += (frame.len() + FCS_LEN) as u64;
        frame
    }

    /// Takes a frame without its check sequence; gives the datagram that it is or completes.
    pub fn decode(&mut self, frame: &[u8], now_ms: u64) -> Result<Option<Datagram>, Drop> {
        let result = self.read(frame, now_ms);
        match &result {
            Err(Drop::NotOurs) => {}
            Err(_) => self.counters.malformed += 1,
            Ok(_) => {
                self.counters.frames_in += 1;
                self.counters.bytes_in += (frame.len() + FCS_LEN) as u64;
            }
        }
        result
    }

    fn read(&mut self, frame: &[u8], now_ms: u64) -> Result<Option<Datagram>, Drop> {
        if frame.len() > FRAME_MAX - FCS_LEN {
            return Err(Drop::Mac);
        }
        let packet = Ieee802154Frame::new_checked(frame).map_err(|_| Drop::Mac)?;
        let mac = Ieee802154Repr::parse(&packet).map_err(|_| Drop::Mac)?;
        if mac.frame_type != Ieee802154FrameType::Data || mac.security_enabled {
            return Err(Drop::NotOurs);
        }
        let (Some(Ieee802154Address::Extended(source)), Some(Ieee802154Address::Extended(target))) =
            (mac.src_addr, mac.dst_addr)
        else {
            return Err(Drop::Mac);
        };
        let ours = Eui64(target) == self.config.eui64
            || self.config.short.is_some_and(|short| Eui64(target) == Eui64::from_short(short));
        if !ours || mac.dst_pan_id != Some(Ieee802154Pan(self.config.pan_id)) || source == self.config.eui64.0
        {
            return Err(Drop::NotOurs);
        }
        let payload = packet.payload().filter(|payload| !payload.is_empty()).ok_or(Drop::Lowpan)?;
        match SixlowpanPacket::dispatch(payload).map_err(|_| Drop::Lowpan)? {
            SixlowpanPacket::IphcHeader => {
                let (header, rest) = read_headers(payload, source, target)?;
                deliver(header, rest).map(Some)
            }
            SixlowpanPacket::FragmentHeader => self.fragment(payload, source, target, now_ms),
        }
    }

    fn fragment(
        &mut self,
        payload: &[u8],
        source: [u8; 8],
        target: [u8; 8],
        now_ms: u64,
    ) -> Result<Option<Datagram>, Drop> {
        let packet = SixlowpanFragPacket::new_checked(payload).map_err(|_| Drop::Fragment)?;
        let repr = SixlowpanFragRepr::parse(&packet).map_err(|_| Drop::Fragment)?;
        let rest = payload.get(repr.buffer_len()..).ok_or(Drop::Fragment)?;
        let (key, header, offset, bytes) = match repr {
            SixlowpanFragRepr::FirstFragment { size, tag } => {
                let (header, rest) = read_headers(rest, source, target)?;
                (Key { source: Eui64(source), tag, size }, Some(header), HEADERS, rest)
            }
            SixlowpanFragRepr::Fragment { size, tag, offset } => {
                (Key { source: Eui64(source), tag, size }, None, usize::from(offset) * 8, rest)
            }
        };
        let lapsed = &mut self.counters.lapsed;
        match self.reassembly.add(key, header, offset, bytes, now_ms, lapsed) {
            Err(Bad::Size | Bad::Range) => Err(Drop::Fragment),
            Ok(None) => Ok(None),
            Ok(Some((header, bytes))) => {
                deliver(header, bytes.get(HEADERS..).ok_or(Drop::Fragment)?).map(Some)
            }
        }
    }
}

fn fragment(repr: SixlowpanFragRepr) -> Vec<u8> {
    let mut bytes = vec![0; repr.buffer_len()];
    repr.emit(&mut SixlowpanFragPacket::new_unchecked(&mut bytes[..]));
    bytes
}

/// Reads IPHC and UDP NHC; gives what follows them.
fn read_headers(bytes: &[u8], source: [u8; 8], target: [u8; 8]) -> Result<(Header, &[u8]), Drop> {
    let packet = SixlowpanIphcPacket::new_checked(bytes).map_err(|_| Drop::Lowpan)?;
    let (source, target) = (Ieee802154Address::Extended(source), Ieee802154Address::Extended(target));
    let iphc =
        SixlowpanIphcRepr::parse(&packet, Some(source), Some(target), &[]).map_err(|_| Drop::Lowpan)?;
    if iphc.next_header != SixlowpanNextHeader::Compressed {
        return Err(Drop::Lowpan);
    }
    let rest = bytes.get(bytes.len() - packet.payload().len()..).ok_or(Drop::Lowpan)?;
    // 0b11110: UDP (RFC 6282 §4.3.3); extension headers are not spoken here.
    if rest.first().is_none_or(|first| first >> 3 != 0b11110) {
        return Err(Drop::Lowpan);
    }
    let udp = SixlowpanUdpNhcPacket::new_checked(rest).map_err(|_| Drop::Lowpan)?;
    let payload = rest.get(rest.len() - udp.payload().len()..).ok_or(Drop::Lowpan)?;
    let header = Header {
        src: iphc.src_addr,
        dst: iphc.dst_addr,
        src_port: udp.src_port(),
        dst_port: udp.dst_port(),
        checksum: udp.checksum(),
    };
    Ok((header, payload))
}

fn deliver(header: Header, payload: &[u8]) -> Result<Datagram, Drop> {
    if header.checksum != Some(checksum(&header, payload)) {
        return Err(Drop::Checksum);
    }
    Ok(Datagram {
        src: header.src,
        src_port: header.src_port,
        dst: header.dst,
        dst_port: header.dst_port,
        payload: payload.into(),
    })
}

/// The UDP checksum over IPv6 (RFC 8200 §8.1).
fn checksum(header: &Header, payload: &[u8]) -> u16 {
    let len = (8 + payload.len()) as u16;
    let words = |bytes: &[u8]| -> u32 {
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum()
    };
    let mut sum = words(&header.src.octets()) + words(&header.dst.octets()) + words(payload);
    sum += u32::from(len) * 2 + 17 + u32::from(header.src_port) + u32::from(header.dst_port);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    match !(sum as u16) {
        0 => 0xffff,
        sum => sum,
    }
}

/// UDP payload bytes that fit one frame between two radios with these ports.
pub fn single_frame_payload(src_port: u16, dst_port: u16) -> usize {
    let iphc = 2; // addresses elided, hop limit 64, next header compressed
    let udp = SixlowpanUdpNhcRepr(UdpRepr { src_port, dst_port }).header_len();
    let mac = 21;
    FRAME_MAX - FCS_LEN - mac - iphc - udp
}
