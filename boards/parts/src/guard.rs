//! Keeps frames away from Tock's 6LoWPAN stack that it does not survive.
//!
//! ```text
//!   radio --receive--> Guard --receive--> AwakeMac, Framer, Sixlowpan, IP6, UDP
//!   radio <-transmit-- Guard <-transmit--
//! ```
//!
//! Of what arrives only one shape is let through: a data frame without security, of one PAN, that holds one whole UDP
//! datagram under IPHC (RFC 6282) with link-local addresses, its checksum inline, and at least one byte of payload. That is
//! what gateways of this project send, and all that a node needs. At the pinned revision of Tock everything else harms
//! (`capsules/extra/src/net/sixlowpan/sixlowpan_state.rs`, `sixlowpan_compression.rs`, `net/ieee802154.rs`):
//!
//! - a frame that says to have no sequence number or to have information elements: `Header::decode` believes that of every
//!   version, though only that of 2015 has them, and finds the packet elsewhere than whoever judged it by its version;
//! - an empty payload: `is_fragment` reads its first byte and panics;
//! - a dispatch that is not IPHC, and a header that `decompress` refuses: `receive_single_packet` has taken the buffer
//!   and does not put it back; the node is deaf, and panics in `unwrap` a minute later;
//! - a header that is cut off: `decompress` reads beyond its end and panics; an unknown next header likewise;
//! - fragments: one that is lost keeps the only receive state for a minute, one with an offset beyond its datagram
//!   panics, and a datagram of certain lengths is never found complete.
//!
//! On the way out it is the radio's refusals that are not survived: `send_next_fragment` in `ipv6_send.rs` lets go of the
//! only transmit buffer when `transmit` fails, and the node is mute for ever. A radio refuses while it acknowledges a
//! frame, which the nRF's does for anybody's (`chips/nrf52/src/ieee802154_radio.rs`), or while its queue is full. So the
//! guard takes every frame, and says of a refused one in a moment that it was not sent: the datagram is lost, as others are.
//!
//! The guard changes no frame that arrives, keeps none, and never sends one of its own.

use core::cell::Cell;
use kernel::ErrorCode;
use kernel::deferred_call::{DeferredCall, DeferredCallClient};
use kernel::hil::radio::{
    ConfigClient, PSDU_OFFSET, PowerClient, Radio, RadioChannel, RadioConfig, RadioData, RxClient, TxClient,
};
use kernel::utilities::cells::{OptionalCell, TakeCell};

/// Lengths of a MAC header's addresses by addressing mode (IEEE 802.15.4-2015 §7.2.2.9); the other modes are reserved or
/// name nobody.
fn address_len(mode: u16) -> Option<usize> {
    match mode {
        2 => Some(2),
        3 => Some(8),
        _ => None,
    }
}

/// Bytes that IPHC carries inline for the four ways of one address (RFC 6282 §3.1.1), stateless.
const ADDRESS_INLINE: [usize; 4] = [16, 8, 2, 0];
/// Bytes of traffic class and flow label by TF.
const TRAFFIC_INLINE: [usize; 4] = [4, 3, 1, 0];

/// True if a frame, without its check sequence, is one that the 6LoWPAN stack takes and gives back.
pub fn admits(frame: &[u8]) -> bool {
    payload_len(frame).is_some_and(|len| len > 0)
}

/// Bytes of UDP payload in a frame of the one admitted shape.
fn payload_len(frame: &[u8]) -> Option<usize> {
    let control = u16::from_le_bytes([*frame.first()?, *frame.get(1)?]);
    let (kind, security, compressed) = (control & 0b111, control >> 3 & 1, control >> 6 & 1);
    let (to, version, from) = (control >> 10 & 0b11, control >> 12 & 0b11, control >> 14);
    // Sequence number suppressed, information elements present: reserved before the version of 2015.
    let moved = control >> 8 & 0b11;
    if (kind, security, compressed, moved) != (1, 0, 1, 0) || version > 1 {
        return None;
    }
    // Frame control, sequence number, PAN.
    let packet = frame.get(2 + 1 + 2 + address_len(to)? + address_len(from)?..)?;
    let (first, second) = (*packet.first()?, *packet.get(1)?);
    let (next_compressed, context) = (first >> 2 & 1, second >> 7);
    let (stateful_source, multicast, stateful_target) = (second >> 6 & 1, second >> 3 & 1, second >> 2 & 1);
    if first >> 5 != 0b011
        || next_compressed != 1
        || context + stateful_source + multicast + stateful_target != 0
    {
        return None;
    }
    let mut at = 2 + TRAFFIC_INLINE[usize::from(first >> 3 & 0b11)];
    at += usize::from(first & 0b11 == 0); // hop limit inline
    at += ADDRESS_INLINE[usize::from(second >> 4 & 0b11)] + ADDRESS_INLINE[usize::from(second & 0b11)];
    // UDP (RFC 6282 §4.3.3), its checksum not elided.
    let udp = *packet.get(at)?;
    if udp >> 3 != 0b11110 || udp >> 2 & 1 != 0 {
        return None;
    }
    at += 1 + [4, 3, 3, 1][usize::from(udp & 0b11)] + 2;
    packet.len().checked_sub(at)
}

/// A radio that only admits what is survived.
pub struct Guard<'a, R: Radio<'a>> {
    radio: &'a R,
    client: OptionalCell<&'a dyn RxClient>,
    tx_client: OptionalCell<&'a dyn TxClient>,
    /// A frame that the radio did not take, and why, until the sender was told.
    refused: TakeCell<'static, [u8]>,
    why: Cell<ErrorCode>,
    deferred: DeferredCall,
    admitted: Cell<u32>,
    dropped: Cell<u32>,
}

impl<'a, R: Radio<'a>> Guard<'a, R> {
    /// Before a radio, whose receive client it has to be made. It has to be registered for its deferred call.
    pub fn new(radio: &'a R) -> Self {
        Self {
            radio,
            client: OptionalCell::empty(),
            tx_client: OptionalCell::empty(),
            refused: TakeCell::empty(),
            why: Cell::new(ErrorCode::FAIL),
            deferred: DeferredCall::new(),
            admitted: Cell::new(0),
            dropped: Cell::new(0),
        }
    }

    /// Frames let through, and frames dropped.
    pub fn counted(&self) -> (u32, u32) {
        (self.admitted.get(), self.dropped.get())
    }
}

impl<'a, R: Radio<'a>> RxClient for Guard<'a, R> {
    fn receive(
        &self,
        buffer: &'static mut [u8],
        frame_len: usize,
        lqi: u8,
        crc_valid: bool,
        result: Result<(), ErrorCode>,
    ) {
        let frame = PSDU_OFFSET.checked_add(frame_len).and_then(|end| buffer.get(PSDU_OFFSET..end));
        let good = crc_valid && result.is_ok() && frame.is_some_and(admits);
        match self.client.get().filter(|_| good) {
            Some(client) => {
                self.admitted.set(self.admitted.get().wrapping_add(1));
                client.receive(buffer, frame_len, lqi, crc_valid, result);
            }
            None => {
                self.dropped.set(self.dropped.get().wrapping_add(1));
                self.radio.set_receive_buffer(buffer);
            }
        }
    }
}

impl<'a, R: Radio<'a>> RadioData<'a> for Guard<'a, R> {
    fn set_transmit_client(&self, client: &'a dyn TxClient) {
        self.tx_client.set(client);
        self.radio.set_transmit_client(client);
    }

    fn set_receive_client(&self, client: &'a dyn RxClient) {
        self.client.set(client);
    }

    fn set_receive_buffer(&self, buffer: &'static mut [u8]) {
        self.radio.set_receive_buffer(buffer);
    }

    fn transmit(
        &self,
        buffer: &'static mut [u8],
        frame_len: usize,
    ) -> Result<(), (ErrorCode, &'static mut [u8])> {
        if self.refused.is_some() {
            return Err((ErrorCode::BUSY, buffer));
        }
        if let Err((why, buffer)) = self.radio.transmit(buffer, frame_len) {
            self.why.set(why);
            self.refused.replace(buffer);
            self.deferred.set();
        }
        Ok(())
    }
}

impl<'a, R: Radio<'a>> DeferredCallClient for Guard<'a, R> {
    fn handle_deferred_call(&self) {
        if let (Some(buffer), Some(client)) = (self.refused.take(), self.tx_client.get()) {
            client.send_done(buffer, false, Err(self.why.get()));
        }
    }

    fn register(&'static self) {
        self.deferred.register(self);
    }
}

impl<'a, R: Radio<'a>> RadioConfig<'a> for Guard<'a, R> {
    fn initialize(&self) -> Result<(), ErrorCode> {
        self.radio.initialize()
    }

    fn reset(&self) -> Result<(), ErrorCode> {
        self.radio.reset()
    }

    fn start(&self) -> Result<(), ErrorCode> {
        self.radio.start()
    }

    fn stop(&self) -> Result<(), ErrorCode> {
        self.radio.stop()
    }

    fn is_on(&self) -> bool {
        self.radio.is_on()
    }

    fn busy(&self) -> bool {
        self.radio.busy()
    }

    fn set_power_client(&self, client: &'a dyn PowerClient) {
        self.radio.set_power_client(client);
    }

    fn config_commit(&self) {
        self.radio.config_commit();
    }

    fn set_config_client(&self, client: &'a dyn ConfigClient) {
        self.radio.set_config_client(client);
    }

    fn get_address(&self) -> u16 {
        self.radio.get_address()
    }

    fn get_address_long(&self) -> [u8; 8] {
        self.radio.get_address_long()
    }

    fn get_pan(&self) -> u16 {
        self.radio.get_pan()
    }

    fn get_tx_power(&self) -> i8 {
        self.radio.get_tx_power()
    }

    fn get_channel(&self) -> u8 {
        self.radio.get_channel()
    }

    fn set_address(&self, address: u16) {
        self.radio.set_address(address);
    }

    fn set_address_long(&self, address: [u8; 8]) {
        self.radio.set_address_long(address);
    }

    fn set_pan(&self, pan: u16) {
        self.radio.set_pan(pan);
    }

    fn set_tx_power(&self, power: i8) -> Result<(), ErrorCode> {
        self.radio.set_tx_power(power)
    }

    fn set_channel(&self, channel: RadioChannel) {
        self.radio.set_channel(channel);
    }
}
