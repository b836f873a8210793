//! What makes the board a node: who its processes are, what its slots have, and the capsule, scheduler and filter that
//! hold tasks to that.

use crate::devices::Devices;
use crate::flash::{self, Storage, at};
use crate::{AlarmHw, ChipHw, NATIVE_SLOTS, PROCESSES, map};
use capsule_tock::{
    Addresses, Board, BudgetScheduler, Capsule, DOCUMENT_BYTES, Dalek, Layout, NativeSlot, Parts, Place,
    Region, Shares, VALUES_BYTES,
};
use capsules_core::virtualizers::virtual_alarm::{MuxAlarm, VirtualMuxAlarm};
use capsules_system::process_policies::StopWithDebugFaultPolicy;
use grants::Capacity;
use grants::native::{Header, PROTECTED};
use kernel::capabilities::{ProcessManagementCapability, ProcessStartCapability};
use kernel::component::Component;
use kernel::process::{ProcessLoadError, ProcessLoadingAsync, ProcessLoadingAsyncClient};
use kernel::{Kernel, capabilities, create_capability, debug, static_init};
use parts::app_id;
use parts::provisioned::{PUBLISHERS_MAX, publishers};

/// Slots that the wasm executor runs tasks for.
const HOSTED_SLOTS: usize = 4;
/// All slots.
const SLOTS: usize = HOSTED_SLOTS + NATIVE_SLOTS;
/// Memory for the tasks of hosted slots, of the executor's heap of 64 KiB.
const HOSTED_MEMORY: u32 = 48 << 10;
/// What the kernel keeps of a process's memory, bytes; as in `map.toml`.
const KERNEL_SHARE: u32 = 0x800;
/// Bytes of a step between storage and processes.
const SCRATCH: usize = 512;

const _: () = assert!(DOCUMENT_BYTES as usize * SLOTS <= map::DOCUMENTS.end - map::DOCUMENTS.start);
const _: () = assert!(DOCUMENT_BYTES as usize == flash::DOCUMENT);
const _: () = assert!(VALUES_BYTES as usize * SLOTS <= map::VALUES.end - map::VALUES.start);

/// The executor capsule of this board.
pub type Executor = Capsule<SLOTS, NATIVE_SLOTS>;
/// The scheduler of this board.
pub type Scheduler = BudgetScheduler<VirtualMuxAlarm<'static, AlarmHw>, NATIVE_SLOTS>;
/// The filter of this board.
pub type Filter = capsule_tock::SlotFilter<SLOTS, NATIVE_SLOTS>;

/// What the capsule may do with processes.
struct Hand;

// SAFETY: only the capsule and the scheduler are given it.
#[expect(unsafe_code, reason = "the board is who says which part may look after processes")]
unsafe impl ProcessManagementCapability for Hand {}

// SAFETY: only the capsule is given it.
#[expect(unsafe_code, reason = "as above")]
unsafe impl ProcessStartCapability for Hand {}

static HAND: Hand = Hand;

/// A native slot. Where the kernel starts it is said by the header in its flash; without one the slot has no process either,
/// and what is launched there fails.
fn native(number: usize, name: &str) -> Place {
    let header = Header::parse(&flash::header(map::SLOTS[number]));
    Place::Native(NativeSlot {
        app: app_id(name),
        offset: (at::SLOTS + number * map::SLOT) as u32 + PROTECTED,
        len: map::SLOT as u32 - PROTECTED,
        addresses: Addresses { flash: map::SLOTS[number] as u32, ram: map::SLOTS_RAM[number] as u32 },
        ram_bytes: map::SLOT_RAM as u32 - KERNEL_SHARE,
        init_fn_offset: header.map_or(PROTECTED, |header| header.init_fn_offset),
    })
}

/// All that is fixed about this board.
fn board(eui64: [u8; 8], publishers: &'static [[u8; 32]]) -> Board<SLOTS> {
    let areas: usize = map::AREAS.iter().map(|areas| areas.len() / map::AREA).sum();
    Board {
        eui64: u64::from_be_bytes(eui64),
        capacity: Capacity {
            cpu_permille: 800,
            mem_bytes: HOSTED_MEMORY + NATIVE_SLOTS as u32 * (map::SLOT_RAM as u32 - KERNEL_SHARE),
            flash_bytes: (areas * map::AREA) as u32,
            leds: crate::pins::LEDS.len() as u8,
        },
        sensors: 1,
        agent: app_id("agent"),
        host: Some(app_id("wasm")),
        agent_drivers: crate::AGENT_DRIVERS,
        host_drivers: crate::HOST_DRIVERS,
        host_permille: 100,
        host_restarts: 8,
        slots: [
            Place::Hosted,
            Place::Hosted,
            Place::Hosted,
            Place::Hosted,
            native(0, "slot0"),
            native(1, "slot1"),
        ],
        layout: Layout {
            records: Region { offset: at::RECORDS as u32, len: map::RECORDS.len() as u32 },
            areas: at::AREAS as u32,
            area_bytes: map::AREA as u32,
            area_count: areas as u8,
            documents: at::DOCUMENTS as u32,
            values: at::VALUES as u32,
        },
        publishers,
    }
}

/// The parts that hold tasks to their grants.
pub struct Node {
    pub executor: &'static Executor,
    pub scheduler: &'static Scheduler,
    pub filter: Filter,
}

/// Makes the node. Processes are loaded after that.
///
/// # Safety
///
/// Only before the kernel's loop, and once.
#[expect(unsafe_code, reason = "static buffers")]
pub unsafe fn start(
    kernel: &'static Kernel,
    eui64: [u8; 8],
    storage: &'static Storage,
    devices: &'static Devices,
    mux_alarm: &'static MuxAlarm<'static, AlarmHw>,
) -> Node {
    // SAFETY: called once.
    unsafe {
        let shares = static_init!(Shares<NATIVE_SLOTS>, Shares::new());
        let (keys, known) = publishers(&flash::provisioning());
        let publishers = &static_init!([[u8; 32]; PUBLISHERS_MAX], keys)[..known];
        let parts = Parts {
            kernel,
            board: static_init!(Board<SLOTS>, board(eui64, publishers)),
            shares,
            storage,
            buffer: static_init!([u8; SCRATCH], [0; SCRATCH]),
            devices,
            signatures: &Dalek,
            management: &HAND,
            starting: &HAND,
        };
        let memory = create_capability!(capabilities::MemoryAllocationCapability);
        let executor = static_init!(Executor, Capsule::new(parts, &memory));
        executor.setup();
        let alarm = static_init!(VirtualMuxAlarm<'static, AlarmHw>, VirtualMuxAlarm::new(mux_alarm));
        alarm.setup();
        let scheduler =
            static_init!(Scheduler, BudgetScheduler::new(kernel, &HAND, alarm, shares, executor, false));
        scheduler.setup();
        Node { executor, scheduler, filter: capsule_tock::SlotFilter::new(executor) }
    }
}

/// Who waits for processes to be loaded.
struct Loading(&'static Executor);

impl ProcessLoadingAsyncClient for Loading {
    fn process_loaded(&self, result: Result<(), ProcessLoadError>) {
        if let Err(error) = result {
            debug!("mesos-micro: an app was not loaded: {:?}", error);
        }
    }

    fn process_loading_finished(&self) {
        self.0.init();
        debug!("mesos-micro: apps loaded");
    }
}

/// Loads processes, once the kernel's loop runs. They are known by their names: this board checks no credentials, since
/// whoever can write its flash can write another kernel.
///
/// # Safety
///
/// Only before the kernel's loop, and once; nobody else may use the memory.
#[expect(unsafe_code, reason = "static buffers")]
pub unsafe fn load(
    kernel: &'static Kernel,
    chip: &'static ChipHw,
    executor: &'static Executor,
    flash: &'static [u8],
    memory: &'static mut [u8],
) {
    static FAULT_POLICY: StopWithDebugFaultPolicy = StopWithDebugFaultPolicy {};
    // SAFETY: called once.
    unsafe {
        let checks = components::appid::checker_null::AppCheckerNullComponent::new()
            .finalize(components::app_checker_null_component_static!());
        let names = components::appid::assigner_name::AppIdAssignerNamesComponent::new()
            .finalize(components::appid_assigner_names_component_static!());
        let checker = components::appid::checker::ProcessCheckerMachineComponent::new(checks)
            .finalize(components::process_checker_machine_component_static!());
        let storage = components::storage_permissions::null::StoragePermissionsNullComponent::new().finalize(
            components::storage_permissions_null_component_static!(
                ChipHw,
                kernel::process::ProcessStandardDebugFull
            ),
        );
        let loader = components::loader::sequential::ProcessLoaderSequentialComponent::new(
            checker,
            kernel,
            chip,
            &FAULT_POLICY,
            names,
            storage,
            flash,
            memory,
            create_capability!(capabilities::ProcessManagementCapability),
        )
        .finalize(components::process_loader_sequential_component_static!(
            ChipHw,
            kernel::process::ProcessStandardDebugFull,
            PROCESSES
        ));
        loader.set_client(static_init!(Loading, Loading(executor)));
    }
}
