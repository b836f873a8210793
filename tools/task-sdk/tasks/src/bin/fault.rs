//! Says a word and traps.
#![no_std]
#![no_main]
task_sdk::task!(main);

fn main() -> i32 {
    let _ = task_sdk::log(b"about to fault\n");
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    1
}
