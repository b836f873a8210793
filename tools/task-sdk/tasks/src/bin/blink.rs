//! Blinks LED 0: `blink [TIMES [PAUSE_MS]]`.
#![no_std]
#![no_main]
task_sdk::task!(main);

fn main() -> i32 {
    let mut buffer = [0; 32];
    let mut args = task_sdk::args(&mut buffer);
    let times = args.next().and_then(task_sdk::number).unwrap_or(6);
    let pause_ms = args.next().and_then(task_sdk::number).unwrap_or(150);
    let _ = task_sdk::log(b"blinking\n");
    for n in 0..times {
        if task_sdk::led(0, n % 2 == 0).is_err() {
            return 1;
        }
        task_sdk::sleep_ms(pause_ms);
    }
    let _ = task_sdk::led(0, false);
    let _ = task_sdk::log(b"done\n");
    0
}
