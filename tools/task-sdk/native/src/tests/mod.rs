//! The interface's functions against a capsule that does what `grants::syscall` says.

mod node;

use crate::task::{Field, Task};
use grants::syscall::{SlotCall, down};
use libtock_unittest::fake::Syscalls;
use node::with;

#[test]
fn strings_come_from_the_document_as_far_as_they_fit() {
    with(|world, task| {
        let mut buffer = [0; 400];
        assert_eq!((task.field(Field::Args, &mut buffer), &buffer[..8]), (8, &b"one\0two\0"[..]));
        assert_eq!((task.field(Field::Env, &mut buffer), &buffer[..4]), (4, &b"A=b\0"[..]));
        assert_eq!((task.field(Field::Data, &mut buffer), buffer[299]), (300, 7));
        assert_eq!(task.field(Field::Args, &mut buffer[..5]), 5);
        world.document.replace(vec![0xff; 20]);
        assert_eq!(
            Task::<Syscalls>::new().field(Field::Args, &mut buffer),
            0,
            "what is no document has nothing"
        );
    });
}

#[test]
fn a_long_message_goes_out_whole_while_the_task_does_other_things() {
    with(|world, task| {
        let message: Vec<u8> = (0..512).map(|n| (n % 251) as u8).collect();
        assert_eq!(task.message(&[0; 513]), -2);
        assert_eq!(task.message(&message), 0);
        assert_eq!(task.message(b"next"), -3, "one is on its way");
        task.sleep_ms(100);
        assert_eq!(task.message(b"next"), 0);
        let said = world.said.borrow();
        let ends: Vec<_> = said.iter().map(|(call, _)| *call == SlotCall::Message { more: false }).collect();
        assert_eq!(ends.iter().position(|end| *end), Some(10));
        assert_eq!(said[..11].iter().flat_map(|(_, piece)| piece.clone()).collect::<Vec<_>>(), message);
        assert_eq!(&said[11..], &[(SlotCall::Message { more: false }, b"next".to_vec())]);
    });
}

#[test]
fn the_rest_of_a_message_goes_before_the_end_even_without_an_alarm() {
    for deaf in [false, true] {
        with(|world, task| {
            world.deaf.set(deaf);
            world.room.set(100);
            assert_eq!(task.message(&[1; 300]), 0);
            // Whoever has no clock relies on the agent, which runs beside it.
            world.left.set(if deaf { 100 } else { 0 });
            task.flush();
            assert_eq!(world.said.borrow().len(), 7);
        });
    }
}

#[test]
fn a_log_waits_for_room_but_not_for_ever() {
    with(|world, task| {
        assert_eq!((task.log(&[b'x'; 1000]), task.log(&[b'x'; 1025]), task.log(b"")), (0, -2, 0));
        assert_eq!(world.said.borrow().iter().map(|(_, piece)| piece.len()).sum::<usize>(), 1000);
        world.room.set(0);
        world.left.set(0);
        let before = world.ms();
        assert_eq!(task.log(b"x"), -3);
        assert!((1_000..1_100).contains(&(world.ms() - before)));
    });
}

#[test]
fn time_goes_on_over_the_turns_of_the_counter() {
    with(|world, task| {
        let (mut before, mut slept) = (task.time_ms(), 0);
        for ms in [1, 999, 100_000, 429_496, 1_000_000, 3_000_000] {
            task.sleep_ms(ms);
            slept += u64::from(ms);
            let now = task.time_ms();
            assert!(
                now - before >= u64::from(ms) && now - before <= u64::from(ms) + 2,
                "{ms}: {}",
                now - before
            );
            before = now;
        }
        assert!(world.ms() >= slept && world.ms() == before);
    });
}

#[test]
fn who_listens_is_woken_to_stop_and_who_does_not_sleeps_on() {
    with(|world, task| {
        world.coming.borrow_mut().push_back((300, down::STOP, vec![0; 4]));
        task.sleep_ms(1_000);
        assert!(world.ms() >= 1_000);
        assert_eq!(task.stopping(), 0, "its time is over");
    });
    with(|world, task| {
        assert_eq!(task.stopping(), -1);
        world.coming.borrow_mut().push_back((300, down::STOP, vec![0; 4]));
        task.sleep_ms(1_000);
        assert!((300..310).contains(&world.ms()), "{}", world.ms());
        assert!((490..=500).contains(&task.stopping()));
        assert_eq!(task.receive(&mut [0; 8], 60_000), 0);
        assert!(world.ms() < 310);
    });
}

#[test]
fn an_order_to_stop_is_seen_behind_messages_that_wait() {
    with(|world, task| {
        assert_eq!(task.stopping(), -1);
        for ms in [10, 20, 30] {
            world.coming.borrow_mut().push_back((ms, down::MESSAGE, b"hello".to_vec()));
        }
        world.coming.borrow_mut().push_back((2_000, down::STOP, vec![0; 4]));
        task.sleep_ms(10_000);
        assert!((2_000..=2_260).contains(&world.ms()), "{}", world.ms());
        let mut buffer = [0; 16];
        for _ in 0..3 {
            assert_eq!((task.receive(&mut buffer, 0), &buffer[..5]), (5, &b"hello"[..]));
        }
        assert_eq!(task.receive(&mut buffer, 0), 0);
    });
}

#[test]
fn messages_are_put_together_and_cut_to_the_buffer() {
    with(|world, task| {
        let mut buffer = [0; 200];
        assert_eq!(task.receive(&mut buffer, 100), 0);
        assert!((100..110).contains(&world.ms()));
        for (ms, kind, byte) in [
            (200, down::MESSAGE_PART, 1),
            (300, down::MESSAGE_PART, 2),
            (400, down::MESSAGE, 3),
            (400, down::MESSAGE, 4),
        ] {
            world.coming.borrow_mut().push_back((ms, kind, vec![byte; 40]));
        }
        // Half of it is there when the wait ends; it is not lost.
        assert_eq!(task.receive(&mut buffer, 150), 0);
        assert_eq!(task.receive(&mut buffer, 60_000), 120);
        assert_eq!((buffer[0], buffer[40], buffer[80], buffer[120]), (1, 2, 3, 0));
        assert_eq!((task.receive(&mut buffer[..7], 60_000), buffer[6]), (7, 4));
        assert!(world.ms() < 410);
    });
}

#[test]
fn more_than_a_message_may_have_is_cut_and_does_no_harm() {
    with(|world, task| {
        for n in 0..20 {
            let kind = if n < 19 { down::MESSAGE_PART } else { down::MESSAGE };
            world.orders.borrow_mut().push_back((kind, vec![n; 48]));
        }
        world.orders.borrow_mut().push_back((down::MESSAGE, b"next".to_vec()));
        let mut buffer = [0; 600];
        assert_eq!((task.receive(&mut buffer, 0), buffer[511]), (512, 10));
        assert_eq!(task.receive(&mut buffer, 0), 4);
    });
}

#[test]
fn values_are_those_of_the_storage() {
    with(|world, task| {
        let mut out = [0; 4];
        assert_eq!((task.kv_get(b"k", &mut out), task.kv_delete(b"k")), (-5, -5));
        assert_eq!((task.kv_set(b"k", b"value"), task.kv_get(b"k", &mut out), out), (0, 5, *b"valu"));
        assert_eq!((task.kv_set(b"", b"v"), task.kv_set(b"k", &[0; 65])), (-2, -2));
        // Another run of the task finds them.
        let mut again = Task::<Syscalls>::new();
        assert_eq!(again.kv_get(b"k", &mut out), 5);
        world.broken.set(true);
        assert_eq!((again.kv_set(b"k", b"other"), again.kv_get(b"k", &mut out), out), (-1, 5, *b"valu"));
        world.broken.set(false);
        assert_eq!((again.kv_delete(b"k"), again.kv_get(b"k", &mut out)), (0, -5));
        assert_eq!(Task::<Syscalls>::new().kv_get(b"k", &mut out), -5);
    });
}

#[test]
fn devices_answer_or_are_not_there() {
    with(|_, task| {
        assert_eq!((task.sensor(0), task.sensor(1), task.sensor(1 << 24)), (Ok(-21_500), Err(-4), Err(-4)));
        assert_eq!((task.led(0, true), task.led(1, true), task.led(1 << 24, true)), (0, -4, -4));
    });
}

#[test]
fn what_is_not_granted_does_nothing() {
    with(|world, task| {
        world.capabilities.set(0);
        assert_eq!((task.log(b"x"), task.message(b"x"), task.receive(&mut [0; 8], 1_000)), (-1, -1, -1));
        assert_eq!((task.sensor(0), task.led(0, true)), (Err(-1), -1));
        assert_eq!((task.kv_get(b"k", &mut []), task.kv_set(b"k", b"v"), task.kv_delete(b"k")), (-1, -1, -1));
        task.sleep_ms(10_000);
        assert_eq!((task.time_ms(), world.ms()), (0, 0));
        assert!(world.said.borrow().is_empty());
    });
}

#[test]
fn without_an_alarm_nothing_waits() {
    with(|world, task| {
        world.deaf.set(true);
        task.sleep_ms(10_000);
        assert_eq!((task.receive(&mut [0; 8], 10_000), task.time_ms()), (0, 0));
        world.left.set(0);
        assert_eq!(task.log(b"x"), -3);
    });
}
