//! Tock for Nordic's nRF52840 development kit, as a node: the executor capsule, the chip's radio, and storage in its flash.
//!
//! What only this board has is here and in `parts`; what a node is made of is in `capsule/tock`.
#![no_std]
#![no_main]

mod devices;
mod flash;
mod io;
mod map;
mod network;
mod node;
mod pins;

use capsules_core::virtualizers::virtual_alarm::VirtualMuxAlarm;
use components::console::{ConsoleComponent, UartMuxComponent};
use components::debug_writer::DebugWriterComponent;
use kernel::component::Component;
use kernel::debug::PanicResources;
use kernel::deferred_call::initialize_deferred_call_state;
use kernel::hil::time::Counter;
use kernel::platform::chip::Chip;
use kernel::platform::{KernelResources, SyscallDriverLookup};
use kernel::syscall::SyscallDriver;
use kernel::utilities::single_thread_value::SingleThreadValue;
use kernel::{Kernel, capabilities, create_capability, debug, static_init};
use nrf52_components::startup::{NrfClockComponent, NrfStartupComponent};
use nrf52840::chip::NRF52;
use nrf52840::ieee802154_radio::ACK_BUF_SIZE;
use nrf52840::interrupt_service::Nrf52840DefaultPeripherals;
use nrf52840::pinmux::Pinmux;
use nrf52840::rtc::Rtc;
use nrf52840::trng::Trng;
use nrf52840::uicr::Regulator0Output;

type ChipHw = NRF52<'static, Nrf52840DefaultPeripherals<'static>>;
type AlarmHw = Rtc<'static>;
type LowLevelDebug = capsules_core::low_level_debug::LowLevelDebug<
    'static,
    capsules_core::virtualizers::virtual_uart::UartDevice<'static>,
>;
type RngDriver = components::rng::RngComponentType<Trng<'static>>;
type ProcessPrinter = capsules_system::process_printer::ProcessPrinterText;
type SchedulerTimerHw = cortexm4f::systick::SysTick;

/// Processes: the agent, the wasm executor, and the native slots.
const PROCESSES: usize = 2 + NATIVE_SLOTS;
/// Native slots.
const NATIVE_SLOTS: usize = 2;
/// Drivers that the agent may call beside the executor capsule.
const AGENT_DRIVERS: &[usize] = &[
    capsules_core::alarm::DRIVER_NUM,
    capsules_core::console::DRIVER_NUM,
    capsules_core::low_level_debug::DRIVER_NUM,
    capsules_core::rng::DRIVER_NUM,
    capsules_extra::ieee802154::DRIVER_NUM,
    capsules_extra::net::udp::DRIVER_NUM,
    #[cfg(feature = "thread")]
    capsules_extra::net::thread::driver::DRIVER_NUM,
];
/// Drivers that the wasm executor may call beside it.
const HOST_DRIVERS: &[usize] = &[
    capsules_core::alarm::DRIVER_NUM,
    capsules_core::console::DRIVER_NUM,
    capsules_core::low_level_debug::DRIVER_NUM,
    capsules_core::rng::DRIVER_NUM,
];
/// Speed of the serial line.
const BAUD: u32 = 115_200;
/// The core's clock, which SysTick counts.
const CORE_HZ: u32 = 64_000_000;

static PANIC_RESOURCES: SingleThreadValue<PanicResources<ChipHw, ProcessPrinter>> = SingleThreadValue::new();

// A signature is checked on it.
kernel::stack_size! {0x4000}

// What the linker script says of memory.
#[expect(unsafe_code, reason = "only their addresses are used")]
unsafe extern "C" {
    static _sapps: u8;
    static _eapps: u8;
    static mut _sappmem: u8;
    static _eappmem: u8;
}

/// What processes reach.
struct Platform {
    console: &'static capsules_core::console::Console<'static>,
    alarm: &'static capsules_core::alarm::AlarmDriver<'static, VirtualMuxAlarm<'static, AlarmHw>>,
    low_level_debug: &'static LowLevelDebug,
    rng: &'static RngDriver,
    network: network::Network,
    node: node::Node,
    scheduler_timer: SchedulerTimerHw,
}

impl SyscallDriverLookup for Platform {
    fn with_driver<F, R>(&self, driver_num: usize, f: F) -> R
    where
        F: FnOnce(Option<&dyn SyscallDriver>) -> R,
    {
        match driver_num {
            capsules_core::console::DRIVER_NUM => f(Some(self.console)),
            capsules_core::alarm::DRIVER_NUM => f(Some(self.alarm)),
            capsules_core::low_level_debug::DRIVER_NUM => f(Some(self.low_level_debug)),
            capsules_core::rng::DRIVER_NUM => f(Some(self.rng)),
            capsules_extra::ieee802154::DRIVER_NUM => f(Some(self.network.mac)),
            capsules_extra::net::udp::DRIVER_NUM => f(Some(self.network.udp)),
            #[cfg(feature = "thread")]
            capsules_extra::net::thread::driver::DRIVER_NUM => f(Some(self.network.thread)),
            grants::syscall::DRIVER => f(Some(self.node.executor)),
            _ => f(None),
        }
    }
}

impl KernelResources<ChipHw> for Platform {
    type SyscallDriverLookup = Self;
    type SyscallFilter = node::Filter;
    type ProcessFault = ();
    type Scheduler = node::Scheduler;
    type SchedulerTimer = SchedulerTimerHw;
    type WatchDog = ();
    type ContextSwitchCallback = ();

    fn syscall_driver_lookup(&self) -> &Self {
        self
    }

    fn syscall_filter(&self) -> &node::Filter {
        &self.node.filter
    }

    fn process_fault(&self) -> &() {
        &()
    }

    fn scheduler(&self) -> &Self::Scheduler {
        self.node.scheduler
    }

    fn scheduler_timer(&self) -> &Self::SchedulerTimer {
        &self.scheduler_timer
    }

    fn watchdog(&self) -> &() {
        &()
    }

    fn context_switch_callback(&self) -> &() {
        &()
    }
}

/// Called by the start-up code once memory is as Rust wants it.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "static buffers, and memory as the linker script has it")]
extern "C" fn main() {
    // SAFETY: this is the one call, before anything else runs.
    unsafe { start() }
}

/// The chip's drivers, with their interrupts on.
///
/// # Safety
///
/// Once, before anything else.
#[expect(unsafe_code, reason = "static buffers, and this is the chip that they are for")]
#[inline(never)]
unsafe fn chip() -> (&'static ChipHw, &'static Nrf52840DefaultPeripherals<'static>) {
    // SAFETY: the caller says that this runs once.
    unsafe {
        ChipHw::init();
        initialize_deferred_call_state::<<ChipHw as Chip>::ThreadIdProvider>();
        PANIC_RESOURCES.bind_to_thread::<<ChipHw as Chip>::ThreadIdProvider>(PanicResources::new()).ok();
        let peripherals = static_init!(
            Nrf52840DefaultPeripherals<'static>,
            Nrf52840DefaultPeripherals::new(
                static_init!([u8; ACK_BUF_SIZE], [0; ACK_BUF_SIZE]),
                static_init!([u8; 48], [0; 48]),
            )
        );
        peripherals.init();
        let chip = static_init!(ChipHw, NRF52::new(peripherals));
        if let Some(resources) = PANIC_RESOURCES.get() {
            resources.chip.put(chip);
        }
        // The debug port stays open and the reset button works; the chip restarts if either was not so before.
        NrfStartupComponent::new(false, pins::RESET, Regulator0Output::DEFAULT, &peripherals.nrf52.nvmc)
            .finalize(());
        // The radio needs the crystal, and the RTC the slow one.
        NrfClockComponent::new(&peripherals.nrf52.clock).finalize(());
        (chip, peripherals)
    }
}

/// # Safety
///
/// Once.
#[expect(unsafe_code, reason = "static buffers, and memory as the linker script has it")]
#[inline(never)]
unsafe fn start() {
    // SAFETY: the caller says that this runs once.
    unsafe {
        let (chip, peripherals) = chip();
        let processes = components::process_array::ProcessArrayComponent::new()
            .finalize(components::process_array_component_static!(PROCESSES));
        if let Some(resources) = PANIC_RESOURCES.get() {
            resources.processes.put(processes.as_slice());
        }
        let board_kernel = static_init!(Kernel, Kernel::new(processes.as_slice()));

        let base = &peripherals.nrf52;
        // Without it nothing has a time: it cannot fail on this chip.
        let _ = base.rtc.start();
        let mux_alarm = components::alarm::AlarmMuxComponent::new(&base.rtc)
            .finalize(components::alarm_mux_component_static!(AlarmHw));
        let alarm = components::alarm::AlarmDriverComponent::new(
            board_kernel,
            capsules_core::alarm::DRIVER_NUM,
            mux_alarm,
            create_capability!(capabilities::MemoryAllocationCapability),
        )
        .finalize(components::alarm_component_static!(AlarmHw));

        base.uarte0.initialize(
            Pinmux::new(pins::UART_TXD),
            Pinmux::new(pins::UART_RXD),
            Some(Pinmux::new(pins::UART_CTS)),
            Some(Pinmux::new(pins::UART_RTS)),
        );
        let uart =
            UartMuxComponent::new(&base.uarte0, BAUD).finalize(components::uart_mux_component_static!());
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

        let low_level_debug = components::lldb::LowLevelDebugComponent::new(
            board_kernel,
            capsules_core::low_level_debug::DRIVER_NUM,
            uart,
            create_capability!(capabilities::MemoryAllocationCapability),
        )
        .finalize(components::low_level_debug_component_static!());
        let rng = components::rng::RngComponent::new(
            board_kernel,
            capsules_core::rng::DRIVER_NUM,
            &base.trng,
            create_capability!(capabilities::MemoryAllocationCapability),
        )
        .finalize(components::rng_component_static!(Trng<'static>));
        let eui64 = network::eui64();
        let radio = &peripherals.ieee802154_radio;
        let network = network::start(board_kernel, radio, &base.ecb, mux_alarm, eui64);
        let storage = flash::start(&base.nvmc);
        let devices = devices::start(&peripherals.gpio_port, &base.temp, mux_alarm);
        let node = node::start(board_kernel, eui64, storage, devices, mux_alarm);

        let apps = (&raw const _eapps).offset_from_unsigned(&raw const _sapps);
        let memory = (&raw const _eappmem).offset_from_unsigned(&raw const _sappmem);
        node::load(
            board_kernel,
            chip,
            node.executor,
            core::slice::from_raw_parts(&raw const _sapps, apps),
            core::slice::from_raw_parts_mut(&raw mut _sappmem, memory),
        );
        let scheduler_timer = SchedulerTimerHw::new_with_calibration(CORE_HZ);
        let platform = Platform { console, alarm, low_level_debug, rng, network, node, scheduler_timer };
        debug!("mesos-micro: kernel up, EUI-64 {:016x}", u64::from_be_bytes(eui64));
        board_kernel.kernel_loop::<_, _, 0>(
            &platform,
            chip,
            None,
            &create_capability!(capabilities::MainLoopCapability),
        );
    }
}
