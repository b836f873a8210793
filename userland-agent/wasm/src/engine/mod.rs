//! What the executor asks of an interpreter, and which one it is: chosen when this crate is built, by a feature.
//!
//! | feature | engine | what it is |
//! |---|---|---|
//! | `wasmi` (default) | [wasmi](https://crates.io/crates/wasmi) 1 | fast, WebAssembly 2 but for SIMD, large |
//! | `spacewasm` | [SpaceWasm](https://crates.io/crates/spacewasm) | WebAssembly 1 with custom page sizes, small |
//!
//! ```sh
//! cargo nextest run -p agent-wasm
//! cargo nextest run -p agent-wasm --no-default-features --features spacewasm
//! ```
//!
//! If both are on it is wasmi. Everything that a task or its framework can tell apart is decided outside of the engines
//! (capabilities, limits, the functions a module may call, what ends it and how), and the same tests hold both.

use crate::event::{StartError, Trap};
use crate::executor::Launch;
use crate::inspect::Image;
use crate::state::{Pause, Piece, State};
use core::ops::{Deref, DerefMut};

#[cfg(feature = "wasmi")]
mod wasmi;
#[cfg(feature = "wasmi")]
pub(crate) use wasmi::{Wasmi as Chosen, has_floats};

#[cfg(all(feature = "spacewasm", not(feature = "wasmi")))]
mod space;
#[cfg(all(feature = "spacewasm", not(feature = "wasmi")))]
mod space_heap;
#[cfg(all(feature = "spacewasm", not(feature = "wasmi")))]
mod space_host;
#[cfg(all(feature = "spacewasm", not(feature = "wasmi")))]
pub(crate) use space::{Space as Chosen, has_floats};

#[cfg(not(any(feature = "wasmi", feature = "spacewasm")))]
compile_error!("agent-wasm needs an engine: feature `wasmi` or `spacewasm`");

/// A call under way in the chosen engine.
pub(crate) type Call = <Chosen as Engine>::Call;

/// A function of a module that the executor calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Entry,
    Check,
}

/// What a run comes to.
pub(crate) enum Outcome<C> {
    /// The function returned.
    Returned(i32),
    /// It can go on with more fuel.
    OutOfFuel(C),
    /// It called a function that the executor finishes: it can go on with the result.
    Paused(C, Pause),
    /// It can not go on. If [`State::refused`] is set, it is that.
    Trapped(Trap),
}

/// One module in an interpreter.
pub(crate) trait Engine: Sized {
    /// A call under way. To drop it gives the call up.
    type Call;

    /// Bytes in one piece that the heap has to keep, when a module starts or grows, for what can not be refused later.
    const RESERVE: usize;
    /// The same, before a module has its turn.
    const RUN_RESERVE: usize;
    /// What the engine takes for a module of nothing until it has run for a while, bytes. These are measured on a core
    /// of 32 bits, with the images of `tools/task-sdk`, and rounded up.
    const LOAD_BASE: usize;
    /// What it takes for a byte of an image.
    const LOAD_PER_BYTE: usize;

    /// Validates and instantiates an image that was admitted, and runs its start section within `fuel`. Gives what that
    /// has cost.
    fn load(launch: &Launch<'_>, of: &Image, state: State, fuel: u64) -> Result<(Self, u64), StartError>;

    /// Whether an image is valid, its code included.
    fn validate(image: &[u8]) -> Result<(), StartError>;

    /// A call that has not begun.
    fn begin(&mut self, which: Which) -> Self::Call;

    /// Fuel without which a call gets nowhere, if that is known.
    fn needs(call: &Self::Call) -> u64;

    /// Runs a call, with the result of the function that it paused in, until it is done with or `fuel` is used. Gives
    /// the fuel that is left.
    fn run(&mut self, call: Self::Call, input: Option<i32>, fuel: u64) -> (u64, Outcome<Self::Call>);

    fn state(&self) -> impl Deref<Target = State>;

    fn state_mut(&mut self) -> impl DerefMut<Target = State>;

    /// A piece of the exported memory, if it is there.
    fn get(&self, piece: Piece) -> Option<&[u8]>;

    /// Writes to the exported memory; false if the place is not there.
    fn put(&mut self, at: u32, bytes: &[u8]) -> bool;
}

/// The name of the function that a launch means.
pub(crate) fn name<'a>(launch: &Launch<'a>, which: Which) -> Option<&'a str> {
    match which {
        Which::Entry if launch.entry.is_empty() => Some(crate::abi::ENTRY),
        Which::Entry => Some(launch.entry),
        Which::Check => launch.check.as_ref().map(|check| check.entry),
    }
}
