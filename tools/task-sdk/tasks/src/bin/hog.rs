//! Takes memory until there is no more.
#![no_std]
#![no_main]
task_sdk::task!(main);

fn main() -> i32 {
    let _ = task_sdk::log(b"hungry\n");
    #[cfg(target_arch = "wasm32")]
    while core::arch::wasm32::memory_grow(0, GROW) != usize::MAX {}
    1
}

/// In pages, which are single bytes after `rebuild` is done.
#[cfg(target_arch = "wasm32")]
const GROW: usize = 1024;
