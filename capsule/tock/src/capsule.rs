//! The capsule as Tock sees it: a driver, a client of the storage, and the hand on the processes of native slots.
//!
//! It decides nothing: it brings calls to the core, bytes to and from processes, and what the core asks for to the kernel.

use crate::board::{Board, Devices, Who};
use crate::calls::Input;
use crate::core::{Core, Outcome};
use crate::scheduler::Watch;
use crate::shares::Shares;
use crate::signatures::Signatures;
use crate::slots::{Answer, Env, Machine, Refused, Used};
use crate::work::{Buffers, Step};
use ::core::cell::Cell;
use ::core::num::NonZeroU32;
use grants::syscall::{BUFFER, DRIVER, End, PIECE_MAX, UPCALL_DONE, UPCALL_NEWS};
use grants::{Capabilities, Slot};
use kernel::ErrorCode;
use kernel::capabilities::{MemoryAllocationCapability, ProcessManagementCapability, ProcessStartCapability};
use kernel::deferred_call::{DeferredCall, DeferredCallClient};
use kernel::grant::{AllowRoCount, AllowRwCount, Grant, UpcallCount};
use kernel::hil::nonvolatile_storage::{NonvolatileStorage, NonvolatileStorageClient};
use kernel::process::{Process, ProcessId, ShortId, State};
use kernel::processbuffer::{ReadableProcessBuffer, WriteableProcessBuffer};
use kernel::syscall::{CommandReturn, SyscallDriver};
use kernel::utilities::cells::{MapCell, TakeCell};

/// The fewest bytes that [`Parts::buffer`] may have: what comes with a verification, and a piece of an image.
pub const SCRATCH_MIN: usize = 256;
/// Bytes of the largest record that a call made in the same breath puts out.
const OUTPUT_MAX: usize = 64;

type ProcessGrant = Grant<(), UpcallCount<2>, AllowRoCount<1>, AllowRwCount<1>>;

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
    kernel: &'static kernel::Kernel,
    board: &'static Board<SLOTS>,
    shares: &'static Shares<NATIVES>,
    storage: &'static dyn NonvolatileStorage<'static>,
    devices: &'static dyn Devices,
    signatures: &'static dyn Signatures,
    management: &'static dyn ProcessManagementCapability,
    starting: &'static dyn ProcessStartCapability,
    grant: ProcessGrant,
    core: MapCell<Core<ProcessId, SLOTS, NATIVES, UP, DOWN>>,
    buffer: TakeCell<'static, [u8]>,
    /// Bytes that the storage was asked to move; 0 while it has nothing to do.
    asked: Cell<usize>,
    deferred: DeferredCall,
    /// The host's process, and how often it died.
    host: Cell<Option<usize>>,
    host_deaths: Cell<u8>,
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
            host: Cell::new(None),
            host_deaths: Cell::new(0),
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

    fn env(&self) -> Env<'_, SLOTS> {
        Env { board: self.board, machine: self, devices: self.devices }
    }

    fn find(&self, app: NonZeroU32) -> Option<&'static dyn Process> {
        let is_it = |process: &&'static dyn Process| process.short_app_id() == ShortId::Fixed(app);
        self.kernel.process_iter_capability(self.management).find(is_it)
    }

    fn find_who(&self, who: Who) -> Option<&'static dyn Process> {
        self.board.app(who).and_then(|app| self.find(app))
    }

    fn buffers(&self, caller: ProcessId) -> Caller<'_> {
        Caller { grant: &self.grant, caller }
    }

    /// Tells the agent, the host and tasks that there is something to take, each at most once until it took all.
    fn news(&self) {
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
    fn upcall(&self, process: ProcessId, number: usize, arguments: (usize, usize, usize)) -> bool {
        let scheduled = self.grant.enter(process, |_, kernel| {
            kernel.remove_pending_upcalls(number);
            kernel.schedule_upcall(number, arguments).is_ok()
        });
        scheduled.unwrap_or(false)
    }

    /// Goes on with the call that takes longer, or with the next one in line.
    fn go_on(&self, buffer: Option<&'static mut [u8]>, moved: Result<(), ErrorCode>) {
        let serving = self.core.map(|core| {
            let fresh = core.serve();
            core.serving().filter(|_| fresh.is_some() || moved.is_err() || self.asked.get() > 0)
        });
        self.asked.set(0);
        let Some((caller, command)) = serving.flatten() else {
            if let Some(buffer) = buffer {
                self.buffer.replace(buffer);
            }
            return;
        };
        // A storage that refused a transfer has kept the buffer: nothing can be moved any more, but nobody waits for ever.
        let (mut none, mut held) = ([0; 0], buffer);
        let moved = if held.is_some() { moved } else { Err(ErrorCode::FAIL) };
        let scratch = held.as_deref_mut().unwrap_or(&mut none);
        let means = (self.board, self.signatures);
        let step = self.core.map(|core| core.go_on(means, &self.buffers(caller), scratch, moved));
        let (len, asked) = match (step, held) {
            (Some(Step::Read { at, len }), Some(buffer)) => {
                self.asked.set(len);
                (len, self.storage.read(buffer, at as usize, len))
            }
            (Some(Step::Write { at, len }), Some(buffer)) => {
                self.asked.set(len);
                (len, self.storage.write(buffer, at as usize, len))
            }
            (step, buffer) => {
                let result = if let Some(Step::Done(result)) = step { result } else { Err(ErrorCode::FAIL) };
                if let Some(buffer) = buffer {
                    self.buffer.replace(buffer);
                }
                self.core.map(|core| core.served());
                let (code, moved) = result.map_or_else(|code| (code.into(), 0), |moved| (0, moved as usize));
                self.upcall(caller, UPCALL_DONE, (code, moved, command));
                self.news();
                self.deferred.set();
                return;
            }
        };
        if asked.is_err() && len > 0 {
            self.go_on(None, Err(ErrorCode::FAIL));
        }
    }

    fn transferred(&self, buffer: &'static mut [u8], len: usize) {
        let moved = if len >= self.asked.get() { Ok(()) } else { Err(ErrorCode::FAIL) };
        self.go_on(Some(buffer), moved);
    }

    /// Why the task of a native slot has ended, if it has.
    fn end_of(&self, slot: u8) -> Option<End> {
        let native = self.board.native(slot)?;
        let Some(process) = self.find(native.app) else { return Some(End::Fault) };
        let share = self.shares.natives.get(self.board.native_index(slot)?)?;
        if share.process() != Some(process.processid().id()) {
            return Some(End::Restarted);
        }
        match process.get_state() {
            State::Faulted => return Some(End::Fault),
            State::Terminated => {
                let code = process.get_completion_code().flatten();
                return Some(code.map_or(End::Fault, |code| End::Exited(code as i32)));
            }
            _ => {}
        }
        let asked = self.used(slot).mem_bytes;
        let granted = self.core.map(|core| core.slots.ledger.grant(slot.into())).flatten()?.mem_bytes;
        (asked > granted).then_some(End::OverMemory { asked })
    }

    /// Looks whether a native slot's task has ended.
    fn look(&self, slot: u8) {
        if self.state(slot).may_run()
            && let Some(end) = self.end_of(slot)
        {
            self.core.map(|core| core.slots.ended(&self.env(), slot, end));
            self.news();
        }
    }

    /// Looks whether the host died, and starts it again as long as that may help.
    fn look_at_host(&self) {
        let Some(process) = self.find_who(Who::Host) else { return };
        let id = process.processid().id();
        let ended = matches!(process.get_state(), State::Faulted | State::Terminated);
        if !ended && self.host.get().is_none_or(|known| known == id) {
            self.host.set(Some(id));
            return;
        }
        if self.core.map_or(true, |core| core.slots.host_lost) {
            return;
        }
        let deaths = self.host_deaths.get().saturating_add(1);
        self.host_deaths.set(deaths);
        let for_good = deaths > self.board.host_restarts;
        self.core.map(|core| core.slots.host_died(&self.env(), for_good));
        if for_good {
            process.terminate(None);
            self.shares.host.end();
        } else if ended {
            process.terminate(None);
            process.start(self.starting);
        }
        self.host.set(Some(process.processid().id()));
        self.news();
    }
}

/// The buffers of a process.
struct Caller<'a> {
    grant: &'a ProcessGrant,
    caller: ProcessId,
}

impl Buffers for Caller<'_> {
    fn input(&self) -> usize {
        let len = self.grant.enter(self.caller, |_, kernel| {
            kernel.get_readonly_processbuffer(BUFFER).map_or(0, |buffer| buffer.len())
        });
        len.unwrap_or(0)
    }

    fn output(&self) -> usize {
        let len = self.grant.enter(self.caller, |_, kernel| {
            kernel.get_readwrite_processbuffer(BUFFER).map_or(0, |buffer| buffer.len())
        });
        len.unwrap_or(0)
    }

    fn copy_in(&self, from: usize, into: &mut [u8]) -> bool {
        let Some(end) = from.checked_add(into.len()) else { return false };
        let copied = self.grant.enter(self.caller, |_, kernel| {
            let buffer = kernel.get_readonly_processbuffer(BUFFER)?;
            buffer.enter(|bytes| {
                bytes.get(from..end).is_some_and(|bytes| bytes.copy_to_slice_or_err(into).is_ok())
            })
        });
        matches!(copied, Ok(Ok(true)))
    }

    fn copy_out(&self, from: usize, bytes: &[u8]) -> bool {
        let Some(end) = from.checked_add(bytes.len()) else { return false };
        let copied = self.grant.enter(self.caller, |_, kernel| {
            let buffer = kernel.get_readwrite_processbuffer(BUFFER)?;
            buffer.mut_enter(|room| {
                room.get(from..end).is_some_and(|room| room.copy_from_slice_or_err(bytes).is_ok())
            })
        });
        matches!(copied, Ok(Ok(true)))
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
                self.deferred.set();
                return CommandReturn::success();
            }
            Some(Outcome::Now(Err(Refused::For(code)))) => return CommandReturn::failure(code),
            Some(Outcome::Now(Err(Refused::Missing(missing)))) => {
                return CommandReturn::failure_u32(ErrorCode::NOMEM, missing);
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
        self.news();
        answer
    }

    fn allocate_grant(&self, process: ProcessId) -> Result<(), kernel::process::Error> {
        self.grant.enter(process, |_, _| ())
    }
}

impl<const SLOTS: usize, const NATIVES: usize, const UP: usize, const DOWN: usize> NonvolatileStorageClient
    for Capsule<SLOTS, NATIVES, UP, DOWN>
{
    fn read_done(&self, buffer: &'static mut [u8], length: usize) {
        self.transferred(buffer, length);
    }

    fn write_done(&self, buffer: &'static mut [u8], length: usize) {
        self.transferred(buffer, length);
    }
}

impl<const SLOTS: usize, const NATIVES: usize, const UP: usize, const DOWN: usize> DeferredCallClient
    for Capsule<SLOTS, NATIVES, UP, DOWN>
{
    fn handle_deferred_call(&self) {
        if self.asked.get() == 0 {
            self.go_on(self.buffer.take(), Ok(()));
        }
    }

    fn register(&'static self) {
        self.deferred.register(self);
    }
}

impl<const SLOTS: usize, const NATIVES: usize, const UP: usize, const DOWN: usize> Machine
    for Capsule<SLOTS, NATIVES, UP, DOWN>
{
    fn start(&self, slot: u8, grant: &grants::Grant) -> bool {
        let Some((process, native)) = self.find_who(Who::Task(slot)).zip(self.board.native_index(slot))
        else {
            return false;
        };
        // What faulted has to be ended before it can start.
        process.terminate(None);
        process.start(self.starting);
        let id = process.processid();
        let runs = !matches!(process.get_state(), State::Faulted | State::Terminated);
        // While it has memory left for that: one that takes all of it could not call the capsule.
        if !runs || self.grant.enter(id, |_, _| ()).is_err() {
            process.terminate(None);
            return false;
        }
        self.shares.begin(native, grant, id.id());
        true
    }

    fn terminate(&self, slot: u8) {
        if let Some(share) = self.board.native_index(slot).and_then(|native| self.shares.natives.get(native))
        {
            share.end();
        }
        if let Some(process) = self.find_who(Who::Task(slot)) {
            process.terminate(None);
        }
    }

    fn used(&self, slot: u8) -> Used {
        let share = self.board.native_index(slot).and_then(|native| self.shares.natives.get(native));
        let used = share.map_or(Used::default(), |share| share.usage());
        let mem_bytes = self.find_who(Who::Task(slot)).map_or(0, |process| {
            let addresses = process.get_addresses();
            u32::try_from(addresses.sram_app_brk.saturating_sub(addresses.sram_start)).unwrap_or(u32::MAX)
        });
        Used { mem_bytes, mem_peak_bytes: mem_bytes, ..used }
    }

    fn host(&self, permille: u16, strict: bool) {
        self.shares.host(permille.saturating_add(self.board.host_permille).min(1000), strict);
    }

    fn now_ms(&self) -> u64 {
        self.shares.now_us() / 1000
    }
}

impl<const SLOTS: usize, const NATIVES: usize, const UP: usize, const DOWN: usize> Watch
    for Capsule<SLOTS, NATIVES, UP, DOWN>
{
    fn who(&self, app: ShortId) -> Option<Who> {
        self.board.who(app)
    }

    fn native(&self, slot: u8) -> Option<usize> {
        self.board.native_index(slot)
    }

    fn ran(&self, who: Who) {
        match who {
            Who::Agent => {}
            Who::Host => self.look_at_host(),
            Who::Task(slot) => self.look(slot),
        }
    }

    fn window(&self) -> bool {
        let mut stopping = false;
        for slot in (0..SLOTS as u8).filter(|slot| self.board.native(*slot).is_some()) {
            self.look(slot);
            if let Slot::Stopping { deadline_ms } = self.state(slot) {
                if deadline_ms <= self.now_ms() {
                    self.core.map(|core| core.slots.ended(&self.env(), slot, End::Killed));
                } else {
                    stopping = true;
                }
            }
        }
        self.look_at_host();
        self.news();
        stopping
    }
}
