//! The functions that a module may call, as SpaceWasm wants them.

use crate::abi;
use crate::imports::{self, Answer, Body};
use crate::inspect::Image;
use crate::state::{Pause, Piece, State};
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::ops::ControlFlow;
use spacewasm::{
    AllocError, Engine as Interpreter, HostFunction, HostFunctionBreak, HostFunctionResult, HostModule,
    HostName, HostValList, Value, Vec as SpaceVec,
};

/// The functions that an image imports, as the interpreter wants them.
pub(super) fn host(
    of: &Image,
    state: &Rc<RefCell<State>>,
    pause: &Rc<Cell<Option<Pause>>>,
) -> Result<SpaceVec<HostModule>, AllocError> {
    let exports_memory = of.exports_memory;
    let mut functions = SpaceVec::new(of.imports.len())?;
    for function in of.imports.iter().filter_map(|import| import.function) {
        let kinds = |kinds: &[abi::Type]| {
            let letters = kinds.iter().map(|kind| if *kind == abi::Type::I32 { 'i' } else { 'I' });
            letters.collect::<alloc::string::String>()
        };
        let Some(body) = imports::body(function.name) else { continue };
        let (state, pause) = (state.clone(), pause.clone());
        let call = move |interpreter: &mut Interpreter, params: &[Value]| {
            called(body, exports_memory, interpreter, params, &state, &pause)
        };
        let made = HostName::try_from_str(function.name).ok().and_then(|name| {
            let params = HostValList::try_new(&kinds(function.params)).ok()?;
            let results = HostValList::try_new(&kinds(function.results)).ok()?;
            HostFunction::try_new(name, params, results, call).ok()
        });
        functions.try_push(made.ok_or(AllocError::OutOfMemory)?)?;
    }
    let mut modules = SpaceVec::new(1)?;
    modules.try_push(HostModule {
        name: HostName::try_from_str(abi::MODULE).map_err(|_| AllocError::AllocationFailed)?,
        globals: SpaceVec::zero(),
        functions,
        memory: SpaceVec::zero(),
        table: SpaceVec::zero(),
    })?;
    Ok(modules)
}

fn called(
    body: Body,
    exports_memory: bool,
    interpreter: &mut Interpreter,
    params: &[Value],
    state: &RefCell<State>,
    pause: &Cell<Option<Pause>>,
) -> HostFunctionResult {
    let mut given = imports::Params::default();
    for (given, param) in given.iter_mut().zip(params) {
        if let Value::I32(value) = param {
            *given = *value as u32;
        }
    }
    let mut view = View(exports_memory.then_some(&*interpreter.memory));
    match body(given, &mut view, &mut state.borrow_mut()) {
        Answer::Value(value) => ControlFlow::Continue(Some(Value::I32(value))),
        Answer::Long(value) => ControlFlow::Continue(Some(Value::I64(value))),
        Answer::Pause(why) => {
            pause.set(Some(why));
            ControlFlow::Break(HostFunctionBreak::Pause)
        }
    }
}

struct View<'a>(Option<&'a spacewasm::Memory>);

impl imports::Memory for View<'_> {
    fn get(&self, (at, len): Piece) -> Option<&[u8]> {
        self.0?.load(at as usize, len as usize).ok()
    }

    fn put(&mut self, at: u32, bytes: &[u8]) -> bool {
        self.0.is_some_and(|memory| memory.store(at as usize, bytes).is_ok())
    }
}
