//! Calls that move bytes: each stays in its own part of the storage.

use super::*;
use crate::slots::WRITES_MAX;
use grants::syscall::Part;
use proptest::prelude::*;

#[test]
fn documents_and_values_are_a_slots_own() {
    let mut world = World::new();
    let put = |slot, part, offset| AgentCall::Put { slot, part, offset }.encode();
    assert_eq!(world.later(AGENT, put(0, Part::Document, 0), b"doc", 0), Err(ErrorCode::OFF), "not reserved");
    for slot in [0, 1] {
        assert_eq!(world.agent(AgentCall::Reserve { slot }, &grant(ALL)), Ok(Answer::Done));
        assert_eq!(world.later(AGENT, put(slot, Part::Values, 0), &[], 0), Ok((0, std::vec![])));
    }
    let document: Vec<u8> = (0..700u32).map(|at| at as u8).collect();
    assert_eq!(world.later(AGENT, put(0, Part::Document, 0), &document[..600], 0), Ok((600, std::vec![])));
    assert_eq!(world.later(AGENT, put(0, Part::Document, 600), &document[600..], 0), Ok((100, std::vec![])));
    assert_eq!(world.later(AGENT, put(0, Part::Document, 1000), &[1; 25], 0), Err(ErrorCode::SIZE));
    assert_eq!(world.later(AGENT, put(1, Part::Document, 0), &[9; 1024], 0), Ok((1024, std::vec![])));
    // Written anew from the start, it is as long as that.
    assert_eq!(world.later(AGENT, put(1, Part::Document, 0), &[8; 5], 0), Ok((5, std::vec![])));
    let image = std::vec![7; 900];
    world.stage(0, &image);
    for slot in [0, 1] {
        assert_eq!(world.verify(slot, 0, &image, &[]), Ok(()));
        assert_eq!(world.agent(AgentCall::Start { slot, resumed: false }, &[]), Ok(Answer::Done));
    }
    let read = |slot, part, offset| SlotCall::Read { part, offset }.encode(slot);
    assert_eq!(world.later(HOST, read(0, Part::Document, 0), &[], 2000), Ok((700, document.clone())));
    assert_eq!(world.later(HOST, read(0, Part::Document, 690), &[], 20), Ok((10, document[690..].to_vec())));
    assert_eq!(world.later(HOST, read(0, Part::Document, 700), &[], 20), Ok((0, std::vec![])));
    assert_eq!(world.later(HOST, read(0, Part::Document, 701), &[], 20), Err(ErrorCode::SIZE));
    assert_eq!(world.later(HOST, read(0, Part::Document, u32::MAX), &[], 20), Err(ErrorCode::SIZE));
    assert_eq!(world.later(HOST, read(0, Part::Document, 0), &[], 0), Err(ErrorCode::RESERVE));
    assert_eq!(world.later(HOST, read(1, Part::Document, 0), &[], 20), Ok((5, std::vec![8; 5])));
    assert_eq!(world.later(HOST, read(1, Part::Image, 890), &[], 20), Ok((10, std::vec![7; 10])));
    let write = |slot, offset| SlotCall::Write { offset }.encode(slot);
    assert_eq!(world.later(HOST, write(0, 500), &[3; 12], 0), Ok((12, std::vec![])));
    assert_eq!(world.later(HOST, write(0, 501), &[3; 12], 0), Err(ErrorCode::SIZE));
    assert_eq!(world.later(HOST, write(0, u32::MAX), &[3; 12], 0), Err(ErrorCode::SIZE));
    let values = [&[0; 500][..], &[3; 12]].concat();
    assert_eq!(world.later(HOST, read(0, Part::Values, 0), &[], 512), Ok((512, values)));
    assert_eq!(world.later(HOST, read(1, Part::Values, 0), &[], 512), Ok((512, std::vec![0; 512])));
}

/// On flash each write erases a page.
#[test]
fn values_are_written_now_and_then() {
    let mut world = World::new();
    let image = std::vec![7; 900];
    world.stage(0, &image);
    for slot in [0, 1] {
        assert_eq!(world.agent(AgentCall::Reserve { slot }, &grant(ALL)), Ok(Answer::Done));
        assert_eq!(world.verify(slot, 0, &image, &[]), Ok(()));
        assert_eq!(world.agent(AgentCall::Start { slot, resumed: false }, &[]), Ok(Answer::Done));
    }
    let write = |world: &mut World, slot| {
        world.later(HOST, SlotCall::Write { offset: 0 }.encode(slot), &[3; 12], 0).map(|(moved, _)| moved)
    };
    for _ in 0..WRITES_MAX {
        assert_eq!(write(&mut world, 0), Ok(12));
    }
    assert_eq!(write(&mut world, 0), Err(ErrorCode::NOMEM));
    assert_eq!(write(&mut world, 1), Ok(12), "another slot's are its own");
    world.fakes.now_ms.set(world.fakes.now_ms.get() + 2_000);
    assert_eq!([0, 0, 0].map(|slot| write(&mut world, slot)), [Ok(12), Ok(12), Err(ErrorCode::NOMEM)]);
}

#[test]
fn a_slot_that_ends_during_its_verification_is_not_brought_back() {
    let mut world = World::new();
    let image = std::vec![7; 900];
    world.stage(0, &image);
    assert_eq!(world.agent(AgentCall::Reserve { slot: 0 }, &grant(ALL)), Ok(Answer::Done));
    let digest: [u8; 32] = Sha256::digest(&image).into();
    let memory = Memory { input: VerifyRecord::of(900, &digest).to_bytes().to_vec(), ..Memory::default() };
    let call = AgentCall::Verify { slot: 0, area: 0 }.encode();
    assert_eq!(world.command(AGENT, call, &memory.input, &mut []), Outcome::Later);
    assert_eq!(world.core.serve(), Some(AGENT.1));
    let step = world.core.go_on((&world.board, &Dalek), &memory, &mut world.scratch, Ok(()));
    assert!(matches!(step, Step::Read { .. }));
    assert_eq!(world.agent(AgentCall::Kill { slot: 0 }, &[]), Ok(Answer::Done));
    assert_eq!(world.agent(AgentCall::Release { slot: 0 }, &[]), Ok(Answer::Done));
    assert_eq!(world.agent(AgentCall::Reserve { slot: 0 }, &grant(ALL)), Ok(Answer::Done));
    let step = world.core.go_on((&world.board, &Dalek), &memory, &mut world.scratch, Ok(()));
    assert_eq!((step, world.state(0)), (Step::Done(Err(ErrorCode::CANCEL)), Slot::Reserved));
}

#[test]
fn a_storage_that_fails_ends_the_call_alone() {
    let mut world = World::new();
    world.stage(0, &[7; 900]);
    assert_eq!(world.agent(AgentCall::Reserve { slot: 0 }, &grant(ALL)), Ok(Answer::Done));
    let memory = Memory { input: VerifyRecord::of(900, &[0; 32]).to_bytes().to_vec(), ..Memory::default() };
    let call = AgentCall::Verify { slot: 0, area: 0 }.encode();
    assert_eq!(world.command(AGENT, call, &memory.input, &mut []), Outcome::Later);
    assert_eq!(world.core.serve(), Some(AGENT.1));
    let mut go_on = |moved| world.core.go_on((&world.board, &Dalek), &memory, &mut world.scratch, moved);
    assert!(matches!(go_on(Ok(())), Step::Read { .. }));
    assert_eq!(go_on(Err(ErrorCode::FAIL)), Step::Done(Err(ErrorCode::FAIL)));
    world.core.served();
    assert!(matches!(world.state(0), Slot::Ended(_)), "nothing half checked is left");
    let load = AgentCall::Load { area: 0, offset: 898 }.encode();
    assert_eq!(world.later(AGENT, load, &[], 2), Ok((2, std::vec![7; 2])));
}

/// Any call of the agent that moves bytes.
fn call() -> impl Strategy<Value = AgentCall> {
    let offset = prop_oneof![0u32..6000, any::<u32>()];
    let slot = 0u8..SLOTS as u8;
    let part = prop_oneof![Just(Part::Document), Just(Part::Values), Just(Part::Image)];
    prop_oneof![
        (0u8..5, offset.clone()).prop_map(|(area, offset)| AgentCall::Stage { area, offset }),
        (0u8..5, offset.clone()).prop_map(|(area, offset)| AgentCall::Load { area, offset }),
        (slot, part, offset.clone()).prop_map(|(slot, part, offset)| AgentCall::Put { slot, part, offset }),
        offset.clone().prop_map(|offset| AgentCall::RecordsWrite { offset }),
        offset.prop_map(|offset| AgentCall::RecordsRead { offset }),
    ]
}

proptest! {
    #[test]
    fn every_call_stays_where_it_belongs(calls in prop::collection::vec((call(), prop::collection::vec(any::<u8>(), 0..2000), 0usize..2000), 1..12)) {
        let mut world = World::new();
        for slot in 0..SLOTS as u8 {
            world.agent(AgentCall::Reserve { slot }, &GrantRecord::of(&Grant::default()).to_bytes()).expect("room");
        }
        for (call, input, room) in calls {
            let before = world.storage.clone();
            let done = world.later(AGENT, call.encode(), &input, room);
            let (region, offset, write) = match call {
                AgentCall::Stage { area, offset } => (world.board.layout.area(area), offset, true),
                AgentCall::Load { area, offset } => (world.board.layout.area(area), offset, false),
                AgentCall::Put { slot, part, .. } if part == Part::Values && input.is_empty() => {
                    (world.board.layout.part(slot, part), 0, false)
                }
                AgentCall::Put { slot, part, offset } => (world.board.layout.part(slot, part), offset, true),
                AgentCall::RecordsWrite { offset } => (Some(LAYOUT.records), offset, true),
                AgentCall::RecordsRead { offset } => (Some(LAYOUT.records), offset, false),
                _ => unreachable!("not among those"),
            };
            let Some(region) = region else {
                prop_assert_eq!(done, Err(ErrorCode::INVAL));
                continue;
            };
            let at = u64::from(region.offset) + u64::from(offset);
            let end = u64::from(region.offset + region.len);
            if write {
                let fits = at + input.len() as u64 <= end;
                prop_assert_eq!(done.is_ok(), fits && !input.is_empty(), "{:?}", call);
                let mut expected = before;
                if done.is_ok() {
                    expected[at as usize..at as usize + input.len()].copy_from_slice(&input);
                }
                prop_assert!(world.storage == expected);
            } else if let AgentCall::Put { .. } = call {
                let mut expected = before;
                expected[region.offset as usize..end as usize].fill(0);
                prop_assert!(done.is_ok() && world.storage == expected);
            } else {
                prop_assert!(world.storage == before);
                prop_assert_eq!(done.is_ok(), at <= end && room > 0);
                if let Ok((_, bytes)) = done {
                    let len = room.min((end - at) as usize);
                    prop_assert_eq!(&bytes[..], &world.storage[at as usize..at as usize + len]);
                }
            }
        }
    }
}
