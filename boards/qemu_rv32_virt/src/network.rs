//! The way to the gateway: card, virtual radio, guard, and Tock's 6LoWPAN and UDP on top.

use crate::virtio::Card;
use crate::{AlarmHw, NoAes};
use capsules_core::virtualizers::virtual_alarm::{MuxAlarm, VirtualMuxAlarm};
use components::ieee802154::{Ieee802154ComponentType, MuxAes128ccmComponent};
use kernel::component::Component;
use kernel::deferred_call::DeferredCallClient;
use kernel::hil::ethernet::EthernetAdapterDatapath;
use kernel::hil::time::Alarm;
use kernel::{Kernel, static_init};
use parts::guard::Guard;
use parts::lowpan::Lowpan;
use parts::virtual_radio::{TX_BUFFER, VirtualRadio};

type Radio = VirtualRadio<'static, Card, VirtualMuxAlarm<'static, AlarmHw>>;

/// What processes reach of it.
pub type Network = Lowpan<AlarmHw, Ieee802154ComponentType<Guard<'static, Radio>, NoAes>>;

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
    // SAFETY: called once.
    unsafe {
        let alarm = static_init!(VirtualMuxAlarm<'static, AlarmHw>, VirtualMuxAlarm::new(mux_alarm));
        alarm.setup();
        let wire = static_init!([u8; TX_BUFFER], [0; TX_BUFFER]);
        let radio = static_init!(Radio, VirtualRadio::new(card, alarm, wire));
        radio.register();
        alarm.set_alarm_client(radio);
        card.set_client(radio);
        let aes = MuxAes128ccmComponent::new(static_init!(NoAes, NoAes))
            .finalize(components::mux_aes128ccm_component_static!(NoAes));
        parts::lowpan!(kernel, radio: radio => Radio, aes: aes => NoAes, alarm: mux_alarm => AlarmHw,
            eui64: eui64, pan: pan)
    }
}
