//! The way to the gateway: the chip's 802.15.4 radio, the guard, and Tock's 6LoWPAN and UDP on top.
//!
//! With the feature `thread`, Tock's child of a Thread network beside it, for experiments: it joins, and does no more
//! (`capsules/extra/src/net/thread/driver.rs`: no data, no Child Update). It is off otherwise, because `receive` there
//! panics on a datagram to its port of fewer than 11 bytes and the message integrity code: anybody in reach could
//! restart the node with one frame.

use crate::AlarmHw;
use capsules_core::virtualizers::virtual_alarm::{MuxAlarm, VirtualMuxAlarm};
use capsules_extra::net::ieee802154::MacAddress;
use capsules_extra::net::ipv6::ip_utils::IPAddr;
use components::ieee802154::{Ieee802154Component, MuxAes128ccmComponent};
use components::udp_driver::{UDPDriverComponent, UDPDriverComponentType};
use components::udp_mux::UDPMuxComponent;
use kernel::component::Component;
use kernel::deferred_call::DeferredCallClient;
use kernel::hil::radio::{RadioChannel, RadioConfig, RadioData};
use kernel::hil::time::Alarm;
use kernel::{Kernel, capabilities, create_capability, static_init};
use nrf52840::aes::AesECB;
use nrf52840::ficr::Ficr;
use nrf52840::ieee802154_radio::Radio;
use parts::brisk::Brisk;
use parts::guard::Guard;

type GuardedRadio = Guard<'static, Radio<'static>>;
type Aes = AesECB<'static>;
/// The driver by which the agent sets the PAN.
pub type MacDriver = components::ieee802154::Ieee802154ComponentType<GuardedRadio, Aes>;
/// The kernel's child of a Thread network.
#[cfg(feature = "thread")]
pub type Thread =
    capsules_extra::net::thread::driver::ThreadNetworkDriver<'static, VirtualMuxAlarm<'static, Pauses>>;
/// What the stack's pauses are measured by.
type Pauses = Brisk<'static, VirtualMuxAlarm<'static, AlarmHw>>;
type Mac = components::ieee802154::Ieee802154ComponentMacDeviceType<GuardedRadio, Aes>;

/// The PAN that nodes and gateways of this project meet in, unless told otherwise.
const PAN: u16 = 0xABCD;
/// The channel of it, at the upper end of the band, where Wi-Fi disturbs least.
const CHANNEL: RadioChannel = RadioChannel::Channel26;
/// Frames carry long addresses only; nobody calls this node by a short one.
const NO_SHORT_ADDRESS: u16 = 0xfffe;

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
    kernel::create_typed_capability!(udp_cap, UdpCap: kernel::capabilities::UdpDriverCapability);
    // SAFETY: called once.
    unsafe {
        let guard = static_init!(GuardedRadio, Guard::new(radio));
        guard.register();
        radio.set_receive_client(guard);
        guard.set_channel(CHANNEL);

        let aes = MuxAes128ccmComponent::new(aes).finalize(components::mux_aes128ccm_component_static!(Aes));
        let (mac, mux_mac) = Ieee802154Component::new(
            kernel,
            capsules_extra::ieee802154::DRIVER_NUM,
            guard,
            aes,
            PAN,
            NO_SHORT_ADDRESS,
            eui64,
            create_capability!(capabilities::MemoryAllocationCapability),
        )
        .finalize(components::ieee802154_component_static!(GuardedRadio, Aes));

        let alarm = static_init!(VirtualMuxAlarm<'static, AlarmHw>, VirtualMuxAlarm::new(mux_alarm));
        alarm.setup();
        let brisk = static_init!(Pauses, Brisk::new(alarm));
        let pauses = static_init!(MuxAlarm<'static, Pauses>, MuxAlarm::new(brisk));
        brisk.set_alarm_client(pauses);

        let own = MacAddress::Long(eui64);
        let addresses = static_init!([IPAddr; 1], [IPAddr::generate_from_mac(own)]);
        // All traffic is link-local, so that neither context nor router is ever used.
        let (no_context, no_router) = ([0; 16], MacAddress::Short(0xffff));
        let (senders, receivers, ports) = UDPMuxComponent::new(
            mux_mac,
            0,
            no_context,
            no_router,
            own,
            addresses,
            pauses,
            create_capability!(capabilities::NetworkCapabilityCreationCapability),
            create_capability!(capabilities::CreatePortTableCapability),
        )
        .finalize(components::udp_mux_component_static!(Pauses, Mac));
        let udp = UDPDriverComponent::new(
            kernel,
            capsules_extra::net::udp::driver::DRIVER_NUM,
            senders,
            receivers,
            ports,
            addresses,
            udp_cap,
            create_capability!(capabilities::MemoryAllocationCapability),
            create_capability!(capabilities::NetworkCapabilityCreationCapability),
        )
        .finalize(components::udp_driver_component_static!(Pauses, UdpCap));
        // One radio, one PAN and one UDP for both: the child has the port of MLE to itself.
        #[cfg(feature = "thread")]
        let thread = {
            kernel::create_typed_capability!(thread_cap, ThreadCap: kernel::capabilities::UdpDriverCapability);
            components::thread_network::ThreadNetworkComponent::new(
                kernel,
                capsules_extra::net::thread::driver::DRIVER_NUM,
                senders,
                receivers,
                ports,
                aes,
                eui64,
                pauses,
                thread_cap,
                create_capability!(capabilities::MemoryAllocationCapability),
                create_capability!(capabilities::NetworkCapabilityCreationCapability),
            )
            .finalize(components::thread_network_component_static!(Pauses, Aes, ThreadCap))
        };
        // Nobody else turns it on: Tock's UDP driver sends on whatever there is.
        let _ = guard.start();
        Network {
            udp,
            mac,
            #[cfg(feature = "thread")]
            thread,
        }
    }
}
