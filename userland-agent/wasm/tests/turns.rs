//! Many modules at once: whose turn it is, and how soon one is stopped.

mod support;

use agent_wasm::{Config, Event, Executor};
use node_proto::Check;
use support::*;

const SPIN: &str = r#"(module (func (export "run") (result i32) (loop (br 0)) (i32.const 0)))"#;

/// Shows itself at the begin of each of its turns.
const SHOW: &str = r#"(module
    (import "micro" "sleep_ms" (func $sleep (param i32)))
    (import "micro" "led_set" (func $led (param i32 i32) (result i32)))
    (func (export "run") (result i32)
        (loop $again
            (drop (call $led (i32.const 0) (i32.const 1)))
            (call $sleep (i32.const 100))
            (br $again))
        (i32.const 0)))"#;

#[test]
fn the_first_turn_goes_round() {
    let mut executor = Executor::new(Config::default());
    for task in 1..=3 {
        start(&mut executor, task, SHOW, grant(200, 0, ALL)).unwrap();
    }
    let mut order = Vec::new();
    for window in 0..4 {
        let mut board = Board::default();
        executor.step(&mut board, window * 100);
        order.push(board.leds.iter().map(|(task, ..)| *task).collect::<Vec<_>>());
    }
    assert_eq!(order, [[1, 2, 3], [2, 3, 1], [3, 1, 2], [1, 2, 3]]);
}

#[test]
fn of_eight_that_never_return_each_gets_its_share_of_every_window() {
    let mut executor = Executor::new(Config::default());
    let shares = [10, 20, 40, 80, 100, 150, 200, 400];
    for (task, share) in shares.iter().enumerate() {
        start(&mut executor, task as u16, SPIN, grant(*share, 0, 0)).unwrap();
    }
    let (mut board, mut before) = (Board::default(), [0; 8]);
    for window in 1..=50u64 {
        // The first window begins with the first step.
        executor.step(&mut board, window * 100);
        for (task, share) in shares.iter().enumerate() {
            let used = executor.usage(task as u16).unwrap().cpu_ms;
            let got = used - before[task];
            let due = u64::from(*share) / 10;
            let first = window == 1;
            assert!(
                first || (due.saturating_sub(1)..=due + 1).contains(&got),
                "{task}: {got} ms in window {window}"
            );
            before[task] = used;
        }
    }
}

#[test]
fn a_step_ends_when_the_window_is_spent_and_a_runaway_is_stopped_at_once() {
    let mut executor = Executor::new(Config::default());
    start(&mut executor, 1, SPIN, grant(1000, 0, 0)).unwrap();
    let mut board = Board::default();
    let mut at = 0;
    for _ in 0..10 {
        let before = executor.usage(1).unwrap().cpu_ms;
        at = executor.step(&mut board, at).unwrap();
        let took = executor.usage(1).unwrap().cpu_ms - before;
        assert!(took <= Config::default().window_ms + 1, "{took} ms in one step");
    }
    assert!(executor.kill(1), "between two steps, which are one window apart at most");
    let used = executor.usage(1).unwrap();
    assert_eq!(executor.step(&mut board, at), None);
    assert_eq!(executor.usage(1).unwrap().cpu_ms, used.cpu_ms, "nothing of it runs after that");
    assert_eq!(events(&mut executor, 1), [Event::Killed]);
    assert!(!executor.has_events());
}

#[test]
fn a_start_section_is_paid_from_the_share() {
    let text = r#"(module
        (func $s (local $n i32) (loop $l
            (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 10000)))))
        (start $s) (func (export "run") (result i32) (loop (br 0)) (i32.const 0)))"#;
    let mut executor = Executor::new(Config::default());
    start(&mut executor, 1, text, grant(10, 0, 0)).unwrap();
    assert!(executor.usage(1).unwrap().cpu_ms >= 10, "{:?}", executor.usage(1));
    run(&mut executor, &mut Board::default(), 20_000);
    let usage = executor.usage(1).unwrap();
    assert!(usage.cpu_ms <= usage.granted_ms + 1, "{usage:?}");
}

#[test]
fn usage_counts_what_was_taken_not_what_was_refused() {
    let text = r#"(module
        (import "micro" "log" (func $log (param i32 i32) (result i32)))
        (import "micro" "message" (func $message (param i32 i32) (result i32)))
        (import "micro" "sleep_ms" (func $sleep (param i32)))
        (memory (export "memory") 1)
        (func (export "run") (result i32) (local $n i32)
            (drop (memory.grow (i32.const 1)))
            (drop (call $log (i32.const 0) (i32.const 1000)))
            (drop (call $log (i32.const 0) (i32.const 1000)))
            (loop $again
                (drop (call $message (i32.const 0) (i32.const 10)))
                (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 20))))
            (drop (call $message (i32.const 0) (i32.const 513)))
            (call $sleep (i32.const 100000))
            (i32.const 0)))"#;
    let mut executor = Executor::new(Config::default());
    start(&mut executor, 1, text, grant(500, 200_000, ALL)).unwrap();
    executor.step(&mut Board::default(), 0);
    let usage = executor.usage(1).unwrap();
    assert_eq!((usage.mem_bytes, usage.mem_peak_bytes), (131_072, 131_072));
    assert_eq!((usage.messages, usage.message_bytes, usage.log_bytes), (8, 80, 1_000));
}

/// A body whose translation alone costs more than a window's budget.
fn long_body() -> String {
    "(drop (i32.add (i32.const 1) (i32.const 2)))".repeat(2_000)
}

#[test]
fn an_entry_that_costs_more_to_translate_than_a_window_has_runs_all_the_same() {
    let text = format!(r#"(module (func (export "run") (result i32) {} (i32.const 7)))"#, long_body());
    let mut executor = Executor::new(Config { fuel_per_ms: 10, ..Config::default() });
    start(&mut executor, 1, &text, grant(10, 0, 0)).unwrap();
    let said = timed(&mut executor, 0, 100_000_000);
    assert!(matches!(said[..], [(1_000.., Event::Exited(7))]), "{said:?}");
}

#[test]
fn a_check_that_costs_more_to_translate_than_a_window_has_is_called_all_the_same() {
    let text = format!(
        r#"(module (import "micro" "sleep_ms" (func $sleep (param i32)))
            (func (export "check") (result i32) {} (i32.const 5))
            (func (export "run") (result i32) (call $sleep (i32.const 100000000)) (i32.const 7)))"#,
        long_body()
    );
    let check = Check { entry: "check", delay_s: 0, interval_s: 1, timeout_s: 0, grace_s: 0, failures: 0 };
    let mut executor = Executor::new(Config { fuel_per_ms: 10, ..Config::default() });
    start_checked(&mut executor, &text, check);
    let said = timed(&mut executor, 0, 10_000_000);
    assert!(matches!(said[0], (100.., Event::Checked(5))), "{said:?}");
}
