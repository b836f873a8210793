//! Images of strangers.

use crate::script::first;
use agent_wasm::inspect::{Image, has_floats, inspect, validate};
use agent_wasm::{Config, Executor, Host, HostError, Launch, Screen, StartError};
use grants::{Capabilities, Grant, Leds};
use node_proto::Check;

/// Memory granted, bytes.
const GRANTED: u32 = 96 << 10;
/// Every capability.
const ALL: u16 = 0x7f;

struct Board;

impl Host for Board {
    fn sensor_read(&mut self, _task: u16, index: u32) -> Result<i32, HostError> {
        if index == 0 { Ok(21_500) } else { Err(HostError) }
    }

    fn led_set(&mut self, _task: u16, index: u32, _on: bool) -> Result<(), HostError> {
        if index < 2 { Ok(()) } else { Err(HostError) }
    }
}

fn screened(image: &[u8], piece: usize) -> Result<Image, StartError> {
    let mut screen = Screen::new();
    for bytes in image.chunks(piece) {
        screen.push(bytes)?;
    }
    screen.finish()
}

/// Inspects, validates, starts and runs an image; the first byte says with which grant and document.
pub fn wasm(data: &[u8]) {
    let (how, image) = first(data);
    let inspected = inspect(image);
    let valid = validate(image);
    let _ = has_floats(image);
    let screened = screened(image, image.len().max(1));
    assert_eq!(screened.is_ok(), self::screened(image, usize::from(how) + 1).is_ok(), "in other pieces");
    if valid.is_ok() {
        assert!(matches!(screened, Ok(_) | Err(StartError::Limit { .. })), "{screened:?}");
    }
    let capabilities = if how & 1 == 0 { ALL } else { 0 };
    let check = Check { entry: "check", delay_s: 0, interval_s: 1, timeout_s: 1, grace_s: 0, failures: 2 };
    let check = (how & 2 != 0).then_some(check);
    let grant = Grant {
        cpu_permille: 500,
        mem_bytes: GRANTED,
        flash_bytes: 0,
        leds: 2,
        capabilities: Capabilities(capabilities),
        strict: true,
    };
    let launch = Launch {
        task: 1,
        image,
        entry: "",
        args: b"one\0two\0",
        env: b"A=1\0",
        data: b"data",
        check,
        grant,
        leds: Leds(3),
    };
    let mut executor = Executor::new(Config { fuel_per_ms: 50, window_ms: 100, tasks_max: 2 });
    let started = executor.start(&launch, 0);
    match (&inspected, &valid) {
        (Ok(image), Ok(())) => {
            let check = check.map(|check| check.entry);
            let admitted = image.admit("", check, grant.capabilities, GRANTED);
            assert!(admitted.is_ok() || started.is_err(), "{admitted:?} but {started:?}");
        }
        _ => assert!(started.is_err(), "{inspected:?} {valid:?}"),
    }
    let mut now = 0;
    for turn in 0..12 {
        let Some(next) = executor.step(&mut Board, now) else { break };
        if let Some(usage) = executor.usage(1) {
            assert!(usage.mem_peak_bytes <= GRANTED as usize, "{usage:?}");
        }
        while executor.next_event(1).is_some() {}
        match turn {
            3 => drop(executor.deliver(1, b"a message")),
            8 => drop(executor.stop(1, 200, now)),
            10 => drop(executor.kill(1)),
            _ => {}
        }
        now = next.max(now + 1).min(now + 5_000);
    }
}
