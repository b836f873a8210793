//! Takes memory until the kernel gives no more, and then uses the first word that it did not get.
//!
//! It logs how much it had, so that its grant can be compared; a use of what was not given is a fault. Exit code 1 says
//! that it was none, 2 that there never was an end.
#![no_std]
#![no_main]
task_sdk::task!(main);

use libtock_platform::Syscalls;
use libtock_runtime::TockSyscalls;

/// Bytes at a time.
const STEP: u32 = 1024;
/// More than any slot has, in steps.
const STEPS_MAX: u32 = 4096;

#[allow(unsafe_code, reason = "memory is used that is not the process's, which is what this task is for")]
fn main() -> i32 {
    // Executor state is allocated when a driver is first used: a task that had taken all before would not be heard.
    let _ = task_sdk::log(b"hungry\n");
    let mut end = core::ptr::null::<u8>();
    for step in 0..STEPS_MAX {
        let Ok(before) = TockSyscalls::memop_increment_brk(STEP) else {
            let line = task_sdk::Line::new().text(b"had ").number(step.wrapping_mul(STEP)).text(b" bytes\n");
            let _ = task_sdk::log(line.bytes());
            let beyond = core::hint::black_box(end as usize) as *mut u32;
            unsafe { beyond.write_volatile(1) };
            return 1;
        };
        // What is given can be used.
        let given = before as usize as *mut u32;
        unsafe { given.write_volatile(step) };
        end = before.wrapping_add(STEP as usize);
    }
    2
}
