//! An IEEE 802.15.4 radio over an Ethernet card: each MAC frame travels in an Ethernet frame of type 0x809A, which
//! Wireshark dissects and the medium simulator (`tools/air`) takes.
//!
//! There is no channel, no power and no acknowledgement here: what is lost, when and how is the medium's business. An
//! empty frame sent when the radio starts, and again every few seconds, tells the medium where the radio is.

use core::cell::Cell;
use kernel::ErrorCode;
use kernel::deferred_call::{DeferredCall, DeferredCallClient};
use kernel::hil::ethernet::{EthernetAdapterDatapath, EthernetAdapterDatapathClient};
use kernel::hil::radio::{
    ConfigClient, MAX_FRAME_SIZE, MFR_SIZE, PSDU_OFFSET, PowerClient, RadioChannel, RadioConfig, RadioData,
    RxClient, TxClient,
};
use kernel::hil::time::{Alarm, AlarmClient, ConvertTicks};
use kernel::utilities::cells::{OptionalCell, TakeCell};

/// Ethernet header: broadcast, a local address that means nothing, and the type of IEEE 802.15.4 frames.
const HEADER: [u8; 14] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0, 0, 0, 1, 0x80, 0x9a];
/// Bytes of the buffer that the radio sends from.
pub const TX_BUFFER: usize = HEADER.len() + MAX_FRAME_SIZE;
/// Pause between greetings of the medium, milliseconds.
const GREETING_MS: u32 = 2_000;
/// What a transmission is marked with, so that its end is not mistaken for that of a greeting.
const FRAME: usize = 1;

/// A radio over an Ethernet card.
pub struct VirtualRadio<'a, E: EthernetAdapterDatapath<'a>, A: Alarm<'a>> {
    card: &'a E,
    alarm: &'a A,
    tx_client: OptionalCell<&'a dyn TxClient>,
    rx_client: OptionalCell<&'a dyn RxClient>,
    config_client: OptionalCell<&'a dyn ConfigClient>,
    power_client: OptionalCell<&'a dyn PowerClient>,
    /// The Ethernet frame under way is made here.
    wire: TakeCell<'static, [u8]>,
    /// The client's buffer while its frame is under way.
    sending: TakeCell<'static, [u8]>,
    receiving: TakeCell<'static, [u8]>,
    /// A frame that waits for a greeting to be gone.
    waiting: Cell<Option<usize>>,
    configured: DeferredCall,
    on: Cell<bool>,
    address: Cell<u16>,
    address_long: Cell<[u8; 8]>,
    pan: Cell<u16>,
}

impl<'a, E: EthernetAdapterDatapath<'a>, A: Alarm<'a>> VirtualRadio<'a, E, A> {
    /// Over `card`, sending from `wire` of [`TX_BUFFER`] bytes. It has to be made the client of both, and registered for
    /// its deferred call.
    pub fn new(card: &'a E, alarm: &'a A, wire: &'static mut [u8]) -> Self {
        Self {
            card,
            alarm,
            tx_client: OptionalCell::empty(),
            rx_client: OptionalCell::empty(),
            config_client: OptionalCell::empty(),
            power_client: OptionalCell::empty(),
            wire: TakeCell::new(wire),
            sending: TakeCell::empty(),
            receiving: TakeCell::empty(),
            waiting: Cell::new(None),
            configured: DeferredCall::new(),
            on: Cell::new(false),
            address: Cell::new(0xffff),
            address_long: Cell::new([0; 8]),
            pan: Cell::new(0xffff),
        }
    }

    /// Sends a MAC frame, or a greeting if it is empty, if nothing is under way.
    fn put(&self, frame: &[u8], mark: usize) -> Result<(), ErrorCode> {
        let wire = self.wire.take().ok_or(ErrorCode::BUSY)?;
        let len = HEADER.len() + frame.len();
        let Some(place) = wire.get_mut(..len) else {
            self.wire.replace(wire);
            return Err(ErrorCode::SIZE);
        };
        place[..HEADER.len()].copy_from_slice(&HEADER);
        place[HEADER.len()..].copy_from_slice(frame);
        self.card.transmit_frame(wire, len as u16, mark).map_err(|(error, wire)| {
            self.wire.replace(wire);
            error
        })
    }

    fn put_client_frame(&self, frame_len: usize) -> Result<(), ErrorCode> {
        let put = |buffer: &mut [u8]| {
            let frame = buffer.get(PSDU_OFFSET..PSDU_OFFSET + frame_len).ok_or(ErrorCode::SIZE)?;
            self.put(frame, FRAME)
        };
        self.sending.map_or(Err(ErrorCode::FAIL), put)
    }

    fn sent(&self, result: Result<(), ErrorCode>) {
        if let (Some(buffer), Some(client)) = (self.sending.take(), self.tx_client.get()) {
            client.send_done(buffer, false, result);
        }
    }

    fn greet(&self) {
        let _ = self.put(&[], 0); // if a frame is under way, that is a greeting too
        let pause = self.alarm.ticks_from_ms(GREETING_MS);
        self.alarm.set_alarm(self.alarm.now(), pause);
    }
}

impl<'a, E: EthernetAdapterDatapath<'a>, A: Alarm<'a>> EthernetAdapterDatapathClient
    for VirtualRadio<'a, E, A>
{
    fn transmit_frame_done(
        &self,
        result: Result<(), ErrorCode>,
        wire: &'static mut [u8],
        _len: u16,
        mark: usize,
        _timestamp: Option<u64>,
    ) {
        self.wire.replace(wire);
        if mark == FRAME {
            self.sent(result);
        } else if let Some(frame_len) = self.waiting.take()
            && let Err(error) = self.put_client_frame(frame_len)
        {
            self.sent(Err(error));
        }
    }

    fn received_frame(&self, datagram: &[u8], _timestamp: Option<u64>) {
        let Some((header, frame)) = datagram.split_at_checked(HEADER.len()) else { return };
        let fits = !frame.is_empty() && frame.len() <= MAX_FRAME_SIZE - MFR_SIZE;
        if !self.on.get() || !fits || header[12..] != HEADER[12..] {
            return;
        }
        // Without a buffer the stack is still busy with the frame before: this one is lost, as on a real radio.
        let Some(buffer) = self.receiving.take() else { return };
        let Some(place) = buffer.get_mut(PSDU_OFFSET..PSDU_OFFSET + frame.len()) else {
            self.receiving.replace(buffer);
            return;
        };
        place.copy_from_slice(frame);
        match self.rx_client.get() {
            Some(client) => client.receive(buffer, frame.len(), 0xff, true, Ok(())),
            None => {
                self.receiving.replace(buffer);
            }
        }
    }
}

impl<'a, E: EthernetAdapterDatapath<'a>, A: Alarm<'a>> AlarmClient for VirtualRadio<'a, E, A> {
    fn alarm(&self) {
        if self.on.get() {
            self.greet();
        }
    }
}

impl<'a, E: EthernetAdapterDatapath<'a>, A: Alarm<'a>> DeferredCallClient for VirtualRadio<'a, E, A> {
    fn handle_deferred_call(&self) {
        self.config_client.map(|client| client.config_done(Ok(())));
    }

    fn register(&'static self) {
        self.configured.register(self);
    }
}

impl<'a, E: EthernetAdapterDatapath<'a>, A: Alarm<'a>> RadioData<'a> for VirtualRadio<'a, E, A> {
    fn set_transmit_client(&self, client: &'a dyn TxClient) {
        self.tx_client.set(client);
    }

    fn set_receive_client(&self, client: &'a dyn RxClient) {
        self.rx_client.set(client);
    }

    fn set_receive_buffer(&self, buffer: &'static mut [u8]) {
        self.receiving.replace(buffer);
    }

    fn transmit(
        &self,
        buffer: &'static mut [u8],
        frame_len: usize,
    ) -> Result<(), (ErrorCode, &'static mut [u8])> {
        if !self.on.get() {
            return Err((ErrorCode::OFF, buffer));
        }
        if frame_len > MAX_FRAME_SIZE - MFR_SIZE || buffer.len() < PSDU_OFFSET + frame_len {
            return Err((ErrorCode::SIZE, buffer));
        }
        if self.sending.is_some() {
            return Err((ErrorCode::BUSY, buffer));
        }
        self.sending.replace(buffer);
        match self.put_client_frame(frame_len) {
            Ok(()) => Ok(()),
            // A greeting is under way.
            Err(ErrorCode::BUSY) => {
                self.waiting.set(Some(frame_len));
                Ok(())
            }
            Err(error) => match self.sending.take() {
                Some(buffer) => Err((error, buffer)),
                None => Ok(()),
            },
        }
    }
}

impl<'a, E: EthernetAdapterDatapath<'a>, A: Alarm<'a>> RadioConfig<'a> for VirtualRadio<'a, E, A> {
    fn initialize(&self) -> Result<(), ErrorCode> {
        Ok(())
    }

    fn reset(&self) -> Result<(), ErrorCode> {
        Ok(())
    }

    fn start(&self) -> Result<(), ErrorCode> {
        if !self.on.replace(true) {
            self.card.enable_receive();
            self.greet();
            self.power_client.map(|client| client.changed(true));
        }
        Ok(())
    }

    fn stop(&self) -> Result<(), ErrorCode> {
        if self.on.replace(false) {
            self.card.disable_receive();
            let _ = self.alarm.disarm(); // an alarm that comes all the same finds the radio off
            self.power_client.map(|client| client.changed(false));
        }
        Ok(())
    }

    fn is_on(&self) -> bool {
        self.on.get()
    }

    fn busy(&self) -> bool {
        self.sending.is_some()
    }

    fn set_power_client(&self, client: &'a dyn PowerClient) {
        self.power_client.set(client);
    }

    fn config_commit(&self) {
        self.configured.set();
    }

    fn set_config_client(&self, client: &'a dyn ConfigClient) {
        self.config_client.set(client);
    }

    fn get_address(&self) -> u16 {
        self.address.get()
    }

    fn get_address_long(&self) -> [u8; 8] {
        self.address_long.get()
    }

    fn get_pan(&self) -> u16 {
        self.pan.get()
    }

    fn get_tx_power(&self) -> i8 {
        0
    }

    fn get_channel(&self) -> u8 {
        RadioChannel::Channel26.get_channel_number()
    }

    fn set_address(&self, address: u16) {
        self.address.set(address);
    }

    fn set_address_long(&self, address: [u8; 8]) {
        self.address_long.set(address);
    }

    fn set_pan(&self, pan: u16) {
        self.pan.set(pan);
    }

    fn set_tx_power(&self, _power: i8) -> Result<(), ErrorCode> {
        Err(ErrorCode::NOSUPPORT)
    }

    fn set_channel(&self, _channel: RadioChannel) {}
}
