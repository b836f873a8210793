//! The interface's functions themselves, in the one place where they are called: imports of a module, or symbols that
//! `task-native` has for a process.

#[cfg(any(target_arch = "wasm32", target_os = "none"))]
#[allow(unsafe_code, reason = "calling the host is what this module is for; each call passes a whole slice")]
mod host {
    #[cfg_attr(target_arch = "wasm32", link(wasm_import_module = "micro"))]
    unsafe extern "C" {
        #[cfg_attr(target_os = "none", link_name = "micro_log")]
        fn log(ptr: *const u8, len: usize) -> i32;
        #[cfg_attr(target_os = "none", link_name = "micro_message")]
        fn message(ptr: *const u8, len: usize) -> i32;
        #[cfg_attr(target_os = "none", link_name = "micro_sleep_ms")]
        fn sleep_ms(ms: u32);
        #[cfg_attr(target_os = "none", link_name = "micro_time_ms")]
        fn time_ms() -> i64;
        #[cfg_attr(target_os = "none", link_name = "micro_sensor_read")]
        fn sensor_read(index: u32, out: *mut i32) -> i32;
        #[cfg_attr(target_os = "none", link_name = "micro_led_set")]
        fn led_set(index: u32, on: u32) -> i32;
        #[cfg_attr(target_os = "none", link_name = "micro_args_read")]
        fn args_read(ptr: *mut u8, len: usize) -> i32;
        #[cfg_attr(target_os = "none", link_name = "micro_env_read")]
        fn env_read(ptr: *mut u8, len: usize) -> i32;
        #[cfg_attr(target_os = "none", link_name = "micro_data_read")]
        fn data_read(ptr: *mut u8, len: usize) -> i32;
        #[cfg_attr(target_os = "none", link_name = "micro_receive")]
        fn receive(ptr: *mut u8, len: usize, wait_ms: u32) -> i32;
        #[cfg_attr(target_os = "none", link_name = "micro_stopping")]
        fn stopping() -> i32;
        #[cfg_attr(target_os = "none", link_name = "micro_kv_get")]
        fn kv_get(key: *const u8, key_len: usize, out: *mut u8, out_len: usize) -> i32;
        #[cfg_attr(target_os = "none", link_name = "micro_kv_set")]
        fn kv_set(key: *const u8, key_len: usize, value: *const u8, value_len: usize) -> i32;
        #[cfg_attr(target_os = "none", link_name = "micro_kv_delete")]
        fn kv_delete(key: *const u8, key_len: usize) -> i32;
    }

    // In all of these the host checks what it is given against the module's memory; in a process it is the slice again.
    pub mod safe {
        pub fn log(bytes: &[u8]) -> i32 {
            unsafe { super::log(bytes.as_ptr(), bytes.len()) }
        }
        pub fn message(bytes: &[u8]) -> i32 {
            unsafe { super::message(bytes.as_ptr(), bytes.len()) }
        }
        pub fn sleep_ms(ms: u32) {
            unsafe { super::sleep_ms(ms) }
        }
        pub fn time_ms() -> u64 {
            unsafe { super::time_ms() as u64 }
        }
        pub fn sensor_read(index: u32, out: &mut i32) -> i32 {
            unsafe { super::sensor_read(index, out) }
        }
        pub fn led_set(index: u32, on: bool) -> i32 {
            unsafe { super::led_set(index, on.into()) }
        }
        pub fn args_read(buffer: &mut [u8]) -> i32 {
            unsafe { super::args_read(buffer.as_mut_ptr(), buffer.len()) }
        }
        pub fn env_read(buffer: &mut [u8]) -> i32 {
            unsafe { super::env_read(buffer.as_mut_ptr(), buffer.len()) }
        }
        pub fn data_read(buffer: &mut [u8]) -> i32 {
            unsafe { super::data_read(buffer.as_mut_ptr(), buffer.len()) }
        }
        pub fn receive(buffer: &mut [u8], wait_ms: u32) -> i32 {
            unsafe { super::receive(buffer.as_mut_ptr(), buffer.len(), wait_ms) }
        }
        pub fn stopping() -> i32 {
            unsafe { super::stopping() }
        }
        pub fn kv_get(key: &[u8], out: &mut [u8]) -> i32 {
            unsafe { super::kv_get(key.as_ptr(), key.len(), out.as_mut_ptr(), out.len()) }
        }
        pub fn kv_set(key: &[u8], value: &[u8]) -> i32 {
            unsafe { super::kv_set(key.as_ptr(), key.len(), value.as_ptr(), value.len()) }
        }
        pub fn kv_delete(key: &[u8]) -> i32 {
            unsafe { super::kv_delete(key.as_ptr(), key.len()) }
        }
    }
}

#[cfg(any(target_arch = "wasm32", target_os = "none"))]
pub(crate) use host::safe::*;

#[cfg(not(any(target_arch = "wasm32", target_os = "none")))]
mod elsewhere {
    /// No code of host interface version 1.
    const UNSUPPORTED: i32 = i32::MIN;

    pub(crate) fn log(_: &[u8]) -> i32 {
        UNSUPPORTED
    }
    pub(crate) fn message(_: &[u8]) -> i32 {
        UNSUPPORTED
    }
    pub(crate) fn sleep_ms(_: u32) {}
    pub(crate) fn time_ms() -> u64 {
        0
    }
    pub(crate) fn sensor_read(_: u32, _: &mut i32) -> i32 {
        UNSUPPORTED
    }
    pub(crate) fn led_set(_: u32, _: bool) -> i32 {
        UNSUPPORTED
    }
    pub(crate) fn args_read(_: &mut [u8]) -> i32 {
        UNSUPPORTED
    }
    pub(crate) fn env_read(_: &mut [u8]) -> i32 {
        UNSUPPORTED
    }
    pub(crate) fn data_read(_: &mut [u8]) -> i32 {
        UNSUPPORTED
    }
    pub(crate) fn receive(_: &mut [u8], _: u32) -> i32 {
        UNSUPPORTED
    }
    pub(crate) fn stopping() -> i32 {
        -1
    }
    pub(crate) fn kv_get(_: &[u8], _: &mut [u8]) -> i32 {
        UNSUPPORTED
    }
    pub(crate) fn kv_set(_: &[u8], _: &[u8]) -> i32 {
        UNSUPPORTED
    }
    pub(crate) fn kv_delete(_: &[u8]) -> i32 {
        UNSUPPORTED
    }
}

#[cfg(not(any(target_arch = "wasm32", target_os = "none")))]
pub(crate) use elsewhere::*;
