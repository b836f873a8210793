//! Tock for QEMU's riscv32 `virt` machine, as a node: the executor capsule, the virtual radio, and storage that is memory.
//!
//! What only emulation has is here and in `parts`; what a node is made of is in `capsule/tock`.
#![no_std]
#![no_main]

mod io;
mod layout;
mod machine;
mod network;
mod node;
mod sure_timer;
mod virtio;

use capsules_core::virtualizers::virtual_alarm::{MuxAlarm, VirtualMuxAlarm};
use components::console::{ConsoleComponent, UartMuxComponent};
use components::debug_writer::DebugWriterComponent;
use kernel::component::Component;
use kernel::debug::PanicResources;
use kernel::deferred_call::initialize_deferred_call_state;
use kernel::hil::time::Alarm;
use kernel::platform::chip::Chip;
use kernel::platform::{KernelResources, SyscallDriverLookup};
use kernel::syscall::SyscallDriver;
use kernel::utilities::registers::interfaces::ReadWriteable;
use kernel::utilities::single_thread_value::SingleThreadValue;
use kernel::{Kernel, capabilities, create_capability, debug, static_init};
use layout::NATIVES;
use parts::no_aes::NoAes;
use qemu_rv32_virt_chip::chip::{QemuRv32VirtChip, QemuRv32VirtClint, QemuRv32VirtDefaultPeripherals};
use rv32i::csr;
use rv32i::dma_fence::RiscvCoherentDmaFence;
use rv32i::pmp::kernel_protection_mml_epmp::{
    FlashRegion, KernelProtectionMMLEPMP, KernelTextRegion, MMIORegion, RAMRegion,
};
use rv32i::pmp::{NAPOTRegionSpec, TORRegionSpec};
use sure_timer::SureTimer;

type ChipHw = QemuRv32VirtChip<'static, QemuRv32VirtDefaultPeripherals<'static>>;
type AlarmHw = QemuRv32VirtClint<'static>;
type ProcessPrinter = capsules_system::process_printer::ProcessPrinterText;
type SchedulerTimerHw = components::virtual_scheduler_timer::VirtualSchedulerTimerComponentType<AlarmHw>;

/// Processes: the agent, the wasm executor, and the native slots.
const PROCESSES: usize = 2 + NATIVES;
/// The PAN that nodes and gateways of this project meet in, unless told otherwise.
const PAN: u16 = 0xABCD;

static PANIC_RESOURCES: SingleThreadValue<PanicResources<ChipHw, ProcessPrinter>> = SingleThreadValue::new();

kernel::stack_size! {0x4000}

// What the linker script says of memory.
#[expect(unsafe_code, reason = "only their addresses are used")]
unsafe extern "C" {
    static _stext: u8;
    static _etext: u8;
    static _sflash: u8;
    static _eflash: u8;
    static _ssram: u8;
    static _esram: u8;
    static _estored: u8;
}

/// What processes reach.
struct Platform {
    console: &'static capsules_core::console::Console<'static>,
    alarm: &'static capsules_core::alarm::AlarmDriver<'static, VirtualMuxAlarm<'static, AlarmHw>>,
    node: node::Node,
    scheduler_timer: SureTimer,
    rng: Option<&'static components::rng::RngRandomComponentType<virtio::Entropy>>,
    network: Option<network::Network>,
}

impl SyscallDriverLookup for Platform {
    fn with_driver<F, R>(&self, driver_num: usize, f: F) -> R
    where
        F: FnOnce(Option<&dyn SyscallDriver>) -> R,
    {
        match driver_num {
            grants::syscall::DRIVER => f(Some(self.node.capsule)),
            capsules_core::console::DRIVER_NUM => f(Some(self.console)),
            capsules_core::alarm::DRIVER_NUM => f(Some(self.alarm)),
            capsules_core::rng::DRIVER_NUM => f(self.rng.map(|rng| rng as &dyn SyscallDriver)),
            capsules_extra::net::udp::DRIVER_NUM => {
                f(self.network.as_ref().map(|network| network.udp as &dyn SyscallDriver))
            }
            capsules_extra::ieee802154::DRIVER_NUM => {
                f(self.network.as_ref().map(|network| network.mac as &dyn SyscallDriver))
            }
            _ => f(None),
        }
    }
}

impl KernelResources<ChipHw> for Platform {
    type SyscallDriverLookup = Self;
    type SyscallFilter = node::NodeFilter;
    type ProcessFault = ();
    type Scheduler = node::NodeScheduler;
    type SchedulerTimer = SureTimer;
    type WatchDog = ();
    type ContextSwitchCallback = ();

    fn syscall_driver_lookup(&self) -> &Self {
        self
    }

    fn syscall_filter(&self) -> &Self::SyscallFilter {
        &self.node.filter
    }

    fn process_fault(&self) -> &() {
        &()
    }

    fn scheduler(&self) -> &Self::Scheduler {
        self.node.scheduler
    }

    fn scheduler_timer(&self) -> &SureTimer {
        &self.scheduler_timer
    }

    fn watchdog(&self) -> &() {
        &()
    }

    fn context_switch_callback(&self) -> &() {
        &()
    }
}

/// Keeps the kernel's code from being written and its data from being run, from the very start.
#[expect(unsafe_code, reason = "the regions are those of the linker script")]
fn protect_memory() -> KernelProtectionMMLEPMP<16, 5> {
    let protection = (|| {
        let at = |start: *const u8, end: *const u8| NAPOTRegionSpec::from_start_end(start, end);
        let flash = FlashRegion(at(&raw const _sflash, &raw const _eflash)?);
        let ram = RAMRegion(at(&raw const _ssram, &raw const _esram)?);
        let devices = MMIORegion(NAPOTRegionSpec::from_start_size(core::ptr::null(), 0x2000_0000)?);
        let text = KernelTextRegion(TORRegionSpec::from_start_end(&raw const _stext, &raw const _etext)?);
        // SAFETY: all code of the kernel is in `text`, all its data in `flash` and `ram`, all devices below 512 MiB.
        unsafe { KernelProtectionMMLEPMP::new(flash, ram, devices, text) }.ok()
    })();
    protection.expect("the linker script's regions do not fit the PMP, or QEMU lacks Smepmp")
}

/// Called by the start-up code once memory is as Rust wants it.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "static buffers, and memory as the linker script has it")]
extern "C" fn main() {
    // SAFETY: this is the one call, before anything else runs.
    unsafe { start() }
}

/// # Safety
///
/// Once.
#[expect(unsafe_code, reason = "static buffers, and memory as the linker script has it")]
#[inline(never)]
unsafe fn start() {
    // SAFETY: the caller says that this runs once.
    unsafe {
        PANIC_RESOURCES.bind_to_thread::<<ChipHw as Chip>::ThreadIdProvider>(PanicResources::new()).ok();
        rv32i::configure_trap_handler();
        initialize_deferred_call_state::<<ChipHw as Chip>::ThreadIdProvider>();
        let protection = protect_memory();

        let processes = components::process_array::ProcessArrayComponent::new()
            .finalize(components::process_array_component_static!(PROCESSES));
        if let Some(resources) = PANIC_RESOURCES.get() {
            resources.processes.put(processes.as_slice());
        }
        let board_kernel = static_init!(Kernel, Kernel::new(processes.as_slice()));

        let fence = RiscvCoherentDmaFence::new();
        let peripherals =
            static_init!(QemuRv32VirtDefaultPeripherals<'static>, QemuRv32VirtDefaultPeripherals::new());
        let uart = UartMuxComponent::new(&peripherals.uart0, 115_200)
            .finalize(components::uart_mux_component_static!());
        let clint = static_init!(AlarmHw, QemuRv32VirtClint::new(&qemu_rv32_virt_chip::clint::CLINT_BASE));
        let mux_alarm = static_init!(MuxAlarm<'static, AlarmHw>, MuxAlarm::new(clint));
        clint.set_alarm_client(mux_alarm);

        let alarm = components::alarm::AlarmDriverComponent::new(
            board_kernel,
            capsules_core::alarm::DRIVER_NUM,
            mux_alarm,
            create_capability!(capabilities::MemoryAllocationCapability),
        )
        .finalize(components::alarm_component_static!(AlarmHw));

        let entropy = virtio::entropy(peripherals, fence);
        let card = virtio::card(peripherals, fence);

        let chip = static_init!(ChipHw, QemuRv32VirtChip::new(peripherals, clint, protection));
        if let Some(resources) = PANIC_RESOURCES.get() {
            resources.chip.put(chip);
        }
        chip.enable_plic_interrupts();
        csr::CSR
            .mie
            .modify(csr::mie::mie::mext::SET + csr::mie::mie::msoft::SET + csr::mie::mie::mtimer::SET);
        csr::CSR.mstatus.modify(csr::mstatus::mstatus::mie::SET);

        let printer = components::process_printer::ProcessPrinterTextComponent::new()
            .finalize(components::process_printer_text_component_static!());
        if let Some(resources) = PANIC_RESOURCES.get() {
            resources.printer.put(printer);
        }

        let console = ConsoleComponent::new(
            board_kernel,
            capsules_core::console::DRIVER_NUM,
            uart,
            create_capability!(capabilities::MemoryAllocationCapability),
        )
        .finalize(components::console_component_static!());
        DebugWriterComponent::new::<<ChipHw as Chip>::ThreadIdProvider>(
            uart,
            create_capability!(capabilities::SetDebugWriterCapability),
        )
        .finalize(components::debug_writer_component_static!());

        let rng = entropy.map(|entropy| {
            components::rng::RngRandomComponent::new(
                board_kernel,
                capsules_core::rng::DRIVER_NUM,
                entropy,
                create_capability!(capabilities::MemoryAllocationCapability),
            )
            .finalize(components::rng_random_component_static!(virtio::Entropy))
        });
        // The emulator puts it there: `tools/qemu`.
        let eui64 = (&raw const _estored).cast::<[u8; 8]>().sub(1).read_volatile();
        let network = card.map(|card| network::start(board_kernel, card, mux_alarm, eui64, PAN));
        let node = node::start(board_kernel, eui64, mux_alarm);
        let scheduler_timer =
            components::virtual_scheduler_timer::VirtualSchedulerTimerComponent::new(mux_alarm)
                .finalize(components::virtual_scheduler_timer_component_static!(AlarmHw));
        let scheduler_timer = SureTimer(scheduler_timer);

        let platform = Platform { console, alarm, node, scheduler_timer, rng, network };
        debug!("mesos-micro: kernel up, EUI-64 {:016x}", u64::from_be_bytes(eui64));

        node::load(board_kernel, chip, platform.node.capsule);
        board_kernel.kernel_loop::<_, _, 0>(
            &platform,
            chip,
            None,
            &create_capability!(capabilities::MainLoopCapability),
        );
    }
}
