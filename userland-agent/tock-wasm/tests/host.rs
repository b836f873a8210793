//! The app against a kernel that keeps what it is told.

mod support;

use grants::syscall::{End, down};
use node_proto::Document;
use support::{Said, node, run};

macro_rules! image {
    ($name:literal) => {
        include_bytes!(concat!("../../../tools/task-sdk/images/", $name, ".wasm"))
    };
}

const MEM: u32 = 80_000;

fn document() -> Document<'static> {
    Document::default()
}

#[test]
fn a_task_runs_and_says_what_it_has_to_say() {
    node(2, |capsule, alarm, app| {
        capsule.start(1, image!("hello"), MEM, &Document { args: b"node\0", ..document() }, false);
        run(app, alarm, 5_000);
        let said = capsule.said(1);
        assert!(matches!(&said[..], [Said::Log(_), .., Said::Ended(End::Exited(0))]), "{said:?}");
        let used = capsule.slots.borrow()[1].used;
        assert!(used.log_bytes > 0 && used.mem_peak_bytes > 0 && used.granted_us >= used.cpu_us, "{used:?}");
        assert!(capsule.said(0).is_empty());
    });
}

#[test]
fn what_the_kernel_has_no_room_for_is_said_later_and_in_order() {
    node(2, |capsule, alarm, app| {
        let text = r#"(module (import "micro" "log" (func $log (param i32 i32) (result i32)))
            (memory (export "memory") 1) (data (i32.const 0) "0123456789abcdefghijklmnopqrstuvwxyz")
            (func (export "run") (result i32) (local i32)
                (loop $next
                    (drop (call $log (local.get 0) (i32.const 1)))
                    (local.set 0 (i32.add (local.get 0) (i32.const 1)))
                    (br_if $next (i32.lt_u (local.get 0) (i32.const 36))))
                (i32.const 3)))"#;
        let image = wat::parse_str(text).unwrap();
        capsule.slots.borrow_mut()[0].room = 0;
        capsule.start(0, &image, MEM, &document(), false);
        capsule.start(1, &image, MEM, &document(), false);
        run(app, alarm, 3_000);
        assert!(capsule.said(0).is_empty(), "there is no room");
        assert_eq!(capsule.said(1).last(), Some(&Said::Ended(End::Exited(3))), "nobody is held up");
        capsule.slots.borrow_mut()[0].room = usize::MAX;
        run(app, alarm, 100);
        let said = capsule.said(0);
        assert_eq!(said.first(), Some(&Said::Log("0123456789abcdefghijklmnopqrstuvwxyz".into())));
        assert_eq!(said.last(), Some(&Said::Ended(End::Exited(3))));
    });
}

#[test]
fn long_messages_go_in_pieces_both_ways() {
    node(1, |capsule, alarm, app| {
        capsule.start(0, image!("echo"), MEM, &document(), false);
        run(app, alarm, 200);
        for len in [1, 47, 48, 49, 96, 512] {
            let message: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let pieces: Vec<&[u8]> = message.chunks(48).collect();
            for (at, piece) in pieces.iter().enumerate() {
                let kind = if at + 1 < pieces.len() { down::MESSAGE_PART } else { down::MESSAGE };
                capsule.order(0, kind, piece);
            }
            run(app, alarm, 500);
            let said: Vec<Said> = capsule.said(0);
            assert!(said.contains(&Said::Message(message)), "{len}: {said:?}");
        }
        // One that is too long is lost, and the next is not.
        for _ in 0..11 {
            capsule.order(0, down::MESSAGE_PART, &[7; 48]);
        }
        capsule.order(0, down::MESSAGE, b"x");
        capsule.order(0, down::MESSAGE, b"next");
        run(app, alarm, 500);
        let messages: Vec<Said> =
            capsule.said(0).into_iter().filter(|said| matches!(said, Said::Message(_))).collect();
        assert_eq!(messages, [Said::Message(b"next".to_vec())]);
    });
}

#[test]
fn what_can_not_start_says_why() {
    let refused = |image: &[u8], mem: u32, capabilities: u16, document: &Document<'_>| {
        let mut said = Vec::new();
        node(1, |capsule, alarm, app| {
            capsule.start(0, image, mem, document, false);
            capsule.slots.borrow_mut()[0].record.capabilities = capabilities;
            run(app, alarm, 100);
            said = capsule.said(0);
        });
        match <[Said; 2]>::try_from(said) {
            Ok([Said::Note(why), Said::Ended(end)]) => (why, end),
            other => panic!("{other:?}"),
        }
    };
    let (why, end) = refused(b"\0asm\x01\0\0\0\x0c", MEM, 0x7f, &document());
    assert!(end == End::BadImage && !why.is_empty(), "{why}");
    let (why, end) = refused(image!("hello"), MEM, 0, &document());
    assert_eq!((why.as_str(), end), ("not granted: micro.log", End::NotGranted));
    let (_, end) = refused(image!("hello"), 1_000, 0x7f, &document());
    assert!(matches!(end, End::OverMemory { asked } if asked > 1_000), "{end:?}");
    let (why, end) = refused(image!("hello"), MEM, 0x7f, &Document { entry: "other", ..document() });
    assert!(end == End::BadImage && why.starts_with("no entry other"), "{why}");
    let (why, end) = refused(&[0; (1 << 20) + 1], MEM, 0x7f, &document());
    assert_eq!((why.as_str(), end), ("image: 1048577 B, limit 1048576", End::BadImage));
}

#[test]
fn a_task_is_stopped_and_killed() {
    node(2, |capsule, alarm, app| {
        // It never looks whether it is to stop.
        capsule.start(0, image!("spin"), MEM, &document(), false);
        capsule.start(1, image!("echo"), MEM, &document(), false);
        run(app, alarm, 300);
        assert!(capsule.said(0).is_empty());
        capsule.order(0, down::STOP, &5_000u32.to_le_bytes());
        capsule.order(1, down::KILL, &[]);
        run(app, alarm, 150);
        assert_eq!(capsule.said(0), [Said::Ended(End::Killed)]);
        assert_eq!(capsule.said(1).last(), Some(&Said::Ended(End::Killed)));
    });
}

#[test]
fn a_task_that_has_lost_its_slot_is_ended() {
    let text = r#"(module (import "micro" "sleep_ms" (func $sleep (param i32)))
        (import "micro" "led_set" (func $led (param i32 i32) (result i32)))
        (func (export "run") (result i32)
            (loop $again (drop (call $led (i32.const 0) (i32.const 1))) (call $sleep (i32.const 100)) (br $again))
            (unreachable)))"#;
    node(1, |capsule, alarm, app| {
        capsule.start(0, &wat::parse_str(text).unwrap(), MEM, &document(), false);
        run(app, alarm, 1_000);
        capsule.slots.borrow_mut()[0].off = true;
        run(app, alarm, 11_000);
        capsule.slots.borrow_mut()[0].off = false;
        let before = capsule.slots.borrow()[0].leds.len();
        run(app, alarm, 11_000);
        assert_eq!((before, capsule.slots.borrow()[0].leds.len()), (10, 10), "it runs no more");
        assert!(capsule.said(0).is_empty(), "and nobody is told what is known");
        capsule.start(0, image!("hello"), MEM, &document(), false);
        run(app, alarm, 1_000);
        assert_eq!(capsule.said(0).last(), Some(&Said::Ended(End::Exited(0))));
    });
}

#[test]
fn one_that_notices_but_does_not_stop_is_ended_when_its_time_is_up() {
    node(1, |capsule, alarm, app| {
        let text = r#"(module (import "micro" "stopping" (func $stopping (result i32)))
            (func (export "run") (result i32) (loop $again (drop (call $stopping)) (br $again)) (unreachable)))"#;
        capsule.start(0, &wat::parse_str(text).unwrap(), MEM, &document(), false);
        run(app, alarm, 200);
        capsule.order(0, down::STOP, &1_000u32.to_le_bytes());
        run(app, alarm, 900);
        assert!(capsule.said(0).is_empty());
        run(app, alarm, 300);
        assert_eq!(capsule.said(0), [Said::Ended(End::Killed)]);
    });
}

#[test]
fn values_are_kept_for_who_resumes_and_for_nobody_else() {
    let text = r#"(module (import "micro" "kv_get" (func $get (param i32 i32 i32 i32) (result i32)))
        (import "micro" "kv_set" (func $set (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1) (data (i32.const 0) "n")
        (func (export "run") (result i32)
            (drop (call $get (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 4)))
            (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))
            (drop (call $set (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 4)))
            (i32.load (i32.const 8))))"#;
    let image = wat::parse_str(text).unwrap();
    node(1, |capsule, alarm, app| {
        for (resumed, runs) in [(false, 1), (true, 2), (true, 3), (false, 1)] {
            capsule.start(0, &image, MEM, &document(), resumed);
            run(app, alarm, 300);
            assert_eq!(capsule.said(0), [Said::Ended(End::Exited(runs))]);
        }
        // A write that was cut is no value at all.
        capsule.slots.borrow_mut()[0].values[9] ^= 1;
        capsule.start(0, &image, MEM, &document(), true);
        run(app, alarm, 300);
        assert_eq!(capsule.said(0), [Said::Ended(End::Exited(1))]);
    });
}

#[test]
fn leds_are_counted_as_the_task_counts() {
    let text = r#"(module (import "micro" "led_set" (func $led (param i32 i32) (result i32)))
        (func (export "run") (result i32)
            (drop (call $led (i32.const 1) (i32.const 1)))
            (call $led (i32.const 2) (i32.const 1))))"#;
    node(1, |capsule, alarm, app| {
        capsule.start(0, &wat::parse_str(text).unwrap(), MEM, &document(), false);
        run(app, alarm, 300);
        assert_eq!(capsule.slots.borrow()[0].leds, [(1, true)]);
        assert_eq!(capsule.said(0), [Said::Ended(End::Exited(-4))], "it has two, and no third");
    });
}

#[test]
fn storage_that_does_not_answer_is_given_up() {
    node(1, |capsule, alarm, app| {
        capsule.mute.set(true);
        capsule.start(0, image!("hello"), MEM, &document(), false);
        run(app, alarm, 5_000);
        let said = capsule.said(0);
        assert!(matches!(&said[..], [Said::Note(_), Said::Ended(End::BadImage)]), "{said:?}");
        capsule.mute.set(false);
        capsule.start(0, image!("hello"), MEM, &document(), false);
        run(app, alarm, 5_000);
        assert_eq!(capsule.said(0).last(), Some(&Said::Ended(End::Exited(0))));
    });
}

#[test]
fn time_goes_on_when_the_counter_wraps() {
    let text = r#"(module (import "micro" "sleep_ms" (func $sleep (param i32)))
        (import "micro" "time_ms" (func $time (result i64)))
        (func (export "run") (result i32)
            (call $sleep (i32.const 1000000))
            (i32.wrap_i64 (call $time))))"#;
    node(1, |capsule, alarm, app| {
        capsule.start(0, &wat::parse_str(text).unwrap(), MEM, &document(), false);
        run(app, alarm, 1_020_000);
        match &capsule.said(0)[..] {
            [Said::Ended(End::Exited(ms))] => assert!((1_000_000..1_001_000).contains(ms), "{ms}"),
            said => panic!("{said:?}"),
        }
    });
}

#[test]
fn a_module_that_floods_its_log_does_not_hold_up_orders() {
    node(2, |capsule, alarm, app| {
        let text = r#"(module (import "micro" "log" (func $log (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "run") (result i32)
                (loop $again (drop (call $log (i32.const 0) (i32.const 48))) (br $again)) (unreachable)))"#;
        let flood = wat::parse_str(text).unwrap();
        capsule.slots.borrow_mut()[0].room = 5;
        capsule.start(0, &flood, MEM, &document(), false);
        run(app, alarm, 500);
        capsule.start(1, image!("hello"), MEM, &document(), false);
        run(app, alarm, 5_000);
        assert_eq!(capsule.said(1).last(), Some(&Said::Ended(End::Exited(0))));
        capsule.order(0, down::KILL, &[]);
        capsule.slots.borrow_mut()[0].room = usize::MAX;
        run(app, alarm, 500);
        assert_eq!(capsule.said(0).last(), Some(&Said::Ended(End::Killed)));
    });
}

#[test]
fn fuel_is_measured_within_its_bounds_even_if_the_clock_stands_still() {
    node(0, |_, _, _| ());
    let system = libtock_unittest::fake::Kernel::new();
    struct Frozen;
    impl libtock_unittest::fake::SyscallDriver for Frozen {
        fn info(&self) -> libtock_unittest::DriverInfo {
            libtock_unittest::DriverInfo::new(0).upcall_count(1)
        }
        fn command(&self, _: u32, _: u32, _: u32) -> libtock_platform::CommandReturn {
            libtock_unittest::command_return::success_u32(32_768)
        }
    }
    system.add_driver(&std::rc::Rc::new(Frozen));
    let clock = tock_wasm::Clock::<support::System>::new().unwrap();
    assert_eq!(tock_wasm::calibrate::measure(&clock), tock_wasm::calibrate::FUEL_PER_MS);
}
