//! Tock for QEMU's riscv32 `virt` machine, as a node: the executor capsule, the virtual radio, and storage that is memory.
//!
//! What only emulation has is here and in `parts`; what a node is made of is in `capsule/tock`.
#![no_std]
#![no_main]

mod io;
mod layout;
mod machine;
mod network;
mod sure_timer;
mod virtio;

use capsule_tock::{BudgetScheduler, Capsule, Dalek, Parts, Shares, SlotFilter};
use capsules_core::virtualizers::virtual_alarm::{MuxAlarm, VirtualMuxAlarm};
use capsules_system::process_policies::StopWithDebugFaultPolicy;
use components::console::{ConsoleComponent, UartMuxComponent};
use components::debug_writer::DebugWriterComponent;
use kernel::component::Component;
use kernel::debug::PanicResources;
use kernel::deferred_call::initialize_deferred_call_state;
use kernel::hil::time::Alarm;
use kernel::platform::chip::Chip;
use kernel::platform::{KernelResources, SyscallDriverLookup};
use kernel::process::{
    ProcessLoadError, ProcessLoadingAsync, ProcessLoadingAsyncClient, ProcessStandardDebugFull,
};
use kernel::syscall::SyscallDriver;
use kernel::utilities::registers::interfaces::ReadWriteable;
use kernel::utilities::single_thread_value::SingleThreadValue;
use kernel::{Kernel, capabilities, create_capability, debug, static_init};
use layout::{NATIVES, SLOTS};
use parts::no_aes::NoAes;
use parts::provisioned::{BLOB, PUBLISHERS_MAX, publishers};
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
type NodeCapsule = Capsule<SLOTS, NATIVES>;
type NodeScheduler = BudgetScheduler<VirtualMuxAlarm<'static, AlarmHw>, NATIVES>;
type ProcessPrinter = capsules_system::process_printer::ProcessPrinterText;
type SchedulerTimerHw = components::virtual_scheduler_timer::VirtualSchedulerTimerComponentType<AlarmHw>;

/// Processes: the agent, the wasm executor, and the native slots.
const PROCESSES: usize = 2 + NATIVES;
/// The PAN that nodes and gateways of this project meet in, unless told otherwise.
const PAN: u16 = 0xABCD;

static PANIC_RESOURCES: SingleThreadValue<PanicResources<ChipHw, ProcessPrinter>> = SingleThreadValue::new();
static FAULT_POLICY: StopWithDebugFaultPolicy = StopWithDebugFaultPolicy {};

kernel::stack_size! {0x4000}

// To look at processes, to end and to start them: what the capsule and the scheduler are there for.
kernel::define_capability_type!(Executor:
    kernel::capabilities::ProcessManagementCapability,
    kernel::capabilities::ProcessStartCapability
);

// What the linker script says of memory.
#[expect(unsafe_code, reason = "only their addresses are used")]
unsafe extern "C" {
    static _sapps: u8;
    static _eapps: u8;
    static mut _sappmem: u8;
    static _eappmem: u8;
    static _stext: u8;
    static _etext: u8;
    static _sflash: u8;
    static _eflash: u8;
    static _ssram: u8;
    static _esram: u8;
    static _sstored: u8;
    static _estored: u8;
}

/// Tells the capsule when processes are there.
struct Loaded {
    capsule: &'static NodeCapsule,
}

impl ProcessLoadingAsyncClient for Loaded {
    fn process_loaded(&self, result: Result<(), ProcessLoadError>) {
        if let Err(error) = result {
            debug!("mesos-micro: an app was not loaded: {:?}", error);
        }
    }

    fn process_loading_finished(&self) {
        self.capsule.init();
    }
}

/// What processes reach.
struct Platform {
    console: &'static capsules_core::console::Console<'static>,
    alarm: &'static capsules_core::alarm::AlarmDriver<'static, VirtualMuxAlarm<'static, AlarmHw>>,
    capsule: &'static NodeCapsule,
    filter: SlotFilter<SLOTS, NATIVES>,
    scheduler: &'static NodeScheduler,
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
            grants::syscall::DRIVER => f(Some(self.capsule)),
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
    type SyscallFilter = SlotFilter<SLOTS, NATIVES>;
    type ProcessFault = ();
    type Scheduler = NodeScheduler;
    type SchedulerTimer = SureTimer;
    type WatchDog = ();
    type ContextSwitchCallback = ();

    fn syscall_driver_lookup(&self) -> &Self {
        self
    }

    fn syscall_filter(&self) -> &Self::SyscallFilter {
        &self.filter
    }

    fn process_fault(&self) -> &() {
        &()
    }

    fn scheduler(&self) -> &Self::Scheduler {
        self.scheduler
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
        PANIC_RESOURCES.get().map(|resources| resources.processes.put(processes.as_slice()));
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
        PANIC_RESOURCES.get().map(|resources| resources.chip.put(chip));
        chip.enable_plic_interrupts();
        csr::CSR
            .mie
            .modify(csr::mie::mie::mext::SET + csr::mie::mie::msoft::SET + csr::mie::mie::mtimer::SET);
        csr::CSR.mstatus.modify(csr::mstatus::mstatus::mie::SET);

        let printer = components::process_printer::ProcessPrinterTextComponent::new()
            .finalize(components::process_printer_text_component_static!());
        PANIC_RESOURCES.get().map(|resources| resources.printer.put(printer));

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
        let executor = static_init!(Executor, kernel::mint_defined_capability!(Executor));
        let storage = layout::storage();
        let (keys, known) = publishers(&(&raw const _sstored).cast::<[u8; BLOB]>().read_volatile());
        let publishers = &static_init!([[u8; 32]; PUBLISHERS_MAX], keys)[..known];
        let shares = static_init!(Shares<NATIVES>, Shares::new());
        let capsule = static_init!(
            NodeCapsule,
            Capsule::new(
                Parts {
                    kernel: board_kernel,
                    board: static_init!(
                        capsule_tock::Board<SLOTS>,
                        layout::board(u64::from_be_bytes(eui64), publishers)
                    ),
                    shares,
                    storage,
                    buffer: static_init!([u8; 512], [0; 512]),
                    devices: static_init!(layout::Devices, layout::Devices::new()),
                    signatures: static_init!(Dalek, Dalek),
                    management: executor,
                    starting: executor,
                },
                &create_capability!(capabilities::MemoryAllocationCapability),
            )
        );
        capsule.setup();
        let window_alarm = static_init!(VirtualMuxAlarm<'static, AlarmHw>, VirtualMuxAlarm::new(mux_alarm));
        window_alarm.setup();
        // The virtual scheduler timer can lose its interrupt here: the scheduler looks for it.
        let scheduler = static_init!(
            NodeScheduler,
            BudgetScheduler::new(board_kernel, executor, window_alarm, shares, capsule, true)
        );
        scheduler.setup();
        let scheduler_timer =
            components::virtual_scheduler_timer::VirtualSchedulerTimerComponent::new(mux_alarm)
                .finalize(components::virtual_scheduler_timer_component_static!(AlarmHw));
        let scheduler_timer = SureTimer(scheduler_timer);

        let filter = SlotFilter::new(capsule);
        let platform = Platform { console, alarm, capsule, filter, scheduler, scheduler_timer, rng, network };
        debug!("mesos-micro: kernel up, EUI-64 {:016x}", u64::from_be_bytes(eui64));

        let apps = (&raw const _eapps).offset_from_unsigned(&raw const _sapps);
        let memory = (&raw const _eappmem).offset_from_unsigned(&raw const _sappmem);
        let unchecked = components::appid::checker_null::AppCheckerNullComponent::new()
            .finalize(components::app_checker_null_component_static!());
        let checker = components::appid::checker::ProcessCheckerMachineComponent::new(unchecked)
            .finalize(components::process_checker_machine_component_static!());
        // Who a process is follows from its name, which tasks cannot write.
        let names = components::appid::assigner_name::AppIdAssignerNamesComponent::new()
            .finalize(components::appid_assigner_names_component_static!());
        let nothing_stored =
            components::storage_permissions::null::StoragePermissionsNullComponent::new().finalize(
                components::storage_permissions_null_component_static!(ChipHw, ProcessStandardDebugFull),
            );
        let loader = components::loader::sequential::ProcessLoaderSequentialComponent::new(
            checker,
            board_kernel,
            chip,
            &FAULT_POLICY,
            names,
            nothing_stored,
            core::slice::from_raw_parts(&raw const _sapps, apps),
            core::slice::from_raw_parts_mut(&raw mut _sappmem, memory),
            create_capability!(capabilities::ProcessManagementCapability),
        )
        .finalize(components::process_loader_sequential_component_static!(
            ChipHw,
            ProcessStandardDebugFull,
            PROCESSES
        ));
        loader.set_client(static_init!(Loaded, Loaded { capsule }));
        board_kernel.kernel_loop::<_, _, 0>(
            &platform,
            chip,
            None,
            &create_capability!(capabilities::MainLoopCapability),
        );
    }
}
