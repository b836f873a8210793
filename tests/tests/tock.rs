//! A node with a real Tock kernel, booted under QEMU on the simulated medium: what it runs, what it withstands.
//!
//! The image is made by `micro image qemu_rv32_virt`; where there is none, or no emulator, each test says SKIPPED and why.

mod support;

use framework::v1::{TaskState::*, TaskStatus, task_status::Reason};
use serde_json::Value;
use std::time::{Duration, Instant};
use support::tock::{TOCK_EUI64, native};
use support::{Follower, PATIENCE, System, states};

/// What a native task needs: all memory of a slot.
const NATIVE: &[(&str, f64)] = &[("cpus", 0.25), ("mem", 0.024)];
const WASM: &[(&str, f64)] = &[("cpus", 0.2), ("mem", 0.008)];
/// Some frames are lost, as on any radio.
const LOSSY: (f64, f64, f64) = (0.05, 0.0, 0.0);
const GOOD: (f64, f64, f64) = (0.0, 0.0, 0.0);

/// A native task under a name of its own.
async fn launch(system: &System, name: &str, image: &str, amounts: &[(&str, f64)]) -> Follower {
    Follower::launch_image(system.master, name, &native(image), &[], amounts, |_| {}).await
}

/// What the gateway knows of a task.
fn task(system: &System, name: &str) -> Option<Value> {
    system.node()?["tasks"].as_array()?.iter().find(|task| task["task_id"] == name).cloned()
}

fn end(statuses: &[TaskStatus]) -> String {
    let last = statuses.last().unwrap();
    format!("{} {}", last.reason().as_str_name(), last.message())
}

/// Waits until the node has said something of a task that fulfils `good`.
async fn until(system: &System, name: &str, good: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        if let Some(task) = task(system, name).filter(|task| good(task)) {
            return task;
        }
        assert!(begun.elapsed() < PATIENCE, "{name}: {:?}\n{}", task(system, name), system.serial());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The node has started once, and a plain task still runs on it.
async fn undisturbed(system: &System) {
    let node = system.node().unwrap();
    assert_eq!((node["boot"].as_u64(), node["state"].as_str()), (Some(1), Some("registered")), "{node}");
    let name = format!("after-{}", node["tasks"].as_array().map_or(0, Vec::len));
    let mut hello =
        Follower::launch_image(system.master, &name, &support::image("hello"), &[], WASM, |_| {}).await;
    assert_eq!(hello.until_the_end().await.last().unwrap().state(), TaskFinished, "{}", system.serial());
    assert!(!system.serial().contains("panic"), "{}", system.serial());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_source_finishes_as_wasm_and_as_a_process() {
    let Some(system) = System::start_tock(LOSSY) else { return };
    let mut wasm = Follower::launch(&system, "hello", &["in", "wasm"], WASM).await;
    assert_eq!(states(&wasm.until_the_end().await), [TaskStarting, TaskRunning, TaskFinished]);
    let mut native = launch(&system, "native", "hello", NATIVE).await;
    let statuses = native.until_the_end().await;
    assert_eq!(states(&statuses), [TaskStarting, TaskRunning, TaskFinished], "{}", end(&statuses));
    let node = system.node().unwrap();
    assert_eq!(node["board"], "qemu_rv32_virt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_never_yields_is_held_to_its_share_while_the_agent_answers() {
    let Some(system) = System::start_tock(GOOD) else { return };
    let mut spin = launch(&system, "spin", "spin", NATIVE).await;
    spin.until_running().await;
    // A quarter of the core for at least five seconds, as the kernel counts it.
    let seen = until(&system, "spin", |task| task["cpu_granted_ms"].as_u64() >= Some(1_250)).await;
    let (used, granted) = (seen["cpu_ms"].as_f64().unwrap(), seen["cpu_granted_ms"].as_f64().unwrap());
    let elapsed = granted / 0.25;
    // One window may be granted and not used yet.
    assert!((used - granted).abs() <= 0.01 * elapsed + 25.0, "used {used} ms of {granted} ms granted");
    undisturbed(&system).await;
    spin.kill().await;
    assert_eq!(spin.until_the_end().await.last().unwrap().state(), TaskKilled);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_does_wrong_ends_it_alone() {
    let Some(system) = System::start_tock(GOOD) else { return };
    let mut neighbour = launch(&system, "neighbour", "spin", &[("cpus", 0.1), ("mem", 0.024)]).await;
    neighbour.until_running().await;
    for image in ["null", "kernel-store", "overflow"] {
        let mut wrong = launch(&system, image, image, NATIVE).await;
        let statuses = wrong.until_the_end().await;
        assert_eq!(statuses.last().unwrap().state(), TaskFailed, "{image}: {}", end(&statuses));
    }
    let mut restart = launch(&system, "restart", "restart", NATIVE).await;
    let statuses = restart.until_the_end().await;
    assert_eq!(states(&statuses), [TaskStarting, TaskRunning, TaskFailed], "{}", end(&statuses));
    let mut hog = launch(&system, "hog", "brk-hog", &[("cpus", 0.25), ("mem", 0.016)]).await;
    let statuses = hog.until_the_end().await;
    let last = statuses.last().unwrap();
    assert_eq!(last.state(), TaskFailed, "{}", end(&statuses));
    assert_eq!(last.reason(), Reason::ContainerLimitationMemory, "{}", end(&statuses));
    // It calls what it was not granted, and says 0 if all of that was refused.
    let mut ungranted = launch(&system, "trespass", "trespass", NATIVE).await;
    let statuses = ungranted.until_the_end().await;
    assert_eq!(statuses.last().unwrap().state(), TaskFinished, "{}", end(&statuses));
    assert_eq!(task(&system, "neighbour").unwrap()["state"], "TASK_RUNNING");
    undisturbed(&system).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_floods_holds_up_nobody() {
    let Some(system) = System::start_tock(GOOD) else { return };
    let mut flood = launch(&system, "flood", "flood", NATIVE).await;
    flood.until_running().await;
    undisturbed(&system).await;
    flood.kill().await;
    assert_eq!(flood.until_the_end().await.last().unwrap().state(), TaskKilled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_killed_in_mid_transfer_goes_on_with_it() {
    let Some(mut system) = System::start_tock(LOSSY) else { return };
    let mut hello = launch(&system, "hello", "hello", NATIVE).await;
    let before = system.in_mid_transfer("hello").await;
    system.kill_machine();
    system.start_machine(None);
    let statuses = hello.until_the_end().await;
    assert_eq!(
        states(&statuses),
        [TaskStarting, TaskRunning, TaskFinished],
        "killed after {before} bytes: {}",
        end(&statuses)
    );
    assert_eq!(system.node().unwrap()["boot"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_image_runs_only_as_its_publisher_signed_it() {
    let dir = tempfile::tempdir().unwrap();
    let sign = |args: &[&str]| {
        let mut micro = support::micro();
        assert!(
            micro.current_dir(dir.path()).arg("task").args(args).output().unwrap().status.success(),
            "{args:?}"
        );
    };
    sign(&["keygen", "works"]);
    let publisher = dir.path().join("works.pub");
    let Some(system) = System::start_tock_believing(GOOD, Some(&publisher)) else { return };
    let mut unsigned = launch(&system, "unsigned", "hello", NATIVE).await;
    let statuses = unsigned.until_the_end().await;
    assert_eq!(statuses.last().unwrap().state(), TaskFailed, "{}", end(&statuses));
    std::fs::copy(native("hello"), dir.path().join("hello.tbf")).unwrap();
    sign(&["sign", "hello.tbf", "--key", "works.key"]);
    let image = dir.path().join("hello.tbf").display().to_string();
    let mut signed = Follower::launch_image(system.master, "signed", &image, &[], NATIVE, |_| {}).await;
    let statuses = signed.until_the_end().await;
    assert_eq!(statuses.last().unwrap().state(), TaskFinished, "{}", end(&statuses));
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_come_and_go_without_a_trace() {
    let Some(system) = System::start_tock(GOOD) else { return };
    let cycles: u32 = std::env::var("MICRO_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    for cycle in 0..cycles {
        let (one, two) = (format!("native-{cycle}"), format!("wasm-{cycle}"));
        let mut native = launch(&system, &one, "hello", NATIVE).await;
        let statuses = native.until_the_end_at_once().await;
        assert_eq!(statuses.last().unwrap().state(), TaskFinished, "cycle {cycle}: {}", end(&statuses));
        let hello = support::image("hello");
        let mut wasm = Follower::launch_image(system.master, &two, &hello, &[], WASM, |_| {}).await;
        let statuses = wasm.until_the_end_at_once().await;
        assert_eq!(statuses.last().unwrap().state(), TaskFinished, "cycle {cycle}: {}", end(&statuses));
    }
    undisturbed(&system).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_frames_of_every_kind_neither_panic_nor_deafen_it() {
    let Some(system) = System::start_tock(GOOD) else { return };
    let seconds: u64 =
        std::env::var("MICRO_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let begun = Instant::now();
    let rogue = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    rogue.connect(system.air).unwrap();
    let mut random = Random(7);
    let mut sent = 0;
    while begun.elapsed() < Duration::from_secs(seconds) {
        let frame = malformed(&mut random);
        let _ = rogue.send(&lowpan::ether::wrap(&frame)); // the medium's queue may be full
        sent += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    println!("{sent} malformed frames in {seconds} s");
    undisturbed(&system).await;
}

/// A small generator, so that a failure comes again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// A frame to the machine's radio with something wrong in it.
fn malformed(random: &mut Random) -> Vec<u8> {
    let from = lowpan::Eui64([2, 0, 0, 0, 0, 0, 0, 0x66]);
    let to: lowpan::Eui64 = TOCK_EUI64.parse().unwrap();
    let mut stack = lowpan::Stack::new(lowpan::Config::new(from));
    let len = [0, 1, 4, 8, 40, 64, 120, 300][random.below(8)];
    let payload: Vec<u8> = (0..len).map(|_| random.below(256) as u8).collect();
    let mut frames = stack.encode(to.link_local(), 5683, 5683, &payload).unwrap();
    let which = random.below(frames.len());
    let mut frame = frames.swap_remove(which);
    // The addresses stay, so that it reaches the stack.
    let header = 21.min(frame.len());
    match random.below(5) {
        0 => frame.truncate(header + random.below(frame.len() - header + 1)),
        1 => {
            for _ in 0..1 + random.below(4) {
                let at = header + random.below((frame.len() - header).max(1));
                if let Some(byte) = frame.get_mut(at) {
                    *byte = random.below(256) as u8;
                }
            }
        }
        // Every dispatch there is.
        2 => {
            if let Some(byte) = frame.get_mut(header) {
                *byte = random.below(256) as u8;
            }
        }
        3 => frame.truncate(random.below(frame.len() + 1)),
        // A fragment of a datagram that never comes whole.
        _ => {}
    }
    frame
}
