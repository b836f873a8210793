//! Who may say what, and what happens when somebody says too much.

use super::*;
use crate::slots::Slots;
use grants::syscall::{End, NodeRecord, PIECE_MAX, Part, TaskRecord, UsageRecord, down};
use proptest::prelude::*;

#[test]
fn eight_slots_fit_two_kilobytes() {
    let size = size_of::<Slots<8, 100, 52>>();
    std::println!("table of 8 slots: {size} bytes on this machine");
    assert!(size <= 2048);
}

#[test]
fn a_flood_fills_its_own_queue_alone() {
    let mut world = World::new();
    world.run_hosted(0, ALL);
    world.run_hosted(1, ALL);
    let (mut taken, mut busy) = (0, 0);
    for _ in 0..10_000 {
        match world.slot(HOST, 0, SlotCall::Log, &[b'x'; PIECE_MAX]) {
            Ok(Answer::Done) => taken += 1,
            other => {
                assert_eq!(other, refused(ErrorCode::BUSY));
                busy += 1;
            }
        }
    }
    assert_eq!((taken, busy), (2, 9_998));
    assert_eq!(world.slot(HOST, 0, SlotCall::Message { more: false }, &[1; 9]), refused(ErrorCode::BUSY));
    assert_eq!(world.slot(HOST, 1, SlotCall::Message { more: false }, b"other"), Ok(Answer::Done));
    assert_eq!(world.take(1), (up::MESSAGE, b"other".to_vec()));
    // The end has room for ever, and comes last.
    assert_eq!(world.host(0, HostCall::Ended(End::Exited(-3))), Ok(Answer::Done));
    let usage = world.core.slots.entry(0).expect("a slot").clone();
    assert_eq!(
        (usage.log_bytes, usage.messages),
        (2 * PIECE_MAX as u32, 0),
        "what was refused is not counted"
    );
    assert_eq!(world.take(0), (up::LOG, std::vec![b'x'; PIECE_MAX]));
    assert_eq!(world.take(0).0, up::LOG);
    assert_eq!(world.take(0), ended(End::Exited(-3)));
    assert_eq!(world.take(0), (0, std::vec![]));
    assert_eq!(world.slot(HOST, 0, SlotCall::Log, b"late"), refused(ErrorCode::OFF));
    assert_eq!(world.host(0, HostCall::Ended(End::Fault)), refused(ErrorCode::OFF));
}

#[test]
fn orders_have_room_when_messages_have_none() {
    let mut world = World::new();
    world.run_hosted(0, ALL);
    let deliver = AgentCall::Deliver { slot: 0, more: true };
    assert_eq!(world.agent(deliver, &[9; PIECE_MAX]), Ok(Answer::Done));
    assert_eq!(world.agent(deliver, &[9; PIECE_MAX]), refused(ErrorCode::BUSY));
    assert_eq!(world.agent(deliver, &[9; PIECE_MAX + 1]), refused(ErrorCode::SIZE));
    world.fakes.now_ms.set(1_000);
    assert_eq!(world.agent(AgentCall::Stop { slot: 0, grace_ms: 700 }, &[]), Ok(Answer::Value(1)));
    world.fakes.now_ms.set(1_200);
    assert_eq!(world.order(HOST, 0), (down::STOP, 500u32.to_le_bytes().to_vec()));
    assert_eq!(world.agent(AgentCall::Kill { slot: 0 }, &[]), Ok(Answer::Done));
    assert_eq!(world.order(HOST, 0), (down::KILL, std::vec![]));
    assert_eq!(world.order(HOST, 0), (down::MESSAGE_PART, std::vec![9; PIECE_MAX]));
    assert_eq!(world.order(HOST, 0), (0, std::vec![]));
    // What a task did not take ends with it.
    assert_eq!(world.agent(deliver, &[9; PIECE_MAX]), Ok(Answer::Done));
    assert_eq!(world.core.slots.news_down(1), Some(1));
    assert_eq!(world.host(0, HostCall::Ended(End::Killed)), Ok(Answer::Done));
    assert_eq!(world.core.slots.news_down(1), None);
}

#[test]
fn everybody_is_told_once_until_all_is_taken() {
    let mut world = World::new();
    world.run_hosted(0, ALL);
    assert_eq!(world.core.slots.news_up(), None);
    assert_eq!(world.slot(HOST, 0, SlotCall::Log, b"a"), Ok(Answer::Done));
    assert_eq!(world.core.slots.news_up(), Some(1));
    assert_eq!(world.core.slots.news_up(), Some(1), "nobody was told");
    world.core.slots.told_up(1);
    assert_eq!(world.slot(HOST, 0, SlotCall::Log, b"b"), Ok(Answer::Done));
    assert_eq!(world.core.slots.news_up(), None, "told, and has not taken all");
    assert_eq!((world.take(0).0, world.take(0).0, world.take(0).0), (up::LOG, up::LOG, 0));
    assert_eq!(world.core.slots.news_up(), None);
    assert_eq!(world.slot(HOST, 0, SlotCall::Log, b"c"), Ok(Answer::Done));
    assert_eq!(world.core.slots.news_up(), Some(1));
    world.core.slots.told_up(1);
    // An agent that starts anew asks what there is, and has heard nothing.
    assert_eq!(world.agent(AgentCall::Capacity, &[]), Ok(Answer::Bytes(NodeRecord::LEN)));
    assert_eq!(world.core.slots.news_up(), Some(1));
}

#[test]
fn a_capability_that_is_not_granted_is_refused_and_counted() {
    let calls = [
        (SlotCall::Log, Capabilities::LOG),
        (SlotCall::Message { more: true }, Capabilities::MESSAGE),
        (SlotCall::Led { index: 0, on: true }, Capabilities::LED),
        (SlotCall::Sensor { index: 0 }, Capabilities::SENSOR),
    ];
    for (call, needs) in calls {
        for granted in [ALL & !needs, needs] {
            let mut world = World::new();
            world.run_hosted(0, granted);
            let answer = world.slot(HOST, 0, call, b"x");
            let refusals = world.core.slots.entry(0).expect("a slot").refused;
            if granted == needs {
                assert!(answer.is_ok() && refusals == 0, "{call:?}: {answer:?}");
            } else {
                assert_eq!((answer, refusals), (refused(ErrorCode::NOACK), 1), "{call:?}");
                assert_eq!(world.fakes.leds.get(), 0);
            }
        }
    }
    let mut world = World::new();
    world.run_hosted(0, ALL & !Capabilities::KV);
    let read = |part| SlotCall::Read { part, offset: 0 }.encode(0);
    assert_eq!(world.later(HOST, read(Part::Values), &[], 9), Err(ErrorCode::NOACK));
    assert_eq!(world.later(HOST, SlotCall::Write { offset: 0 }.encode(0), &[1], 0), Err(ErrorCode::NOACK));
    assert_eq!(world.later(HOST, read(Part::Image), &[], 9), Ok((9, std::vec![7; 9])));
}

#[test]
fn a_task_sees_its_own_devices_alone() {
    let mut world = World::new();
    world.run_hosted(0, ALL);
    world.run_hosted(1, ALL);
    assert_eq!(world.slot(HOST, 1, SlotCall::Led { index: 0, on: true }, &[]), Ok(Answer::Done));
    assert_eq!(world.fakes.leds.get(), 0b10, "slot 0 holds the first LED");
    assert_eq!(world.slot(HOST, 1, SlotCall::Led { index: 1, on: true }, &[]), refused(ErrorCode::NODEVICE));
    assert_eq!(world.slot(HOST, 1, SlotCall::Sensor { index: 0 }, &[]), Ok(Answer::Value(-40i32 as u32)));
    for index in [1, 2, u32::MAX >> 8] {
        assert_eq!(world.slot(HOST, 1, SlotCall::Sensor { index }, &[]), refused(ErrorCode::NODEVICE));
    }
    let mut out = [0; 64];
    let told = world.command(HOST, SlotCall::Grant.encode(1), &[], &mut out);
    assert_eq!(told, Outcome::Now(Ok(Answer::Bytes(TaskRecord::LEN))));
    let record = TaskRecord::from_bytes(&out).expect("long enough");
    assert_eq!((record.leds, record.image_len, record.stop_ms, record.resumed), (0b10, 900, u32::MAX, 0));
}

#[test]
fn the_host_counts_for_its_slots_and_the_capsule_for_itself() {
    let mut world = World::new();
    world.run_hosted(0, Capabilities::MESSAGE);
    let used = UsageRecord {
        cpu_us: 5,
        granted_us: 6,
        mem_bytes: 7,
        mem_peak_bytes: 8,
        messages: 99,
        log_bytes: 99,
        refused: 2,
    };
    assert_eq!(world.now(HOST, HostCall::Used.encode(0), &used.to_bytes()), Ok(Answer::Done));
    assert_eq!(world.slot(HOST, 0, SlotCall::Log, b"no"), refused(ErrorCode::NOACK));
    for more in [true, true, false, false] {
        assert_eq!(world.slot(HOST, 0, SlotCall::Message { more }, b"m"), Ok(Answer::Done));
    }
    let mut out = [0; 64];
    world.command(AGENT, AgentCall::Usage { slot: 0 }.encode(), &[], &mut out);
    let record = UsageRecord::from_bytes(&out).expect("long enough");
    assert_eq!(record, UsageRecord { messages: 2, log_bytes: 0, refused: 3, ..used });
}

proptest! {
    /// Whoever calls whatever: nothing but the table's calls, by those that the table names.
    #[test]
    fn no_call_is_anybody_elses(command in prop_oneof![0usize..110, any::<usize>()], arg1 in prop_oneof![0usize..6, any::<usize>()], arg2 in prop_oneof![0usize..6, any::<usize>()],
        input in prop::collection::vec(any::<u8>(), 0..120), room in 0usize..64, who in 0usize..3)
    {
        let mut world = World::new();
        world.run_hosted(0, ALL);
        let by = [AGENT, HOST, task(NATIVE)][who];
        let outcome = world.command(by, (command, arg1, arg2), &input, &mut [0; 64][..room]);
        let theirs = matches!((who, command), (_, 0) | (0, 1..=16) | (1 | 2, 64..=72) | (1, 96..=99));
        prop_assert_eq!(outcome == Outcome::Now(refused(ErrorCode::NOSUPPORT)), !theirs, "{:?}", outcome);
        let counted = world.core.slots.strangers + world.core.slots.entry(NATIVE).expect("a slot").refused;
        prop_assert_eq!(counted, u32::from(!theirs));
        // A task of a slot where nothing runs can do nothing, whatever it calls.
        if who == 2 && command != 0 { prop_assert!(matches!(outcome, Outcome::Now(Err(_)))); }
    }
}
