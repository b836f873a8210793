//! The life of slots: nothing leaks, nothing runs that was not verified, and who dies is in nobody's way.

use super::*;
use grants::syscall::{End, Part, down};
use proptest::prelude::*;

#[test]
fn two_hundred_loads_leave_nothing_behind() {
    let mut world = World::new();
    let empty = std::format!("{:?}", world.core.slots);
    let image = images::image(&images::binary(800), None);
    for round in 0..200u32 {
        let (hosted, slot) = ((round % 2) as u8, NATIVE + (round % 2) as u8);
        world.run_hosted(hosted, ALL);
        world.stage(1, &image);
        assert_eq!(world.agent(AgentCall::Reserve { slot }, &grant(ALL)), Ok(Answer::Done));
        assert_eq!(world.verify(slot, 1, &image, &[]), Ok(()), "round {round}");
        assert_eq!(world.agent(AgentCall::Start { slot, resumed: true }, &[]), Ok(Answer::Done));
        assert!(world.fakes.running.borrow()[usize::from(slot)]);
        assert_eq!(world.fakes.host.get(), (100, true));
        let _ = world.slot(task(slot), 0, SlotCall::Log, b"left in the queue");
        let end =
            [End::Exited(0), End::Fault, End::OverMemory { asked: 9 }, End::Restarted][round as usize % 4];
        world
            .core
            .slots
            .ended(&Env { board: &world.board, machine: &world.fakes, devices: &world.fakes }, slot, end)
            .expect("it ran");
        assert!(!world.fakes.running.borrow()[usize::from(slot)]);
        assert_eq!(world.host(hosted, HostCall::Ended(End::Exited(1))), Ok(Answer::Done));
        for slot in [hosted, slot] {
            assert_eq!(world.agent(AgentCall::Release { slot }, &[]), Ok(Answer::Done));
            assert_eq!(world.agent(AgentCall::Release { slot }, &[]), refused(ErrorCode::ALREADY));
        }
        assert_eq!(world.fakes.host.get(), (0, false));
        assert_eq!((world.core.slots.news_up(), world.core.slots.news_down(0xf)), (None, None));
        assert_eq!(std::format!("{:?}", world.core.slots), empty, "round {round}");
    }
}

#[test]
fn a_native_task_is_killed_on_the_spot_and_told_to_stop_only_if_it_listens() {
    let mut world = World::new();
    images::run_native(&mut world, NATIVE);
    assert_eq!(world.agent(AgentCall::Stop { slot: NATIVE, grace_ms: 50 }, &[]), Ok(Answer::Value(0)));
    assert_eq!(world.order(task(NATIVE), 0), (down::STOP, 50u32.to_le_bytes().to_vec()));
    assert_eq!(world.agent(AgentCall::Stop { slot: NATIVE, grace_ms: 30 }, &[]), Ok(Answer::Value(1)));
    assert_eq!(world.agent(AgentCall::Release { slot: NATIVE }, &[]), refused(ErrorCode::OFF));
    assert_eq!(world.agent(AgentCall::Kill { slot: NATIVE }, &[]), Ok(Answer::Done));
    assert!(!world.fakes.running.borrow()[usize::from(NATIVE)]);
    assert_eq!(world.agent(AgentCall::Kill { slot: NATIVE }, &[]), refused(ErrorCode::ALREADY));
    assert_eq!(world.take(NATIVE), ended(End::Killed));
    assert_eq!(world.agent(AgentCall::Release { slot: NATIVE }, &[]), Ok(Answer::Done));
}

#[test]
fn a_process_that_cannot_start_ends_its_slot() {
    let mut world = World::new();
    let image = images::image(&images::binary(100), None);
    world.stage(0, &image);
    assert_eq!(world.agent(AgentCall::Reserve { slot: NATIVE }, &grant(ALL)), Ok(Answer::Done));
    assert_eq!(world.agent(AgentCall::Start { slot: NATIVE, resumed: false }, &[]), refused(ErrorCode::OFF));
    assert_eq!(world.verify(NATIVE, 0, &image, &[]), Ok(()));
    world.fakes.cannot_start.set(true);
    assert_eq!(world.agent(AgentCall::Start { slot: NATIVE, resumed: false }, &[]), refused(ErrorCode::FAIL));
    assert!(matches!(world.state(NATIVE), Slot::Ended(_)));
    assert_eq!(world.take(NATIVE), ended(End::BadImage));
}

#[test]
fn what_the_host_was_not_told_of_is_killed_without_it() {
    let mut world = World::new();
    world.run_hosted(0, ALL);
    assert_eq!(world.agent(AgentCall::Kill { slot: 0 }, &[]), Ok(Answer::Done));
    assert!(world.state(0).may_run(), "the host ends it");
    let image = std::vec![7; 900];
    assert_eq!(world.agent(AgentCall::Reserve { slot: 1 }, &grant(ALL)), Ok(Answer::Done));
    assert_eq!(world.verify(1, 0, &image, &[]), Ok(()));
    assert_eq!(world.agent(AgentCall::Start { slot: 1, resumed: true }, &[]), Ok(Answer::Done));
    assert_eq!(world.agent(AgentCall::Kill { slot: 1 }, &[]), Ok(Answer::Done));
    assert_eq!(world.take(1), ended(End::Killed));
    assert_eq!(world.slot(HOST, 1, SlotCall::Take, &[]), refused(ErrorCode::OFF));
}

#[test]
fn the_hosts_death_is_its_tasks() {
    let mut world = World::new();
    world.run_hosted(0, ALL);
    images::run_native(&mut world, NATIVE);
    assert_eq!(world.slot(HOST, 0, SlotCall::Log, b"last words"), Ok(Answer::Done));
    let fakes = core::mem::take(&mut world.fakes);
    world.core.slots.host_died(&Env { board: &world.board, machine: &fakes, devices: &fakes }, true);
    world.fakes = fakes;
    assert_eq!(world.take(0), (up::LOG, b"last words".to_vec()));
    assert_eq!(world.take(0), ended(End::Fault));
    assert!(world.state(NATIVE).may_run());
    assert_eq!(world.agent(AgentCall::Reserve { slot: 1 }, &grant(ALL)), refused(ErrorCode::NODEVICE));
    assert_eq!(world.fakes.host.get(), (0, false));
}

#[test]
fn a_dead_caller_is_in_nobodys_way() {
    let mut world = World::new();
    world.run_hosted(0, ALL);
    images::run_native(&mut world, NATIVE);
    let read = SlotCall::Read { part: Part::Values, offset: 0 };
    // A task's call waits; the task dies; so does the host, and its successor calls.
    assert_eq!(world.command(task(NATIVE), read.encode(0), &[], &mut []), Outcome::Later);
    assert_eq!(world.command(HOST, read.encode(0), &[], &mut []), Outcome::Later);
    assert_eq!(world.command(HOST, read.encode(0), &[], &mut []), Outcome::Now(refused(ErrorCode::BUSY)));
    let successor = (Who::Host, 77);
    assert_eq!(world.command(successor, read.encode(0), &[], &mut []), Outcome::Later);
    let load = AgentCall::Load { area: 0, offset: 0 };
    assert_eq!(world.command(AGENT, load.encode(), &[], &mut []), Outcome::Later);
    assert_eq!(world.agent(AgentCall::Kill { slot: NATIVE }, &[]), Ok(Answer::Done));
    let alive = || Memory { output: RefCell::new(std::vec![0; 8]), ..Memory::default() };
    let mut served = std::vec![];
    while let Some((caller, result)) = {
        let next = if served.len() == 2 { Memory::default() } else { alive() };
        world.serve(&next)
    } {
        served.push((caller, result));
    }
    // In turn, from whoever is next after the last one served; the predecessor's call is gone.
    served.sort_by_key(|(caller, _)| *caller);
    let callers: Vec<u32> = served.iter().map(|(caller, _)| *caller).collect();
    assert_eq!(callers, [AGENT.1, task(NATIVE).1, 77]);
    assert_eq!(served[1].1, Err(ErrorCode::OFF), "its task has ended");
    // Nothing is left, and everybody may call again.
    assert_eq!(world.later(AGENT, load.encode(), &[], 4), Ok((4, std::vec![7; 4])));
}

#[test]
fn nobody_is_served_twice_before_the_others() {
    let mut world = World::new();
    world.run_hosted(0, ALL);
    images::run_native(&mut world, NATIVE);
    images::run_native(&mut world, NATIVE + 1);
    let read = SlotCall::Read { part: Part::Values, offset: 0 };
    let load = AgentCall::Load { area: 0, offset: 0 };
    let everybody = [
        (AGENT, load.encode()),
        (HOST, read.encode(0)),
        (task(NATIVE), read.encode(0)),
        (task(NATIVE + 1), read.encode(0)),
    ];
    for (by, call) in everybody {
        assert_eq!(world.command(by, call, &[], &mut []), Outcome::Later);
    }
    let memory = Memory { output: RefCell::new(std::vec![0; 8]), ..Memory::default() };
    let mut order = std::vec![];
    for _ in 0..400 {
        let (caller, result) = world.serve(&memory).expect("somebody waits");
        assert_eq!(result, Ok(8));
        order.push(caller);
        // It calls again at once.
        let (by, call) = *everybody.iter().find(|(by, _)| by.1 == caller).expect("one of them");
        assert_eq!(world.command(by, call, &[], &mut []), Outcome::Later);
    }
    for four in order.chunks(4) {
        let mut four = four.to_vec();
        four.sort();
        assert_eq!(four, [AGENT.1, HOST.1, task(NATIVE).1, task(NATIVE + 1).1]);
    }
}

/// One step of anybody.
#[derive(Clone, Copy, Debug)]
enum Move {
    Agent(AgentCall),
    Verify(u8, bool),
    End(u8),
    HostDies,
    Log(u8),
}

fn step() -> impl Strategy<Value = Move> {
    let slot = 0u8..SLOTS as u8;
    prop_oneof![
        slot.clone().prop_map(|slot| Move::Agent(AgentCall::Reserve { slot })),
        slot.clone().prop_map(|slot| Move::Agent(AgentCall::Release { slot })),
        (slot.clone(), any::<bool>())
            .prop_map(|(slot, resumed)| Move::Agent(AgentCall::Start { slot, resumed })),
        (slot.clone(), 0u32..9).prop_map(|(slot, grace_ms)| Move::Agent(AgentCall::Stop { slot, grace_ms })),
        slot.clone().prop_map(|slot| Move::Agent(AgentCall::Kill { slot })),
        slot.clone().prop_map(|slot| Move::Agent(AgentCall::Take { slot })),
        (slot.clone(), any::<bool>()).prop_map(|(slot, good)| Move::Verify(slot, good)),
        slot.clone().prop_map(Move::End),
        slot.prop_map(Move::Log),
        Just(Move::HostDies),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_comes_only_what_was_verified_runs_and_every_end_is_told_once(steps in prop::collection::vec(step(), 0..80)) {
        let mut world = World::new();
        let image = images::image(&images::binary(300), Some(native(0).addresses));
        world.stage(0, &image);
        let (mut verified, mut ends) = ([false; SLOTS], [0i32; SLOTS]);
        for step in steps {
            let states: Vec<Slot> = (0..SLOTS as u8).map(|slot| world.state(slot)).collect();
            match step {
                Move::Agent(AgentCall::Take { slot }) => {
                    if world.take(slot).0 == up::ENDED { ends[usize::from(slot)] -= 1; }
                }
                Move::Agent(call) => { let _ = world.agent(call, &grant(ALL)); }
                Move::Verify(slot, good) => {
                    let named = if good { image.clone() } else { std::vec![1; 30] };
                    let done = world.verify(slot, 0, &named, &[]);
                    prop_assert!(good || done.is_err());
                    if done.is_ok() { verified[usize::from(slot)] = true; }
                }
                Move::End(slot) => {
                    let env = Env { board: &world.board, machine: &world.fakes, devices: &world.fakes };
                    let _ = world.core.slots.ended(&env, slot, End::Exited(0));
                }
                Move::Log(slot) => { let _ = world.slot(HOST, slot, SlotCall::Log, b"x"); }
                Move::HostDies => {
                    let env = Env { board: &world.board, machine: &world.fakes, devices: &world.fakes };
                    world.core.slots.host_died(&env, false);
                }
            }
            let mut cpu = 0;
            for slot in 0..SLOTS as u8 {
                let (before, after, index) = (states[usize::from(slot)], world.state(slot), usize::from(slot));
                if after == Slot::Free { verified[index] = false; ends[index] = 0; }
                if after.may_run() { prop_assert!(verified[index]); }
                let native_runs = world.fakes.running.borrow()[index];
                prop_assert_eq!(native_runs, after.may_run() && world.board.native(slot).is_some());
                let killed_early = matches!(step, Move::Agent(AgentCall::Stop { .. } | AgentCall::Kill { .. }));
                if !matches!(before, Slot::Ended(_)) && matches!(after, Slot::Ended(_)) && (before.may_run() || killed_early || after.may_run()) {
                    ends[index] += 1;
                }
                prop_assert!(ends[index] == 0 || ends[index] == 1, "slot {slot}: {} ends untold", ends[index]);
                prop_assert_eq!(world.core.slots.entries[index].end.is_some(), ends[index] == 1);
                prop_assert_eq!(world.core.slots.ledger.grant(index).is_none(), after == Slot::Free);
                cpu += u32::from(world.core.slots.ledger.grant(index).map_or(0, |grant| grant.cpu_permille));
            }
            prop_assert!(cpu <= 900);
        }
    }
}
