//! The functions that `task_sdk` leaves open, by the names that it knows them by.
#![cfg(target_os = "none")]
#![allow(unsafe_code, reason = "functions of the C interface: names, pointers, and the process's one state")]

use crate::task::{Field, Task};
use core::cell::UnsafeCell;
use core::slice;
use libtock_runtime::TockSyscalls;

struct Single(UnsafeCell<Task<TockSyscalls>>);

// A Tock process has one thread.
unsafe impl Sync for Single {}

static TASK: Single = Single(UnsafeCell::new(Task::new()));

/// The state, for the length of one call.
fn task<T>(act: impl FnOnce(&mut Task<TockSyscalls>) -> T) -> T {
    // One thread, and no call leads into another: upcalls of the kernel only set cells (`clock`, `driver`), and nothing
    // here calls back into the task.
    act(unsafe { &mut *TASK.0.get() })
}

/// Sends what is left of a message.
pub fn flush() {
    task(Task::flush);
}

/// # Safety
/// As for all functions here: pointer and length are those of one slice, as `task_sdk` gives them.
#[unsafe(no_mangle)]
unsafe extern "C" fn micro_log(ptr: *const u8, len: usize) -> i32 {
    task(|task| task.log(unsafe { slice::from_raw_parts(ptr, len) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn micro_message(ptr: *const u8, len: usize) -> i32 {
    task(|task| task.message(unsafe { slice::from_raw_parts(ptr, len) }))
}

#[unsafe(no_mangle)]
extern "C" fn micro_sleep_ms(ms: u32) {
    task(|task| task.sleep_ms(ms));
}

#[unsafe(no_mangle)]
extern "C" fn micro_time_ms() -> i64 {
    task(Task::time_ms) as i64
}

#[unsafe(no_mangle)]
unsafe extern "C" fn micro_sensor_read(index: u32, out: *mut i32) -> i32 {
    match task(|task| task.sensor(index)) {
        Ok(value) => {
            unsafe { out.write(value) };
            0
        }
        Err(code) => code,
    }
}

#[unsafe(no_mangle)]
extern "C" fn micro_led_set(index: u32, on: u32) -> i32 {
    task(|task| task.led(index, on != 0))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn micro_args_read(ptr: *mut u8, len: usize) -> i32 {
    task(|task| task.field(Field::Args, unsafe { slice::from_raw_parts_mut(ptr, len) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn micro_env_read(ptr: *mut u8, len: usize) -> i32 {
    task(|task| task.field(Field::Env, unsafe { slice::from_raw_parts_mut(ptr, len) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn micro_data_read(ptr: *mut u8, len: usize) -> i32 {
    task(|task| task.field(Field::Data, unsafe { slice::from_raw_parts_mut(ptr, len) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn micro_receive(ptr: *mut u8, len: usize, wait_ms: u32) -> i32 {
    task(|task| task.receive(unsafe { slice::from_raw_parts_mut(ptr, len) }, wait_ms))
}

#[unsafe(no_mangle)]
extern "C" fn micro_stopping() -> i32 {
    task(Task::stopping)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn micro_kv_get(key: *const u8, key_len: usize, out: *mut u8, out_len: usize) -> i32 {
    let (key, out) =
        unsafe { (slice::from_raw_parts(key, key_len), slice::from_raw_parts_mut(out, out_len)) };
    task(|task| task.kv_get(key, out))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn micro_kv_set(key: *const u8, key_len: usize, value: *const u8, value_len: usize) -> i32 {
    let (key, value) =
        unsafe { (slice::from_raw_parts(key, key_len), slice::from_raw_parts(value, value_len)) };
    task(|task| task.kv_set(key, value))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn micro_kv_delete(key: *const u8, key_len: usize) -> i32 {
    task(|task| task.kv_delete(unsafe { slice::from_raw_parts(key, key_len) }))
}
