//! What the interpreter costs: memory for each task, and speed with and without fuel. `cargo bench -p agent-wasm`; for the
//! other engine `cargo bench -p agent-wasm --no-default-features --features spacewasm`.

use agent_wasm::{Config, Event, Executor, Host, HostError, Launch, Screen};
use grants::{Capabilities, Grant, Leds};
use peak_alloc::PeakAlloc;
use std::path::Path;
use std::time::Instant;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Rounds of the loop that is timed.
const ROUNDS: u32 = 20_000_000;
/// Times that it is timed; the fastest counts.
const RUNS: u32 = 5;
/// Memory granted, bytes.
const MEM: u32 = 64 << 10;

struct NoBoard;

impl Host for NoBoard {
    fn sensor_read(&mut self, _task: u16, _index: u32) -> Result<i32, HostError> {
        Ok(0)
    }

    fn led_set(&mut self, _task: u16, _led: u32, _on: bool) -> Result<(), HostError> {
        Ok(())
    }
}

fn grant() -> Grant {
    Grant {
        cpu_permille: 1000,
        mem_bytes: MEM,
        flash_bytes: 0,
        leds: 1,
        capabilities: Capabilities(0x7f),
        strict: true,
    }
}

fn launch(image: &[u8]) -> Launch<'_> {
    let nothing = b"";
    Launch {
        task: 1,
        image,
        entry: "",
        args: nothing,
        env: nothing,
        data: nothing,
        check: None,
        grant: grant(),
        leds: Leds(1),
    }
}

fn memory(name: &str, image: &[u8]) -> Result<(), String> {
    let mut executor = Executor::new(Config::default());
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let mut screen = Screen::new();
    for bytes in image.chunks(64) {
        screen.push(bytes).map_err(|error| error.to_string())?;
    }
    screen.finish().map_err(|error| error.to_string())?;
    let screened = HEAP.peak_usage() - before;
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    executor.start(&launch(image), 0).map_err(|error| error.to_string())?;
    executor.step(&mut NoBoard, 0);
    let (held, peak) = (HEAP.current_usage() - before, HEAP.peak_usage() - before);
    let own = executor.usage(1).map_or(0, |usage| usage.mem_bytes);
    println!(
        "{name:<12} {:>8} {screened:>10} {own:>10} {:>12} {:>12}",
        image.len(),
        held - own.min(held),
        peak
    );
    Ok(())
}

/// A loop of nine instructions.
fn counting() -> Result<Vec<u8>, String> {
    let text = format!(
        r#"(module (func (export "run") (result i32) (local $i i32) (local $x i32)
            (local.set $i (i32.const {ROUNDS}))
            (loop $again
                (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 31)) (local.get $i)))
                (br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
            (i32.const 0)))"#
    );
    wat::parse_str(text).map_err(|error| error.to_string())
}

fn metered(image: &[u8]) -> Result<f64, String> {
    // So much fuel that no window ends: what is timed is the metering, not the waiting.
    let mut executor = Executor::new(Config { fuel_per_ms: u64::from(ROUNDS), window_ms: 100, tasks_max: 1 });
    executor.start(&launch(image), 0).map_err(|error| error.to_string())?;
    let begun = Instant::now();
    executor.step(&mut NoBoard, 0);
    let took = begun.elapsed().as_secs_f64();
    match executor.next_event(1) {
        Some(Event::Exited(0)) => Ok(took),
        other => Err(format!("{other:?}")),
    }
}

#[cfg(feature = "wasmi")]
fn unmetered(image: &[u8]) -> Result<f64, wasmi::Error> {
    let engine = wasmi::Engine::default();
    let module = wasmi::Module::new(&engine, image)?;
    let mut store = wasmi::Store::new(&engine, ());
    let instance = wasmi::Linker::new(&engine).instantiate_and_start(&mut store, &module)?;
    let run = instance.get_typed_func::<(), i32>(&store, "run")?;
    let begun = Instant::now();
    run.call(&mut store, ())?;
    Ok(begun.elapsed().as_secs_f64())
}

fn main() -> Result<(), String> {
    println!("bytes of memory on this machine, whose pointers have {} bits", usize::BITS);
    println!(
        "{:<12} {:>8} {:>10} {:>10} {:>12} {:>12}",
        "image", "size", "intake", "its own", "interpreter", "most at start"
    );
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/task-sdk/images");
    let mut names: Vec<_> = std::fs::read_dir(images)
        .map_err(|error| error.to_string())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "wasm"))
        .collect();
    names.sort();
    for path in names {
        let image = std::fs::read(&path).map_err(|error| error.to_string())?;
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        if let Err(error) = memory(&name, &image) {
            println!("{name:<12} {error}");
        }
    }
    let image = counting()?;
    let fastest = |times: Vec<f64>| times.into_iter().fold(f64::INFINITY, f64::min);
    let with = fastest((0..RUNS).map(|_| metered(&image)).collect::<Result<_, _>>()?);
    let speed = |seconds: f64| f64::from(ROUNDS) / seconds / 1e6;
    println!("\na loop of nine instructions, million rounds a second: {:.1} with fuel", speed(with));
    #[cfg(feature = "wasmi")]
    {
        let without = (0..RUNS).map(|_| unmetered(&image)).collect::<Result<_, _>>();
        let without = fastest(without.map_err(|error| error.to_string())?);
        println!("and {:.1} without", speed(without));
    }
    Ok(())
}
