//! Never returns and never rests.
#![no_std]
#![no_main]
task_sdk::task!(main);

fn main() -> i32 {
    let mut count = 0u32;
    loop {
        count = core::hint::black_box(count.wrapping_add(1));
    }
}
