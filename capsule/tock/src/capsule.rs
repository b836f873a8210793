//! The capsule as Tock sees it: a driver, a client of the storage, and the hand on the processes of native slots.
//!
//! It decides nothing: it brings calls to the core, bytes to and from processes, and what the core asks for to the kernel.

use crate::board::{Board, Devices, Who};
use crate::calls::Input;
use crate::core::{Core, Outcome};
use crate::shares::Shares;
use crate::signatures::Signatures;
use crate::slots::{Answer, Env, Machine, Refused};
use crate::transfers::Caller;
use crate::work::Buffers;
use ::core::cell::Cell;
use ::core::num::NonZeroU32;
use grants::syscall::{DRIVER, PIECE_MAX, UPCALL_DONE, UPCALL_NEWS};
use grants::{Capabilities, Slot};
use kernel::ErrorCode;
use kernel::capabilities::{MemoryAllocationCapability, ProcessManagementCapability, ProcessStartCapability};
use kernel::deferred_call::{DeferredCall, DeferredCallClient};
use kernel::grant::{AllowRoCount, AllowRwCount, Grant, UpcallCount};
use kernel::hil::nonvolatile_storage::NonvolatileStorage;
use kernel::process::{Process, ProcessId, ShortId};
use kernel::syscall::{CommandReturn, SyscallDriver};
use kernel::utilities::cells::{MapCell, TakeCell};

/// The fewest bytes that [`Parts::buffer`] may have: what comes with a verification, and a piece of an image.
pub const SCRATCH_MIN: usize = 256;
/// Bytes of the largest record that a call made in the same breath puts out.
const OUTPUT_MAX: usize = 64;

pub(crate) type ProcessGrant = Grant<(), UpcallCount<2>, AllowRoCount<1>, AllowRwCount<1>>;

/// What a [`Capsule`] is made of.
pub struct Parts<const SLOTS: usize, const NATIVES: usize> {
    /// The kernel.
    pub kernel: &'static kernel::Kernel,
    /// The board.
    pub board: &'static Board<SLOTS>,
    /// What it shares with the scheduler.
    pub shares: &'static Shares<NATIVES>,
    /// Where all of [`Board::layout`] and the native slots' flash are. It calls back later, never from within a call.
    pub storage: &'static dyn NonvolatileStorage<'static>,
    /// For what goes to storage and comes from there, at least [`SCRATCH_MIN`] bytes.
    pub buffer: &'static mut [u8],
    /// LEDs and sensors.
    pub devices: &'static dyn Devices,
    /// How signatures are checked.
    pub signatures: &'static dyn Signatures,
    /// To look at processes and to end them.
    pub management: &'static dyn ProcessManagementCapability,
    /// To start them.
    pub starting: &'static dyn ProcessStartCapability,
}

/// The executor capsule for `SLOTS` slots, `NATIVES` of them native, with `UP` and `DOWN` bytes of queue for each.
pub struct Capsule<const SLOTS: usize, const NATIVES: usize, const UP: usize = 100, const DOWN: usize = 52> {
    pub(crate) kernel: &'static kernel::Kernel,
    pub(crate) board: &'static Board<SLOTS>,
    pub(crate) shares: &'static Shares<NATIVES>,
    pub(crate) storage: &'static dyn NonvolatileStorage<'static>,
    pub(crate) devices: &'static dyn Devices,
    pub(crate) signatures: &'static dyn Signatures,
    pub(crate) management: &'static dyn ProcessManagementCapability,
    pub(crate) starting: &'static dyn ProcessStartCapability,
    pub(crate) grant: ProcessGrant,
    pub(crate) core: MapCell<Core<ProcessId, SLOTS, NATIVES, UP, DOWN>>,
    pub(crate) buffer: TakeCell<'static, [u8]>,
    /// Bytes that the storage was asked to move; 0 while it has nothing to do.
    pub(crate) asked: Cell<usize>,
    pub(crate) deferred: DeferredCall,
    /// Bytes moved since processes had a turn, and the work that waits until they had one: how its last transfer went.
    pub(crate) moved: Cell<usize>,
    pub(crate) paused: Cell<Option<Result<(), ErrorCode>>>,
    /// The agent has run: from then on it is started again if it dies.
    pub(crate) agent_ran: Cell<bool>,
    /// The host's process, how often it died within a while, and when it did last, milliseconds.
    pub(crate) host: Cell<Option<usize>>,
    pub(crate) host_deaths: Cell<u8>,
    pub(crate) host_died_ms: Cell<u64>,
}

impl<const SLOTS: usize, const NATIVES: usize, const UP: usize, const DOWN: usize>
    Capsule<SLOTS, NATIVES, UP, DOWN>
{
    /// A capsule in which every slot is free. To be made before processes are loaded.
    ///
    /// # Panics
    /// If the board has another number of native slots than `NATIVES`, or the buffer is too small.
    pub fn new(parts: Parts<SLOTS, NATIVES>, memory: &dyn MemoryAllocationCapability) -> Self {
        let natives = (0..SLOTS as u8).filter(|slot| parts.board.native(*slot).is_some()).count();
        assert!(
            natives == NATIVES && parts.buffer.len() >= SCRATCH_MIN,
            "the board and its capsule do not agree"
        );
        Self {
            kernel: parts.kernel,
            board: parts.board,
            shares: parts.shares,
            storage: parts.storage,
            devices: parts.devices,
            signatures: parts.signatures,
            management: parts.management,
            starting: parts.starting,
            grant: parts.kernel.create_grant(DRIVER, memory),
            core: MapCell::new(Core::new(parts.board.capacity)),
            buffer: TakeCell::new(parts.buffer),
            asked: Cell::new(0),
            deferred: DeferredCall::new(),
            moved: Cell::new(0),
            paused: Cell::new(None),
            agent_ran: Cell::new(false),
            host: Cell::new(None),
            host_deaths: Cell::new(0),
            host_died_ms: Cell::new(0),
        }
    }

    /// Becomes the client of the storage and takes its deferred call. To be called once, before the kernel's loop.
    pub fn setup(&'static self) {
        self.storage.set_client(self);
        self.register();
    }

    /// Ends the processes of native slots, so that nothing is in them but what was verified. To be called when processes
    /// were loaded; the scheduler runs none of them before, either.
    pub fn init(&self) {
        for slot in 0..SLOTS as u8 {
            if self.state(slot) == Slot::Free {
                self.terminate(slot);
            }
        }
        if self.board.host.is_some() {
            self.host(0, false);
        }
    }

    /// The state of a slot.
    pub fn state(&self, slot: u8) -> Slot {
        self.core.map_or(Slot::Free, |core| core.slots.state(slot))
    }

    /// Calls that nobody but a slot's task or no process at all may make, and that others made.
    pub fn strangers(&self) -> u32 {
        self.core.map_or(0, |core| core.slots.strangers)
    }

    pub(crate) fn board(&self) -> &'static Board<SLOTS> {
        self.board
    }

    pub(crate) fn capabilities(&self, slot: u8) -> Capabilities {
        self.core.map_or(Capabilities(0), |core| core.slots.capabilities(slot))
    }

    pub(crate) fn refuse(&self, slot: u8) {
        self.core.map(|core| core.slots.refuse(slot));
    }

    pub(crate) fn env(&self) -> Env<'_, SLOTS> {
        Env { board: self.board, machine: self, devices: self.devices }
    }

    pub(crate) fn find(&self, app: NonZeroU32) -> Option<&'static dyn Process> {
        let is_it = |process: &&'static dyn Process| process.short_app_id() == ShortId::Fixed(app);
        self.kernel.process_iter_capability(self.management).find(is_it)
    }

    pub(crate) fn find_who(&self, who: Who) -> Option<&'static dyn Process> {
        self.board.app(who).and_then(|app| self.find(app))
    }

    pub(crate) fn buffers(&self, caller: ProcessId) -> Caller<'_> {
        Caller { grant: &self.grant, caller }
    }

    /// Tells the agent, the host and tasks that there is something to take, each at most once until it took all.
    pub(crate) fn news(&self) {
        if let Some(mask) = self.core.map(|core| core.slots.news_up()).flatten()
            && self.tell(Who::Agent, mask)
        {
            self.core.map(|core| core.slots.told_up(mask));
        }
        let hosted = self.core.map_or(0, |core| core.slots.hosted(self.board));
        self.news_down(Who::Host, hosted);
        for slot in (0..SLOTS as u8).filter(|slot| self.board.native(*slot).is_some()) {
            self.news_down(Who::Task(slot), 1 << slot);
        }
    }

    fn news_down(&self, who: Who, of: u32) {
        if let Some(mask) = self.core.map(|core| core.slots.news_down(of)).flatten()
            && self.tell(who, if who == Who::Host { mask } else { 1 })
        {
            self.core.map(|core| core.slots.told_down(mask));
        }
    }

    fn tell(&self, who: Who, news: u32) -> bool {
        self.find_who(who)
            .is_some_and(|process| self.upcall(process.processid(), UPCALL_NEWS, (news as usize, 0, 0)))
    }

    /// Puts an upcall in line instead of the one of its kind that waits there: a process that does not look at its upcalls
    /// fills no queue.
    pub(crate) fn upcall(&self, process: ProcessId, number: usize, arguments: (usize, usize, usize)) -> bool {
        let scheduled = self.grant.enter(process, |_, kernel| {
            kernel.remove_pending_upcalls(number);
            kernel.schedule_upcall(number, arguments).is_ok()
        });
        scheduled.unwrap_or(false)
    }
}

impl<const SLOTS: usize, const NATIVES: usize, const UP: usize, const DOWN: usize> SyscallDriver
    for Capsule<SLOTS, NATIVES, UP, DOWN>
{
    fn command(&self, command: usize, arg1: usize, arg2: usize, caller: ProcessId) -> CommandReturn {
        let Some(who) = self.board.who(caller.short_app_id()) else {
            self.core.map(|core| core.slots.strangers = core.slots.strangers.saturating_add(1));
            return CommandReturn::failure(ErrorCode::NOSUPPORT);
        };
        let buffers = self.buffers(caller);
        let (mut input, mut output) = ([0; PIECE_MAX], [0; OUTPUT_MAX]);
        let len = buffers.input();
        let bytes = input.get_mut(..len.min(PIECE_MAX)).filter(|bytes| !bytes.is_empty());
        let bytes = bytes.and_then(|bytes| buffers.copy_in(0, bytes).then_some(&*bytes)).unwrap_or(&[]);
        let input = Input { bytes, len };
        let room = buffers.output().min(OUTPUT_MAX);
        let room = output.get_mut(..room).unwrap_or_default();
        let asked = (command, arg1, arg2);
        let outcome = self.core.map(|core| core.command(&self.env(), (who, caller), asked, input, room));
        let answer = match outcome {
            None => CommandReturn::failure(ErrorCode::BUSY),
            Some(Outcome::Later) => {
                // Of a call that the process has given up: it would take that for the answer to this one.
                let _ = self.grant.enter(caller, |_, kernel| kernel.remove_pending_upcalls(UPCALL_DONE));
                self.deferred.set();
                CommandReturn::success()
            }
            Some(Outcome::Now(Err(Refused::For(code)))) => CommandReturn::failure(code),
            Some(Outcome::Now(Err(Refused::Missing(missing)))) => {
                CommandReturn::failure_u32(ErrorCode::NOMEM, missing)
            }
            Some(Outcome::Now(Ok(Answer::Done))) => CommandReturn::success(),
            Some(Outcome::Now(Ok(Answer::Value(value)))) => CommandReturn::success_u32(value),
            Some(Outcome::Now(Ok(Answer::Bytes(len)))) => {
                buffers.copy_out(0, output.get(..len).unwrap_or(&[]));
                CommandReturn::success_u32(len as u32)
            }
            Some(Outcome::Now(Ok(Answer::Record(kind, len)))) => {
                buffers.copy_out(0, output.get(..len).unwrap_or(&[]));
                CommandReturn::success_u32_u32(kind, len as u32)
            }
        };
        // Whatever became of the call: a task that could not be started has an end, too.
        self.news();
        answer
    }

    fn allocate_grant(&self, process: ProcessId) -> Result<(), kernel::process::Error> {
        self.grant.enter(process, |_, _| ())
    }
}
