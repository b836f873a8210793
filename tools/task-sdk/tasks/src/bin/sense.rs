//! Averages samples of sensor 0 and sends the result: `sense [SAMPLES [PAUSE_MS]]`.
#![no_std]
#![no_main]
task_sdk::task!(main);

fn main() -> i32 {
    let mut buffer = [0; 32];
    let mut args = task_sdk::args(&mut buffer);
    let samples = args.next().and_then(task_sdk::number).unwrap_or(8).max(1);
    let pause_ms = args.next().and_then(task_sdk::number).unwrap_or(100);
    let mut sum = 0i64;
    for _ in 0..samples {
        match task_sdk::sensor(0) {
            Ok(value) => sum += i64::from(value),
            Err(_) => return 1,
        }
        task_sdk::sleep_ms(pause_ms);
    }
    let line = task_sdk::Line::new().text(b"avg=").thousandths((sum / i64::from(samples)) as i32);
    let _ = task_sdk::log(line.bytes());
    let _ = task_sdk::log(b"\n");
    match task_sdk::message(line.bytes()) {
        Ok(()) => 0,
        Err(_) => 2,
    }
}
