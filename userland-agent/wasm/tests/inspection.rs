//! What an image says of itself, and what is refused before anything of it runs.

mod support;

use agent_wasm::inspect::{has_floats, inspect, validate};
use agent_wasm::{Config, Executor, Launch, StartError};
use grants::{Capabilities, Leds};
use node_proto::limits::STATUS_NOTE_MAX;
use proptest::prelude::*;
use support::*;

const IMAGE: &str = r#"(module
    (import "micro" "log" (func (param i32 i32) (result i32)))
    (import "micro" "led_set" (func (param i32 i32) (result i32)))
    (memory (export "memory") 2048 4096 (pagesize 1))
    (table 3 funcref)
    (func (export "run") (result i32) (local i32 i64) (i32.const 0))
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "well") (result i32) (i32.const 0)))"#;

#[test]
fn an_image_says_what_it_needs() {
    let bytes = wat::parse_str(IMAGE).unwrap();
    let image = inspect(&bytes).unwrap();
    let imports: Vec<_> = image.imports.iter().map(|import| (import.name.as_str(), import.fits)).collect();
    assert_eq!(imports, [("micro.log", true), ("micro.led_set", true)]);
    assert_eq!(image.capabilities(), Capabilities::LOG | Capabilities::LED);
    let exports: Vec<_> =
        image.exports.iter().map(|export| (export.name.as_str(), export.is_entry)).collect();
    assert_eq!(exports, [("run", true), ("add", false), ("well", true)]);
    let memory = image.memory.unwrap();
    assert_eq!((memory.min_bytes, memory.max_bytes, memory.page_bytes), (2_048, Some(4_096), 1));
    assert_eq!((image.functions, image.locals, image.table_elements), (3, 2, 3));
    assert_eq!((image.bytes, image.mem_bytes()), (bytes.len(), 2_048 + 3 * 8));
    assert!(image.exports_memory && image.has_custom_pages() && !image.has_start);
    assert_eq!(validate(&bytes), Ok(()));
}

#[test]
fn floats_are_found_wherever_they_are() {
    let floats = |text: &str| has_floats(&wat::parse_str(text).unwrap());
    assert!(!floats(IMAGE));
    assert!(floats("(module (func (param f32)))"));
    assert!(floats("(module (func (drop (f64.const 1))))"));
    assert!(floats("(module (func (local f64)))"));
    assert!(!has_floats(b"\0asm"), "what is not valid has nothing");
}

#[test]
fn a_fault_is_told_with_its_section_and_place() {
    let mut code = wat::parse_str(IMAGE).unwrap();
    let at = code.len() - 2; // the operand of the last function, whose last two bytes are it and `end`
    code[at] = 0xff;
    let error = validate(&code).unwrap_err();
    let StartError::Invalid { section, offset, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*section, Some("code"), "{error}");
    assert!(offset.is_some_and(|offset| (at - 1..=code.len()).contains(&offset)), "{error}");

    let wrong_type = r#"(module (func (export "run") (result i32) (i64.const 0)))"#;
    let error = validate(&wat::parse_str(wrong_type).unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("not a valid module: code at 0x"), "{error}");
    assert!(error.contains("type mismatch"), "{error}");

    let garbage = inspect(b"\0asm\x01\0\0\0garbage").unwrap_err();
    assert!(matches!(garbage, StartError::Invalid { section: None, offset: Some(_), .. }), "{garbage:?}");
    assert!(matches!(inspect(b""), Err(StartError::Invalid { .. })));
}

/// Traps in its start section, and so shows that it runs.
fn with_start(rest: &str) -> String {
    format!(
        r#"(module (import "micro" "log" (func $log (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func $start unreachable) (start $start) {rest})"#
    )
}

#[test]
fn nothing_of_a_refused_image_runs_and_the_note_names_the_thing() {
    let run = r#"(func (export "run") (result i32) (i32.const 0))"#;
    let mem = 65_536;
    let cases = [
        ("", mem, ALL, "no entry run() -> i32"),
        (r#"(func (export "run"))"#, mem, ALL, "not () -> i32: run"),
        (r#"(func (export "run") (param i32) (result i32) (i32.const 0))"#, mem, ALL, "not () -> i32: run"),
        (r#"(global (export "run") i32 (i32.const 0))"#, mem, ALL, "no entry run() -> i32"),
        (run, mem, ALL & !Capabilities::LOG, "not granted: micro.log"),
        (run, mem - 1, ALL, "needs 65536 B, granted 65535"),
    ];
    for (rest, mem, capabilities, note) in cases {
        let mut executor = Executor::new(Config::default());
        let refused = start(&mut executor, 1, &with_start(rest), grant(100, mem, capabilities)).unwrap_err();
        assert_eq!(refused.to_string(), note);
        assert!(note.len() <= STATUS_NOTE_MAX, "{note}");
        assert_eq!(executor.usage(1), None);
    }
    let ran = start(&mut Executor::new(Config::default()), 1, &with_start(run), grant(100, mem, ALL));
    let ran = ran.unwrap_err().to_string();
    assert!(ran.contains("unreachable"), "{ran}");
}

#[test]
fn nothing_but_functions_of_the_host_can_be_imported() {
    for import in [
        r#"(import "micro" "log" (memory 1))"#,
        r#"(import "micro" "log" (global i32))"#,
        r#"(import "micro" "log" (table 1 funcref))"#,
        r#"(import "env" "log" (func (param i32 i32) (result i32)))"#,
    ] {
        let text = format!(r#"(module {import} (func (export "run") (result i32) (i32.const 0)))"#);
        let refused = start(&mut Executor::new(Config::default()), 1, &text, grant(100, 65_536, ALL));
        assert!(matches!(refused, Err(StartError::UnknownImport(_))), "{refused:?}");
    }
}

/// What is invalid is told by wasmparser before a start, and by the small engine's own reader at it.
fn words(error: StartError) -> StartError {
    match error {
        StartError::Invalid { .. } if cfg!(not(feature = "wasmi")) => {
            StartError::Invalid { section: None, offset: None, why: String::new() }
        }
        error => error,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_bytes_can_be_looked_at(noise in prop::collection::vec(any::<u8>(), 0..64), flips in prop::collection::vec(any::<(usize, u8)>(), 0..6)) {
        let mut image = wat::parse_str(IMAGE).unwrap();
        for (at, with) in flips {
            let at = at % image.len();
            image[at] ^= with;
        }
        image.extend(noise);
        // Who asks before gets the answer of the node; if both read images in the same way, in the same words.
        let looked = inspect(&image).and_then(|of| of.admit("", None, Capabilities(ALL), 70_000)).and_then(|()| validate(&image));
        let launch = Launch {
            task: 1, image: &image, entry: "", args: b"", env: b"", data: b"", check: None, grant: grant(100, 70_000, ALL),
            leds: Leds(0),
        };
        let started = Executor::new(Config::default()).start(&launch, 0);
        if looked.is_err() || started.is_ok() {
            prop_assert_eq!(looked.map_err(words), started.map_err(words));
        }
        let _ = has_floats(&image);
    }
}
