//! Sends and logs as fast as it may: `chatty MESSAGES`. Ends when all are taken.
#![no_std]
#![no_main]
task_sdk::task!(main);

fn main() -> i32 {
    let mut buffer = [0; 16];
    let count = task_sdk::args(&mut buffer).next().and_then(task_sdk::number).unwrap_or(20);
    for n in 0..count {
        let line = task_sdk::Line::new().text(b"message ").number(n);
        while task_sdk::message(line.bytes()).is_err() {
            task_sdk::sleep_ms(10);
        }
        let _ = task_sdk::log(line.bytes());
        let _ = task_sdk::log(b"\n");
    }
    0
}
