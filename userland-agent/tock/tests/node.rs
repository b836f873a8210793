//! The whole app on a fake kernel: from its registration to the end of its tasks.

mod support;

use agent_core::provision::Provision;
use agent_tock::clock::Clock;
use grants::syscall::{End, EndRecord, up};
use libtock_platform::ErrorCode;
use node_proto::{Document, Failure, Kind, Manifest, Order, State};
use sha2::{Digest as _, Sha256};
use support::capsule::Stage;
use support::gateway::Told;
use support::{Happening, Machine, NODE, Syscalls, World, ended, prepare, provision};

/// Runs a task that does what `script` says; what it told comes back.
fn told(kind: Kind, script: Vec<(u64, u32, Vec<u8>)>) -> Vec<Told> {
    let machine = Machine::new();
    machine.world.borrow_mut().capsule.script = script;
    let mut node = machine.start();
    order(&machine, 1, kind, 300);
    machine.until(&mut node, "ended", |world| ended(world, 1));
    let slots = &machine.world.borrow().capsule.slots;
    assert!(slots.iter().all(|slot| slot.stage == Stage::Free), "the slot is given back");
    machine.world.borrow().gateway.told.clone()
}

fn order(machine: &Machine, task: u16, kind: Kind, image_len: usize) {
    let mut world = machine.world.borrow_mut();
    let launch = prepare(&mut world, task, kind, image_len);
    world.gateway.order(Order::Launch(launch));
}

fn end(end: End) -> (u64, u32, Vec<u8>) {
    (200, up::ENDED, EndRecord::of(end).to_bytes().to_vec())
}

fn last(told: &[Told]) -> (State, String) {
    match told.last() {
        Some(Told::Status(status)) => (status.state, status.note.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn registers_as_what_the_capsule_says_and_polls() {
    let machine = Machine::new();
    let mut node = machine.start();
    machine.until(&mut node, "polled", |world| world.gateway.polls > 3);
    machine.until(&mut node, "rested", |world| world.now_ms() > 60_000);
    assert!(node.rested_ms() > 50_000, "an idle node waits, and does not turn");
    let world = machine.world.borrow();
    let register = &world.gateway.registrations[0];
    assert_eq!((world.gateway.registrations.len(), register.eui64, register.boot), (1, NODE, 1));
    let inventory = &register.inventory;
    assert_eq!((inventory.flash_bytes, inventory.mem_bytes), (4 * 4096, 10_000));
    assert_eq!((inventory.runtimes.0, inventory.board.as_str()), (3, "fake"));
}

#[test]
fn a_restarted_app_comes_back_as_the_same_node_and_ends_what_ran() {
    let machine = Machine::new();
    machine.world.borrow_mut().capsule.script.clear();
    let mut node = machine.start();
    order(&machine, 1, Kind::Wasm, 300);
    machine.until(&mut node, "ran", |world| world.gateway.states(1).len() == 2);
    drop(node);
    let machine = machine.restart();
    let mut node = machine.start();
    machine.until(&mut node, "came back", |world| world.gateway.registrations.len() == 2);
    machine.until(&mut node, "told", |world| ended(world, 1));
    machine.until(&mut node, "gave back", |world| world.capsule.slots[0].stage == Stage::Free);
    let world = machine.world.borrow();
    assert_eq!(world.gateway.registrations[1].boot, 2);
    assert_eq!(world.gateway.registrations[1].epoch, world.gateway.registrations[0].epoch);
    assert_eq!(world.gateway.states(1).last(), Some(&State::Failed(Failure::Restarted)));
}

#[test]
fn a_task_runs_in_a_slot_of_its_kind_with_its_document_and_grant() {
    for (kind, slot) in [(Kind::Wasm, 0), (Kind::Native, 4)] {
        let machine = Machine::new();
        machine.world.borrow_mut().capsule.script.clear();
        let mut node = machine.start();
        order(&machine, 1, kind, 2000);
        machine.until(&mut node, "ran", |world| world.gateway.states(1).len() == 2);
        let world = machine.world.borrow();
        let held = &world.capsule.slots[slot];
        assert_eq!((held.stage, held.grant.mem_bytes), (Stage::Running, 1000));
        assert_eq!(held.document, world.gateway.documents[&1]);
        assert_eq!(held.image, world.gateway.images[&101]);
        assert_eq!(world.gateway.states(1), [State::Starting, State::Running]);
    }
}

#[test]
fn each_end_is_reported_as_a_normal_agent_would() {
    let failed = State::Failed;
    let ends = [
        (End::Exited(-3), State::Exited(-3), ""),
        (End::Fault, failed(Failure::Trap), ""),
        (End::Restarted, failed(Failure::Trap), "started itself anew"),
        (End::OverMemory { asked: 5000 }, failed(Failure::Memory), "asked 5000 B, granted 1000"),
        (End::BadImage, failed(Failure::Image), "not an image that can run"),
        (End::NotGranted, failed(Failure::Capability), "needs what was not granted"),
        (End::Unhealthy, failed(Failure::Unhealthy), ""),
    ];
    for (class, state, note) in ends {
        assert_eq!(last(&told(Kind::Wasm, vec![end(class)])), (state, note.into()), "{class:?}");
    }
    let noted = vec![(100, up::NOTE, b"unreachable".to_vec()), end(End::Fault)];
    assert_eq!(last(&told(Kind::Native, noted)), (failed(Failure::Trap), "unreachable".into()));
    let unknown = vec![(100, up::ENDED, vec![99, 0, 0, 0, 0])];
    assert_eq!(last(&told(Kind::Wasm, unknown)).0, failed(Failure::Trap));
}

#[test]
fn logs_and_messages_come_in_order_and_pieces_are_put_together() {
    let long: Vec<u8> = (0..200u8).collect();
    let mut script = vec![(10, up::LOG, b"begun".to_vec()), (20, up::MESSAGE, b"short".to_vec())];
    for (at, piece) in long.chunks(48).enumerate() {
        let kind = if at == 4 { up::MESSAGE } else { up::MESSAGE_PART };
        script.push((30 + at as u64, kind, piece.to_vec()));
    }
    script.push((50, up::STATUS, 7i32.to_le_bytes().to_vec()));
    script.push(end(End::Exited(0)));
    let told = told(Kind::Wasm, script);
    let log = told.iter().position(|told| matches!(told, Told::Log(log) if log.data == b"begun"[..]));
    let short = told.iter().position(|told| matches!(told, Told::Message(held) if held.data == b"short"[..]));
    let whole = told.iter().position(|told| matches!(told, Told::Long(_, bytes) if *bytes == long));
    assert!(log.is_some() && log < short && short < whole, "{told:?}");
    assert_eq!(last(&told).0, State::Exited(0));
}

#[test]
fn a_message_without_end_is_thrown_away_whole_and_the_next_is_not() {
    let mut script: Vec<_> = (0..30).map(|at| (10 + at, up::MESSAGE_PART, vec![1; 48])).collect();
    script.push((50, up::MESSAGE, vec![1; 48]));
    script.push((60, up::MESSAGE, b"next".to_vec()));
    script.push(end(End::Exited(0)));
    let told = told(Kind::Wasm, script);
    let sent: Vec<_> = told.iter().filter(|told| matches!(told, Told::Message(_) | Told::Long(..))).collect();
    assert!(matches!(sent[..], [Told::Message(held)] if held.data == b"next"[..]), "{sent:?}");
}

#[test]
fn a_kill_ends_the_slot_and_is_reported() {
    let machine = Machine::new();
    machine.world.borrow_mut().capsule.script.clear();
    let mut node = machine.start();
    order(&machine, 1, Kind::Native, 300);
    machine.until(&mut node, "ran", |world| world.gateway.states(1).len() == 2);
    machine.world.borrow_mut().gateway.order(Order::Kill { task: 1, grace_ms: 500 });
    machine.until(&mut node, "ended", |world| ended(world, 1));
    let world = machine.world.borrow();
    assert_eq!(world.capsule.stops, [(4, 500)]);
    assert_eq!(world.gateway.states(1).last(), Some(&State::Killed));
}

#[test]
fn what_a_task_does_not_take_at_once_is_offered_again() {
    let machine = Machine::new();
    machine.world.borrow_mut().capsule.script.clear();
    let mut node = machine.start();
    order(&machine, 1, Kind::Wasm, 300);
    machine.until(&mut node, "ran", |world| world.gateway.states(1).len() == 2);
    let body: Vec<u8> = (0..100).collect();
    machine.world.borrow_mut().capsule.slots[0].busy = 5;
    machine.world.borrow_mut().gateway.order_long(1, &body);
    machine.until(&mut node, "delivered", |world| {
        world.capsule.slots[0].down.last().is_some_and(|(more, _)| !more)
    });
    let world = machine.world.borrow();
    let down = &world.capsule.slots[0].down;
    assert_eq!(down.iter().map(|(more, _)| *more).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(down.iter().flat_map(|(_, piece)| piece.clone()).collect::<Vec<_>>(), body);
}

#[test]
fn what_the_kernel_finds_wrong_with_an_image_is_said() {
    let cases = [
        (ErrorCode::Fail, Failure::Digest),
        (ErrorCode::NoAck, Failure::Signature),
        (ErrorCode::Size, Failure::Resources),
        (ErrorCode::Invalid, Failure::Image),
    ];
    for (error, failure) in cases {
        let machine = Machine::new();
        machine.world.borrow_mut().capsule.verify_as = Some(error);
        let mut node = machine.start();
        order(&machine, 1, Kind::Native, 300);
        machine.until(&mut node, "ended", |world| ended(world, 1));
        let world = machine.world.borrow();
        assert_eq!(world.gateway.states(1).last(), Some(&State::Failed(failure)));
        assert!(world.capsule.slots.iter().all(|slot| slot.stage == Stage::Free));
    }
}

#[test]
fn a_node_that_knows_a_publisher_has_the_kernel_check_the_signature() {
    let (key, signature) = ([3; 32], [5; 64]);
    for good in [true, false] {
        let machine = Machine::new();
        let publishers = heapless::Vec::from_slice(&[key]).unwrap();
        machine.provision(&Provision { publishers, ..provision() });
        let mut node = machine.start();
        let sealed = {
            let mut world = machine.world.borrow_mut();
            let mut launch = prepare(&mut world, 1, Kind::Native, 300);
            let manifest = Manifest {
                name: "demo",
                sequence: 1,
                publisher: [3; 8],
                digest: Sha256::digest(&world.gateway.images[&101]).into(),
                size: 300,
                kind: Kind::Native,
                arch: None,
                board: "",
            };
            let sealed = manifest.seal(&signature).unwrap();
            let document = Document { manifest: &sealed, ..Document::default() };
            let mut buffer = [0; 256];
            let document = postcard::to_slice(&document, &mut buffer).unwrap().to_vec();
            launch.document_len = document.len() as u16;
            world.gateway.documents.insert(1, document);
            let message = manifest.signed_message().unwrap();
            let asked = [&key[..], &signature, &message].concat();
            world.capsule.good_signature = good.then_some(asked);
            world.gateway.order(Order::Launch(launch));
            sealed
        };
        machine.until(&mut node, "ended", |world| ended(world, 1));
        let world = machine.world.borrow();
        let state = if good { State::Exited(0) } else { State::Failed(Failure::Signature) };
        assert_eq!(world.gateway.states(1).last(), Some(&state));
        assert_eq!(world.capsule.manifest, if good { &sealed[..] } else { &[] }, "the kernel has it too");
        assert!(good || world.gateway.served_bytes == 0, "nothing is fetched on a word not believed");
    }
}

#[test]
fn areas_are_used_again_and_an_image_too_long_for_one_is_refused() {
    let machine = Machine::new();
    let mut node = machine.start();
    for task in 1..=6 {
        order(&machine, task, Kind::Wasm, 100 + usize::from(task));
        machine.until(&mut node, "ended", |world| ended(world, task));
        assert_eq!(machine.world.borrow().gateway.states(task).last(), Some(&State::Exited(0)));
    }
    order(&machine, 7, Kind::Wasm, 4097);
    machine.until(&mut node, "refused", |world| ended(world, 7));
    assert_eq!(machine.world.borrow().gateway.states(7), [State::Failed(Failure::Resources)]);
}

#[test]
fn what_is_no_image_at_all_is_not_fetched_to_its_end() {
    let machine = Machine::new();
    let mut node = machine.start();
    {
        let mut world = machine.world.borrow_mut();
        let mut launch = prepare(&mut world, 1, Kind::Wasm, 4000);
        launch.kind = Kind::Native;
        world.gateway.order(Order::Launch(launch));
    }
    machine.until(&mut node, "refused", |world| ended(world, 1));
    let world = machine.world.borrow();
    assert_eq!(world.gateway.states(1).last(), Some(&State::Failed(Failure::Image)));
    assert!(world.gateway.served_bytes < 1000);
}

#[test]
fn a_kernel_that_does_not_answer_in_time_is_not_waited_for() {
    let machine = Machine::new();
    let mut node = machine.start();
    machine.until(&mut node, "registered", |world| world.gateway.polls > 0);
    machine.world.borrow_mut().capsule.delay_ms = 20_000;
    order(&machine, 1, Kind::Wasm, 300);
    machine.until(&mut node, "tried", |world| world.gateway.polls > 4);
    let tried = machine.world.borrow().now_ms();
    machine.world.borrow_mut().capsule.delay_ms = 1;
    machine.until(&mut node, "polled on", |world| world.now_ms() > tried + 60_000);
    let polls = machine.world.borrow().gateway.polls;
    machine.until(&mut node, "still polls", |world| world.gateway.polls > polls + 2);
}

#[test]
fn strangers_and_garbage_do_no_harm() {
    let machine = Machine::new();
    let mut node = machine.start();
    let mut stranger = [0xfe; 16];
    for round in 0..200u16 {
        stranger[15] = round as u8;
        let garbage = (0..round % 140).map(|at| (at * 7 + round) as u8).collect();
        machine.world.borrow_mut().after(u64::from(round) * 11, Happening::ToNode(stranger, round, garbage));
    }
    machine.until(&mut node, "polled on", |world: &World| world.gateway.polls > 5);
    assert_eq!(machine.world.borrow().gateway.registrations.len(), 1);
}

#[test]
fn the_clock_goes_on_over_the_counters_wraps() {
    let machine = Machine::at(u32::MAX - 1000);
    let clock = Clock::<Syscalls>::open().unwrap();
    let mut before = clock.now_ms();
    for turn in 1..=40u64 {
        clock.rest(clock.now_ms() + 60_000 + turn);
        let now = clock.now_ms();
        assert!(now >= before + 60_000 && now.abs_diff(machine.world.borrow().now_ms()) <= 1, "turn {turn}");
        before = now;
        machine.kernel.take_syscall_log();
    }
    assert!(before > 2 * 429_000, "it has wrapped more than twice");
    assert_eq!(clock.waited_ms(), before);
}
