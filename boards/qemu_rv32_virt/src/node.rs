//! What makes the machine a node: the executor capsule with scheduler and filter, and the processes under it.

use crate::layout::{self, NATIVES, SLOTS};
use crate::{AlarmHw, ChipHw, PROCESSES};
use capsule_tock::{BudgetScheduler, Capsule, Dalek, Parts, Shares, SlotFilter};
use capsules_core::virtualizers::virtual_alarm::{MuxAlarm, VirtualMuxAlarm};
use capsules_system::process_policies::StopWithDebugFaultPolicy;
use kernel::component::Component;
use kernel::process::{
    ProcessLoadError, ProcessLoadingAsync, ProcessLoadingAsyncClient, ProcessStandardDebugFull,
};
use kernel::{Kernel, capabilities, create_capability, debug, static_init};
use parts::provisioned::{BLOB, PUBLISHERS_MAX, publishers};

/// The capsule of this board.
pub type NodeCapsule = Capsule<SLOTS, NATIVES>;
/// Its scheduler.
pub type NodeScheduler = BudgetScheduler<VirtualMuxAlarm<'static, AlarmHw>, NATIVES>;
/// Its filter.
pub type NodeFilter = SlotFilter<SLOTS, NATIVES>;

static FAULT_POLICY: StopWithDebugFaultPolicy = StopWithDebugFaultPolicy {};

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
    static _sstored: u8;
}

/// The parts that hold tasks to their grants.
pub struct Node {
    pub capsule: &'static NodeCapsule,
    pub scheduler: &'static NodeScheduler,
    pub filter: NodeFilter,
}

/// Makes them.
///
/// # Safety
///
/// Only before the kernel's loop, and once.
#[expect(unsafe_code, reason = "static buffers, and memory as the linker script has it")]
pub unsafe fn start(
    board_kernel: &'static Kernel,
    eui64: [u8; 8],
    mux_alarm: &'static MuxAlarm<'static, AlarmHw>,
) -> Node {
    // SAFETY: called once.
    unsafe {
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
        Node { capsule, scheduler, filter: SlotFilter::new(capsule) }
    }
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

/// Loads processes, once the kernel's loop runs.
///
/// # Safety
///
/// Only before the kernel's loop, and once; nobody else may use the apps' memory.
#[expect(unsafe_code, reason = "static buffers, and memory as the linker script has it")]
pub unsafe fn load(board_kernel: &'static Kernel, chip: &'static ChipHw, capsule: &'static NodeCapsule) {
    // SAFETY: called once.
    unsafe {
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
    }
}
