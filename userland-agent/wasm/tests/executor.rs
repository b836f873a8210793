//! Modules under their grants, in time that the test keeps.

use agent_wasm::{Config, Event, Executor, Host, HostError, Launch, StartError};
use grants::{Capabilities, Grant};
use proptest::prelude::*;

const ALL: u16 = 0x3f;

#[derive(Default)]
struct Board {
    leds: Vec<(u16, u32, bool)>,
}

impl Host for Board {
    fn sensor_read(&mut self, _task: u16, index: u32) -> Result<i32, HostError> {
        if index == 0 { Ok(21_500) } else { Err(HostError) }
    }

    fn led_set(&mut self, task: u16, index: u32, on: bool) -> Result<(), HostError> {
        self.leds.push((task, index, on));
        if index < 2 { Ok(()) } else { Err(HostError) }
    }
}

fn grant(cpu_permille: u16, mem_bytes: u32, capabilities: u16) -> Grant {
    Grant { cpu_permille, mem_bytes, flash_bytes: 0, capabilities: Capabilities(capabilities), strict: true }
}

fn start(executor: &mut Executor, task: u16, text: &str, grant: Grant) -> Result<(), StartError> {
    let image = wat::parse_str(text).unwrap();
    let launch = Launch { task, image: &image, entry: "", args: b"one\0two\0", env: b"A=1\0", grant };
    executor.start(&launch, 0)
}

/// Steps through virtual time until nothing is to do or `until_ms`.
fn run(executor: &mut Executor, board: &mut Board, until_ms: u64) -> u64 {
    let mut now = 0;
    while now <= until_ms {
        match executor.step(board, now) {
            Some(next) => now = next.max(now + 1),
            None => break,
        }
    }
    now
}

fn events(executor: &mut Executor, task: u16) -> Vec<Event> {
    std::iter::from_fn(|| executor.next_event(task)).collect()
}

fn outcome(text: &str, grant: Grant) -> Vec<Event> {
    let mut executor = Executor::new(Config::default());
    start(&mut executor, 1, text, grant).unwrap();
    run(&mut executor, &mut Board::default(), 10_000);
    events(&mut executor, 1)
}

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
    match &outcome(text, grant(100, 0, 0))[..] {
        [Event::Trapped(how)] => assert!(how.contains("unreachable"), "{how}"),
        other => panic!("{other:?}"),
    }
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
    let table = r#"(module (table 100000 funcref) (func (export "run") (result i32) (i32.const 0)))"#;
    let refused = start(&mut executor, 1, table, grant(100, 100_000, 0));
    assert_eq!(refused, Err(StartError::Memory { asked: 800_000, granted: 100_000 }));
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
            (if (i32.ne (call $message (i32.const 8) (i32.const 49)) (i32.const -2)) (then unreachable))
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
fn deep_recursion_traps() {
    let text = r#"(module (func $f (export "run") (result i32) (call $f)))"#;
    assert!(matches!(&outcome(text, grant(1000, 0, 0))[..], [Event::Trapped(_)]));
}

#[test]
fn a_start_section_that_never_returns_is_refused() {
    let text =
        r#"(module (func $s (loop (br 0))) (start $s) (func (export "run") (result i32) (i32.const 0)))"#;
    let mut executor = Executor::new(Config::default());
    assert!(matches!(start(&mut executor, 1, text, grant(100, 0, 0)), Err(StartError::Invalid(_))));
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
            let launch = Launch { task: 1, image, entry: "", args: b"", env: b"", grant: grant(200, 70_000, ALL) };
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
