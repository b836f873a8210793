//! The node's devices and storage, as the modules of this app use them: through the kernel, which checks the grant again.

use crate::kernel::Kernel;
use crate::values;
use agent_wasm::{Host, HostError, Kv, KvError};
use grants::syscall::{Part, SlotCall};
use libtock_platform::{ErrorCode, Syscalls};
use node_proto::limits::TASKS_MAX;

/// What storage has of tasks that resumed and have not used their values yet.
#[derive(Default)]
pub(crate) struct Kept([Option<Kv>; TASKS_MAX]);

impl Kept {
    /// A task starts: with what it had, or with nothing.
    pub fn begin<S: Syscalls>(&mut self, kernel: &Kernel<'_, S>, slot: u8, resumed: bool) {
        if let Some(place) = self.0.get_mut(usize::from(slot)) {
            *place = resumed.then(|| load(kernel, slot)).flatten();
        }
    }

    fn fill(&mut self, task: u16, held: &mut Kv) {
        if let Some(kept) = self.0.get_mut(usize::from(task)).and_then(Option::take) {
            *held = kept;
        }
    }
}

fn load<S: Syscalls>(kernel: &Kernel<'_, S>, slot: u8) -> Option<Kv> {
    let (mut head, mut rest) = ([0; values::HEAD], [0; values::RECORD_MAX - values::HEAD]);
    kernel.read(slot, Part::Values, 0, &mut head).ok()?;
    let rest = rest.get_mut(..values::length(head)?)?;
    kernel.read(slot, Part::Values, values::HEAD, rest).ok()?;
    values::decode(head, rest)
}

/// The host of a step.
pub(crate) struct Board<'a, 'u, S> {
    pub kernel: &'a Kernel<'u, S>,
    pub kept: &'a mut Kept,
}

impl<S: Syscalls> Board<'_, '_, S> {
    fn change<R>(
        &mut self,
        task: u16,
        held: &mut Kv,
        change: impl FnOnce(&mut Kv) -> Result<R, KvError>,
    ) -> Result<R, KvError> {
        self.kept.fill(task, held);
        let before = held.clone();
        let changed = change(held).and_then(|result| {
            let record = values::encode(held)?;
            self.kernel.write(task as u8, &record).map_err(|error| match error {
                ErrorCode::NoMem => KvError::Full, // too often: the task may try again later
                _ => KvError::Device,
            })?;
            Ok(result)
        });
        if changed.is_err() {
            *held = before;
        }
        changed
    }
}

impl<S: Syscalls> Host for Board<'_, '_, S> {
    fn sensor_read(&mut self, task: u16, index: u32) -> Result<i32, HostError> {
        let value = self.kernel.ask(task as u8, SlotCall::Sensor { index: device(index)? });
        value.map(|value| value as i32).map_err(|_| HostError)
    }

    fn led_set(&mut self, task: u16, led: u32, on: bool) -> Result<(), HostError> {
        let set = self.kernel.ask(task as u8, SlotCall::Led { index: device(led)?, on });
        set.map(drop).map_err(|_| HostError)
    }

    fn kv_get<'a>(
        &'a mut self,
        task: u16,
        held: &'a mut Kv,
        key: &[u8],
    ) -> Result<Option<&'a [u8]>, HostError> {
        self.kept.fill(task, held);
        Ok(held.get(key))
    }

    fn kv_set(&mut self, task: u16, held: &mut Kv, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        self.change(task, held, |held| held.set(key, value))
    }

    fn kv_delete(&mut self, task: u16, held: &mut Kv, key: &[u8]) -> Result<bool, HostError> {
        self.kept.fill(task, held);
        if held.get(key).is_none() {
            return Ok(false);
        }
        self.change(task, held, |held| Ok(held.delete(key))).map_err(|_| HostError)
    }
}

/// A device's number, which shares an argument with the slot's.
fn device(index: u32) -> Result<u32, HostError> {
    if index < 1 << 24 { Ok(index) } else { Err(HostError) }
}
