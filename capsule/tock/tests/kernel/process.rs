//! A process that does what a test says, one act after the other, and yields when there is none left.

use crate::machine::{Machine, TRUSTED, leak};
use kernel::platform::mpu;
use kernel::process::*;
use kernel::processbuffer::{ReadOnlyProcessBuffer, ReadWriteProcessBuffer};
use kernel::syscall::{ContextSwitchReason, Syscall, SyscallReturn, YieldVariant};
use kernel::upcall::UpcallId;
use kernel::utilities::capability_ptr::CapabilityPtr;
use kernel::{ErrorCode, Kernel};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::ptr::NonNull;
use tock_tbf::types::CommandPermissions;

/// What a process does.
#[derive(Clone, Copy)]
pub enum Act {
    /// Computes for so many microseconds; `u64::MAX`: for ever.
    Run(u64),
    /// A system call.
    Call(Syscall),
    /// Touches what is not its own.
    Fault,
    /// Moves its break to so many bytes.
    Break(usize),
}

type Granted = Option<(usize, Box<[u64]>)>;

/// See the module.
pub struct Fake {
    kernel: &'static Kernel,
    machine: &'static Machine,
    index: usize,
    app: u32,
    id: Cell<usize>,
    state: Cell<State>,
    completion: Cell<Option<Option<u32>>>,
    restarts: Cell<usize>,
    pub acts: RefCell<VecDeque<Act>>,
    pub returns: RefCell<VecDeque<SyscallReturn>>,
    pub upcalls: RefCell<Vec<(usize, usize, usize, usize)>>,
    tasks: RefCell<VecDeque<Task>>,
    grants: RefCell<Vec<Granted>>,
    entered: RefCell<Vec<bool>>,
    app_brk: Cell<usize>,
    /// It has no room for grants.
    pub full: Cell<bool>,
    /// Microseconds that it computed.
    pub ran_us: Cell<u64>,
    pub acted: Cell<usize>,
}

const SRAM: usize = 0x2000_0000;

impl Fake {
    /// Puts a process into the kernel's table. It is yielded, and has nothing to do.
    pub fn load(
        kernel: &'static Kernel,
        table: &[ProcessSlot],
        machine: &'static Machine,
        index: usize,
        app: u32,
    ) -> &'static Self {
        let fake = leak(Self {
            kernel,
            machine,
            index,
            app,
            id: Cell::new(100 + index),
            state: Cell::new(State::Yielded),
            completion: Cell::new(None),
            restarts: Cell::new(0),
            acts: RefCell::default(),
            returns: RefCell::default(),
            upcalls: RefCell::default(),
            tasks: RefCell::default(),
            grants: RefCell::new((0..4).map(|_| None).collect()),
            entered: RefCell::new(vec![false; 4]),
            app_brk: Cell::new(SRAM + 1024),
            full: Cell::new(false),
            ran_us: Cell::new(0),
            acted: Cell::new(0),
        });
        table[index].set_external(fake, &TRUSTED);
        fake
    }

    /// It has something to do from now on.
    pub fn go(&self, acts: &[Act]) {
        self.acts.borrow_mut().extend(acts);
        if self.state.get() == State::Yielded {
            self.state.set(State::Running);
        }
    }

    fn reset(&self) {
        self.id.set(self.id.get() + 1000);
        self.restarts.set(self.restarts.get() + 1);
        self.app_brk.set(SRAM + 1024);
        self.state.set(State::Yielded);
    }
}

/// What no test comes to.
fn unused<T>() -> T {
    unreachable!("not a part of these tests")
}

impl Process for Fake {
    fn processid(&self) -> ProcessId {
        ProcessId::new_external(self.kernel, self.id.get(), self.index, &TRUSTED)
    }
    fn short_app_id(&self) -> ShortId {
        NonZeroU32::new(self.app).into()
    }
    fn binary_version(&self) -> Option<BinaryVersion> {
        None
    }
    fn get_credential(&self) -> Option<AcceptedCredential> {
        None
    }
    fn get_restart_count(&self) -> usize {
        self.restarts.get()
    }
    fn get_process_name(&self) -> &'static str {
        "fake"
    }
    fn has_tasks(&self) -> bool {
        !self.tasks.borrow().is_empty()
    }
    fn pending_tasks(&self) -> usize {
        self.tasks.borrow().len()
    }
    fn enqueue_task(&self, task: Task) -> Result<(), ErrorCode> {
        if !self.is_running() {
            return Err(ErrorCode::NODEVICE);
        }
        if self.tasks.borrow().len() >= 10 {
            return Err(ErrorCode::NOMEM);
        }
        self.tasks.borrow_mut().push_back(task);
        Ok(())
    }
    fn dequeue_task(&self) -> Option<Task> {
        self.tasks.borrow_mut().pop_front()
    }
    fn remove_upcall(&self, _: UpcallId) -> Option<Task> {
        unused()
    }
    fn remove_pending_upcalls(&self, upcall_id: UpcallId) -> usize {
        let mut tasks = self.tasks.borrow_mut();
        let before = tasks.len();
        tasks.retain(|task| match task {
            Task::FunctionCall(call) => {
                !matches!(call.source, FunctionCallSource::Driver(source) if source == upcall_id)
            }
            Task::ReturnValue(value) => value.upcall_id != upcall_id,
            Task::IPC(_) => true,
        });
        before - tasks.len()
    }
    fn get_state(&self) -> State {
        self.state.get()
    }
    fn ready(&self) -> bool {
        match self.state.get() {
            State::Running => true,
            State::Yielded => self.has_tasks(),
            _ => false,
        }
    }
    fn is_running(&self) -> bool {
        matches!(self.state.get(), State::Running | State::Yielded | State::YieldedFor(_))
    }
    fn set_yielded_state(&self) {
        if self.state.get() == State::Running {
            self.state.set(State::Yielded);
        }
    }
    fn set_yielded_for_state(&self, _: UpcallId) {
        unused()
    }
    fn stop(&self) {
        unused()
    }
    fn resume(&self) {
        unused()
    }
    fn set_fault_state(&self) {
        self.state.set(State::Faulted);
    }
    fn start(&self, _: &dyn kernel::capabilities::ProcessStartCapability) {
        if self.state.get() == State::Terminated {
            self.reset();
            // The kernel calls the entry: the process runs.
            self.state.set(State::Running);
        }
    }
    fn try_restart(&self, completion_code: Option<u32>) {
        self.terminate(completion_code);
        self.reset();
        self.state.set(State::Running);
    }
    fn terminate(&self, completion_code: Option<u32>) {
        if !self.is_running() && self.state.get() != State::Faulted {
            return;
        }
        self.tasks.borrow_mut().clear();
        self.grants.borrow_mut().iter_mut().for_each(|grant| *grant = None);
        self.completion.set(Some(completion_code));
        self.state.set(State::Terminated);
    }
    fn get_completion_code(&self) -> Option<Option<u32>> {
        self.completion.get()
    }
    fn brk(&self, _: *const u8) -> Result<CapabilityPtr, Error> {
        unused()
    }
    fn sbrk(&self, _: isize) -> Result<CapabilityPtr, Error> {
        unused()
    }
    fn number_writeable_flash_regions(&self) -> usize {
        0
    }
    fn get_writeable_flash_region(&self, _: usize) -> (usize, usize) {
        unused()
    }
    fn update_stack_start_pointer(&self, _: *const u8) {}
    fn update_heap_start_pointer(&self, _: *const u8) {}
    fn build_readwrite_process_buffer(
        &self,
        at: *mut u8,
        size: usize,
    ) -> Result<ReadWriteProcessBuffer, ErrorCode> {
        // Safety: tests allow memory that they leaked, with its length.
        Ok(unsafe { ReadWriteProcessBuffer::new_external(at, size, self.processid(), &TRUSTED) })
    }
    fn build_readonly_process_buffer(
        &self,
        at: *const u8,
        size: usize,
    ) -> Result<ReadOnlyProcessBuffer, ErrorCode> {
        // Safety: as above.
        Ok(unsafe { ReadOnlyProcessBuffer::new_external(at, size, self.processid(), &TRUSTED) })
    }
    unsafe fn set_byte(&self, _: *mut u8, _: u8) -> bool {
        unused()
    }
    fn get_command_permissions(&self, _: usize, _: usize) -> CommandPermissions {
        CommandPermissions::NoPermsAtAll
    }
    fn get_storage_permissions(&self) -> kernel::storage_permissions::StoragePermissions {
        kernel::storage_permissions::StoragePermissions::new_null()
    }
    fn setup_mpu(&self) {}
    fn add_mpu_region(&self, _: *const u8, _: usize, _: usize) -> Option<mpu::Region> {
        None
    }
    fn remove_mpu_region(&self, _: mpu::Region) -> Result<(), ErrorCode> {
        Err(ErrorCode::FAIL)
    }
    fn allocate_grant(&self, grant: usize, driver: usize, size: usize, _: usize) -> Result<(), ()> {
        if self.full.get() {
            return Err(());
        }
        let memory = vec![0; size.div_ceil(8)].into_boxed_slice();
        *self.grants.borrow_mut().get_mut(grant).ok_or(())? = Some((driver, memory));
        Ok(())
    }
    fn grant_is_allocated(&self, grant: usize) -> Option<bool> {
        self.is_running().then(|| self.grants.borrow()[grant].is_some())
    }
    fn allocate_custom_grant(
        &self,
        _: usize,
        _: usize,
    ) -> Result<(ProcessCustomGrantIdentifier, NonNull<u8>), ()> {
        Err(())
    }
    fn enter_grant(&self, grant: usize) -> Result<NonNull<u8>, Error> {
        if !self.is_running() {
            return Err(Error::InactiveApp);
        }
        if std::mem::replace(&mut self.entered.borrow_mut()[grant], true) {
            return Err(Error::AlreadyInUse);
        }
        let mut grants = self.grants.borrow_mut();
        let (_, memory) = grants[grant].as_mut().ok_or(Error::KernelError)?;
        NonNull::new(memory.as_mut_ptr().cast()).ok_or(Error::KernelError)
    }
    fn enter_custom_grant(&self, _: ProcessCustomGrantIdentifier) -> Result<*mut u8, Error> {
        unused()
    }
    unsafe fn leave_grant(&self, grant: usize) {
        self.entered.borrow_mut()[grant] = false;
    }
    fn grant_allocated_count(&self) -> Option<usize> {
        self.is_running().then(|| self.grants.borrow().iter().flatten().count())
    }
    fn lookup_grant_from_driver_num(&self, driver: usize) -> Result<usize, Error> {
        let grants = self.grants.borrow();
        let is_it = |grant: &Granted| grant.as_ref().is_some_and(|(number, _)| *number == driver);
        // What the kernel takes as: not allocated yet.
        grants.iter().position(is_it).ok_or(Error::OutOfMemory)
    }
    fn is_valid_upcall_function_pointer(&self, _: *const ()) -> bool {
        true
    }
    fn set_syscall_return_value(&self, value: SyscallReturn) {
        self.returns.borrow_mut().push_back(value);
    }
    fn set_process_function(&self, call: FunctionCall) {
        if let FunctionCallSource::Driver(source) = call.source {
            let arguments = (source.subscribe_num, call.argument0, call.argument1, call.argument2);
            self.upcalls.borrow_mut().push(arguments);
        }
        self.state.set(State::Running);
    }
    fn switch_to(&self) -> Option<ContextSwitchReason> {
        let act = self.acts.borrow_mut().pop_front();
        self.acted.set(self.acted.get() + 1);
        Some(match act {
            Some(Act::Run(us)) => {
                let before = self.machine.now_us.get();
                let cut = self.machine.run(us);
                let ran = self.machine.now_us.get() - before;
                self.ran_us.set(self.ran_us.get() + ran);
                let left = if us == u64::MAX { us } else { us - ran };
                if left > 0 {
                    self.acts.borrow_mut().push_front(Act::Run(left));
                }
                assert!(cut || left == 0);
                ContextSwitchReason::Interrupted
            }
            Some(Act::Call(syscall)) => ContextSwitchReason::SyscallFired { syscall },
            Some(Act::Fault) => ContextSwitchReason::Fault,
            Some(Act::Break(bytes)) => {
                self.app_brk.set(SRAM + bytes);
                ContextSwitchReason::Interrupted
            }
            None => ContextSwitchReason::SyscallFired {
                syscall: Syscall::Yield { yield_type: YieldVariant::Wait },
            },
        })
    }
    fn get_addresses(&self) -> ProcessAddresses {
        ProcessAddresses {
            flash_start: 0,
            flash_non_protected_start: 0,
            flash_integrity_end: std::ptr::null(),
            flash_end: 0,
            sram_start: SRAM,
            sram_app_brk: self.app_brk.get(),
            sram_grant_start: 0,
            sram_end: 0,
            sram_heap_start: None,
            sram_stack_top: None,
            sram_stack_bottom: None,
        }
    }
    fn get_sizes(&self) -> ProcessSizes {
        unused()
    }
    fn get_stored_state(&self, _: &mut [u8]) -> Result<usize, ErrorCode> {
        Err(ErrorCode::FAIL)
    }
    fn print_full_process(&self, _: &mut dyn std::fmt::Write) {}
    fn debug_syscall_count(&self) -> usize {
        0
    }
    fn debug_dropped_upcall_count(&self) -> usize {
        0
    }
    fn debug_timeslice_expiration_count(&self) -> usize {
        0
    }
    fn debug_timeslice_expired(&self) {}
    fn debug_syscall_called(&self, _: Syscall) {}
    fn debug_syscall_last(&self) -> Option<Syscall> {
        None
    }
}
