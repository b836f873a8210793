//! The functions that a module may call, as [`crate::abi`] describes them: what they do, in no engine in particular.

use crate::abi;
use crate::state::{Pause, Piece, State};

/// A module's memory, if it exports one.
pub(crate) trait Memory {
    /// A piece of it, if it is there.
    fn get(&self, piece: Piece) -> Option<&[u8]>;
    /// Writes to it; false if the place is not there.
    fn put(&mut self, at: u32, bytes: &[u8]) -> bool;
}

/// What a call comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Value(i32),
    Long(i64),
    /// The executor finishes it.
    Pause(Pause),
}

use Answer::{Long, Value};

/// Up to four parameters of 32 bits; the rest are 0.
pub(crate) type Params = [u32; 4];

/// What a function does.
pub(crate) type Body = fn(Params, &mut dyn Memory, &mut State) -> Answer;

/// The body of the function of this name.
pub(crate) fn body(name: &str) -> Option<Body> {
    Some(match name {
        "log" => log,
        "message" => message,
        "time_ms" => |_, _, state| Long(state.now_ms as i64),
        "sleep_ms" => |[ms, ..], _, _| Answer::Pause(Pause::Sleep { ms }),
        "receive" => |[ptr, len, wait_ms, _], _, _| Answer::Pause(Pause::Receive { ptr, len, wait_ms }),
        "stopping" => |_, _, state| {
            let left = state.stop_at_ms.map(|at| at.saturating_sub(state.now_ms));
            Value(left.map_or(-1, |left| i32::try_from(left).unwrap_or(i32::MAX)))
        },
        "sensor_read" => |[index, out, ..], _, _| Answer::Pause(Pause::Sensor { index, out }),
        "led_set" => |[index, on, ..], _, _| Answer::Pause(Pause::Led { index, on: on != 0 }),
        "kv_get" => |[key, key_len, out, out_len], _, _| {
            Answer::Pause(Pause::KvGet { key: (key, key_len), out: (out, out_len) })
        },
        "kv_set" => |[key, key_len, value, value_len], _, _| {
            Answer::Pause(Pause::KvSet { key: (key, key_len), value: (value, value_len) })
        },
        "kv_delete" => |[key, key_len, ..], _, _| Answer::Pause(Pause::KvDelete { key: (key, key_len) }),
        "args_len" => |_, _, state| Value(state.args.len() as i32),
        "args_read" => |[ptr, len, ..], memory, state| copy_out(memory, &state.args, ptr, len),
        "env_len" => |_, _, state| Value(state.env.len() as i32),
        "env_read" => |[ptr, len, ..], memory, state| copy_out(memory, &state.env, ptr, len),
        "data_len" => |_, _, state| Value(state.data.len() as i32),
        "data_read" => |[ptr, len, ..], memory, state| copy_out(memory, &state.data, ptr, len),
        _ => return None,
    })
}

fn log([ptr, len, ..]: Params, memory: &mut dyn Memory, state: &mut State) -> Answer {
    let Some(bytes) = piece(memory, ptr, len, abi::LOG_WAITING_MAX) else { return Value(abi::E_INVALID) };
    if state.log.len() + bytes.len() > abi::LOG_WAITING_MAX {
        return Value(abi::E_FULL);
    }
    state.log_bytes += bytes.len() as u64;
    state.log.extend(bytes);
    Value(0)
}

fn message([ptr, len, ..]: Params, memory: &mut dyn Memory, state: &mut State) -> Answer {
    let Some(bytes) = piece(memory, ptr, len, abi::MESSAGE_MAX) else { return Value(abi::E_INVALID) };
    if !abi::has_room(&state.messages, bytes.len()) {
        return Value(abi::E_FULL);
    }
    state.sent += 1;
    state.sent_bytes += bytes.len() as u64;
    state.messages.push_back(bytes.into());
    Value(0)
}

/// A piece of the module's memory, if it is there and has at most `max` bytes.
fn piece(memory: &dyn Memory, ptr: u32, len: u32, max: usize) -> Option<&[u8]> {
    (len as usize <= max).then(|| memory.get((ptr, len))).flatten()
}

/// Copies as much of `text` as fits; gives the number of bytes.
fn copy_out(memory: &mut dyn Memory, text: &[u8], ptr: u32, len: u32) -> Answer {
    let text = &text[..text.len().min(len as usize)];
    Value(if memory.put(ptr, text) { text.len() as i32 } else { abi::E_INVALID })
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_function_of_the_interface_does_something() {
        for function in crate::abi::FUNCTIONS {
            assert!(super::body(function.name).is_some(), "{}", function.name);
        }
    }
}
