//! Calls itself until its stack is at its end, and then once more: it faults below its memory.
#![no_std]
#![no_main]
task_sdk::task!(main);

fn main() -> i32 {
    let _ = task_sdk::log(b"about to overflow the stack\n");
    deeper(0)
}

/// Keeps something on the stack that the compiler cannot do without.
#[allow(unconditional_recursion, reason = "what this task is for")]
fn deeper(depth: u32) -> i32 {
    let mut kept = [depth; 16];
    core::hint::black_box(&mut kept);
    let below = deeper(depth.wrapping_add(1));
    below.wrapping_add(core::hint::black_box(&kept)[0] as i32)
}
