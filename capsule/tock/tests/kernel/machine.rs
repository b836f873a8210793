//! A machine to run the kernel on: a chip whose time is a number, and processes that do what a test says.
//!
//! The kernel is the real one: its loop, its grants, its system calls.

use kernel::capabilities::{
    ExternalProcessCapability, MainLoopCapability, MemoryAllocationCapability, ProcessManagementCapability,
    ProcessStartCapability,
};
use kernel::hil::time::{Alarm, AlarmClient, Freq10MHz, Ticks32, Time};
use kernel::platform::chip::{Chip, ThreadIdProvider};
use kernel::platform::mpu::{MPU, MpuConfigDefault, Permissions, Region};
use kernel::platform::scheduler_timer::SchedulerTimer;
use kernel::process::ProcessSlot;
use kernel::syscall::{ContextSwitchReason, SyscallReturn, UserspaceKernelBoundary};
use kernel::{ErrorCode, Kernel};
use std::cell::Cell;
use std::num::NonZeroU32;

/// Everything that the kernel allows to a few.
pub struct Trusted;
// Safety: these traits only say that whoever holds one is trusted, as a test is.
unsafe impl ExternalProcessCapability for Trusted {}
unsafe impl MainLoopCapability for Trusted {}
unsafe impl MemoryAllocationCapability for Trusted {}
unsafe impl ProcessManagementCapability for Trusted {}
unsafe impl ProcessStartCapability for Trusted {}
pub static TRUSTED: Trusted = Trusted;

/// All tests of the kernel are one thread to it: they take turns.
pub struct OneThread;
// Safety: `machine::turn` lets one test at a time use the kernel's state.
unsafe impl ThreadIdProvider for OneThread {
    fn running_thread_id() -> usize {
        0
    }
}

/// Waits for this test's turn.
pub fn turn() -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    kernel::deferred_call::initialize_deferred_call_state::<OneThread>();
    turn
}

/// Something that lives as long as the test binary.
pub fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// Chip, alarm and scheduler timer in one.
#[derive(Default)]
pub struct Machine {
    pub now_us: Cell<u64>,
    /// When the alarm goes off.
    alarm: Cell<Option<u64>>,
    client: Cell<Option<&'static dyn AlarmClient>>,
    /// When the slice of the process that runs is over.
    slice: Cell<Option<u64>>,
    /// The next interrupt of anything else.
    pub interrupt: Cell<Option<u64>>,
    pub slept_us: Cell<u64>,
    pub sleeps: Cell<u64>,
}

impl Machine {
    /// Runs a process's own instructions for at most so long; true if something cut it short.
    pub fn run(&self, us: u64) -> bool {
        let now = self.now_us.get();
        let events = [self.slice.get(), self.alarm.get(), self.interrupt.get()];
        let until = events.into_iter().flatten().min().unwrap_or(u64::MAX).max(now);
        self.now_us.set(until.min(now.saturating_add(us)));
        until <= now.saturating_add(us)
    }

    fn due(&self, at: &Cell<Option<u64>>) -> bool {
        at.get().is_some_and(|at| at <= self.now_us.get())
    }
}

impl Time for Machine {
    type Frequency = Freq10MHz;
    type Ticks = Ticks32;
    fn now(&self) -> Ticks32 {
        Ticks32::from((self.now_us.get() * 10) as u32)
    }
}

impl Alarm<'static> for Machine {
    fn set_alarm_client(&self, client: &'static dyn AlarmClient) {
        self.client.set(Some(client));
    }
    fn set_alarm(&self, reference: Ticks32, dt: Ticks32) {
        use kernel::hil::time::Ticks;
        let passed = self.now().wrapping_sub(reference).into_u32();
        let left = u64::from(dt.into_u32().saturating_sub(passed)).div_ceil(10);
        self.alarm.set(Some(self.now_us.get() + left));
    }
    fn get_alarm(&self) -> Ticks32 {
        Ticks32::from((self.alarm.get().unwrap_or(0) * 10) as u32)
    }
    fn disarm(&self) -> Result<(), ErrorCode> {
        self.alarm.set(None);
        Ok(())
    }
    fn is_armed(&self) -> bool {
        self.alarm.get().is_some()
    }
    fn minimum_dt(&self) -> Ticks32 {
        Ticks32::from(10)
    }
}

impl SchedulerTimer for Machine {
    fn start(&self, us: NonZeroU32) {
        self.slice.set(Some(self.now_us.get() + u64::from(us.get())));
    }
    fn reset(&self) {
        self.slice.set(None);
    }
    fn arm(&self) {}
    fn disarm(&self) {}
    fn get_remaining_us(&self) -> Option<NonZeroU32> {
        let left = self.slice.get().map_or(0, |end| end.saturating_sub(self.now_us.get()));
        NonZeroU32::new(left as u32)
    }
}

impl Chip for Machine {
    type MPU = NoMpu;
    type UserspaceKernelBoundary = NoBoundary;
    type ThreadIdProvider = OneThread;
    fn init() {}
    fn service_pending_interrupts(&self) {
        if self.due(&self.interrupt) {
            self.interrupt.set(None);
        }
        if self.due(&self.alarm) {
            self.alarm.set(None);
            if let Some(client) = self.client.get() {
                client.alarm();
            }
        }
    }
    fn has_pending_interrupts(&self) -> bool {
        self.due(&self.interrupt) || self.due(&self.alarm)
    }
    fn mpu(&self) -> &NoMpu {
        &NoMpu
    }
    fn userspace_kernel_boundary(&self) -> &NoBoundary {
        &NoBoundary
    }
    fn sleep(&self) {
        let now = self.now_us.get();
        // Without an interrupt to come, time only passes.
        let next =
            [self.alarm.get(), self.interrupt.get()].into_iter().flatten().min().unwrap_or(now + 50_000);
        self.now_us.set(next.max(now));
        self.slept_us.set(self.slept_us.get() + next.max(now) - now);
        self.sleeps.set(self.sleeps.get() + 1);
    }
    fn with_interrupts_disabled<F, R>(&self, f: F) -> R
    where
        F: FnOnce() -> R,
    {
        f()
    }
    unsafe fn print_state(_: Option<&Self>, _: &mut dyn core::fmt::Write) {}
}

/// No memory protection: the processes of these tests have no instructions.
pub struct NoMpu;
// Safety: nothing is protected, and nothing runs that would have to be kept out.
unsafe impl MPU for NoMpu {
    type MpuConfig = MpuConfigDefault;
    fn enable_app_mpu(&self) {}
    unsafe fn disable_app_mpu(&self) {}
    fn number_total_regions(&self) -> usize {
        0
    }
    fn new_config(&self) -> Option<MpuConfigDefault> {
        None
    }
    fn reset_config(&self, _: &mut MpuConfigDefault) {}
    fn allocate_region(
        &self,
        _: *const u8,
        _: usize,
        _: usize,
        _: Permissions,
        _: &mut MpuConfigDefault,
    ) -> Option<Region> {
        None
    }
    fn remove_memory_region(&self, _: Region, _: &mut MpuConfigDefault) -> Result<(), ()> {
        Err(())
    }
    fn allocate_app_memory_region(
        &self,
        _: *const u8,
        _: usize,
        _: usize,
        _: usize,
        _: usize,
        _: Permissions,
        _: &mut MpuConfigDefault,
    ) -> Option<(*const u8, usize)> {
        None
    }
    fn update_app_memory_region(
        &self,
        _: *const u8,
        _: *const u8,
        _: Permissions,
        _: &mut MpuConfigDefault,
    ) -> Result<(), ()> {
        Err(())
    }
    unsafe fn configure_mpu(&self, _: &MpuConfigDefault) {}
}

/// Never crossed: processes say themselves what comes back from them.
pub struct NoBoundary;
impl UserspaceKernelBoundary for NoBoundary {
    type StoredState = ();
    fn initial_process_app_brk_size(&self) -> usize {
        0
    }
    unsafe fn initialize_process(&self, _: *const u8, _: *const u8, _: &mut ()) -> Result<(), ()> {
        Err(())
    }
    unsafe fn set_syscall_return_value(
        &self,
        _: *const u8,
        _: *const u8,
        _: &mut (),
        _: SyscallReturn,
    ) -> Result<(), ()> {
        Err(())
    }
    unsafe fn set_process_function(
        &self,
        _: *const u8,
        _: *const u8,
        _: &mut (),
        _: kernel::process::FunctionCall,
    ) -> Result<(), ()> {
        Err(())
    }
    unsafe fn switch_to_process(
        &self,
        _: *const u8,
        _: *const u8,
        _: &mut (),
    ) -> (ContextSwitchReason, Option<*const u8>) {
        (ContextSwitchReason::Fault, None)
    }
    unsafe fn print_context(&self, _: *const u8, _: *const u8, _: &(), _: &mut dyn core::fmt::Write) {}
    fn store_context(&self, _: &(), _: &mut [u8]) -> Result<usize, ErrorCode> {
        Err(ErrorCode::FAIL)
    }
}

/// A kernel with so many places for processes.
pub fn kernel(places: usize) -> (&'static Kernel, &'static [ProcessSlot]) {
    let table: &'static [ProcessSlot; 8] =
        leak(kernel::process::ProcessArray::<8>::new()).as_slice().try_into().expect("eight places");
    let table = &table[..places];
    (leak(Kernel::new(table)), table)
}
