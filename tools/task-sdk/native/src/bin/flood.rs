//! Logs and sends messages without ever waiting for room, and never ends by itself.
//!
//! The capsule's own calls and not `task_sdk`, which would wait for room now and then.
#![no_std]
#![no_main]
task_sdk::task!(main);

use grants::syscall::{BUFFER, DRIVER, PIECE_MAX, SlotCall};
use libtock_platform::{AllowRo, DefaultConfig, Syscalls, share};
use libtock_runtime::TockSyscalls;

const NUMBER: u32 = DRIVER as u32;
const SHARED: u32 = BUFFER as u32;

fn main() -> i32 {
    let piece = [b'~'; PIECE_MAX];
    share::scope::<AllowRo<'_, TockSyscalls, NUMBER, SHARED>, _, _>(|allowed| {
        if TockSyscalls::allow_ro::<DefaultConfig, NUMBER, SHARED>(allowed, &piece).is_err() {
            return 1;
        }
        loop {
            for call in [SlotCall::Log, SlotCall::Message { more: false }, SlotCall::Message { more: true }] {
                let (command, first, second) = call.encode(0);
                let _ = TockSyscalls::command(NUMBER, command as u32, first as u32, second as u32);
            }
        }
    })
}
