//! The way to the gateway: card, virtual radio, guard, and Tock's 6LoWPAN and UDP on top.

use crate::virtio::Card;
use crate::{AlarmHw, NoAes};
use capsules_core::virtualizers::virtual_alarm::{MuxAlarm, VirtualMuxAlarm};
use capsules_extra::net::ieee802154::MacAddress;
use capsules_extra::net::ipv6::ip_utils::IPAddr;
use components::ieee802154::{Ieee802154Component, Ieee802154ComponentType, MuxAes128ccmComponent};
use components::udp_driver::{UDPDriverComponent, UDPDriverComponentType};
use components::udp_mux::UDPMuxComponent;
use kernel::component::Component;
use kernel::deferred_call::DeferredCallClient;
use kernel::hil::ethernet::EthernetAdapterDatapath;
use kernel::hil::radio::{RadioConfig, RadioData};
use kernel::hil::time::Alarm;
use kernel::{Kernel, capabilities, create_capability, static_init};
use parts::brisk::Brisk;
use parts::guard::Guard;
use parts::virtual_radio::{TX_BUFFER, VirtualRadio};

pub type Radio = VirtualRadio<'static, Card, VirtualMuxAlarm<'static, AlarmHw>>;
pub type GuardedRadio = Guard<'static, Radio>;
/// What the stack's pauses are measured by.
type Pauses = Brisk<'static, VirtualMuxAlarm<'static, AlarmHw>>;
type Mac = components::ieee802154::Ieee802154ComponentMacDeviceType<GuardedRadio, NoAes>;

/// What the agent reaches of the stack.
pub struct Network {
    /// UDP over 6LoWPAN.
    pub udp: &'static UDPDriverComponentType,
    /// The MAC's settings.
    pub mac: &'static Ieee802154ComponentType<GuardedRadio, NoAes>,
}

/// Builds the stack over a card, for a radio with this EUI-64.
///
/// # Safety
///
/// Only before the kernel's loop, and once.
#[expect(unsafe_code, reason = "static buffers")]
pub unsafe fn start(
    kernel: &'static Kernel,
    card: &'static Card,
    mux_alarm: &'static MuxAlarm<'static, AlarmHw>,
    eui64: [u8; 8],
    pan: u16,
) -> Network {
    kernel::create_typed_capability!(udp_cap, UdpCap: kernel::capabilities::UdpDriverCapability);
    // SAFETY: called once.
    unsafe {
        let alarm = static_init!(VirtualMuxAlarm<'static, AlarmHw>, VirtualMuxAlarm::new(mux_alarm));
        alarm.setup();
        let wire = static_init!([u8; TX_BUFFER], [0; TX_BUFFER]);
        let radio = static_init!(Radio, VirtualRadio::new(card, alarm, wire));
        radio.register();
        alarm.set_alarm_client(radio);
        card.set_client(radio);
        let guard = static_init!(GuardedRadio, Guard::new(radio));
        guard.register();
        radio.set_receive_client(guard);

        let aes = MuxAes128ccmComponent::new(static_init!(NoAes, NoAes))
            .finalize(components::mux_aes128ccm_component_static!(NoAes));
        // Frames carry long addresses only; nobody calls this node by a short one.
        let short = 0xfffe;
        let (mac, mux_mac) = Ieee802154Component::new(
            kernel,
            capsules_extra::ieee802154::DRIVER_NUM,
            guard,
            aes,
            pan,
            short,
            eui64,
            create_capability!(capabilities::MemoryAllocationCapability),
        )
        .finalize(components::ieee802154_component_static!(GuardedRadio, NoAes));

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
        // Nobody else turns it on: Tock's UDP driver sends on whatever there is.
        let _ = guard.start();
        Network { udp, mac }
    }
}
