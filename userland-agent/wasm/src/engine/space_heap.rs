//! SpaceWasm's memory: this crate's global allocator, as the two interfaces that it asks for.
//!
//! The one place of this crate with `unsafe` in it: SpaceWasm calls for memory by symbols of the C ABI, and holds linear
//! memories by their address. Both can be refused, which it hands on as an error.
#![allow(unsafe_code)]

use crate::state::{Growth, State};
use alloc::rc::Rc;
use core::alloc::Layout;
use core::cell::{Cell, RefCell};
use core::ptr::NonNull;
use spacewasm::{AllocError, InnerVec, WasmMemoryAllocator, WasmStream};

/// What its containers are made of.
///
/// # Safety
/// Called by SpaceWasm alone, with `err` a place to write to.
#[unsafe(no_mangle)]
unsafe extern "C" fn __spacewasm_alloc(size: usize, align: usize, err: *mut u32) -> *mut u8 {
    match allocate(size, align) {
        Some(at) => at.as_ptr(),
        None => {
            // SAFETY: the caller's promise.
            unsafe { err.write(AllocError::OutOfMemory.into()) };
            core::ptr::null_mut()
        }
    }
}

/// # Safety
/// Called by SpaceWasm alone, with what [`__spacewasm_alloc`] gave for this size and alignment.
#[unsafe(no_mangle)]
unsafe extern "C" fn __spacewasm_dealloc(at: *mut u8, size: usize, align: usize) {
    if let (Some(at), Ok(layout)) = (NonNull::new(at), Layout::from_size_align(size, align)) {
        // SAFETY: the caller's promise.
        unsafe { free(at, layout) };
    }
}

fn allocate(size: usize, align: usize) -> Option<NonNull<u8>> {
    let layout = Layout::from_size_align(size, align).ok()?;
    if size == 0 {
        return NonNull::new(core::ptr::without_provenance_mut(align));
    }
    // SAFETY: the layout is not empty.
    NonNull::new(unsafe { alloc::alloc::alloc(layout) })
}

/// # Safety
/// `at` came from [`allocate`] for this layout, and nobody uses it any more.
unsafe fn free(at: NonNull<u8>, layout: Layout) {
    if layout.size() > 0 {
        // SAFETY: the caller's promise; an empty one was never allocated.
        unsafe { alloc::alloc::dealloc(at.as_ptr(), layout) };
    }
}

/// What the linear memory of one module is made of, within its grant.
pub(super) struct Linear {
    pub state: Rc<RefCell<State>>,
    /// Set when the grant was exceeded.
    pub refused: Rc<Cell<bool>>,
}

impl Linear {
    fn grow(&self, desired: usize) -> Result<(), AllocError> {
        let mut state = self.state.try_borrow_mut().map_err(|_| AllocError::AllocationFailed)?;
        let growth = state.grow_memory(desired, desired);
        self.refused.set(growth == Growth::Refused);
        if growth == Growth::Granted { Ok(()) } else { Err(AllocError::OutOfMemory) }
    }
}

impl WasmMemoryAllocator for Linear {
    fn allocate(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.grow(layout.size())?;
        allocate(layout.size(), layout.align()).ok_or(AllocError::OutOfMemory)
    }

    fn reallocate(&self, at: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<u8>, AllocError> {
        self.grow(new.size())?;
        if old.size() == 0 {
            return allocate(new.size(), new.align()).ok_or(AllocError::OutOfMemory);
        }
        // SAFETY: SpaceWasm gives the place and the layout that it got here, of the same alignment; a memory only grows,
        // so the new one is not empty.
        NonNull::new(unsafe { alloc::alloc::realloc(at.as_ptr(), old, new.size()) })
            .ok_or(AllocError::OutOfMemory)
    }

    fn deallocate(&self, at: NonNull<u8>, layout: Layout) {
        // SAFETY: SpaceWasm gives back what it got here, once, when the memory is dropped.
        unsafe { free(at, layout) };
    }
}

/// An image as a stream of one piece.
pub(super) struct Whole<'a> {
    pub image: &'a [u8],
    pub read: bool,
}

impl WasmStream for Whole<'_> {
    fn read(&mut self) -> Result<Option<InnerVec<u8>>, u8> {
        if core::mem::replace(&mut self.read, true) || self.image.is_empty() {
            return Ok(None);
        }
        let (at, len) = (self.image.as_ptr().cast_mut(), self.image.len());
        // SAFETY: the image outlives this stream, and the reader that the stream is lent to only reads what it is given
        // (`reader.rs` derefs a chunk as a slice, never as one to write to). The capacity is full: nothing is added.
        Ok(Some(unsafe { InnerVec::from_raw_parts(at, len, len) }))
    }

    fn return_(&mut self, _: InnerVec<u8>) {}
}
