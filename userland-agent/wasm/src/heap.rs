//! Whether the heap can give more, asked before something needs it that can not be told no.
//!
//! The engine reserves memories and tables in ways that may fail, and all else (translated code, stacks of values, what a
//! module says) in ways that may not: there, a full heap would end the process with the tasks of everybody. So what
//! can be refused is refused while [`RESERVE`] is still left for what can not.

use crate::inspect::Image;
use alloc::vec::Vec;

/// Bytes in one piece that are left for what can not be refused: a stack of values at its largest
/// ([`crate::limits::STACK_VALUES_MAX`]) and a function's translation.
pub(crate) const RESERVE: usize = 20 << 10;

/// What the engine takes for a module of nothing, bytes.
const LOAD_BASE: usize = 12 << 10;
/// What it takes for a byte of an image.
const LOAD_PER_BYTE: usize = 4;

/// About what it takes to load an image, bytes: the engine and its stack, what it makes of the image, and the memories
/// that the image begins with.
pub(crate) fn load_bytes(image: &Image) -> usize {
    let begins_with = usize::try_from(image.mem_bytes()).unwrap_or(usize::MAX);
    begins_with.saturating_add(LOAD_BASE).saturating_add(image.bytes.saturating_mul(LOAD_PER_BYTE))
}

/// True if the heap has so many bytes in one piece, beside the [`RESERVE`].
pub(crate) fn has_room(bytes: usize) -> bool {
    let (mut more, mut reserve) = (Vec::<u8>::new(), Vec::<u8>::new());
    let given = more.try_reserve_exact(bytes).is_ok() && reserve.try_reserve_exact(RESERVE).is_ok();
    // Or the compiler, which knows that neither is used, asks for neither.
    core::hint::black_box((&more, &reserve));
    given
}
