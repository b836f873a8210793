//! Modules under their grants, in time that the test keeps.

mod support;

use agent_wasm::{Config, Event, Executor, Launch, StartError, Trap};
use grants::{Capabilities, Leds};
use node_proto::Check;
use proptest::prelude::*;
use support::*;

const SPIN: &str =
    r#"(module (memory (export "memory") 0) (func (export "run") (result i32) (loop (br 0)) (i32.const 0)))"#;

#[test]
fn the_result_of_the_entry_is_the_exit_code() {
    let text = r#"(module (func (export "run") (result i32) (i32.const 7)))"#;
    assert_eq!(outcome(text, grant(100, 0, 0)), [Event::Exited(7)]);
}

#[test]
fn a_trap_ends_the_module_and_says_how() {
    let text = r#"(module (func (export "run") (result i32) unreachable))"#;
    assert_eq!(outcome(text, grant(100, 0, 0)), [Event::Trapped(Trap::Unreachable)]);
}

#[test]
fn a_module_that_never_returns_gets_its_share_and_no_more() {
    let config = Config::default();
    let mut executor = Executor::new(config);
    start(&mut executor, 1, SPIN, grant(250, 0, 0)).unwrap();
    let now = run(&mut executor, &mut Board::default(), 10_000);
    let usage = executor.usage(1).unwrap();
    let share = usage.cpu_ms as f64 / now as f64;
    assert!((0.24..=0.26).contains(&share), "{share} of the core in {now} ms");
    assert!(usage.cpu_ms <= usage.granted_ms + 1);
}

#[test]
fn two_that_never_return_share_as_granted_and_a_third_still_finishes() {
    let mut executor = Executor::new(Config::default());
    let mut board = Board::default();
    start(&mut executor, 1, SPIN, grant(600, 0, 0)).unwrap();
    start(&mut executor, 2, SPIN, grant(200, 0, 0)).unwrap();
    let quick = r#"(module (func (export "run") (result i32) (i32.const 0)))"#;
    start(&mut executor, 3, quick, grant(50, 0, 0)).unwrap();
    run(&mut executor, &mut board, 5_000);
    assert_eq!(events(&mut executor, 3), [Event::Exited(0)]);
    let ratio = executor.usage(1).unwrap().cpu_ms as f64 / executor.usage(2).unwrap().cpu_ms as f64;
    assert!((2.9..=3.1).contains(&ratio), "{ratio}");
    assert!(executor.kill(1));
    assert_eq!(events(&mut executor, 1), [Event::Killed]);
    assert!(!executor.kill(1), "what has ended cannot be killed");
}

#[test]
fn growing_beyond_the_grant_ends_that_module_alone() {
    let hog = r#"(module (memory (export "memory") 0)
        (func (export "run") (result i32) (loop (drop (memory.grow (i32.const 1))) (br 0)) (i32.const 0)))"#;
    let mut executor = Executor::new(Config::default());
    start(&mut executor, 1, hog, grant(300, 200_000, 0)).unwrap();
    start(&mut executor, 2, SPIN, grant(300, 0, 0)).unwrap();
    run(&mut executor, &mut Board::default(), 1_000);
    assert_eq!(events(&mut executor, 1), [Event::OverMemory { asked: 4 * 65_536, granted: 200_000 }]);
    assert!(executor.usage(2).unwrap().cpu_ms > 200);
}

#[test]
fn a_memory_or_table_larger_than_granted_is_refused_at_the_start() {
    let mut executor = Executor::new(Config::default());
    let memory = r#"(module (memory (export "memory") 2) (func (export "run") (result i32) (i32.const 0)))"#;
    let refused = start(&mut executor, 1, memory, grant(100, 100_000, 0));
    assert_eq!(refused, Err(StartError::Memory { asked: 131_072, granted: 100_000 }));
    let table = r#"(module (table 4000 funcref) (func (export "run") (result i32) (i32.const 0)))"#;
    let refused = start(&mut executor, 1, table, grant(100, 30_000, 0));
    assert_eq!(refused, Err(StartError::Memory { asked: 32_000, granted: 30_000 }));
}

#[test]
fn a_small_page_makes_a_small_memory() {
    let text = r#"(module (memory (export "memory") 3000 4000 (pagesize 1))
        (func (export "run") (result i32) (memory.grow (i32.const 500))))"#;
    assert_eq!(outcome(text, grant(100, 4096, 0)), [Event::Exited(3000)]);
}

#[test]
fn what_is_not_granted_or_not_known_cannot_be_imported() {
    let import = |name: &str| {
        format!(
            r#"(module (import "micro" "{name}" (func (param i32 i32) (result i32)))
            (func (export "run") (result i32) (i32.const 0)))"#
        )
    };
    let mut executor = Executor::new(Config::default());
    let refused = start(&mut executor, 1, &import("led_set"), grant(100, 0, ALL & !Capabilities::LED));
    assert_eq!(refused, Err(StartError::NotGranted("micro.led_set".into())));
    let refused = start(&mut executor, 1, &import("format_disk"), grant(100, 0, ALL));
    assert_eq!(refused, Err(StartError::UnknownImport("micro.format_disk".into())));
    let no_entry = start(&mut executor, 1, "(module)", grant(100, 0, ALL));
    assert_eq!(no_entry, Err(StartError::NoEntry("run".into())));
}

#[test]
fn devices_log_message_and_arguments_work_through_the_interface() {
    let text = r#"(module
        (import "micro" "log" (func $log (param i32 i32) (result i32)))
        (import "micro" "message" (func $message (param i32 i32) (result i32)))
        (import "micro" "sensor_read" (func $sensor (param i32 i32) (result i32)))
        (import "micro" "led_set" (func $led (param i32 i32) (result i32)))
        (import "micro" "args_len" (func $args_len (result i32)))
        (import "micro" "args_read" (func $args_read (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "run") (result i32)
            (drop (call $args_read (i32.const 100) (call $args_len)))
            (drop (call $log (i32.const 100) (i32.const 8)))
            (if (i32.ne (call $sensor (i32.const 0) (i32.const 8)) (i32.const 0)) (then unreachable))
            (if (i32.ne (call $sensor (i32.const 9) (i32.const 8)) (i32.const -4)) (then unreachable))
            (if (i32.ne (call $sensor (i32.const 0) (i32.const 65535)) (i32.const -2)) (then unreachable))
            (if (i32.ne (call $led (i32.const 1) (i32.const 1)) (i32.const 0)) (then unreachable))
            (if (i32.ne (call $message (i32.const 65530) (i32.const 20)) (i32.const -2)) (then unreachable))
            (if (i32.ne (call $message (i32.const 8) (i32.const 513)) (i32.const -2)) (then unreachable))
            (call $message (i32.const 8) (i32.const 4))))"#;
    let mut executor = Executor::new(Config::default());
    let mut board = Board::default();
    start(&mut executor, 5, text, grant(500, 65_536, ALL)).unwrap();
    run(&mut executor, &mut board, 1_000);
    let expected =
        [Event::Message(21_500i32.to_le_bytes().into()), Event::Log(b"one\0two\0".into()), Event::Exited(0)];
    assert_eq!(events(&mut executor, 5), expected);
    assert_eq!(board.leds, [(5, 1, true)]);
}

#[test]
fn a_flood_of_output_is_refused_not_kept() {
    let text = r#"(module (import "micro" "log" (func $log (param i32 i32) (result i32))) (memory (export "memory") 1)
        (func (export "run") (result i32) (local $n i32)
            (loop $again
                (if (i32.ne (call $log (i32.const 0) (i32.const 100)) (i32.const 0)) (then (return (local.get $n))))
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br $again))
            (i32.const -1)))"#;
    let events = outcome(text, grant(500, 65_536, ALL));
    assert_eq!(events.last(), Some(&Event::Exited(10)), "1024 bytes hold ten pieces of 100");
}

#[test]
fn a_sleeper_uses_nothing_and_comes_back_in_time() {
    let text = r#"(module (import "micro" "sleep_ms" (func $sleep (param i32)))
        (import "micro" "time_ms" (func $time (result i64)))
        (func (export "run") (result i32) (call $sleep (i32.const 1500)) (i32.wrap_i64 (call $time))))"#;
    let mut executor = Executor::new(Config::default());
    start(&mut executor, 1, text, grant(10, 0, ALL)).unwrap();
    let mut board = Board::default();
    assert_eq!(executor.step(&mut board, 0), Some(1500));
    assert_eq!(executor.step(&mut board, 700), Some(1500));
    assert_eq!(executor.step(&mut board, 1500), None);
    assert_eq!(events(&mut executor, 1), [Event::Exited(1500)]);
    assert_eq!(executor.usage(1), None, "gone after its last event");
}

#[test]
fn a_start_section_that_never_returns_is_refused() {
    let text =
        r#"(module (func $s (loop (br 0))) (start $s) (func (export "run") (result i32) (i32.const 0)))"#;
    let mut executor = Executor::new(Config::default());
    assert!(matches!(start(&mut executor, 1, text, grant(100, 0, 0)), Err(StartError::Invalid { .. })));
}

#[test]
fn two_hundred_tasks_one_after_another_leave_nothing() {
    let mut executor = Executor::new(Config::default());
    for task in 0..200 {
        start(&mut executor, task, SPIN, grant(100, 0, 0)).unwrap();
        executor.step(&mut Board::default(), u64::from(task) * 100);
        assert!(executor.kill(task));
        assert_eq!(events(&mut executor, task), [Event::Killed]);
    }
    assert!(!executor.has_events());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_are_refused_or_run_without_harm(mut image in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..400, flip in any::<(usize, u8)>()) {
        let mut executor = Executor::new(Config::default());
        let launch = |image: &[u8], executor: &mut Executor| {
            let launch = Launch { task: 1, image, entry: "", args: b"", env: b"", data: b"", check: None, grant: grant(200, 70_000, ALL), leds: Leds(0) };
            if executor.start(&launch, 0).is_ok() {
                run(executor, &mut Board::default(), 300);
                executor.kill(1);
                events(executor, 1);
            }
        };
        launch(&image, &mut executor);
        image = wat::parse_str(SPIN).unwrap();
        let at = flip.0 % image.len();
        image[at] ^= flip.1;
        image.truncate(cut);
        launch(&image, &mut executor);
    }
}

/// Copies its data to the log, then answers each message with itself, and stops when it is told to.
const ECHO: &str = r#"(module
    (import "micro" "receive" (func $receive (param i32 i32 i32) (result i32)))
    (import "micro" "message" (func $message (param i32 i32) (result i32)))
    (import "micro" "stopping" (func $stopping (result i32)))
    (import "micro" "data_read" (func $data (param i32 i32) (result i32)))
    (import "micro" "log" (func $log (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "run") (result i32) (local $len i32)
        (drop (call $log (i32.const 0) (call $data (i32.const 0) (i32.const 64))))
        (loop $again
            (local.set $len (call $receive (i32.const 0) (i32.const 64) (i32.const 1000)))
            (if (local.get $len) (then (drop (call $message (i32.const 0) (local.get $len)))))
            (br_if $again (i32.lt_s (call $stopping) (i32.const 0))))
        (i32.const 5)))"#;

#[test]
fn messages_come_in_and_a_task_that_is_told_stops_by_itself() {
    let mut executor = Executor::new(Config::default());
    start(&mut executor, 1, ECHO, grant(500, 70_000, ALL)).unwrap();
    assert_eq!(timed(&mut executor, 0, 10), [(0, Event::Log(b"d4t".to_vec()))]);
    assert!(executor.deliver(1, b"one") && executor.deliver(1, b"two"));
    let said = timed(&mut executor, 10, 50);
    assert_eq!(said, [(10, Event::Message(b"one".to_vec())), (10, Event::Message(b"two".to_vec()))]);
    for _ in 0..8 {
        assert!(executor.deliver(1, b"x"));
    }
    assert!(!executor.deliver(1, b"x") && !executor.deliver(2, b"x"), "no room, no task");
    timed(&mut executor, 50, 100);
    assert!(executor.stop(1, 3_000, 100));
    let said = timed(&mut executor, 100, 500);
    assert_eq!(said, [(100, Event::Exited(5))], "at once, though it waited for a message");
}

#[test]
fn long_messages_wait_within_bounds_each_way() {
    let text = r#"(module
        (import "micro" "message" (func $message (param i32 i32) (result i32)))
        (import "micro" "sleep_ms" (func $sleep (param i32)))
        (memory (export "memory") 1)
        (func (export "run") (result i32)
            (if (call $message (i32.const 0) (i32.const 512)) (then unreachable))
            (if (call $message (i32.const 0) (i32.const 500)) (then unreachable))
            (if (i32.ne (call $message (i32.const 0) (i32.const 13)) (i32.const -3)) (then unreachable))
            (if (call $message (i32.const 0) (i32.const 12)) (then unreachable))
            (call $sleep (i32.const 1000))
            (i32.const 5)))"#;
    let mut executor = Executor::new(Config::default());
    start(&mut executor, 1, text, grant(500, 70_000, ALL)).unwrap();
    let said = timed(&mut executor, 0, 10);
    assert_eq!(said, [512, 500, 12].map(|len| (0, Event::Message(vec![0; len]))));
    assert!(executor.deliver(1, &[1; 512]) && executor.deliver(1, &[1; 500]));
    assert!(!executor.deliver(1, &[1; 13]), "too many bytes wait");
    assert!(executor.deliver(1, &[1; 12]));
    let mut executor = Executor::new(Config::default());
    start(&mut executor, 1, ECHO, grant(500, 70_000, ALL)).unwrap();
    assert!(!executor.deliver(1, &[1; 513]) && executor.deliver(1, &[1; 512]));
}

#[test]
fn a_task_that_cannot_notice_is_not_waited_for() {
    let mut executor = Executor::new(Config::default());
    start(&mut executor, 1, SPIN, grant(500, 0, 0)).unwrap();
    assert!(!executor.stop(1, 3_000, 0));
    let mut ungranted = Executor::new(Config::default());
    let refused = start(&mut ungranted, 1, ECHO, grant(500, 70_000, Capabilities::LOG));
    assert!(matches!(refused, Err(StartError::NotGranted(name)) if name.contains("micro.receive")));
}

/// Sleeps and counts; what the other functions return depends on it.
const SLEEPER: &str = r#"(module
    (import "micro" "sleep_ms" (func $sleep (param i32)))
    (import "micro" "sensor_read" (func $sensor (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (global $turns (mut i32) (i32.const 0))
    (func (export "run") (result i32)
        (loop $again
            (call $sleep (i32.const 1000))
            (global.set $turns (i32.add (global.get $turns) (i32.const 1)))
            (br $again))
        (i32.const 0))
    (func (export "well") (result i32) (i32.gt_s (global.get $turns) (i32.const 4)))
    (func (export "count") (result i32) (i32.div_s (global.get $turns) (i32.const 3)))
    (func (export "device") (result i32)
        (drop (call $sensor (i32.const 0) (i32.const 0)))
        (i32.load (i32.const 0)))
    (func (export "slow") (result i32) (loop (br 0)) (i32.const 0))
    (func (export "waits") (result i32) (call $sleep (i32.const 1)) (i32.const 0))
    (func (export "traps") (result i32) unreachable))"#;

/// Never calls anything.
const HANGS: &str = r#"(module (func (export "run") (result i32) (loop (br 0)) (i32.const 0))
    (func (export "slow") (result i32) (i32.const 0)))"#;

fn check(entry: &str, failures: u8) -> Check<'_> {
    Check { entry, delay_s: 1, interval_s: 1, timeout_s: 2, grace_s: 0, failures }
}

fn what(said: &[(u64, Event)]) -> Vec<&Event> {
    said.iter().map(|(_, event)| event).collect()
}

#[test]
fn a_health_check_tells_its_changes_and_ends_what_is_not_well() {
    let mut executor = Executor::new(Config::default());
    start_checked(&mut executor, SLEEPER, check("well", 3));
    let said = timed(&mut executor, 0, 60_000);
    assert_eq!(what(&said), [&Event::Health(true), &Event::Health(false), &Event::Unhealthy]);
    assert!(said[1].0 >= 5_000 && said[2].0 >= said[1].0 + 2_000, "{said:?}");
}

#[test]
fn failures_before_the_first_success_count_after_the_grace() {
    for entry in ["traps", "waits"] {
        let mut executor = Executor::new(Config::default());
        start_checked(&mut executor, SLEEPER, Check { grace_s: 10, ..check(entry, 2) });
        let said = timed(&mut executor, 0, 60_000);
        assert!(said[0].0 >= 10_000, "{said:?}");
        assert_eq!(what(&said), [&Event::Health(false), &Event::Unhealthy], "{entry}");
    }
}

#[test]
fn a_check_that_takes_too_long_or_a_task_that_hangs_has_failed() {
    for text in [SLEEPER, HANGS] {
        let mut executor = Executor::new(Config::default());
        start_checked(&mut executor, text, check("slow", 1));
        let said = timed(&mut executor, 0, 20_000);
        assert_eq!(what(&said), [&Event::Health(false), &Event::Unhealthy]);
        assert!((2_900..5_000).contains(&said[0].0), "{said:?}");
    }
}

#[test]
fn a_general_check_tells_other_values_and_ends_nothing() {
    let mut executor = Executor::new(Config::default());
    start_checked(&mut executor, SLEEPER, check("count", 0));
    let said = timed(&mut executor, 0, 10_500);
    let values: Vec<Event> = said.into_iter().map(|(_, event)| event).collect();
    assert_eq!(values, [0, 1, 2, 3].map(Event::Checked));
    let mut executor = Executor::new(Config::default());
    start_checked(&mut executor, SLEEPER, check("device", 0));
    let said = timed(&mut executor, 0, 1_500);
    assert!(matches!(said[..], [(_, Event::Checked(21_500))]), "{said:?}");
}

#[test]
fn a_check_that_is_not_there_is_an_image_that_cannot_run() {
    let image = wat::parse_str(SLEEPER).unwrap();
    let check = Some(check("no", 1));
    let (args, env, data, grant) = (b"", b"", b"", grant(500, 70_000, ALL));
    let launch = Launch { task: 1, image: &image, entry: "", args, env, data, check, grant, leds: Leds(0) };
    let refused = Executor::new(Config::default()).start(&launch, 0);
    assert_eq!(refused, Err(StartError::NoEntry("no".into())));
}
