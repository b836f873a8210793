//! Ends by starting itself anew, which would be a run that nobody asked for.
#![no_std]
#![no_main]
task_sdk::task!(main);

use libtock_platform::Syscalls;
use libtock_runtime::TockSyscalls;

fn main() -> i32 {
    let _ = task_sdk::log(b"about to restart\n");
    TockSyscalls::exit_restart(0)
}
