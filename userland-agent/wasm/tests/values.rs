//! Values that a module keeps by key.

mod support;

use agent_wasm::{Config, Event, Executor, Host, HostError, Kv, KvError, StartError};
use grants::Capabilities;
use std::collections::BTreeMap;
use support::*;

/// A module whose entry is `code`. "key" is at 0, "other" at 16, "value" at 32.
fn module(code: &str) -> String {
    format!(
        r#"(module
        (import "micro" "kv_get" (func $get (param i32 i32 i32 i32) (result i32)))
        (import "micro" "kv_set" (func $set (param i32 i32 i32 i32) (result i32)))
        (import "micro" "kv_delete" (func $delete (param i32 i32) (result i32)))
        (import "micro" "log" (func $log (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "key") (data (i32.const 16) "other") (data (i32.const 32) "value")
        (func $is (param i32 i32) (if (i32.ne (local.get 0) (local.get 1)) (then unreachable)))
        (func (export "run") (result i32) {code} (i32.const 0))
        (func (export "read") (result i32)
            (call $get (i32.const 0) (i32.const 3) (i32.const 100) (i32.const 64))))"#
    )
}

fn set(key: &str, value: &str) -> String {
    format!("(call $set {} {})", piece(key), piece(value))
}

fn piece(text: &str) -> String {
    let (at, len) = text.split_once(' ').unwrap();
    format!("(i32.const {at}) (i32.const {len})")
}

#[test]
fn a_value_is_kept_replaced_cut_and_forgotten() {
    let get = |key: &str, out: &str| format!("(call $get {} {})", piece(key), piece(out));
    let is = |call: String, code: i32| format!("(call $is {call} (i32.const {code}))\n");
    let code = [
        is(get("0 3", "100 64"), -5),
        is(set("0 3", "32 5"), 0),
        is(set("16 5", "32 0"), 0),
        is(get("0 3", "100 64"), 5),
        "(drop (call $log (i32.const 100) (i32.const 5)))".into(),
        is(get("16 5", "100 64"), 0),
        is(set("0 3", "33 4"), 0),
        is(get("0 3", "200 2"), 4),
        "(drop (call $log (i32.const 200) (i32.const 4)))".into(),
        is("(call $delete (i32.const 0) (i32.const 3))".into(), 0),
        is("(call $delete (i32.const 0) (i32.const 3))".into(), -5),
        is(get("0 3", "100 64"), -5),
    ];
    let said = outcome(&module(&code.concat()), grant(500, 65_536, ALL));
    assert_eq!(said, [Event::Log(b"valueal\0\0".to_vec()), Event::Exited(0)]);
}

#[test]
fn what_makes_no_sense_is_an_error_and_changes_nothing() {
    let cases = [
        (set("0 0", "32 5"), -2),
        (set("0 17", "32 5"), -2),
        (set("0 3", "32 65"), -2),
        (set("65534 3", "32 5"), -2),
        (set("-1 3", "32 5"), -2),
        (set("0 3", "65534 5"), -2),
        ("(call $get (i32.const 0) (i32.const 0) (i32.const 100) (i32.const 64))".into(), -2),
        ("(call $get (i32.const 0) (i32.const 3) (i32.const 65530) (i32.const 64))".into(), -2),
        ("(call $get (i32.const 0) (i32.const 3) (i32.const -1) (i32.const -1))".into(), -2),
        ("(call $delete (i32.const 0) (i32.const 17))".into(), -2),
        ("(call $get (i32.const 0) (i32.const 3) (i32.const 100) (i32.const 64))".into(), -5),
    ];
    let code: String =
        cases.iter().map(|(call, code)| format!("(call $is {call} (i32.const {code}))")).collect();
    assert_eq!(outcome(&module(&code), grant(500, 65_536, ALL)), [Event::Exited(0)]);
}

#[test]
fn a_task_keeps_so_much_and_no_more() {
    // Keys of one byte with values of 64, from what memory happens to hold at 1000: the first byte counts up.
    let code = r#"(loop $again
            (i32.store8 (i32.const 1000) (i32.add (i32.load8_u (i32.const 1000)) (i32.const 1)))
            (br_if $again (i32.eqz (call $set (i32.const 1000) (i32.const 1) (i32.const 2000) (i32.const 64)))))
        (return (i32.load8_u (i32.const 1000)))"#;
    let said = outcome(&module(code), grant(500, 65_536, ALL));
    assert_eq!(said, [Event::Exited(8)], "512 bytes hold seven of 65");
}

#[test]
fn no_task_sees_the_values_of_another_or_of_one_before() {
    let mut executor = Executor::new(Config::default());
    let writes = module(&format!("(drop {})", set("0 3", "32 5")));
    let reads = module("(return (call $get (i32.const 0) (i32.const 3) (i32.const 100) (i32.const 64)))");
    for (task, text) in [(1, &writes), (2, &reads)] {
        start(&mut executor, task, text, grant(200, 65_536, ALL)).unwrap();
    }
    run(&mut executor, &mut Board::default(), 1_000);
    assert_eq!(
        (events(&mut executor, 1), events(&mut executor, 2)),
        (vec![Event::Exited(0)], vec![Event::Exited(-5)])
    );
    start(&mut executor, 1, &reads, grant(200, 65_536, ALL)).unwrap();
    run(&mut executor, &mut Board::default(), 1_000);
    assert_eq!(events(&mut executor, 1), [Event::Exited(-5)]);
}

#[test]
fn a_task_without_the_capability_is_not_started() {
    let mut executor = Executor::new(Config::default());
    let refused = start(&mut executor, 1, &module(""), grant(100, 65_536, ALL & !Capabilities::KV));
    assert_eq!(refused, Err(StartError::NotGranted("micro.kv_get".into())));
}

/// A node that keeps values itself.
#[derive(Default)]
struct Store {
    values: BTreeMap<(u16, Vec<u8>), Vec<u8>>,
    broken: bool,
}

impl Host for Store {
    fn sensor_read(&mut self, _: u16, _: u32) -> Result<i32, HostError> {
        Err(HostError)
    }

    fn led_set(&mut self, _: u16, _: u32, _: bool) -> Result<(), HostError> {
        Err(HostError)
    }

    fn kv_get<'a>(&'a mut self, task: u16, _: &'a mut Kv, key: &[u8]) -> Result<Option<&'a [u8]>, HostError> {
        if self.broken { Err(HostError) } else { Ok(self.values.get(&(task, key.into())).map(Vec::as_slice)) }
    }

    fn kv_set(&mut self, task: u16, held: &mut Kv, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        if self.broken {
            return Err(KvError::Device);
        }
        held.set(key, value)?;
        self.values.insert((task, key.into()), value.into());
        Ok(())
    }

    fn kv_delete(&mut self, task: u16, held: &mut Kv, key: &[u8]) -> Result<bool, HostError> {
        held.delete(key);
        Ok(self.values.remove(&(task, key.into())).is_some())
    }
}

#[test]
fn a_node_may_keep_values_for_longer_than_the_task() {
    let writes = module(&format!("(return {})", set("0 3", "32 5")));
    let reads = module("(return (call $get (i32.const 0) (i32.const 3) (i32.const 100) (i32.const 64)))");
    let mut store = Store::default();
    let end = |text: &str, store: &mut Store| {
        let mut executor = Executor::new(Config::default());
        start(&mut executor, 7, text, grant(500, 65_536, ALL)).unwrap();
        executor.step(store, 0);
        events(&mut executor, 7)
    };
    assert_eq!(end(&writes, &mut store), [Event::Exited(0)]);
    assert_eq!(end(&reads, &mut store), [Event::Exited(5)], "after a restart of everything but the store");
    store.broken = true;
    assert_eq!(end(&writes, &mut store), [Event::Exited(-4)]);
    assert_eq!(end(&reads, &mut store), [Event::Exited(-4)]);
}

#[test]
fn a_check_may_use_values() {
    let writes = module(&format!(
        "(drop {}) (loop $again (call $is (i32.const 0) (i32.const 0)) (br $again))",
        set("0 3", "32 5")
    ));
    let mut executor = Executor::new(Config::default());
    let text =
        writes.replace("(call $is (i32.const 0) (i32.const 0))", "(call $sleep (i32.const 100))").replace(
            "(import \"micro\" \"log\"",
            "(import \"micro\" \"sleep_ms\" (func $sleep (param i32))) (import \"micro\" \"log\"",
        );
    let check =
        node_proto::Check { entry: "read", delay_s: 1, interval_s: 1, timeout_s: 2, grace_s: 0, failures: 0 };
    start_checked(&mut executor, &text, check);
    let said = timed(&mut executor, 0, 3_000);
    assert!(matches!(said[..], [(_, Event::Checked(5))]), "{said:?}");
}
