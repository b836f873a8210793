//! SpaceWasm as the engine: WebAssembly 1 with custom page sizes, compiled whole into words of 16 bits when it is loaded.
//!
//! It is run one instruction at a time. That makes fuel exact (a unit is an instruction, as validated), lets nested calls
//! be counted, which SpaceWasm itself does not limit, and ends a module at the instruction that asks for too much memory.
//!
//! It suspends in a host function, but has one stack: each call under way keeps a stack and registers of its own
//! ([`Frame`]), which are the interpreter's while it runs. So a check can be called in the middle of another call.
//!
//! What WebAssembly 2 added is not there: bulk memory, sign extension, saturating conversion, several results, references.
//! A module that uses them is refused as invalid, with the instruction's code.

use super::space_heap::{Linear, Whole};
use super::space_host::host;
use super::{Engine, Outcome, Which, name};
use crate::abi;
use crate::event::{StartError, Trap};
use crate::executor::Launch;
use crate::heap;
use crate::inspect::{self, Image};
use crate::limits::*;
use crate::state::{Growth, Pause, Piece, State};
use alloc::format;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::ops::{Deref, DerefMut};
use spacewasm::{
    AllocError, CodeBuilder, CompilerOptions, Engine as Interpreter, ExportDesc, InterpreterResult,
    InterpreterRunner, InvokeError, JumpTarget, Module, ParseError, Rc as SpaceRc, Ref, ResultType, Stack,
    TrapReason, ValidationError, Value, WasmRef,
};
use wasmparser::{BinaryReaderError, Validator, WasmFeatures};

/// Blocks nested in one function.
const BLOCKS_MAX: usize = 128;
/// Operands of one function that wait at once.
const OPERANDS_MAX: usize = 512;
/// Words of 32 bits of the stack of one call: a local or operand of 64 bits is two.
const STACK_WORDS: usize = STACK_VALUES_MAX;
/// The same for a check, which has its stack only while it is under way.
const CHECK_STACK_WORDS: usize = STACK_WORDS / 2;
/// Bytes of a page of code: the interpreter's.
const CODE_PAGE: usize = 512;
/// Bytes of code that an image of one byte may become, many times what it does.
const CODE_PER_BYTE: usize = 16;

/// A module in SpaceWasm.
pub(crate) struct Space {
    interpreter: Interpreter,
    code: CodeBuilder,
    state: Rc<RefCell<State>>,
    /// Why the interpreter has paused, until it is asked.
    pause: Rc<Cell<Option<Pause>>>,
    /// Set with [`State::refused`]: this is looked at after each instruction.
    refused: Rc<Cell<bool>>,
    entry: WasmRef,
    check: Option<WasmRef>,
    exports_memory: bool,
    /// The entry's, until it begins: what a module needs is there from its start.
    first: Option<Frame>,
}

/// A call under way.
pub(crate) struct Call {
    which: Which,
    /// `None` if there was no memory for it.
    frame: Option<Frame>,
}

/// What the interpreter knows of a call.
struct Frame {
    pc: JumpTarget,
    jumped: bool,
    fp: u32,
    sp: usize,
    stack: Stack,
    awaits: Option<ResultType>,
    /// Calls nested in each other.
    calls: usize,
    begun: bool,
}

impl Engine for Space {
    type Call = Call;

    /// All that the interpreter allocates can be refused: this is for what modules say and are told.
    const RESERVE: usize = 6 << 10;
    const RUN_RESERVE: usize = 2 << 10;
    const LOAD_BASE: usize = 10 << 10;
    const LOAD_PER_BYTE: usize = 3;

    fn load(launch: &Launch<'_>, of: &Image, state: State, fuel: u64) -> Result<(Self, u64), StartError> {
        let image = launch.image;
        let full = |_| StartError::NoRoom { needs: heap::load_bytes(of) };
        let (state, pause) = (Rc::new(RefCell::new(state)), Rc::new(Cell::new(None)));
        if state.borrow_mut().grow_table(0, of.table_elements as usize, 0) != Growth::Granted {
            return Err(full(AllocError::OutOfMemory));
        }
        let host = host(of, &state, &pause).map_err(full)?;
        let mut interpreter = Interpreter::new(0, 1, host).map_err(|_| full(AllocError::OutOfMemory))?;
        let mut code = builder(image).map_err(full)?;
        let refused = Rc::new(Cell::new(false));
        let linear = SpaceRc::new(Linear { state: state.clone(), refused: refused.clone() })
            .map_err(full)?
            .into_wasm_memory_allocator();
        let module = Module::new::<BLOCKS_MAX, OPERANDS_MAX>(
            "",
            &mut Whole { image, read: false },
            &mut interpreter.store,
            &mut code,
            linear,
        );
        let module = match module {
            Ok(module) => module,
            Err(error) if is_full(&error) => return Err(full(AllocError::OutOfMemory)),
            Err(error) => return Err(invalid(image, &error)),
        };
        let function = |which| {
            let wanted = name(launch, which);
            let found =
                wanted.map(|name| function(&module, name).ok_or_else(|| StartError::NoEntry(name.into())));
            found.transpose()
        };
        let entry = function(Which::Entry)?.ok_or_else(|| StartError::NoEntry(abi::ENTRY.into()))?;
        let check = function(Which::Check)?;
        let module = interpreter.push_module(module).map_err(full)?;
        let start = interpreter.module_start(module);
        let exports_memory = of.exports_memory;
        let first = Some(Frame::new(STACK_WORDS).map_err(full)?);
        let mut loaded =
            Self { interpreter, code, state, pause, refused, entry, check, exports_memory, first };
        let left = match start {
            Some(start) => loaded.start(start, fuel)?,
            None => fuel,
        };
        Ok((loaded, fuel - left))
    }

    /// By who reads images: the interpreter validates only as it makes memories and code.
    fn validate(image: &[u8]) -> Result<(), StartError> {
        valid(image, features()).map_err(|error| inspect::invalid(image, &error))
    }

    fn begin(&mut self, which: Which) -> Call {
        let frame = match which {
            Which::Entry => self.first.take(),
            Which::Check if heap::has_room(CHECK_STACK_WORDS * 4) => Frame::new(CHECK_STACK_WORDS).ok(),
            Which::Check => None,
        };
        Call { which, frame }
    }

    fn needs(_: &Call) -> u64 {
        0
    }

    fn run(&mut self, call: Call, input: Option<i32>, fuel: u64) -> (u64, Outcome<Call>) {
        let function = match call.which {
            Which::Entry => Some(self.entry),
            Which::Check => self.check,
        };
        let Some(function) = function else {
            return (fuel, Outcome::Trapped(Trap::Other("nothing to run".into())));
        };
        let Some(mut frame) = call.frame else {
            return (fuel, Outcome::Trapped(Trap::Other("no memory left in the node".into())));
        };
        let begins = !core::mem::replace(&mut frame.begun, true);
        frame.swap(&mut self.interpreter);
        let ready = if begins {
            self.interpreter.invoke(function, &[]).map_err(|error| match error {
                InvokeError::StackOverflow => Trap::StackOverflow,
                _ => Trap::Other(format!("{error:?}")),
            })
        } else if self.interpreter.host_pause_result.is_some() {
            let resumed = self.interpreter.resume(input.map(Value::I32));
            resumed.map_err(|error| Trap::Other(format!("{error:?}")))
        } else {
            Ok(())
        };
        let (left, result) = match ready {
            Ok(()) => self.go(&mut frame.calls, fuel),
            Err(trap) => (fuel, Err(trap)),
        };
        let returned = self.interpreter.result.take();
        frame.swap(&mut self.interpreter);
        let call = Call { which: call.which, frame: Some(frame) };
        let outcome = match result {
            Ok(InterpreterResult::Finished) => {
                Outcome::Returned(returned.map_or(0, |value| value.read_i32()))
            }
            Ok(InterpreterResult::OutOfFuel) => Outcome::OutOfFuel(call),
            Ok(InterpreterResult::Pause) => match self.pause.take() {
                Some(pause) => Outcome::Paused(call, pause),
                None => Outcome::Trapped(Trap::Other("unknown pause".into())),
            },
            Ok(InterpreterResult::Trap(reason)) => Outcome::Trapped(trap(reason)),
            Err(trap) => Outcome::Trapped(trap),
        };
        (left, outcome)
    }

    fn state(&self) -> impl Deref<Target = State> {
        self.state.borrow()
    }

    fn state_mut(&mut self) -> impl DerefMut<Target = State> {
        self.state.borrow_mut()
    }

    fn get(&self, (at, len): Piece) -> Option<&[u8]> {
        self.memory()?.load(at as usize, len as usize).ok()
    }

    fn put(&mut self, at: u32, bytes: &[u8]) -> bool {
        self.memory().is_some_and(|memory| memory.store(at as usize, bytes).is_ok())
    }
}

impl Space {
    fn memory(&self) -> Option<&spacewasm::Memory> {
        self.exports_memory.then_some(&*self.interpreter.memory)
    }

    /// Runs a start section to its end; gives the fuel that is left.
    fn start(&mut self, start: WasmRef, fuel: u64) -> Result<u64, StartError> {
        let failed =
            |why: &str| StartError::Invalid { section: Some("start"), offset: None, why: why.into() };
        let Some(mut frame) = self.first.take() else { return Err(failed("nothing to run on")) };
        frame.swap(&mut self.interpreter);
        let begun = self.interpreter.invoke(start, &[]);
        let (left, result) = match begun {
            Ok(()) => self.go(&mut frame.calls, fuel),
            Err(_) => (fuel, Err(Trap::StackOverflow)),
        };
        frame.swap(&mut self.interpreter);
        // At its end it is as it was; otherwise the module does not come to its entry.
        frame.calls = 1;
        self.first = Some(frame);
        let state = self.state.borrow();
        match result {
            _ if state.refused.is_some() => {
                let asked = state.refused.unwrap_or(usize::MAX);
                Err(StartError::Memory { asked, granted: state.mem_granted() })
            }
            Ok(InterpreterResult::Finished) => Ok(left),
            Ok(InterpreterResult::OutOfFuel) => Err(failed("takes too long")),
            Ok(InterpreterResult::Pause) => Err(failed("calls a function that waits")),
            Ok(InterpreterResult::Trap(reason)) => Err(failed(&format!("{}", trap(reason)))),
            Err(trap) => Err(failed(&format!("{trap}"))),
        }
    }

    /// Goes on until something happens; gives the fuel that is left.
    fn go(&mut self, calls: &mut usize, fuel: u64) -> (u64, Result<InterpreterResult, Trap>) {
        let (interpreter, pages) = (&mut self.interpreter, self.code.pages());
        let mut left = fuel;
        while left > 0 {
            left -= 1;
            let fp = interpreter.fp;
            match spacewasm::Interpreter.run(pages, interpreter, 1) {
                InterpreterResult::OutOfFuel => {}
                done => return (left, Ok(done)),
            }
            if interpreter.fp != fp {
                *calls = if interpreter.fp > fp { *calls + 1 } else { calls.saturating_sub(1) };
                if *calls > CALLS_MAX {
                    return (left, Err(Trap::StackOverflow));
                }
            }
            if self.refused.get() {
                return (left, Err(Trap::Other("memory refused".into())));
            }
        }
        (0, Ok(InterpreterResult::OutOfFuel))
    }
}

impl Frame {
    fn new(words: usize) -> Result<Self, AllocError> {
        Ok(Self {
            pc: JumpTarget::SENTINEL,
            jumped: false,
            fp: 0,
            sp: 0,
            stack: Stack::new(words)?,
            awaits: None,
            calls: 1,
            begun: false,
        })
    }

    /// Puts this into the interpreter and what it had in here, or back.
    fn swap(&mut self, interpreter: &mut Interpreter) {
        use core::mem::swap;
        swap(&mut self.pc, &mut interpreter.pc);
        swap(&mut self.jumped, &mut interpreter.jumped);
        swap(&mut self.fp, &mut interpreter.fp);
        swap(&mut self.sp, &mut interpreter.sp);
        swap(&mut self.stack, &mut interpreter.stack);
        swap(&mut self.awaits, &mut interpreter.host_pause_result);
    }
}

fn builder(image: &[u8]) -> Result<CodeBuilder, AllocError> {
    CodeBuilder::new(CompilerOptions {
        allow_memory_grow: true,
        max_backpatch_iterations: Some(image.len() as u32),
        max_code_pages: 1 + (image.len() * CODE_PER_BYTE).div_ceil(CODE_PAGE),
    })
}

/// The exported function of this name, if the module defines it itself.
fn function(module: &Module, name: &str) -> Option<WasmRef> {
    let export = module.exports.iter().find(|export| export.name == name)?;
    let ExportDesc::Func(index) = export.desc else { return None };
    match module.get_func_ref(index)? {
        Ref::Module(index) => Some(WasmRef { module: spacewasm::ModuleRef(0), index }),
        Ref::Host { .. } | Ref::Extern { .. } => None,
    }
}

/// True for a valid image that needs floats.
pub(crate) fn has_floats(image: &[u8]) -> bool {
    let without = features().difference(WasmFeatures::FLOATS);
    valid(image, features()).is_ok() && valid(image, without).is_err()
}

fn features() -> WasmFeatures {
    WasmFeatures::WASM1 | WasmFeatures::CUSTOM_PAGE_SIZES
}

fn valid(image: &[u8], features: WasmFeatures) -> Result<(), BinaryReaderError> {
    Validator::new_with_features(features).validate_all(image).map(drop)
}

fn is_full(error: &ParseError) -> bool {
    use spacewasm::MemoryError;
    match &error.err.err {
        ValidationError::AllocError(_) | ValidationError::GuestMemoryAllocationFailure => true,
        ValidationError::MemoryError(error) => *error != MemoryError::OutOfBounds,
        _ => false,
    }
}

fn invalid(image: &[u8], error: &ParseError) -> StartError {
    let offset = error.offset as usize;
    let why = match &error.err.err {
        ValidationError::InvalidOpcode(code) => format!("instruction {code:#04x} is not known"),
        other => format!("{other:?}"),
    };
    StartError::Invalid { section: inspect::section_at(image, offset), offset: Some(offset), why }
}

fn trap(reason: TrapReason) -> Trap {
    match reason {
        TrapReason::Unreachable => Trap::Unreachable,
        TrapReason::MemoryOutOfBounds => Trap::MemoryBounds,
        TrapReason::InvalidTableIndex => Trap::TableBounds,
        TrapReason::UninitializedTableElement => Trap::NullCall,
        TrapReason::InvalidTableFunctionType => Trap::CallType,
        TrapReason::DivideByZero => Trap::DivideByZero,
        TrapReason::IntegerOverflow => Trap::Overflow,
        TrapReason::UnrepresentableResult | TrapReason::BadConversionToInteger => Trap::Conversion,
        TrapReason::StackOverflow => Trap::StackOverflow,
        TrapReason::Host
        | TrapReason::GlobalGetFailed
        | TrapReason::GlobalSetFailed
        | TrapReason::OutOfMemory
        | TrapReason::MemoryRefNotUnique
        | TrapReason::MalformedIr => Trap::Other(format!("{reason:?}")),
    }
}
