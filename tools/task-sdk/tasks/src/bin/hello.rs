//! Logs its arguments and environment; `exit=N` makes N its exit code.
#![no_std]
#![no_main]
task_sdk::task!(main);

fn main() -> i32 {
    let mut code = 0;
    let mut buffer = [0; 512];
    for arg in task_sdk::args(&mut buffer) {
        let _ = task_sdk::log(b"arg ");
        let _ = task_sdk::log(arg);
        let _ = task_sdk::log(b"\n");
        if let Some(number) = arg.strip_prefix(b"exit=").and_then(task_sdk::number) {
            code = number as i32;
        }
    }
    for variable in task_sdk::env(&mut buffer) {
        let _ = task_sdk::log(b"env ");
        let _ = task_sdk::log(variable);
        let _ = task_sdk::log(b"\n");
    }
    code
}
