//! The committed images do what the README says, under the real executor.

use agent_wasm::{Config, Event, Executor, Host, HostError, Launch, StartError, Trap};
use grants::{Capabilities, Grant, Leds};
use node_proto::Check;
use sha2::{Digest, Sha256};
use std::path::PathBuf;

const ALL: u16 = 0x7f;
const MEM: u32 = 8 << 10;

const CHECK: Check<'_> =
    Check { entry: "well", delay_s: 1, interval_s: 1, timeout_s: 1, grace_s: 0, failures: 3 };

struct Board {
    led_changes: Vec<bool>,
}

impl Host for Board {
    fn sensor_read(&mut self, _: u16, _: u32) -> Result<i32, HostError> {
        Ok(21_507)
    }

    fn led_set(&mut self, _: u16, index: u32, on: bool) -> Result<(), HostError> {
        self.led_changes.push(on);
        if index == 0 { Ok(()) } else { Err(HostError) }
    }
}

fn dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("images")
}

fn image(name: &str) -> Vec<u8> {
    std::fs::read(dir().join(format!("{name}.wasm"))).unwrap()
}

fn start(executor: &mut Executor, name: &str, args: &[u8], capabilities: u16) -> Result<(), StartError> {
    let grant = Grant {
        cpu_permille: 500,
        mem_bytes: MEM,
        flash_bytes: 0,
        leds: 0,
        capabilities: Capabilities(capabilities),
        strict: true,
    };
    let launch = Launch {
        task: 1,
        image: &image(name),
        entry: "",
        args,
        env: b"GREETING=hi\0",
        data: b"",
        check: (name == "count").then_some(CHECK),
        grant,
        leds: Leds(u32::MAX),
    };
    executor.start(&launch, 0)
}

fn run(name: &str, args: &[u8]) -> (String, Vec<String>, Event, Board) {
    let mut executor = Executor::new(Config::default());
    start(&mut executor, name, args, ALL).unwrap();
    let mut board = Board { led_changes: Vec::new() };
    let (mut now, mut log, mut messages) = (0, String::new(), Vec::new());
    loop {
        let next = executor.step(&mut board, now);
        while let Some(event) = executor.next_event(1) {
            match event {
                Event::Log(bytes) => log.push_str(&String::from_utf8(bytes).unwrap()),
                Event::Message(bytes) => messages.push(String::from_utf8(bytes).unwrap()),
                Event::Health(well) => assert!(well),
                end => return (log, messages, end, board),
            }
        }
        now = next.expect("the task waits for nothing").max(now + 1);
        assert!(now < 60_000, "{name} does not end");
    }
}

#[test]
fn blink_blinks() {
    let (log, _, end, board) = run("blink", b"4\x00100\0");
    assert_eq!((log.as_str(), end), ("blinking\ndone\n", Event::Exited(0)));
    assert_eq!(board.led_changes, [true, false, true, false, false]);
}

#[test]
fn sense_sends_its_average() {
    let (_, messages, end, _) = run("sense", b"");
    assert_eq!((messages, end), (vec!["avg=21.507".to_owned()], Event::Exited(0)));
}

#[test]
fn hog_ends_over_its_memory_and_fault_traps() {
    assert!(matches!(run("hog", b"").2, Event::OverMemory { granted: MEM, .. }));
    let (log, _, end, _) = run("fault", b"");
    assert_eq!(log, "about to fault\n");
    assert!(end == Event::Trapped(Trap::Unreachable));
}

#[test]
fn hello_tells_its_arguments_and_environment() {
    let (log, _, end, _) = run("hello", b"one\0exit=3\0");
    assert_eq!(log, "arg one\narg exit=3\nenv GREETING=hi\n");
    assert_eq!(end, Event::Exited(3));
}

#[test]
fn chatty_gets_everything_through_bounded_rings() {
    let (_, messages, end, _) = run("chatty", b"50\0");
    assert_eq!((messages.len(), end), (50, Event::Exited(0)));
    assert_eq!(messages[49], "message 49");
}

#[test]
fn count_counts_in_a_value_that_task_and_check_keep() {
    let (_, messages, end, _) = run("count", b"4\0");
    assert_eq!((messages, end), (vec!["runs=4".to_owned()], Event::Exited(0)));
    let mut executor = Executor::new(Config::default());
    let refused = start(&mut executor, "count", b"", ALL & !Capabilities::KV);
    assert!(matches!(refused, Err(StartError::NotGranted(name)) if name.starts_with("micro.kv_")));
}

#[test]
fn spin_never_ends() {
    let mut executor = Executor::new(Config::default());
    start(&mut executor, "spin", b"", 0).unwrap();
    let mut board = Board { led_changes: Vec::new() };
    for window in 0..50 {
        assert!(executor.step(&mut board, window * 100).is_some());
    }
    assert_eq!(executor.next_event(1), None);
}

#[test]
fn a_task_without_its_capability_is_not_started() {
    let mut executor = Executor::new(Config::default());
    let refused = start(&mut executor, "blink", b"", ALL & !Capabilities::LED);
    assert_eq!(refused, Err(StartError::NotGranted("micro.led_set".into())));
}

#[test]
fn the_images_are_those_of_the_list() {
    let list = std::fs::read_to_string(dir().join("SHA256SUMS")).unwrap();
    for line in list.lines() {
        let (digest, file) = line.split_once("  ./").unwrap();
        let bytes = std::fs::read(dir().join(file)).unwrap();
        let actual: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, actual, "{file}");
    }
    assert_eq!(list.lines().count(), 10);
}
