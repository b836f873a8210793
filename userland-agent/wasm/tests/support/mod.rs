//! A board without wires, and modules written by hand, in time that the test keeps.
#![allow(dead_code, reason = "each test uses what it needs")]

use agent_wasm::{Config, Event, Executor, Host, HostError, Launch, StartError};
use grants::{Capabilities, Grant, Leds};
use node_proto::Check;

/// Every capability.
pub const ALL: u16 = 0x7f;

#[derive(Default)]
pub struct Board {
    pub leds: Vec<(u16, u32, bool)>,
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

pub fn grant(cpu_permille: u16, mem_bytes: u32, capabilities: u16) -> Grant {
    Grant {
        cpu_permille,
        mem_bytes,
        flash_bytes: 0,
        leds: 0,
        capabilities: Capabilities(capabilities),
        strict: true,
    }
}

pub fn start(executor: &mut Executor, task: u16, text: &str, grant: Grant) -> Result<(), StartError> {
    let image = wat::parse_str(text).unwrap();
    let (args, env, data) = (b"one\0two\0", b"A=1\0", b"d4t");
    let launch =
        Launch { task, image: &image, entry: "", args, env, data, check: None, grant, leds: Leds(u32::MAX) };
    executor.start(&launch, 0)
}

pub fn start_checked(executor: &mut Executor, text: &str, check: Check<'_>) {
    let image = wat::parse_str(text).unwrap();
    let launch = Launch {
        task: 1,
        image: &image,
        entry: "",
        args: b"",
        env: b"",
        data: b"",
        check: Some(check),
        grant: grant(500, 70_000, ALL),
        leds: Leds(u32::MAX),
    };
    executor.start(&launch, 0).unwrap();
}

/// Steps through virtual time; gives what the module said, and when.
pub fn timed(executor: &mut Executor, from_ms: u64, until_ms: u64) -> Vec<(u64, Event)> {
    let (mut board, mut now, mut said) = (Board::default(), from_ms, Vec::new());
    while now < until_ms {
        let next = executor.step(&mut board, now);
        while let Some(event) = executor.next_event(1) {
            said.push((now, event));
        }
        now = next.unwrap_or(until_ms).max(now + 1);
    }
    said
}

/// Steps through virtual time until nothing is to do or `until_ms`.
pub fn run(executor: &mut Executor, board: &mut Board, until_ms: u64) -> u64 {
    let mut now = 0;
    while now <= until_ms {
        match executor.step(board, now) {
            Some(next) => now = next.max(now + 1),
            None => break,
        }
    }
    now
}

pub fn events(executor: &mut Executor, task: u16) -> Vec<Event> {
    std::iter::from_fn(|| executor.next_event(task)).collect()
}

pub fn outcome(text: &str, grant: Grant) -> Vec<Event> {
    let mut executor = Executor::new(Config::default());
    start(&mut executor, 1, text, grant).unwrap();
    run(&mut executor, &mut Board::default(), 10_000);
    events(&mut executor, 1)
}
