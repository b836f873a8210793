//! Does nothing and is content. A slot holds it until a task comes.
#![no_std]
#![no_main]
task_sdk::task!(main);

fn main() -> i32 {
    0
}
