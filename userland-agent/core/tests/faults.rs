//! What must hold whatever goes wrong: the node stops between any two writes, storage fails at any write, the
//! channel loses, doubles and reorders, and anyone sends anything.

mod support;

use agent_core::{Agent, Config, Event, StorageError};
use node_proto::{Failure, Launch, Order, State};
use proptest::prelude::*;
use support::Sim;
use support::os::{FakeOs, Fault, World};

/// Two tasks of one image one after the other, the second without a document, so that it could start the moment
/// its record is found; `fault` at a write.
fn two_tasks(fault: Option<(u64, Fault)>) -> Sim {
    let mut sim = Sim::new(3);
    sim.world.borrow_mut().fault = fault;
    let launch = sim.prepare(1, 200);
    sim.gateway.order(Order::Launch(launch));
    sim.until("ended", |sim| sim.ended(1));
    // Over before the next poll, which would confirm the order.
    sim.world.borrow_mut().script = vec![(0, Event::Exited(0))];
    sim.gateway.order(Order::Launch(Launch { task: 2, document_len: 0, ..launch }));
    sim.until("ended", |sim| sim.ended(2));
    // Long enough for anything that is to come a second time.
    sim.run(30_000);
    sim
}

fn each_write(fault: Fault, check: impl Fn(&Sim, u64)) {
    let writes = two_tasks(None).world.borrow().writes;
    assert!(writes > 15, "{writes} writes");
    for at in 0..writes {
        let sim = two_tasks(Some((at, fault)));
        check(&sim, at);
    }
}

fn crash_is_survived(fault: Fault) {
    each_write(fault, |sim, at| {
        for task in [1, 2] {
            sim.check(task);
            let last = *sim.states(task).last().unwrap();
            assert!(
                matches!(last, State::Exited(0) | State::Failed(Failure::Restarted)),
                "write {at}, task {task}: {last:?}"
            );
        }
        assert_eq!(sim.agent.tasks(), 0, "write {at}");
        let world = sim.world.borrow();
        assert_eq!(world.records.len(), 3, "write {at}: boot, seen, images; no slot");
        assert!(world.images.values().all(|bytes| bytes.len() == 200), "write {at}");
    });
}

#[test]
fn stops_before_any_write() {
    crash_is_survived(Fault::CrashBefore);
}

#[test]
fn stops_after_any_write() {
    crash_is_survived(Fault::CrashAfter);
}

#[test]
fn storage_fails_from_any_write_on() {
    for error in [StorageError::Full, StorageError::Failed] {
        each_write(Fault::Error(error), |sim, at| {
            for task in [1, 2] {
                sim.check(task);
                let last = *sim.states(task).last().unwrap();
                assert!(
                    matches!(last, State::Exited(0) | State::Failed(Failure::Storage)),
                    "write {at}, task {task}: {last:?}"
                );
            }
        });
    }
}

/// The store's index must name every image that takes up room, or the store fills with what nobody removes.
#[test]
fn a_stop_at_an_order_leaves_no_image_out_of_the_books() {
    for fault in [Fault::CrashBefore, Fault::CrashAfter] {
        for at in 0..20 {
            let mut sim = Sim::new(3);
            sim.world.borrow_mut().fault = Some((at, fault));
            sim.launch(1, 200);
            sim.until("ended", |sim| sim.ended(1));
            sim.launch(2, 8100);
            sim.until("ended", |sim| sim.ended(2));
            let held: usize = sim.world.borrow().images.values().map(Vec::len).sum();
            assert!(held <= 8192, "write {at}, {fault:?}: {held} bytes in a store of 8192");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn each_task_runs_at_most_once_and_ends_once(
        seed in any::<u32>(),
        loss_permille in 0u64..300,
        restarts in prop::collection::vec(1u64..15_000, 0..4),
        crash in prop::option::of(2u64..60),
        kill in any::<bool>(),
    ) {
        let mut sim = Sim::new(u64::from(seed) + 1);
        sim.loss_permille = loss_permille;
        sim.chaos = true;
        sim.world.borrow_mut().script =
            vec![(500, Event::Message(vec![1; 48])), (2000, Event::Log(vec![2; 48])), (3000, Event::Exited(0))];
        sim.world.borrow_mut().fault = crash.map(|at| (at, Fault::CrashAfter));
        for task in 1..=3 {
            sim.launch(task, 400 * usize::from(task));
        }
        if kill {
            sim.gateway.order(Order::Kill { task: 2, grace_ms: 0 });
        }
        for pause in restarts {
            sim.run(pause);
            sim.restart();
        }
        sim.until("ended", |sim| (1..=3).all(|task| sim.ended(task)));
        sim.run(60_000);
        for task in 1..=3 {
            sim.check(task);
        }
    }

    #[test]
    fn any_datagram_is_survived(
        datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 1..60),
        orders in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..20),
    ) {
        let mut sim = Sim::new(5);
        sim.until("up", |sim| sim.gateway.polls > 0);
        for (mid, mut bytes) in datagrams.into_iter().enumerate() {
            sim.agent.datagram(agent_core::Peer::Gateway, &bytes);
            // The same as a well-formed CoAP message with anything after the header.
            bytes.splice(0..0, [0x40 | (bytes.len() as u8 & 0x30), 2, 0x77, mid as u8]);
            sim.agent.datagram(agent_core::Peer::Gateway, &bytes);
            sim.step();
        }
        for (mid, order) in orders.into_iter().enumerate() {
            let head = [0x40, 2, 0x99, mid as u8, 0xb1, b'c', 0xff];
            sim.agent.datagram(agent_core::Peer::Gateway, &[&head[..], &order].concat());
            sim.step();
        }
        prop_assert!(sim.agent.tasks() <= node_proto::limits::TASKS_MAX);
    }

    #[test]
    fn any_record_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..320), which in 0usize..6) {
        let world = std::rc::Rc::new(std::cell::RefCell::new(World::default()));
        use agent_core::Record::*;
        let bytes = [&[3], &bytes[..bytes.len().min(319)]].concat();
        world.borrow_mut().records.insert([Boot, Seen, Images, Slot(0), Releases, Sequence][which], bytes);
        if let Ok(mut agent) = Agent::new(FakeOs(world.clone()), Config::default(), 1) {
            for _ in 0..20 {
                agent.step();
                world.borrow_mut().now += 1000;
            }
        }
    }
}
