//! One module: its store, its limits and the functions it may call.

use crate::abi;
use crate::executor::Launch;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use wasmi::errors::HostError as WasmiHostError;
use wasmi::{
    Caller, Config as WasmiConfig, Engine, Error, Extern, Func, Linker, Memory, Module, ResourceLimiter,
    Store,
};
use wasmi_core::LimiterError;

/// Calls nested in each other.
const RECURSION_MAX: usize = 128;
/// The interpreter's value stack, in its own units.
const STACK_MAX: usize = 16 * 1024;
/// Bytes of a table element against the memory grant.
const TABLE_ELEMENT: usize = 8;

/// What happened to a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Bytes of log, at most [`abi::LOG_PIECE`].
    Log(Vec<u8>),
    /// A message, at most [`abi::MESSAGE_MAX`] bytes.
    Message(Vec<u8>),
    /// The entry returned.
    Exited(i32),
    /// Ended on request.
    Killed,
    /// Its health check changed its mind.
    Health(bool),
    /// Its check returned another value.
    Checked(i32),
    /// Its health check failed too often: it was ended.
    Unhealthy,
    /// It trapped; the text says how.
    Trapped(String),
    /// It asked for more memory than granted.
    OverMemory {
        /// Bytes it would have had.
        asked: usize,
        /// Bytes granted.
        granted: u32,
    },
}

/// Why a module was not started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// Not a valid module, or one with features that are off.
    Invalid(String),
    /// It imports what this host does not have.
    UnknownImport(String),
    /// It imports what its grant does not name.
    NotGranted(String),
    /// No exported function of this name and of type `() -> i32`.
    NoEntry(String),
    /// Its memory is larger than granted before it runs.
    Memory {
        /// Bytes it declares.
        asked: usize,
        /// Bytes granted.
        granted: u32,
    },
    /// Every place is taken, or the task runs already.
    NoSlot,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(why) => write!(f, "not a valid module: {why}"),
            Self::UnknownImport(name) => write!(f, "unknown import {name}"),
            Self::NotGranted(name) => write!(f, "not granted: {name}"),
            Self::NoEntry(name) => write!(f, "no entry {name}() -> i32"),
            Self::Memory { asked, granted } => write!(f, "needs {asked} B, granted {granted}"),
            Self::NoSlot => f.write_str("no slot free"),
        }
    }
}

/// What a module has used since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time, milliseconds.
    pub cpu_ms: u64,
    /// CPU time granted so far, milliseconds.
    pub granted_ms: u64,
    /// Linear memory and tables now, bytes.
    pub mem_bytes: usize,
}

/// Why a module is suspended in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    Sleep { ms: u32 },
    Receive { ptr: u32, len: u32, wait_ms: u32 },
    Sensor { index: u32, out: u32 },
    Led { index: u32, on: bool },
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl WasmiHostError for Pause {}

/// The state that a module's functions and limits share.
pub(crate) struct State {
    args: Vec<u8>,
    env: Vec<u8>,
    data: Vec<u8>,
    /// Messages of the framework, oldest first.
    pub inbox: VecDeque<Vec<u8>>,
    /// Until when it may go on, once it was told to stop.
    pub stop_at_ms: Option<u64>,
    pub now_ms: u64,
    pub log: VecDeque<u8>,
    pub messages: VecDeque<Vec<u8>>,
    mem_granted: u32,
    memory: usize,
    tables: usize,
    /// Set by the limiter when it refuses: what the module would have had.
    pub refused: Option<usize>,
}

impl State {
    pub fn mem_bytes(&self) -> usize {
        self.memory + self.tables
    }

    fn grow(&mut self, memory: usize, tables: usize) -> Result<bool, LimiterError> {
        let asked = memory.saturating_add(tables);
        if asked > self.mem_granted as usize {
            self.refused = Some(asked);
            return Err(LimiterError::ResourceLimiterDeniedAllocation);
        }
        (self.memory, self.tables) = (memory, tables);
        Ok(true)
    }
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, LimiterError> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false); // the module's own limit: `memory.grow` gives -1 as WebAssembly has it
        }
        self.grow(desired, self.tables)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, LimiterError> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let more = desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT);
        self.grow(self.memory, self.tables.saturating_add(more))
    }

    fn instances(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        1
    }

    fn memories(&self) -> usize {
        1
    }
}

/// A module ready to run.
pub(crate) struct Loaded {
    pub store: Store<State>,
    pub entry: Func,
    pub check: Option<Func>,
    pub memory: Option<Memory>,
    /// It can learn that it is told to stop.
    pub notices_stop: bool,
}

/// Validates and instantiates a module. Nothing of it has run but a start section, within `fuel`.
pub(crate) fn load(launch: &Launch<'_>, fuel: u64, now_ms: u64) -> Result<Loaded, StartError> {
    let invalid = |error: Error| StartError::Invalid(format!("{error}"));
    // An engine of its own: compiled code goes when the task does.
    let engine = Engine::new(&config());
    let module = Module::new(&engine, launch.image).map_err(invalid)?;
    for import in module.imports() {
        let name = format!("{}.{}", import.module(), import.name());
        match abi::capability(import.name()).filter(|_| import.module() == abi::MODULE) {
            None => return Err(StartError::UnknownImport(name)),
            Some(needed) if !launch.grant.capabilities.has(needed) => {
                return Err(StartError::NotGranted(name));
            }
            Some(_) => {}
        }
    }
    let state = State {
        args: launch.args.into(),
        env: launch.env.into(),
        data: launch.data.into(),
        inbox: VecDeque::new(),
        stop_at_ms: None,
        now_ms,
        log: VecDeque::new(),
        messages: VecDeque::new(),
        mem_granted: launch.grant.mem_bytes,
        memory: 0,
        tables: 0,
        refused: None,
    };
    let mut store = Store::new(&engine, state);
    store.limiter(|state| state);
    store.set_fuel(fuel).map_err(invalid)?;
    let linker = linker(&engine).map_err(invalid)?;
    let instance = match linker.instantiate_and_start(&mut store, &module) {
        Ok(instance) => instance,
        Err(error) => {
            return Err(match store.data().refused {
                Some(asked) => StartError::Memory { asked, granted: launch.grant.mem_bytes },
                None => invalid(error),
            });
        }
    };
    let function = |name: &str| {
        let found = instance.get_func(&store, name).filter(|entry| entry.typed::<(), i32>(&store).is_ok());
        found.ok_or_else(|| StartError::NoEntry(name.into()))
    };
    let entry = function(if launch.entry.is_empty() { abi::ENTRY } else { launch.entry })?;
    let check = launch.check.map(|check| function(check.entry)).transpose()?;
    let memory = instance.get_memory(&store, "memory");
    let notices_stop = module.imports().any(|import| import.name() == "stopping");
    Ok(Loaded { store, entry, check, memory, notices_stop })
}

fn config() -> WasmiConfig {
    let mut config = WasmiConfig::default();
    config
        .consume_fuel(true)
        .wasm_custom_page_sizes(true)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .ignore_custom_sections(true)
        .set_max_recursion_depth(RECURSION_MAX)
        .set_min_stack_height(256)
        .set_max_stack_height(STACK_MAX)
        .set_max_cached_stacks(1);
    config
}

fn linker(engine: &Engine) -> Result<Linker<State>, Error> {
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
            state.log.extend(bytes);
            0
        }))?;
        wrap(linker.func_wrap(micro, "message", |mut caller: Caller<'_, State>, ptr: u32, len: u32| {
            let Some(bytes) = bytes(&caller, ptr, len, abi::MESSAGE_MAX) else { return abi::E_INVALID };
            let state = caller.data_mut();
            if state.messages.len() >= abi::MESSAGES_WAITING_MAX {
                return abi::E_FULL;
            }
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
    caller.get_export("memory").and_then(Extern::into_memory)
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
