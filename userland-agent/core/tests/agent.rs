//! The life of tasks on a node, from the order to the last status.

mod support;

use agent_core::{Event, Link, StorageError};
use grants::Leds;
use node_coap::Code;
use node_proto::{Capabilities, Failure, Kind, Launch, Order, State};
use support::gateway::Told;
use support::os::{FakeOs, Fault, World};
use support::{Sim, document};

const HAPPY: [State; 3] = [State::Starting, State::Running, State::Exited(0)];

/// What becomes of a task that is changed before it is ordered.
fn outcome(change: impl FnOnce(&mut Sim, &mut Launch)) -> (Sim, Vec<State>) {
    let mut sim = Sim::new(1);
    let mut launch = sim.prepare(1, 300);
    change(&mut sim, &mut launch);
    sim.gateway.order(Order::Launch(launch));
    sim.until("ended", |sim| sim.ended(1));
    let states = sim.states(1);
    (sim, states)
}

fn fails(failure: Failure, change: impl FnOnce(&mut Launch)) {
    let (sim, states) = outcome(|_, launch| change(launch));
    assert_eq!(states, [State::Failed(failure)]);
    assert_eq!(sim.starts(1), 0);
    assert_eq!(sim.gateway.served_bytes, 0, "nothing is fetched for a task that will not run");
}

#[test]
fn registers_and_polls() {
    let mut sim = Sim::new(1);
    sim.until("polled", |sim| sim.gateway.polls > 3);
    assert_eq!(sim.gateway.registrations.len(), 1);
    assert_eq!(sim.gateway.registrations[0].boot, 1);
    assert!(matches!(sim.agent.link(), Link::Up { poll_ms: 5000, .. }));
}

#[test]
fn runs_a_task_and_reports_in_order() {
    let (mut sim, states) = outcome(|_, _| {});
    assert_eq!(states, HAPPY);
    assert_eq!(sim.starts(1), 1);
    assert_eq!(sim.gateway.served_bytes, 300);
    let (entry, args) = sim.world.borrow().started_with.clone();
    assert_eq!((entry.as_str(), args.len()), ("run", 150));
    assert!(document().len() > 64, "takes several blocks");
    sim.until("forgotten", |sim| sim.agent.tasks() == 0);
    assert_eq!(sim.world.borrow().records.len(), 3, "boot, seen, images; no slot");
}

#[test]
fn an_image_that_is_there_is_not_fetched_again() {
    let (mut sim, _) = outcome(|_, _| {});
    let launch = sim.prepare(1, 300);
    sim.gateway.documents.insert(2, document());
    sim.gateway.order(Order::Launch(Launch { task: 2, ..launch }));
    sim.until("ended", |sim| sim.ended(2));
    assert_eq!((sim.states(2), sim.gateway.served_bytes), (HAPPY.to_vec(), 300));
}

#[test]
fn keeps_a_status_until_it_is_taken() {
    let mut sim = Sim::new(1);
    sim.gateway.refuse_statuses = Some(Code::UNAVAILABLE);
    sim.launch(1, 300);
    sim.until("refused", |sim| sim.gateway.refused_statuses > 3);
    sim.restart();
    let refused = sim.gateway.refused_statuses;
    sim.until("offered again", |sim| sim.gateway.refused_statuses > refused);
    sim.gateway.refuse_statuses = None;
    sim.until("ended", |sim| sim.ended(1));
    assert_eq!(sim.states(1), HAPPY);
}

#[test]
fn a_refused_status_holds_nothing_else_up() {
    let mut sim = Sim::new(1);
    sim.world.borrow_mut().script = vec![(1000, Event::Message(b"still here".to_vec()))];
    sim.gateway.refuse_statuses = Some(Code::UNAVAILABLE);
    sim.launch(1, 3000);
    sim.run(60_000);
    assert_eq!(sim.starts(1), 1);
    assert!(sim.gateway.polls > 10, "{} polls", sim.gateway.polls);
    assert!(sim.gateway.refused_statuses <= 61, "{} times", sim.gateway.refused_statuses);
    assert!(sim.gateway.told.iter().any(|told| matches!(told, Told::Message(_))));
}

#[test]
fn discards_an_image_with_a_wrong_digest() {
    let (sim, states) = outcome(|sim, _| sim.gateway.images.get_mut(&101).unwrap()[7] ^= 1);
    assert_eq!(states, [State::Starting, State::Failed(Failure::Digest)]);
    assert_eq!(sim.starts(1), 0);
    assert!(sim.world.borrow().images.is_empty());
}

#[test]
fn refuses_what_it_cannot_run() {
    fails(Failure::Resources, |launch| launch.cpu_permille = 1001);
    fails(Failure::Resources, |launch| launch.mem_bytes = 10_001);
    fails(Failure::Capability, |launch| launch.capabilities.0 |= Capabilities::SENSOR);
    fails(Failure::Capability, |launch| launch.capabilities.0 |= Capabilities::LED);
    fails(Failure::Unsupported, |launch| launch.kind = Kind::Native);
    fails(Failure::Resources, |launch| launch.image_len = 0);
    fails(Failure::Resources, |launch| launch.image_len = 8193);
    fails(Failure::Resources, |launch| launch.image_len = u32::MAX);
    fails(Failure::Resources, |launch| launch.document_len = 1025);
}

#[test]
fn shares_out_what_it_has_and_takes_it_back() {
    let mut sim = Sim::new(1);
    sim.world.borrow_mut().script = vec![(20_000, Event::Exited(0))];
    for task in 1..=3 {
        let launch = sim.prepare(task, 100);
        sim.gateway.order(Order::Launch(Launch { mem_bytes: 5000, ..launch }));
    }
    sim.until("refused", |sim| sim.ended(3));
    assert_eq!(sim.states(3), [State::Failed(Failure::Resources)]);
    sim.until("ended", |sim| sim.ended(1) && sim.ended(2));
    let launch = sim.prepare(4, 100);
    sim.gateway.order(Order::Launch(Launch { mem_bytes: 10_000, ..launch }));
    sim.until("ended", |sim| sim.ended(4));
    assert_eq!(sim.states(4), HAPPY);
}

#[test]
fn fails_when_the_gateway_has_less_than_it_said() {
    for (image, document) in [(290, 0), (256, 0), (300, 64), (300, 100)] {
        let (sim, states) = outcome(|sim, _| {
            sim.gateway.images.get_mut(&101).unwrap().truncate(image);
            let whole = sim.gateway.documents.get_mut(&1).unwrap();
            whole.truncate(if document == 0 { whole.len() } else { document });
        });
        assert_eq!(states, [State::Starting, State::Failed(Failure::Fetch)], "{image} {document}");
        assert_eq!(sim.starts(1), 0);
    }
}

#[test]
fn kills_while_fetching() {
    let mut sim = Sim::new(1);
    sim.launch(1, 8000);
    sim.until("fetching", |sim| sim.gateway.served_bytes > 500);
    sim.gateway.order(Order::Kill { task: 1, grace_ms: 0 });
    sim.until("ended", |sim| sim.ended(1));
    assert_eq!((sim.states(1), sim.starts(1)), (vec![State::Starting, State::Killed], 0));
}

#[test]
fn kills_while_running_and_hands_over_messages() {
    let mut sim = Sim::new(1);
    sim.world.borrow_mut().script = vec![(LONG_RUN, Event::Exited(0))];
    sim.launch(1, 300);
    sim.until("running", |sim| sim.states(1).contains(&State::Running));
    let data = heapless::Vec::from_slice(b"hello").unwrap();
    sim.gateway.order(Order::Message { task: 1, data });
    sim.gateway.order(Order::Kill { task: 1, grace_ms: 0 });
    sim.until("ended", |sim| sim.ended(1));
    assert_eq!(sim.states(1), [State::Starting, State::Running, State::Killed]);
    assert_eq!(sim.world.borrow().delivered, [(1, b"hello".to_vec())]);
}

const LONG_RUN: u64 = support::LONG * 10;

#[test]
fn ignores_a_repeated_order() {
    let mut sim = Sim::new(1);
    let launch = sim.prepare(1, 300);
    sim.until("up", |sim| sim.gateway.polls > 0);
    for _ in 0..3 {
        let now = sim.now();
        sim.gateway.push(1, Order::Launch(launch), now);
        sim.run(20_000);
    }
    assert_eq!((sim.states(1), sim.starts(1)), (HAPPY.to_vec(), 1));
    assert_eq!(sim.gateway.push_answers, [Code::CHANGED; 3]);
    assert_eq!((sim.agent.counters().orders, sim.agent.counters().repeated_orders), (1, 2));
}

#[test]
fn registers_again_when_unknown() {
    let mut sim = Sim::new(1);
    sim.launch(1, 3000);
    sim.until("fetching", |sim| sim.gateway.served_bytes > 500);
    sim.gateway.registered = false;
    sim.until("ended", |sim| sim.ended(1));
    assert_eq!((sim.states(1), sim.gateway.registrations.len()), (HAPPY.to_vec(), 2));
}

#[test]
fn drops_its_tasks_when_the_gateway_is_fresh() {
    let mut sim = Sim::new(1);
    sim.world.borrow_mut().script = vec![(LONG_RUN, Event::Exited(0))];
    sim.launch(1, 300);
    sim.until("running", |sim| sim.states(1).contains(&State::Running));
    sim.gateway = support::gateway::Gateway::new(77);
    sim.until("dropped", |sim| sim.gateway.registered && sim.agent.tasks() == 0);
    assert_eq!(sim.world.borrow().kills, [1]);
    assert!(sim.world.borrow().running[&1].is_empty(), "the executor may forget the task");
    sim.world.borrow_mut().script = vec![(1, Event::Exited(0))];
    sim.launch(2, 300);
    sim.until("ended", |sim| sim.ended(2));
    assert_eq!((sim.states(1).len(), sim.states(2)), (0, HAPPY.to_vec()));
}

#[test]
fn ends_a_task_that_the_gateway_does_not_know() {
    let mut sim = Sim::new(1);
    sim.world.borrow_mut().script = vec![(LONG_RUN, Event::Exited(0))];
    sim.gateway.refuse_statuses = Some(Code::UNAVAILABLE);
    sim.launch(1, 300);
    sim.until("running", |sim| sim.starts(1) == 1);
    sim.gateway.refuse_statuses = Some(Code::NOT_FOUND);
    sim.until("dropped", |sim| sim.agent.tasks() == 0);
    assert_eq!(sim.world.borrow().kills, [1]);
    assert!(sim.world.borrow().running[&1].is_empty(), "the executor may forget the task");
    assert_eq!(sim.world.borrow().records.len(), 3, "boot, seen, images; no slot");
}

#[test]
fn restart_while_fetching_goes_on_where_it_was() {
    let mut sim = Sim::new(1);
    sim.launch(1, 5000);
    sim.until("half there", |sim| sim.gateway.served_bytes > 2500);
    sim.restart();
    sim.until("ended", |sim| sim.ended(1));
    assert_eq!((sim.states(1), sim.starts(1)), (HAPPY.to_vec(), 1));
    assert!(sim.gateway.served_bytes <= 5000 + 64, "at most the block under way comes twice");
}

#[test]
fn restart_while_running_fails_the_task() {
    let mut sim = Sim::new(1);
    sim.world.borrow_mut().script = vec![(LONG_RUN, Event::Exited(0))];
    sim.launch(1, 300);
    sim.until("running", |sim| sim.starts(1) == 1);
    sim.restart();
    sim.until("ended", |sim| sim.ended(1));
    sim.run(60_000);
    assert_eq!(sim.states(1), [State::Starting, State::Running, State::Failed(Failure::Restarted)]);
    assert_eq!(sim.starts(1), 1);
}

/// What may resume is started again, from its beginning, and says so; but not for ever.
#[test]
fn a_task_that_may_resume_runs_again_after_a_restart() {
    let mut sim = Sim::new(1);
    sim.world.borrow_mut().script = vec![(10, Event::Message(b"one".to_vec())), (LONG_RUN, Event::Exited(0))];
    let launch = sim.prepare(1, 3000);
    sim.gateway.order(Order::Launch(Launch { resume: true, ..launch }));
    sim.until("running", |sim| sim.starts(1) == 1);
    let served = sim.gateway.served_bytes;
    sim.world.borrow_mut().script = vec![(20_000, Event::Exited(0))];
    sim.restart();
    sim.until("running again", |sim| sim.starts(1) == 2);
    assert!(sim.gateway.served_bytes < served + 300, "the image is in storage, the document is not");
    sim.until("ended", |sim| sim.ended(1));
    assert_eq!(sim.states(1), [State::Starting, State::Running, State::Running, State::Exited(0)]);
    // One that takes the node down with it each time.
    let launch = sim.prepare(2, 300);
    sim.gateway.order(Order::Launch(Launch { resume: true, ..launch }));
    for _ in 0..40 {
        sim.run(5_000);
        sim.restart();
    }
    sim.until("ended", |sim| sim.ended(2));
    assert_eq!(sim.states(2).last(), Some(&State::Failed(Failure::Restarted)));
    assert!((2..=17).contains(&sim.starts(2)), "{} starts", sim.starts(2));
}

#[test]
fn output_comes_before_the_last_status() {
    let mut sim = Sim::new(1);
    sim.world.borrow_mut().script = vec![
        (10, Event::Message(b"one".to_vec())),
        (10, Event::Log(b"line".to_vec())),
        (10, Event::Message(b"two".to_vec())),
        (10, Event::Exited(3)),
    ];
    sim.launch(1, 300);
    sim.until("ended", |sim| sim.ended(1));
    let kinds = sim.gateway.told.iter().map(|told| match told {
        Told::Message(message) => format!("message {} {}", message.seq, message.data.len()),
        Told::Long(seq, data) => format!("long {seq} {}", data.len()),
        Told::Log(log) => format!("log {} {}", log.offset, log.data.len()),
        Told::Status(status) => format!("{:?}", status.state),
    });
    let kinds: Vec<_> = kinds.collect();
    assert_eq!(kinds, ["Starting", "Running", "message 1 3", "log 0 4", "message 2 3", "Exited(3)"]);
}

#[test]
fn storage_that_fails_fails_the_task() {
    for error in [StorageError::Full, StorageError::Failed] {
        let mut sim = Sim::new(1);
        sim.launch(1, 3000);
        sim.until("fetching", |sim| sim.gateway.served_bytes > 500);
        let writes = sim.world.borrow().writes;
        sim.world.borrow_mut().fault = Some((writes, Fault::Error(error)));
        sim.until("ended", |sim| sim.ended(1));
        assert_eq!(sim.states(1), [State::Starting, State::Failed(Failure::Storage)]);
        assert_eq!(sim.starts(1), 0);
    }
}

#[test]
fn size_for_information() {
    let os = size_of::<FakeOs>();
    let agent = size_of::<agent_core::Agent<FakeOs>>() - os;
    println!("agent without its system: {agent} bytes; world: {}", size_of::<World>());
    assert!(agent < 8192, "{agent} bytes do not fit a node");
}

#[test]
fn a_kill_with_grace_waits_for_a_task_that_can_notice() {
    for (notices, exits_after, killed) in [(true, 1_000, false), (true, LONG_RUN, true), (false, 1_000, true)]
    {
        let mut sim = Sim::new(1);
        sim.world.borrow_mut().notices = notices;
        sim.world.borrow_mut().script = vec![(10_000 + exits_after, Event::Exited(9))];
        sim.launch(1, 300);
        sim.until("running", |sim| sim.states(1).contains(&State::Running));
        let ran = sim.now();
        sim.until("nine seconds", |sim| sim.now() > ran + 9_000);
        sim.gateway.order(Order::Kill { task: 1, grace_ms: 5_000 });
        sim.until("ended", |sim| sim.ended(1));
        assert_eq!(sim.states(1).last(), Some(&State::Killed), "also if it ended by itself");
        assert_eq!(!sim.world.borrow().kills.is_empty(), killed, "{notices} {exits_after}");
    }
}

#[test]
fn a_repeated_kill_may_only_shorten_the_grace() {
    let mut sim = Sim::new(1);
    sim.world.borrow_mut().notices = true;
    sim.world.borrow_mut().script = vec![(LONG_RUN, Event::Exited(0))];
    sim.launch(1, 300);
    sim.until("running", |sim| sim.states(1).contains(&State::Running));
    let told = sim.now();
    for grace_ms in [4_000, 60_000] {
        sim.gateway.order(Order::Kill { task: 1, grace_ms });
    }
    sim.until("ended", |sim| sim.ended(1));
    assert!(sim.now() < told + 12_000, "{}", sim.now() - told);
}

#[test]
fn a_task_that_runs_for_too_long_fails() {
    let mut sim = Sim::new(1);
    sim.world.borrow_mut().script = vec![(LONG_RUN, Event::Exited(0))];
    let launch = sim.prepare(1, 300);
    sim.gateway.order(Order::Launch(Launch { max_run_s: 7, ..launch }));
    sim.until("ended", |sim| sim.ended(1));
    assert_eq!(sim.states(1), [State::Starting, State::Running, State::Failed(Failure::Timeout)]);
}

#[test]
fn messages_wait_for_a_task_to_start() {
    let mut sim = Sim::new(1);
    sim.world.borrow_mut().script = vec![(LONG_RUN, Event::Exited(0))];
    sim.launch(1, 8000);
    sim.until("fetching", |sim| sim.gateway.served_bytes > 500);
    for number in 0..6u8 {
        let data = heapless::Vec::from_slice(&[number]).unwrap();
        sim.gateway.order(Order::Message { task: 1, data });
    }
    sim.until("ordered", |sim| sim.agent.counters().orders == 7);
    assert_eq!((sim.states(1), sim.world.borrow().delivered.len()), (vec![State::Starting], 0));
    sim.until("running", |sim| sim.states(1).contains(&State::Running));
    let delivered: Vec<u8> = sim.world.borrow().delivered.iter().map(|(_, data)| data[0]).collect();
    assert_eq!(delivered, [0, 1, 2, 3], "four are kept");
}

#[test]
fn health_never_takes_the_place_of_the_end() {
    let mut sim = Sim::new(1);
    let flapping = (0..500).map(|number| (100 + number * 20, Event::Health(number % 2 == 0)));
    sim.world.borrow_mut().script = flapping.chain([(10_200, Event::Exited(0))]).collect();
    sim.loss_permille = 200;
    sim.launch(1, 300);
    sim.until("ended", |sim| sim.ended(1));
    let states = sim.states(1);
    assert_eq!(states.last(), Some(&State::Exited(0)));
    assert!(states.iter().any(|state| matches!(state, State::Health(_))));
}

#[test]
fn a_node_with_full_storage_starts_all_the_same() {
    let world = World { fault: Some((0, Fault::Error(StorageError::Full))), ..Default::default() };
    let world = std::rc::Rc::new(std::cell::RefCell::new(world));
    let agent = agent_core::Agent::new(FakeOs(world), agent_core::Config::default(), 5).unwrap();
    assert_eq!(agent.counters().storage_errors, 1);
}

/// The rule for what more than one task would like to switch: it belongs to one at a time.
#[test]
fn an_led_belongs_to_one_task_at_a_time() {
    let mut sim = Sim::new(1);
    sim.world.borrow_mut().inventory.leds = 3;
    sim.restart();
    sim.world.borrow_mut().script = vec![(60_000, Event::Exited(0))];
    for (task, leds) in [(1, 2), (2, 1), (3, 1)] {
        let launch = sim.prepare(task, 100);
        sim.gateway.order(Order::Launch(Launch { leds, ..launch }));
    }
    sim.until("refused", |sim| sim.ended(3));
    assert_eq!(sim.states(3), [State::Failed(Failure::Resources)], "there is none left");
    sim.until("both run", |sim| [1, 2].iter().all(|task| sim.starts(*task) == 1));
    assert_eq!(sim.world.borrow().leds, [(1, Leds(0b011)), (2, Leds(0b100))].into());
    sim.until("ended", |sim| sim.ended(1) && sim.ended(2));
    sim.launch(4, 100);
    let launch = sim.prepare(5, 100);
    sim.gateway.order(Order::Launch(Launch { leds: 3, ..launch }));
    sim.until("runs", |sim| sim.starts(5) == 1);
    assert_eq!(sim.world.borrow().leds[&5], Leds(0b111), "they are free again");
}

#[test]
fn a_kill_of_a_task_that_is_not_here_is_answered() {
    let mut sim = Sim::new(1);
    sim.gateway.order(Order::Kill { task: 7, grace_ms: 0 });
    sim.until("said", |sim| sim.ended(7));
    assert_eq!(sim.states(7), [State::Killed]);
    sim.run(30_000);
    assert_eq!((sim.states(7).len(), sim.gateway.statuses.len()), (1, 1));
}
