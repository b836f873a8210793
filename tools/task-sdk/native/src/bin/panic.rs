//! Panics: its exit code is 101.
#![no_std]
#![no_main]
task_sdk::task!(main);

fn main() -> i32 {
    let _ = task_sdk::log(b"about to panic\n");
    let none: Option<i32> = core::hint::black_box(None);
    none.expect("this is the panic that it is about")
}
