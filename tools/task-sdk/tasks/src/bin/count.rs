//! Counts the runs of its check in a value that both keep: `count [TIMES]` ends when there were so many.
//!
//! The memory of a module is its own, and yet a value is the better place for what has to last: a node may keep
//! values for longer than the task.
#![no_std]
#![no_main]
task_sdk::task!(main);
task_sdk::check!(counted);

const KEY: &[u8] = b"runs";

fn main() -> i32 {
    let mut buffer = [0; 16];
    let times = task_sdk::args(&mut buffer).next().and_then(task_sdk::number).unwrap_or(3);
    if task_sdk::kept(KEY, &mut buffer) == Ok(None) && task_sdk::keep_number(KEY, 0).is_err() {
        return 2;
    }
    loop {
        match task_sdk::kept_number(KEY) {
            Ok(Some(runs)) if runs >= times => {
                let _ = task_sdk::message(task_sdk::Line::new().text(b"runs=").number(runs).bytes());
                return i32::from(task_sdk::forget(KEY) != Ok(true));
            }
            Ok(Some(_)) => task_sdk::sleep_ms(100),
            _ => return 1,
        }
    }
}

fn counted() -> i32 {
    match task_sdk::kept_number(KEY) {
        Ok(Some(runs)) => task_sdk::keep_number(KEY, runs.saturating_add(1)).is_err().into(),
        _ => 1,
    }
}
