//! The executor capsule: slots that do what a script says, areas, and records.

use super::{Happening, NODE, World};
use grants::syscall::{
    AgentCall, Bounds, DRIVER, End, EndRecord, GrantRecord, NodeRecord, Part, UsageRecord, VerifyRecord, up,
};
use libtock_platform::{CommandReturn, ErrorCode};
use libtock_unittest::command_return::{failure, failure_u32, success, success_2_u32, success_u32};
use libtock_unittest::{DriverInfo, DriverShareRef, RoAllowBuffer, RwAllowBuffer, fake};
use sha2::{Digest as _, Sha256};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

pub const SLOTS: u8 = 6;
pub const AREAS: u8 = 4;
pub const AREA_BYTES: usize = 4096;

/// Where a slot is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    #[default]
    Free,
    Reserved,
    Verified,
    Running,
    Ended,
}

#[derive(Clone, Debug, Default)]
pub struct Slot {
    pub stage: Stage,
    pub grant: GrantRecord,
    pub document: Vec<u8>,
    pub image: Vec<u8>,
    /// What it says that was not taken.
    pub up: VecDeque<(u32, Vec<u8>)>,
    /// Pieces that it was sent.
    pub down: Vec<(bool, Vec<u8>)>,
    /// How often it answers that it has no room.
    pub busy: u32,
}

/// What the capsule holds.
pub struct Capsule {
    pub slots: Vec<Slot>,
    pub areas: Vec<Vec<u8>>,
    pub records: Vec<u8>,
    /// What each task does: milliseconds after its start, the kind of record, and its bytes.
    pub script: Vec<(u64, u32, Vec<u8>)>,
    /// How long a call takes that is done later, milliseconds.
    pub delay_ms: u64,
    /// Bytes that one call moves at most.
    pub moves: usize,
    pub pending: bool,
    /// What `verify` answers, if not what it finds.
    pub verify_as: Option<ErrorCode>,
    /// Key, signature and message that go together.
    pub good_signature: Option<Vec<u8>>,
    /// The manifest that came with what was verified last.
    pub manifest: Vec<u8>,
    pub kills: Vec<u8>,
    pub stops: Vec<(u8, u32)>,
}

impl Capsule {
    pub fn new() -> Self {
        Self {
            slots: vec![Slot::default(); SLOTS.into()],
            areas: vec![vec![0xff; AREA_BYTES]; AREAS.into()],
            records: vec![0xff; 16 * 1024],
            script: vec![(200, up::ENDED, EndRecord::of(End::Exited(0)).to_bytes().to_vec())],
            delay_ms: 1,
            moves: 200,
            pending: false,
            verify_as: None,
            good_signature: None,
            manifest: Vec::new(),
            kills: Vec::new(),
            stops: Vec::new(),
        }
    }

    /// The app is gone, and what it waited for with it. Its slots run on.
    pub fn forget_app(&mut self) {
        self.pending = false;
    }

    pub fn node() -> NodeRecord {
        NodeRecord {
            eui64: u64::from_be_bytes(NODE),
            mem_bytes: 10_000,
            area_bytes: AREA_BYTES as u32,
            records_bytes: 16 * 1024,
            native_mem_bytes: 4096,
            native_image_bytes: 4096,
            cpu_permille: 1000,
            hosted: 0b1111,
            slots: SLOTS,
            areas: AREAS,
            leds: 0,
            sensors: 0,
        }
    }
}

/// The driver.
pub struct FakeCapsule {
    world: Rc<RefCell<World>>,
    share: DriverShareRef,
    input: RefCell<RoAllowBuffer>,
    out: RefCell<RwAllowBuffer>,
}

impl FakeCapsule {
    pub fn new(world: Rc<RefCell<World>>) -> Self {
        Self { world, share: DriverShareRef::default(), input: RefCell::default(), out: RefCell::default() }
    }

    pub fn happens(&self, happening: Happening) {
        match happening {
            Happening::Done(error, moved, command) => {
                self.world.borrow_mut().capsule.pending = false;
                self.share.schedule_upcall(0, (error, moved, command)).unwrap();
            }
            Happening::Says(slot, kind, bytes) => {
                let held = &mut self.world.borrow_mut().capsule.slots[usize::from(slot)];
                if held.stage != Stage::Running {
                    return;
                }
                held.up.push_back((kind, bytes));
                if kind == up::ENDED {
                    held.stage = Stage::Ended;
                }
                self.share.schedule_upcall(1, (1 << slot, 0, 0)).unwrap();
            }
            other => panic!("not the capsule's: {other:?}"),
        }
    }

    fn put_out(&self, bytes: &[u8]) -> usize {
        let mut out = self.out.borrow_mut();
        let len = bytes.len().min(out.len());
        out[..len].copy_from_slice(&bytes[..len]);
        len
    }

    /// What is done later, at once; what comes of it, later.
    fn later(&self, call: AgentCall, command: u32) -> CommandReturn {
        let mut world = self.world.borrow_mut();
        if world.capsule.pending {
            return failure(ErrorCode::Busy);
        }
        let input = self.input.borrow().to_vec();
        let held = &mut world.capsule;
        let moves = held.moves;
        let write = |to: &mut Vec<u8>, offset: u32| {
            let len = input.len().min(moves);
            let room = to.get_mut(offset as usize..offset as usize + len);
            room.map_or((ErrorCode::Size as u32, 0), |room| {
                room.copy_from_slice(&input[..len]);
                (0, len)
            })
        };
        let read = |from: &[u8], offset: u32| {
            let rest = from.get(offset as usize..).unwrap_or_default();
            (0, self.put_out(&rest[..rest.len().min(moves)]))
        };
        let (error, moved) = match call {
            AgentCall::Stage { area, offset } => write(&mut held.areas[usize::from(area)], offset),
            AgentCall::Load { area, offset } => read(&held.areas[usize::from(area)], offset),
            AgentCall::RecordsWrite { offset } => write(&mut held.records, offset),
            AgentCall::RecordsRead { offset } => read(&held.records, offset),
            AgentCall::Put { slot, part: Part::Document, offset } => {
                let document = &mut held.slots[usize::from(slot)].document;
                document.resize(offset as usize + input.len().min(moves), 0);
                write(document, offset)
            }
            AgentCall::Put { .. } => (0, 0),
            AgentCall::Verify { slot, area } => {
                let said = VerifyRecord::from_bytes(&input).unwrap();
                held.manifest = input[VerifyRecord::LEN..].to_vec();
                let image = held.areas[usize::from(area)][..said.len as usize].to_vec();
                let slot = &mut held.slots[usize::from(slot)];
                assert_eq!(slot.stage, Stage::Reserved);
                match held.verify_as {
                    Some(error) => (error as u32, 0),
                    None if Sha256::digest(&image)[..] != said.digest() => (ErrorCode::Fail as u32, 0),
                    None => {
                        (slot.stage, slot.image) = (Stage::Verified, image);
                        (0, 0)
                    }
                }
            }
            AgentCall::Signature => {
                let good = held.good_signature.as_deref() == Some(&input[..]);
                (if good { 0 } else { ErrorCode::NoAck as u32 }, 0)
            }
            _ => unreachable!(),
        };
        world.capsule.pending = true;
        let delay = world.capsule.delay_ms;
        world.after(delay, Happening::Done(error, moved as u32, command));
        success()
    }

    fn now(&self, call: AgentCall) -> CommandReturn {
        let mut world = self.world.borrow_mut();
        let script = world.capsule.script.clone();
        let input = self.input.borrow().to_vec();
        let held = &mut world.capsule;
        match call {
            AgentCall::Capacity => success_u32(self.put_out(&Capsule::node().to_bytes()) as u32),
            AgentCall::Reserve { slot } => {
                let slot = &mut held.slots[usize::from(slot)];
                if slot.stage != Stage::Free {
                    return failure(ErrorCode::Already);
                }
                let grant = GrantRecord::from_bytes(&input).unwrap();
                if grant.mem_bytes > 5000 {
                    return failure_u32(ErrorCode::NoMem, grant.mem_bytes - 5000);
                }
                *slot = Slot { stage: Stage::Reserved, grant, ..Slot::default() };
                success()
            }
            AgentCall::Release { slot } => {
                let slot = &mut held.slots[usize::from(slot)];
                match slot.stage {
                    Stage::Running => failure(ErrorCode::Off),
                    Stage::Free => failure(ErrorCode::Already),
                    _ => {
                        slot.stage = Stage::Free;
                        success()
                    }
                }
            }
            AgentCall::Start { slot, .. } => {
                let state = &mut held.slots[usize::from(slot)];
                if state.stage != Stage::Verified {
                    return failure(ErrorCode::Off);
                }
                state.stage = Stage::Running;
                for (after, kind, bytes) in script {
                    world.after(after, Happening::Says(slot, kind, bytes));
                }
                success()
            }
            AgentCall::Stop { slot, grace_ms } => {
                held.stops.push((slot, grace_ms));
                success_u32(1)
            }
            AgentCall::Kill { slot } => {
                held.kills.push(slot);
                if held.slots[usize::from(slot)].stage != Stage::Running {
                    return failure(ErrorCode::Off);
                }
                let end = EndRecord::of(End::Killed).to_bytes().to_vec();
                world.after(1, Happening::Says(slot, up::ENDED, end));
                success()
            }
            AgentCall::Usage { .. } => {
                let usage = UsageRecord { cpu_us: 5_000, mem_bytes: 64, ..UsageRecord::default() };
                success_u32(self.put_out(&usage.to_bytes()) as u32)
            }
            AgentCall::Take { slot } => match held.slots[usize::from(slot)].up.pop_front() {
                Some((kind, bytes)) => success_2_u32(kind, self.put_out(&bytes) as u32),
                None => success_u32(0),
            },
            AgentCall::Deliver { slot, more } => {
                let slot = &mut held.slots[usize::from(slot)];
                if slot.busy > 0 {
                    slot.busy -= 1;
                    return failure(ErrorCode::Busy);
                }
                slot.down.push((more, input));
                success()
            }
            _ => unreachable!(),
        }
    }
}

impl fake::SyscallDriver for FakeCapsule {
    fn info(&self) -> DriverInfo {
        DriverInfo::new(DRIVER as u32).upcall_count(2)
    }

    fn register(&self, share: DriverShareRef) {
        self.share.replace(share);
    }

    fn command(&self, command: u32, first: u32, second: u32) -> CommandReturn {
        if command == 0 {
            return success();
        }
        let bounds = Bounds { slots: SLOTS, areas: AREAS };
        let call = AgentCall::decode(command as usize, first as usize, second as usize, bounds);
        match call.expect("the app makes calls that decode") {
            call @ (AgentCall::Stage { .. }
            | AgentCall::Load { .. }
            | AgentCall::RecordsRead { .. }
            | AgentCall::RecordsWrite { .. }
            | AgentCall::Put { .. }
            | AgentCall::Verify { .. }
            | AgentCall::Signature) => self.later(call, command),
            call => self.now(call),
        }
    }

    fn allow_readonly(
        &self,
        _: u32,
        buffer: RoAllowBuffer,
    ) -> Result<RoAllowBuffer, (RoAllowBuffer, ErrorCode)> {
        Ok(self.input.replace(buffer))
    }

    fn allow_readwrite(
        &self,
        _: u32,
        buffer: RwAllowBuffer,
    ) -> Result<RwAllowBuffer, (RwAllowBuffer, ErrorCode)> {
        Ok(self.out.replace(buffer))
    }
}
