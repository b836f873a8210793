//! Tock's 6LoWPAN and UDP over a radio, with the [guard](crate::guard) between them, so that no board can forget it.
//!
//! ```text
//!   UDP driver - MuxUdpSender, IP6, Sixlowpan - Framer, AwakeMac - Guard - radio
//! ```
//!
//! A macro, because Tock's components want their static buffers of concrete types where they are put together. All traffic is
//! link-local, between long addresses made of EUI-64: neither context nor router is ever used.

/// Puts the stack over `radio` of type `$Radio`, of which it becomes the receive client, and turns it on; gives a
/// [`Lowpan`](crate::lowpan::Lowpan). `aes` is the board's AES engine of type `$Aes`, multiplexed; `$Alarm` the chip's alarm.
///
/// To be used in an unsafe block, before the kernel's loop, and once: it makes static buffers. The crate that uses it depends
/// on Tock's `capsules-core`, `capsules-extra`, `components` and `kernel`.
#[macro_export]
macro_rules! lowpan {
    ($kernel:expr, radio: $radio:expr => $Radio:ty, aes: $aes:expr => $Aes:ty, alarm: $mux_alarm:expr => $Alarm:ty,
     eui64: $eui64:expr, pan: $pan:expr) => {{
        use capsules_core::virtualizers::virtual_alarm::{MuxAlarm, VirtualMuxAlarm};
        use capsules_extra::net::ieee802154::MacAddress;
        use capsules_extra::net::ipv6::ip_utils::IPAddr;
        use kernel::component::Component as _;
        use kernel::deferred_call::DeferredCallClient as _;
        use kernel::hil::radio::{RadioConfig as _, RadioData as _};
        use kernel::hil::time::Alarm as _;
        use kernel::{capabilities, create_capability, static_init};
        use $crate::guard::Guard;

        type GuardedRadio = Guard<'static, $Radio>;
        type Mac = components::ieee802154::Ieee802154ComponentMacDeviceType<GuardedRadio, $Aes>;
        type Pauses = $crate::lowpan::Pauses<$Alarm>;
        kernel::create_typed_capability!(udp_cap, UdpCap: kernel::capabilities::UdpDriverCapability);

        let guard = static_init!(GuardedRadio, Guard::new($radio));
        guard.register();
        $radio.set_receive_client(guard);
        let eui64: [u8; 8] = $eui64;
        let (mac, mux_mac) = components::ieee802154::Ieee802154Component::new(
            $kernel,
            capsules_extra::ieee802154::DRIVER_NUM,
            guard,
            $aes,
            $pan,
            $crate::lowpan::NO_SHORT_ADDRESS,
            eui64,
            create_capability!(capabilities::MemoryAllocationCapability),
        )
        .finalize(components::ieee802154_component_static!(GuardedRadio, $Aes));

        let alarm = static_init!(VirtualMuxAlarm<'static, $Alarm>, VirtualMuxAlarm::new($mux_alarm));
        alarm.setup();
        let brisk = static_init!(Pauses, $crate::brisk::Brisk::new(alarm));
        let pauses = static_init!(MuxAlarm<'static, Pauses>, MuxAlarm::new(brisk));
        brisk.set_alarm_client(pauses);

        let own = MacAddress::Long(eui64);
        let addresses = static_init!([IPAddr; 1], [IPAddr::generate_from_mac(own)]);
        let (no_context, no_router) = ([0; 16], MacAddress::Short(0xffff));
        let (senders, receivers, ports) = components::udp_mux::UDPMuxComponent::new(
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
        let udp = components::udp_driver::UDPDriverComponent::new(
            $kernel,
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
        $crate::lowpan::Lowpan { udp, mac, senders, receivers, ports, pauses }
    }};
}

use crate::brisk::Brisk;
use capsules_core::virtualizers::virtual_alarm::{MuxAlarm, VirtualMuxAlarm};
use capsules_extra::net::ipv6::ipv6_send::IP6SendStruct;
use capsules_extra::net::udp::UDPDriver;
use capsules_extra::net::udp::udp_port_table::UdpPortManager;
use capsules_extra::net::udp::udp_recv::MuxUdpReceiver;
use capsules_extra::net::udp::udp_send::MuxUdpSender;

/// Frames carry long addresses only; nobody calls a node by a short one.
pub const NO_SHORT_ADDRESS: u16 = 0xfffe;

/// What the stack's pauses are measured by.
pub type Pauses<A> = Brisk<'static, VirtualMuxAlarm<'static, A>>;

/// The stack: what processes reach of it, and what another protocol on the same radio needs.
pub struct Lowpan<A: kernel::hil::time::Alarm<'static> + 'static, M: 'static> {
    /// The UDP driver.
    pub udp: &'static UDPDriver<'static>,
    /// The driver of the MAC's settings.
    pub mac: &'static M,
    /// Who sends datagrams.
    pub senders: &'static MuxUdpSender<'static, IP6SendStruct<'static, VirtualMuxAlarm<'static, Pauses<A>>>>,
    /// Who receives them.
    pub receivers: &'static MuxUdpReceiver<'static>,
    /// Which ports are taken.
    pub ports: &'static UdpPortManager,
    /// The alarm under its own name of time.
    pub pauses: &'static MuxAlarm<'static, Pauses<A>>,
}
