//! Whether the heap can give more, asked before something needs it that can not be told no.
//!
//! Memories and tables are reserved in ways that may fail, and all else (translated code, stacks of values, what a module
//! says) in ways that may not: there, a full heap would end the process with the tasks of everybody. So what can be
//! refused is refused while [`Engine::RESERVE`] is still left for what can not, and a module that has its turn when even
//! [`Engine::RUN_RESERVE`] is gone is ended.
//!
//! That is not proof: in wasmi, a stack of values that grows to its largest in one turn, or a function that takes more than
//! the reserve to translate, still finds a heap that was filled in between without room.

use crate::engine::{Chosen, Engine};
use crate::inspect::Image;
use alloc::vec::Vec;

/// About what it takes to load an image, bytes: the engine and its stack, what it makes of the image, and the memories
/// that the image begins with.
pub(crate) fn load_bytes(image: &Image) -> usize {
    let begins_with = usize::try_from(image.mem_bytes()).unwrap_or(usize::MAX);
    let made = image.bytes.saturating_mul(Chosen::LOAD_PER_BYTE);
    begins_with.saturating_add(Chosen::LOAD_BASE).saturating_add(made)
}

/// True if the heap has so many bytes in one piece, beside the reserve.
pub(crate) fn has_room(bytes: usize) -> bool {
    both(bytes, Chosen::RESERVE)
}

/// True if it has enough for a module's turn.
pub(crate) fn may_run() -> bool {
    both(0, Chosen::RUN_RESERVE)
}

fn both(one: usize, other: usize) -> bool {
    let (mut first, mut second) = (Vec::<u8>::new(), Vec::<u8>::new());
    let given = first.try_reserve_exact(one).is_ok() && second.try_reserve_exact(other).is_ok();
    // Or the compiler, which knows that neither is used, asks for neither.
    core::hint::black_box((&first, &second));
    given
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_heap_has_room_for_little_and_not_for_everything() {
        assert!(super::may_run() && super::has_room(100));
        assert!(!super::has_room(isize::MAX as usize));
    }
}
