//! The way to the gateway: the chip's 802.15.4 radio, the guard, and Tock's 6LoWPAN and UDP on top.
//!
//! With the feature `thread`, Tock's child of a Thread network beside it, for experiments: it joins, and does no more
//! (`capsules/extra/src/net/thread/driver.rs`: no data, no Child Update). It is off otherwise, because `receive` there
//! panics on a datagram to its port of fewer than 11 bytes and the message integrity code: anybody in reach could
//! restart the node with one frame.

use crate::AlarmHw;
use capsules_core::virtualizers::virtual_alarm::MuxAlarm;
#[cfg(feature = "thread")]
use capsules_core::virtualizers::virtual_alarm::VirtualMuxAlarm;
use components::ieee802154::{Ieee802154ComponentType, MuxAes128ccmComponent};
use components::udp_driver::UDPDriverComponentType;
use kernel::Kernel;
use kernel::component::Component;
use kernel::hil::radio::{RadioChannel, RadioConfig};
#[cfg(feature = "thread")]
use kernel::{capabilities, create_capability};
use nrf52840::aes::AesECB;
use nrf52840::ficr::Ficr;
use nrf52840::ieee802154_radio::Radio;
use parts::guard::Guard;
#[cfg(feature = "thread")]
use parts::lowpan::Pauses;

type Aes = AesECB<'static>;
/// The driver by which the agent sets the PAN.
pub type MacDriver = Ieee802154ComponentType<Guard<'static, Radio<'static>>, Aes>;
/// The kernel's child of a Thread network.
#[cfg(feature = "thread")]
pub type Thread = capsules_extra::net::thread::driver::ThreadNetworkDriver<
    'static,
    VirtualMuxAlarm<'static, Pauses<AlarmHw>>,
>;

/// The PAN that nodes and gateways of this project meet in, unless told otherwise.
const PAN: u16 = 0xABCD;
/// The channel of it, at the upper end of the band, where Wi-Fi disturbs least.
const CHANNEL: RadioChannel = RadioChannel::Channel26;

/// What processes reach of it.
pub struct Network {
    pub udp: &'static UDPDriverComponentType,
    pub mac: &'static MacDriver,
    #[cfg(feature = "thread")]
    pub thread: &'static Thread,
}

/// The chip's EUI-64, in network order.
///
/// Nordic burns a random number of 64 bits into each chip, not a number of an IEEE block: so it is marked as locally
/// administered, and as one device's.
pub fn eui64() -> [u8; 8] {
    let mut id = Ficr::new().id();
    id[0] = id[0] & !0b01 | 0b10;
    id
}

/// Builds the stack over the radio and the chip's AES engine.
///
/// # Safety
///
/// Only before the kernel's loop, and once.
#[expect(unsafe_code, reason = "static buffers")]
pub unsafe fn start(
    kernel: &'static Kernel,
    radio: &'static Radio<'static>,
    aes: &'static Aes,
    mux_alarm: &'static MuxAlarm<'static, AlarmHw>,
    eui64: [u8; 8],
) -> Network {
    // SAFETY: called once.
    unsafe {
        radio.set_channel(CHANNEL);
        let aes = MuxAes128ccmComponent::new(aes).finalize(components::mux_aes128ccm_component_static!(Aes));
        let stack = parts::lowpan!(kernel, radio: radio => Radio<'static>, aes: aes => Aes,
            alarm: mux_alarm => AlarmHw, eui64: eui64, pan: PAN);
        // One radio, one PAN and one UDP for both: the child has the port of MLE to itself.
        #[cfg(feature = "thread")]
        let thread = {
            kernel::create_typed_capability!(thread_cap, ThreadCap: kernel::capabilities::UdpDriverCapability);
            components::thread_network::ThreadNetworkComponent::new(
                kernel,
                capsules_extra::net::thread::driver::DRIVER_NUM,
                stack.senders,
                stack.receivers,
                stack.ports,
                aes,
                eui64,
                stack.pauses,
                thread_cap,
                create_capability!(capabilities::MemoryAllocationCapability),
                create_capability!(capabilities::NetworkCapabilityCreationCapability),
            )
            .finalize(components::thread_network_component_static!(
                Pauses<AlarmHw>,
                Aes,
                ThreadCap
            ))
        };
        Network {
            udp: stack.udp,
            mac: stack.mac,
            #[cfg(feature = "thread")]
            thread,
        }
    }
}
