//! The functions that a module may call, as [`crate::abi`] describes them.

use crate::abi;
use crate::module::{Pause, State};
use alloc::format;
use alloc::vec::Vec;
use wasmi::{Caller, Engine, Error, Extern, Linker, Memory};

pub(crate) fn linker(engine: &Engine) -> Result<Linker<State>, Error> {
    let mut linker = Linker::new(engine);
    let micro = abi::MODULE;
    let wrap = |result: Result<&mut Linker<State>, wasmi::errors::LinkerError>| result.map(drop);
    let mut functions = || -> Result<(), wasmi::errors::LinkerError> {
        wrap(linker.func_wrap(micro, "log", |mut caller: Caller<'_, State>, ptr: u32, len: u32| {
            let Some(bytes) = bytes(&caller, ptr, len, abi::LOG_WAITING_MAX) else { return abi::E_INVALID };
            let state = caller.data_mut();
            if state.log.len() + bytes.len() > abi::LOG_WAITING_MAX {
                return abi::E_FULL;
            }
            state.log_bytes += bytes.len() as u64;
            state.log.extend(bytes);
            0
        }))?;
        wrap(linker.func_wrap(micro, "message", |mut caller: Caller<'_, State>, ptr: u32, len: u32| {
            let Some(bytes) = bytes(&caller, ptr, len, abi::MESSAGE_MAX) else { return abi::E_INVALID };
            let state = caller.data_mut();
            if !abi::has_room(&state.messages, bytes.len()) {
                return abi::E_FULL;
            }
            state.sent += 1;
            state.sent_bytes += bytes.len() as u64;
            state.messages.push_back(bytes);
            0
        }))?;
        wrap(linker.func_wrap(micro, "time_ms", |caller: Caller<'_, State>| caller.data().now_ms as i64))?;
        wrap(linker.func_wrap(micro, "sleep_ms", |_: Caller<'_, State>, ms: u32| -> Result<(), Error> {
            Err(Error::host(Pause::Sleep { ms }))
        }))?;
        wrap(linker.func_wrap(
            micro,
            "receive",
            |_: Caller<'_, State>, ptr: u32, len: u32, wait_ms: u32| -> Result<i32, Error> {
                Err(Error::host(Pause::Receive { ptr, len, wait_ms }))
            },
        ))?;
        wrap(linker.func_wrap(micro, "stopping", |caller: Caller<'_, State>| {
            let state = caller.data();
            let left = state.stop_at_ms.map(|at| at.saturating_sub(state.now_ms));
            left.map_or(-1, |left| i32::try_from(left).unwrap_or(i32::MAX))
        }))?;
        wrap(
            linker.func_wrap(micro, "data_len", |caller: Caller<'_, State>| caller.data().data.len() as i32),
        )?;
        wrap(linker.func_wrap(micro, "data_read", |mut caller: Caller<'_, State>, ptr: u32, len: u32| {
            let data = caller.data().data.clone();
            copy_out(&mut caller, &data, ptr, len)
        }))?;
        wrap(linker.func_wrap(
            micro,
            "sensor_read",
            |_: Caller<'_, State>, index: u32, out: u32| -> Result<i32, Error> {
                Err(Error::host(Pause::Sensor { index, out }))
            },
        ))?;
        wrap(linker.func_wrap(
            micro,
            "led_set",
            |_: Caller<'_, State>, index: u32, on: u32| -> Result<i32, Error> {
                Err(Error::host(Pause::Led { index, on: on != 0 }))
            },
        ))?;
        wrap(linker.func_wrap(
            micro,
            "kv_get",
            |_: Caller<'_, State>, key: u32, key_len: u32, out: u32, out_len: u32| -> Result<i32, Error> {
                Err(Error::host(Pause::KvGet { key: (key, key_len), out: (out, out_len) }))
            },
        ))?;
        wrap(linker.func_wrap(
            micro,
            "kv_set",
            |_: Caller<'_, State>,
             key: u32,
             key_len: u32,
             value: u32,
             value_len: u32|
             -> Result<i32, Error> {
                Err(Error::host(Pause::KvSet { key: (key, key_len), value: (value, value_len) }))
            },
        ))?;
        wrap(linker.func_wrap(
            micro,
            "kv_delete",
            |_: Caller<'_, State>, key: u32, key_len: u32| -> Result<i32, Error> {
                Err(Error::host(Pause::KvDelete { key: (key, key_len) }))
            },
        ))?;
        wrap(
            linker.func_wrap(micro, "args_len", |caller: Caller<'_, State>| caller.data().args.len() as i32),
        )?;
        wrap(linker.func_wrap(micro, "env_len", |caller: Caller<'_, State>| caller.data().env.len() as i32))?;
        wrap(linker.func_wrap(micro, "args_read", |mut caller: Caller<'_, State>, ptr: u32, len: u32| {
            let text = caller.data().args.clone();
            copy_out(&mut caller, &text, ptr, len)
        }))?;
        wrap(linker.func_wrap(micro, "env_read", |mut caller: Caller<'_, State>, ptr: u32, len: u32| {
            let text = caller.data().env.clone();
            copy_out(&mut caller, &text, ptr, len)
        }))
    };
    functions().map_err(|error| Error::new(format!("{error}")))?;
    Ok(linker)
}

fn memory(caller: &Caller<'_, State>) -> Option<Memory> {
    caller.get_export(abi::MEMORY).and_then(Extern::into_memory)
}

/// Bytes of the module's memory, if they are there and at most `max`.
fn bytes(caller: &Caller<'_, State>, ptr: u32, len: u32, max: usize) -> Option<Vec<u8>> {
    let (start, len) = (ptr as usize, len as usize);
    if len > max {
        return None;
    }
    memory(caller)?.data(caller).get(start..start.checked_add(len)?).map(Into::into)
}

/// Copies as much of `text` as fits; gives the number of bytes.
fn copy_out(caller: &mut Caller<'_, State>, text: &[u8], ptr: u32, len: u32) -> i32 {
    let text = &text[..text.len().min(len as usize)];
    match memory(caller).map(|memory| memory.write(caller, ptr as usize, text)) {
        Some(Ok(())) => text.len() as i32,
        _ => abi::E_INVALID,
    }
}
