//! Calls drivers that are none of a task's, and those calls of the capsule that are the agent's or the host's. Exit code 0
//! says that all of them were refused, 1 that one was not: the log has which.
#![no_std]
#![no_main]
task_sdk::task!(main);

use grants::syscall::DRIVER;
use libtock_platform::Syscalls;
use libtock_runtime::TockSyscalls;

/// Drivers by Tock's numbers (`capsules/core/src/driver.rs`): console, LED, button, GPIO, ADC, debug, IPC, app loader, raw
/// radio, UDP, network tap, checksums, HMAC, storage of apps and of the node, SD card, keys and values, temperature.
const DRIVERS: [u32; 18] = [
    0x1, 0x2, 0x3, 0x4, 0x5, 0x8, 0x1_0000, 0x1_0001, 0x3_0001, 0x3_0002, 0x3_0007, 0x4_0002, 0x4_0003,
    0x5_0000, 0x5_0001, 0x5_0002, 0x5_0003, 0x6_0000,
];
/// Calls of the agent's, 1 to 16, and of the host's, 96 to 99.
const OTHERS: [core::ops::Range<u32>; 2] = [1..17, 96..100];

fn refused(driver: u32, command: u32) -> bool {
    if TockSyscalls::command(driver, command, 0, 0).is_failure() {
        return true;
    }
    let line =
        task_sdk::Line::new().text(b"driver ").number(driver).text(b" does ").number(command).text(b"\n");
    let _ = task_sdk::log(line.bytes());
    false
}

fn main() -> i32 {
    let mut all = true;
    for driver in DRIVERS {
        // 0 asks whether there is such a driver: that alone is an answer that a task should not get.
        for command in 0..8 {
            all &= refused(driver, command);
        }
    }
    for command in OTHERS.into_iter().flatten() {
        all &= refused(DRIVER as u32, command);
    }
    i32::from(!all)
}
