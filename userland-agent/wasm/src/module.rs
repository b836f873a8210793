//! One module: its store and its limits.

use crate::abi;
use crate::event::StartError;
use crate::executor::Launch;
use crate::heap;
use crate::imports;
use crate::inspect;
use crate::kv::Kv;
use crate::limits::*;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;
use wasmi::errors::{ErrorKind, HostError as WasmiHostError};
use wasmi::{Config as WasmiConfig, Engine, Error, Func, Memory, Module, ResourceLimiter, Store};
use wasmi_core::LimiterError;

/// A piece of a module's memory as the module gives it: address and length, neither of them checked.
pub(crate) type Piece = (u32, u32);

/// Why a module is suspended in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    Sleep { ms: u32 },
    Receive { ptr: u32, len: u32, wait_ms: u32 },
    Sensor { index: u32, out: u32 },
    Led { index: u32, on: bool },
    KvGet { key: Piece, out: Piece },
    KvSet { key: Piece, value: Piece },
    KvDelete { key: Piece },
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl WasmiHostError for Pause {}

/// The state that a module's functions and limits share.
pub(crate) struct State {
    pub args: Vec<u8>,
    pub env: Vec<u8>,
    pub data: Vec<u8>,
    /// Messages of the framework, oldest first.
    pub inbox: VecDeque<Vec<u8>>,
    /// Until when it may go on, once it was told to stop.
    pub stop_at_ms: Option<u64>,
    pub now_ms: u64,
    pub log: VecDeque<u8>,
    pub messages: VecDeque<Vec<u8>>,
    pub kv: Kv,
    /// Messages taken from it so far, and their bytes.
    pub sent: u64,
    pub sent_bytes: u64,
    /// Bytes of log taken from it so far.
    pub log_bytes: u64,
    mem_granted: u32,
    memory: usize,
    tables: usize,
    pub mem_peak: usize,
    /// Set by the limiter when it refuses: what the module would have had.
    pub refused: Option<usize>,
}

impl State {
    fn of(launch: &Launch<'_>, now_ms: u64) -> Self {
        Self {
            args: launch.args.into(),
            env: launch.env.into(),
            data: launch.data.into(),
            inbox: VecDeque::new(),
            stop_at_ms: None,
            now_ms,
            log: VecDeque::new(),
            messages: VecDeque::new(),
            kv: Kv::default(),
            sent: 0,
            sent_bytes: 0,
            log_bytes: 0,
            mem_granted: launch.grant.mem_bytes,
            memory: 0,
            tables: 0,
            mem_peak: 0,
            refused: None,
        }
    }

    pub fn mem_bytes(&self) -> usize {
        self.memory + self.tables
    }

    /// `block` is what the heap has to give for it in one piece.
    fn grow(&mut self, memory: usize, tables: usize, block: usize) -> Result<bool, LimiterError> {
        let asked = memory.saturating_add(tables);
        if asked > self.mem_granted as usize {
            self.refused = Some(asked);
            return Err(LimiterError::ResourceLimiterDeniedAllocation);
        }
        if !heap::has_room(block) {
            return Ok(false); // the node has it no longer: to the module that is the -1 of any machine
        }
        (self.memory, self.tables) = (memory, tables);
        self.mem_peak = self.mem_peak.max(asked);
        Ok(true)
    }
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, LimiterError> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false); // the module's own limit: `memory.grow` gives -1 as WebAssembly has it
        }
        // Held in a `Vec` that at least doubles, beside its old place until it is copied.
        self.grow(desired, self.tables, desired.max(current.saturating_mul(2)))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, LimiterError> {
        if desired > maximum.map_or(TABLE_ELEMENTS_MAX, |maximum| maximum.min(TABLE_ELEMENTS_MAX)) {
            return Ok(false);
        }
        let more = desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT_BYTES);
        self.grow(
            self.memory,
            self.tables.saturating_add(more),
            desired.max(current.saturating_mul(2)).saturating_mul(TABLE_ELEMENT_BYTES),
        )
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
    /// What its start section and its segments have cost.
    pub fuel_used: u64,
}

/// Validates and instantiates a module. Nothing of it has run but a start section, within `fuel`; and nothing at all
/// of one that is refused for what it is or wants.
pub(crate) fn load(launch: &Launch<'_>, fuel: u64, now_ms: u64) -> Result<Loaded, StartError> {
    let image = inspect::inspect(launch.image)?;
    let check = launch.check.as_ref().map(|check| check.entry);
    image.admit(launch.entry, check, launch.grant.capabilities, launch.grant.mem_bytes)?;
    let needs = heap::load_bytes(&image);
    if !heap::has_room(needs) {
        return Err(StartError::NoRoom { needs });
    }
    let (engine, module) = compile(launch.image, true)?;
    let failed = |error: Error| invalid(launch.image, &error);
    let mut store = Store::new(&engine, State::of(launch, now_ms));
    store.limiter(|state| state);
    store.set_fuel(fuel).map_err(failed)?;
    let linker = imports::linker(&engine).map_err(failed)?;
    let instance = match linker.instantiate_and_start(&mut store, &module) {
        Ok(instance) => instance,
        Err(error) => {
            return Err(match store.data().refused {
                Some(asked) => StartError::Memory { asked, granted: launch.grant.mem_bytes },
                None => failed(error),
            });
        }
    };
    let function = |name: &str| {
        let found = instance.get_func(&store, name).filter(|entry| entry.typed::<(), i32>(&store).is_ok());
        found.ok_or_else(|| StartError::NoEntry(name.into()))
    };
    let entry = function(if launch.entry.is_empty() { abi::ENTRY } else { launch.entry })?;
    let check = check.map(function).transpose()?;
    let memory = instance.get_memory(&store, abi::MEMORY);
    let notices_stop = module.imports().any(|import| import.name() == "stopping");
    let fuel_used = fuel.saturating_sub(store.get_fuel().unwrap_or(0));
    Ok(Loaded { store, entry, check, memory, notices_stop, fuel_used })
}

/// Validates and translates an image, in an engine of its own: compiled code goes when the task does.
pub(crate) fn compile(image: &[u8], floats: bool) -> Result<(Engine, Module), StartError> {
    let engine = Engine::new(&config(floats));
    let module = Module::new(&engine, image).map_err(|error| invalid(image, &error))?;
    Ok((engine, module))
}

fn invalid(image: &[u8], error: &Error) -> StartError {
    match error.kind() {
        ErrorKind::Wasm(error) => inspect::invalid(image, error),
        _ => StartError::Invalid { section: None, offset: None, why: format!("{error}") },
    }
}

fn config(floats: bool) -> WasmiConfig {
    let mut config = WasmiConfig::default();
    config
        .consume_fuel(true)
        .floats(floats)
        .wasm_custom_page_sizes(true)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .ignore_custom_sections(true)
        .set_max_recursion_depth(CALLS_MAX)
        .set_min_stack_height(STACK_VALUES_MIN)
        .set_max_stack_height(STACK_VALUES_MAX)
        .set_max_cached_stacks(1);
    config
}

/// Where a piece of memory is; `None` if it has no end.
pub(crate) fn range((ptr, len): Piece) -> Option<Range<usize>> {
    let start = ptr as usize;
    Some(start..start.checked_add(len as usize)?)
}

/// A key in a module's memory, copied: what is written for it may overlap.
pub(crate) fn key_in(memory: &[u8], key: Piece) -> Option<Vec<u8>> {
    let key = memory.get(range(key)?)?;
    (1..=abi::KV_KEY_MAX).contains(&key.len()).then(|| key.into())
}
