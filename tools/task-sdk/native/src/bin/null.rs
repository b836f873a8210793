//! Reads and writes where a null pointer points. What comes after that is not reached: the memory protection sees to it.
#![no_std]
#![no_main]
task_sdk::task!(main);

#[allow(unsafe_code, reason = "doing what is forbidden is what this task is for")]
fn main() -> i32 {
    let _ = task_sdk::log(b"about to use null\n");
    // A number that the compiler cannot see through, or it would have its own opinion of null.
    let null = core::hint::black_box(0usize) as *mut u32;
    unsafe {
        let read = null.read_volatile();
        null.write_volatile(read.wrapping_add(1));
    }
    1
}
