//! The machine's virtual devices: the network card that the radio is made of, and the source of entropy.

use kernel::deferred_call::DeferredCallClient;
use kernel::static_init;
use qemu_rv32_virt_chip::chip::QemuRv32VirtDefaultPeripherals;
use qemu_rv32_virt_chip::virtio::devices::virtio_net::VirtIONet;
use qemu_rv32_virt_chip::virtio::devices::virtio_rng::VirtIORng;
use qemu_rv32_virt_chip::virtio::devices::{VirtIODeviceDriver, VirtIODeviceType};
use qemu_rv32_virt_chip::virtio::queues::Virtqueue;
use qemu_rv32_virt_chip::virtio::queues::split_queue::{
    SplitVirtqueue, SplitVirtqueueClient, VirtqueueAvailableRing, VirtqueueDescriptors, VirtqueueUsedRing,
};
use qemu_rv32_virt_chip::virtio::transports::VirtIOTransport;
use rv32i::dma_fence::RiscvCoherentDmaFence as Fence;

/// The network card.
pub type Card = VirtIONet<'static, Fence>;
/// The source of entropy.
pub type Entropy = VirtIORng<'static, 'static, Fence>;

/// Largest Ethernet frame that the card receives, bytes.
const ETHERNET_MAX: usize = 1526;

/// A queue of so many descriptors on one of the machine's transports.
macro_rules! queue {
    ($size:literal, $transport:expr, $fence:expr) => {{
        let descriptors = static_init!(VirtqueueDescriptors<$size>, VirtqueueDescriptors::default());
        let available = static_init!(VirtqueueAvailableRing<$size>, VirtqueueAvailableRing::default());
        let used = static_init!(VirtqueueUsedRing<$size>, VirtqueueUsedRing::default());
        let queue = static_init!(
            SplitVirtqueue<'static, 'static, $size, Fence>,
            SplitVirtqueue::new(descriptors, available, used, $fence)
        );
        queue.set_transport($transport);
        queue
    }};
}

/// Which of the machine's transports has a device; the last one if there are several.
fn find(peripherals: &QemuRv32VirtDefaultPeripherals<'static>, kind: VirtIODeviceType) -> Option<usize> {
    peripherals.virtio_mmio.iter().rposition(|transport| transport.query() == Ok(kind))
}

/// Sets up the network card, if there is one. Call once.
///
/// # Safety
///
/// Only before the kernel's loop, and once.
#[expect(unsafe_code, reason = "static buffers")]
pub unsafe fn card(
    peripherals: &'static QemuRv32VirtDefaultPeripherals<'static>,
    fence: Fence,
) -> Option<&'static Card> {
    let transport = &peripherals.virtio_mmio[find(peripherals, VirtIODeviceType::NetworkCard)?];
    // SAFETY: called once.
    unsafe {
        let (sent, received) = (queue!(2, transport, fence), queue!(2, transport, fence));
        let card = static_init!(
            Card,
            VirtIONet::new(
                sent,
                static_init!([u8; 12], [0; 12]),
                received,
                static_init!([u8; 12], [0; 12]),
                static_init!([u8; ETHERNET_MAX], [0; ETHERNET_MAX]),
            )
        );
        sent.set_client(card as &dyn SplitVirtqueueClient<'static>);
        received.set_client(card as &dyn SplitVirtqueueClient<'static>);
        let queues = static_init!([&'static dyn Virtqueue; 2], [received, sent]);
        transport.initialize(card as &dyn VirtIODeviceDriver, queues).ok()?;
        Some(card)
    }
}

/// Sets up the source of entropy, if there is one.
///
/// # Safety
///
/// As for [`card`].
#[expect(unsafe_code, reason = "static buffers")]
pub unsafe fn entropy(
    peripherals: &'static QemuRv32VirtDefaultPeripherals<'static>,
    fence: Fence,
) -> Option<&'static Entropy> {
    let transport = &peripherals.virtio_mmio[find(peripherals, VirtIODeviceType::EntropySource)?];
    // SAFETY: called once.
    unsafe {
        let queue = queue!(1, transport, fence);
        let entropy = static_init!(Entropy, VirtIORng::new(queue));
        entropy.register();
        queue.set_client(entropy as &dyn SplitVirtqueueClient<'static>);
        let queues = static_init!([&'static dyn Virtqueue; 1], [queue]);
        transport.initialize(entropy as &dyn VirtIODeviceDriver, queues).ok()?;
        entropy.provide_buffer(static_init!([u8; 64], [0; 64])).ok()?;
        Some(entropy)
    }
}
