//! wasmi as the engine: translates each function when it is first called, and suspends a call that pauses or is out of
//! fuel as a value of its own.

use super::{Engine, Outcome, Which, name};
use crate::abi;
use crate::event::{StartError, Trap};
use crate::executor::Launch;
use crate::imports::{self, Answer, Body};
use crate::inspect::{self, Image};
use crate::limits::*;
use crate::state::{Growth, Pause, Piece, State};
use alloc::string::ToString;
use core::fmt;
use core::ops::{Deref, DerefMut, Range};
use wasmi::errors::{ErrorKind, HostError};
use wasmi::{
    Caller, Config, Engine as Interpreter, Error, Extern, Func, FuncType, Linker, Memory, Module,
    ResourceLimiter, ResumableCall, ResumableCallHostTrap, ResumableCallOutOfFuel, Store, TrapCode, Val,
    ValType,
};
use wasmi_core::LimiterError;

/// Values that a module's stack has room for from the start.
const STACK_VALUES_MIN: usize = 256;

/// A pause as wasmi carries it. It wants to be able to print it, and nobody ever does.
struct Asked(Pause);

impl HostError for Asked {}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("suspended")
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A module in wasmi.
pub(crate) struct Wasmi {
    store: Store<State>,
    entry: Func,
    check: Option<Func>,
    memory: Option<Memory>,
}

/// A call under way.
pub(crate) enum Call {
    Fresh(Which),
    /// The same, but its function has to be translated first, for so much fuel: there is no call yet to go on with.
    Untranslated(Which, u64),
    OutOfFuel(ResumableCallOutOfFuel),
    Paused(ResumableCallHostTrap),
}

impl Engine for Wasmi {
    type Call = Call;

    /// A stack of half the values that one may have, which is more than tasks have as a rule, and a function's
    /// translation. All of the values would be twice that, kept for what hardly ever happens.
    const RESERVE: usize = STACK_VALUES_MAX * 4 + (4 << 10);
    const RUN_RESERVE: usize = 8 << 10;
    const LOAD_BASE: usize = 9 << 10;
    const LOAD_PER_BYTE: usize = 3;

    fn load(launch: &Launch<'_>, _: &Image, state: State, fuel: u64) -> Result<(Self, u64), StartError> {
        let (interpreter, module) = compile(launch.image, true)?;
        let failed = |error: Error| invalid(launch.image, &error);
        let mut store = Store::new(&interpreter, state);
        store.limiter(|state| state);
        store.set_fuel(fuel).map_err(failed)?;
        let linker = linker(&interpreter).map_err(failed)?;
        let instance = match linker.instantiate_and_start(&mut store, &module) {
            Ok(instance) => instance,
            Err(error) => {
                return Err(match store.data().refused {
                    Some(asked) => StartError::Memory { asked, granted: store.data().mem_granted() },
                    None => failed(error),
                });
            }
        };
        let function = |which| {
            name(launch, which)
                .map(|name| {
                    let found = instance.get_func(&store, name);
                    let found = found.filter(|found| found.typed::<(), i32>(&store).is_ok());
                    found.ok_or_else(|| StartError::NoEntry(name.into()))
                })
                .transpose()
        };
        let entry = function(Which::Entry)?.ok_or_else(|| StartError::NoEntry(abi::ENTRY.into()))?;
        let check = function(Which::Check)?;
        let memory = instance.get_memory(&store, abi::MEMORY);
        let used = fuel.saturating_sub(store.get_fuel().unwrap_or(0));
        Ok((Self { store, entry, check, memory }, used))
    }

    fn validate(image: &[u8]) -> Result<(), StartError> {
        compile(image, true).map(drop)
    }

    fn begin(&mut self, which: Which) -> Call {
        Call::Fresh(which)
    }

    fn needs(call: &Call) -> u64 {
        match call {
            Call::OutOfFuel(call) => call.required_fuel(),
            Call::Untranslated(_, needs) => *needs,
            Call::Fresh(_) | Call::Paused(_) => 0,
        }
    }

    fn run(&mut self, call: Call, input: Option<i32>, fuel: u64) -> (u64, Outcome<Call>) {
        let begins = match &call {
            Call::Fresh(which) | Call::Untranslated(which, _) => Some(*which),
            Call::OutOfFuel(_) | Call::Paused(_) => None,
        };
        let store = &mut self.store;
        let mut result = [Val::I32(0)];
        let outcome = store.set_fuel(fuel).and_then(|()| match call {
            Call::Fresh(which) | Call::Untranslated(which, _) => {
                let function = match which {
                    Which::Entry => Some(self.entry),
                    Which::Check => self.check,
                };
                let function = function.ok_or_else(|| Error::new("nothing to run"))?;
                function.call_resumable(&mut *store, &[], &mut result)
            }
            Call::OutOfFuel(call) => call.resume(&mut *store, &mut result),
            Call::Paused(call) => {
                let input = input.map(Val::I32);
                call.resume(&mut *store, input.as_slice(), &mut result)
            }
        });
        let left = store.get_fuel().unwrap_or(0);
        let outcome = match outcome {
            Ok(ResumableCall::Finished) => Outcome::Returned(result[0].i32().unwrap_or(0)),
            Ok(ResumableCall::OutOfFuel(call)) => Outcome::OutOfFuel(match begins {
                // Nothing of it has run: wasmi has no frame for it, and panics if it is resumed.
                Some(which) if left == fuel => Call::Untranslated(which, call.required_fuel()),
                _ => Call::OutOfFuel(call),
            }),
            Ok(ResumableCall::HostTrap(call)) => {
                match call.host_error().downcast_ref::<Asked>().map(|asked| asked.0) {
                    Some(pause) => Outcome::Paused(Call::Paused(call), pause),
                    None => Outcome::Trapped(Trap::Other("unknown host error".into())),
                }
            }
            Err(error) => Outcome::Trapped(trap(&error)),
        };
        (left, outcome)
    }

    fn state(&self) -> impl Deref<Target = State> {
        self.store.data()
    }

    fn state_mut(&mut self) -> impl DerefMut<Target = State> {
        self.store.data_mut()
    }

    fn get(&self, piece: Piece) -> Option<&[u8]> {
        self.memory?.data(&self.store).get(range(piece)?)
    }

    fn put(&mut self, at: u32, bytes: &[u8]) -> bool {
        let store = &mut self.store;
        self.memory.is_some_and(|memory| memory.write(store, at as usize, bytes).is_ok())
    }
}

/// True for a valid image that needs floats.
pub(crate) fn has_floats(image: &[u8]) -> bool {
    compile(image, true).is_ok() && compile(image, false).is_err()
}

/// Validates and translates an image, in an engine of its own: compiled code goes when the task does.
fn compile(image: &[u8], floats: bool) -> Result<(Interpreter, Module), StartError> {
    let interpreter = Interpreter::new(&config(floats));
    let module = Module::new(&interpreter, image).map_err(|error| invalid(image, &error))?;
    Ok((interpreter, module))
}

fn invalid(image: &[u8], error: &Error) -> StartError {
    match error.kind() {
        ErrorKind::Wasm(error) => inspect::invalid(image, error),
        _ => StartError::Invalid { section: None, offset: None, why: trap(error).to_string() },
    }
}

fn trap(error: &Error) -> Trap {
    match error.as_trap_code() {
        Some(TrapCode::UnreachableCodeReached) => Trap::Unreachable,
        Some(TrapCode::MemoryOutOfBounds) => Trap::MemoryBounds,
        Some(TrapCode::TableOutOfBounds) => Trap::TableBounds,
        Some(TrapCode::IndirectCallToNull) => Trap::NullCall,
        Some(TrapCode::BadSignature) => Trap::CallType,
        Some(TrapCode::IntegerDivisionByZero) => Trap::DivideByZero,
        Some(TrapCode::IntegerOverflow) => Trap::Overflow,
        Some(TrapCode::BadConversionToInteger) => Trap::Conversion,
        Some(TrapCode::StackOverflow) => Trap::StackOverflow,
        // The executor makes these into other events before they come here.
        Some(TrapCode::OutOfFuel | TrapCode::GrowthOperationLimited) | None => {
            // In words of ours: wasmi's own for all of its errors take as much flash as this crate's task switching.
            Trap::Other(match error.kind() {
                ErrorKind::Instantiation(_) => "can not be instantiated".into(),
                ErrorKind::Memory(_) | ErrorKind::Table(_) | ErrorKind::Limits(_) => "no memory left".into(),
                _ => "engine error".into(),
            })
        }
    }
}

fn config(floats: bool) -> Config {
    let mut config = Config::default();
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

fn linker(interpreter: &Interpreter) -> Result<Linker<State>, Error> {
    let mut linker = Linker::new(interpreter);
    let value = |kind: &abi::Type| match kind {
        abi::Type::I32 => ValType::I32,
        abi::Type::I64 => ValType::I64,
    };
    for function in &abi::FUNCTIONS {
        let Some(body) = imports::body(function.name) else { continue };
        let kind = FuncType::new(function.params.iter().map(value), function.results.iter().map(value));
        let call = move |caller: Caller<'_, State>, params: &[Val], results: &mut [Val]| {
            called(body, caller, params, results)
        };
        let added = linker.func_new(abi::MODULE, function.name, kind, call);
        added.map_err(|_| Error::new("function defined twice"))?;
    }
    Ok(linker)
}

fn called(
    body: Body,
    mut caller: Caller<'_, State>,
    params: &[Val],
    results: &mut [Val],
) -> Result<(), Error> {
    let mut given = imports::Params::default();
    for (given, param) in given.iter_mut().zip(params) {
        *given = param.i32().unwrap_or(0) as u32;
    }
    let answer = match caller.get_export(abi::MEMORY).and_then(Extern::into_memory) {
        Some(memory) => {
            let (bytes, state) = memory.data_and_store_mut(&mut caller);
            body(given, &mut Bytes(Some(bytes)), state)
        }
        None => body(given, &mut Bytes(None), caller.data_mut()),
    };
    let value = match answer {
        Answer::Value(value) => Val::I32(value),
        Answer::Long(value) => Val::I64(value),
        Answer::Pause(pause) => return Err(Error::host(Asked(pause))),
    };
    if let Some(result) = results.first_mut() {
        *result = value;
    }
    Ok(())
}

struct Bytes<'a>(Option<&'a mut [u8]>);

impl imports::Memory for Bytes<'_> {
    fn get(&self, piece: Piece) -> Option<&[u8]> {
        self.0.as_deref()?.get(range(piece)?)
    }

    fn put(&mut self, at: u32, bytes: &[u8]) -> bool {
        let place = range((at, bytes.len() as u32));
        let place = self.0.as_deref_mut().zip(place).and_then(|(memory, place)| memory.get_mut(place));
        place.map(|place| place.copy_from_slice(bytes)).is_some()
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
            return Ok(false);
        }
        answer(self.grow_memory(desired, block(current, desired)))
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
        answer(self.grow_table(current, desired, block(current, desired)))
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

/// wasmi keeps both in a `Vec`, which at least doubles, beside its old place until it is copied.
fn block(current: usize, desired: usize) -> usize {
    desired.max(current.saturating_mul(2))
}

fn answer(growth: Growth) -> Result<bool, LimiterError> {
    match growth {
        Growth::Granted => Ok(true),
        Growth::No => Ok(false),
        Growth::Refused => Err(LimiterError::ResourceLimiterDeniedAllocation),
    }
}

/// Where a piece of memory is; `None` if it has no end.
fn range((ptr, len): Piece) -> Option<Range<usize>> {
    let start = ptr as usize;
    Some(start..start.checked_add(len as usize)?)
}
