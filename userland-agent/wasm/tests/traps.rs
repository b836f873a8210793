//! Each way to trap, each limit: always the same event, in words that fit a node's status.

mod support;

use agent_wasm::limits::*;
use agent_wasm::{Config, Event, Executor, StartError, Trap};
use node_proto::limits::STATUS_NOTE_MAX;
use support::*;

fn body(code: &str) -> String {
    format!(
        r#"(module (memory (export "memory") 1) (type $other (func (param i32))) (table 2 2 funcref) (elem (i32.const 1) $f)
        (func $f (export "run") (result i32) {code}))"#
    )
}

#[test]
fn each_trap_is_told_by_its_name_in_what_a_status_can_say() {
    let cases = [
        ("unreachable", Trap::Unreachable),
        ("(i32.load (i32.const 65533))", Trap::MemoryBounds),
        ("(i32.store (i32.const -1) (i32.const 0)) (i32.const 0)", Trap::MemoryBounds),
        #[cfg(feature = "wasmi")]
        ("(memory.fill (i32.const 65530) (i32.const 0) (i32.const 7)) (i32.const 0)", Trap::MemoryBounds),
        ("(call_indirect (result i32) (i32.const 2))", Trap::TableBounds),
        ("(call_indirect (result i32) (i32.const 0))", Trap::NullCall),
        ("(call_indirect (type $other) (i32.const 0) (i32.const 1)) (i32.const 0)", Trap::CallType),
        ("(i32.div_s (i32.const 1) (i32.const 0))", Trap::DivideByZero),
        ("(i32.rem_u (i32.const 1) (i32.const 0))", Trap::DivideByZero),
        ("(i32.div_s (i32.const 0x80000000) (i32.const -1))", Trap::Overflow),
        ("(i32.trunc_f32_s (f32.const nan))", Trap::Conversion),
        ("(call $f)", Trap::StackOverflow),
    ];
    for (code, trap) in cases {
        assert!(trap.to_string().len() <= STATUS_NOTE_MAX, "{trap}");
        let twice: Vec<_> = (0..2).map(|_| outcome(&body(code), grant(1000, 70_000, 0))).collect();
        assert_eq!(twice, [[Event::Trapped(trap.clone())], [Event::Trapped(trap)]], "{code}");
    }
}

#[test]
fn calls_nest_as_deep_as_the_limit_and_no_deeper() {
    let nested = |depth: usize| {
        let text = format!(
            r#"(module (func $f (param i32) (result i32)
                (if (result i32) (local.get 0)
                    (then (i32.add (i32.const 1) (call $f (i32.sub (local.get 0) (i32.const 1)))))
                    (else (i32.const 0))))
            (func (export "run") (result i32) (call $f (i32.const {depth}))))"#
        );
        outcome(&text, grant(1000, 0, 0))
    };
    // The entry and the call that ends the recursion take one each.
    assert_eq!(nested(CALLS_MAX - 2), [Event::Exited(CALLS_MAX as i32 - 2)]);
    assert_eq!(nested(CALLS_MAX - 1), [Event::Trapped(Trap::StackOverflow)]);
}

#[test]
fn values_of_nested_calls_are_counted_together() {
    let nested = |depth: usize| {
        let locals = "i32 ".repeat(LOCALS_MAX as usize);
        let text = format!(
            r#"(module (func $f (param i32) (result i32) (local {locals})
                (if (result i32) (local.get 0)
                    (then (call $f (i32.sub (local.get 0) (i32.const 1))))
                    (else (i32.const 0))))
            (func (export "run") (result i32) (call $f (i32.const {depth}))))"#
        );
        outcome(&text, grant(1000, 0, 0))
    };
    assert_eq!(STACK_VALUES_MAX / (LOCALS_MAX as usize), 4);
    assert_eq!(nested(2), [Event::Exited(0)], "three frames of the largest kind");
    assert_eq!(nested(5), [Event::Trapped(Trap::StackOverflow)]);
}

#[test]
fn memory_that_is_refused_is_no_trap() {
    let text = r#"(module (memory (export "memory") 1) (func (export "run") (result i32) (memory.grow (i32.const 1))))"#;
    assert_eq!(
        outcome(text, grant(500, 100_000, 0)),
        [Event::OverMemory { asked: 131_072, granted: 100_000 }]
    );
    #[cfg(feature = "wasmi")]
    {
        let text = r#"(module (table 1 funcref)
            (func (export "run") (result i32) (table.grow (ref.null func) (i32.const 200))))"#;
        assert_eq!(outcome(text, grant(500, 1_000, 0)), [Event::OverMemory { asked: 1_608, granted: 1_000 }]);
    }
}

#[test]
fn nothing_is_said_after_memory_was_refused() {
    let text = r#"(module (import "micro" "log" (func $log (param i32 i32) (result i32))) (memory (export "memory") 1)
        (func (export "run") (result i32)
            (drop (memory.grow (i32.const 1)))
            (call $log (i32.const 0) (i32.const 10))))"#;
    assert_eq!(
        outcome(text, grant(500, 100_000, ALL)),
        [Event::OverMemory { asked: 131_072, granted: 100_000 }]
    );
}

/// What the small engine does not know is refused before anything runs, and named.
#[cfg(not(feature = "wasmi"))]
#[test]
fn instructions_of_a_later_webassembly_are_refused_by_their_code() {
    for (code, named) in [
        ("(i32.extend8_s (i32.const 1))", "0xc0"),
        ("(memory.fill (i32.const 0) (i32.const 0) (i32.const 7)) (i32.const 0)", "0xfc"),
        ("(i32.trunc_sat_f32_s (f32.const nan))", "0xfc"),
    ] {
        let error = start(&mut Executor::new(Config::default()), 1, &body(code), grant(1000, 70_000, 0));
        match error {
            Err(StartError::Invalid { section: Some("code"), why, .. }) => {
                assert!(why.contains(named), "{why}")
            }
            other => panic!("{code}: {other:?}"),
        }
    }
}

#[cfg(feature = "wasmi")]
#[test]
fn a_table_does_not_grow_beyond_its_limit_whatever_the_grant() {
    let grow = |by: usize| {
        let text = format!(
            r#"(module (table 6 funcref) (func (export "run") (result i32) (table.grow (ref.null func) (i32.const {by}))))"#
        );
        outcome(&text, grant(1000, 1 << 20, 0))
    };
    assert_eq!(grow(TABLE_ELEMENTS_MAX - 6), [Event::Exited(6)]);
    assert_eq!(grow(TABLE_ELEMENTS_MAX - 5), [Event::Exited(-1)]);
}

#[test]
fn what_is_too_large_is_refused_before_it_runs() {
    const RUN: &str = r#"(func (export "run") (result i32) (i32.const 0))"#;
    let cases = [
        (format!("(module (table {} funcref) {RUN})", TABLE_ELEMENTS_MAX + 1), "table elements", 4_097),
        (format!("(module (func (local {})) {RUN})", "i64 ".repeat(501)), "locals in a function", 501),
        (format!("(module {} {RUN})", "(func)".repeat(2_000)), "functions", 2_001),
        (format!("(module {} {RUN})", "(global i32 (i32.const 0))".repeat(201)), "globals", 201),
        (format!("(module (func (param {})) {RUN})", "i32 ".repeat(17)), "parameters", 17),
        (format!("(module (func (result {}) unreachable) {RUN})", "i32 ".repeat(17)), "results", 17),
        (format!("(module (memory 1) {} {RUN})", r#"(data "x")"#.repeat(201)), "data segments", 201),
        (format!("(module (memory 1) (memory 1) {RUN})"), "memories", 2),
        (format!("(module (table 1 funcref) (table 1 funcref) {RUN})"), "tables", 2),
    ];
    for (text, of, many) in cases {
        let mut executor = Executor::new(Config::default());
        match start(&mut executor, 1, &text, grant(1000, 1 << 20, 0)) {
            Err(StartError::Limit { what, has, max }) => assert_eq!((what, has), (of, many), "{max}"),
            other => panic!("{of}: {other:?}"),
        }
    }
    let huge = vec![0; IMAGE_BYTES_MAX + 1];
    let refused = agent_wasm::inspect::inspect(&huge);
    assert!(matches!(refused, Err(StartError::Limit { what: "bytes", .. })), "{refused:?}");
}
