//! Answers every message of its framework with the same bytes, and says goodbye when it is told to stop.
#![no_std]
#![no_main]
task_sdk::task!(main);

fn main() -> i32 {
    let mut buffer = [0; 512];
    let _ = task_sdk::log(task_sdk::data(&mut buffer));
    while task_sdk::stopping().is_none() {
        if let Ok(Some(message)) = task_sdk::receive(&mut buffer, 60_000) {
            while task_sdk::message(message) == Err(task_sdk::Error::Full) {
                task_sdk::sleep_ms(10);
            }
        }
    }
    let _ = task_sdk::message(b"bye");
    0
}
