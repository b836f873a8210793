//! What the executor asks of the node: devices, and a place for values.

use crate::kv::{Kv, KvError};

/// The device is not there, or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostError;

/// The node's devices.
///
/// Values are kept in the executor's memory for the task's life. A node that keeps them for longer takes the three
/// functions over: `held` is what the executor has of the task, empty when the task starts, and checks the limits.
pub trait Host {
    /// Reads a sensor, in thousandths of its unit.
    fn sensor_read(&mut self, task: u16, index: u32) -> Result<i32, HostError>;
    /// Switches an LED.
    fn led_set(&mut self, task: u16, led: u32, on: bool) -> Result<(), HostError>;

    /// The value of a key; `None` for none.
    fn kv_get<'a>(
        &'a mut self,
        _task: u16,
        held: &'a mut Kv,
        key: &[u8],
    ) -> Result<Option<&'a [u8]>, HostError> {
        Ok(held.get(key))
    }

    /// Keeps a value in place of the one before.
    fn kv_set(&mut self, _task: u16, held: &mut Kv, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        held.set(key, value)
    }

    /// Forgets a value; false if there was none.
    fn kv_delete(&mut self, _task: u16, held: &mut Kv, key: &[u8]) -> Result<bool, HostError> {
        Ok(held.delete(key))
    }
}
