//! Is well for a while: `sick MILLISECONDS`. Its check, `well`, says so, and then no more.
#![no_std]
#![no_main]
task_sdk::task!(main);
task_sdk::check!(is_well);

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

static SICK: AtomicBool = AtomicBool::new(false);

fn main() -> i32 {
    let mut buffer = [0; 16];
    let after = task_sdk::args(&mut buffer).next().and_then(task_sdk::number).unwrap_or(2_000);
    task_sdk::sleep_ms(after);
    SICK.store(true, Relaxed);
    loop {
        task_sdk::sleep_ms(1_000);
    }
}

fn is_well() -> i32 {
    SICK.load(Relaxed).into()
}
