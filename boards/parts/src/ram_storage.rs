//! Nonvolatile storage in memory that the kernel does not otherwise use and that outlives it, for emulators: QEMU keeps
//! the machine's memory in a file.
//!
//! Addresses begin with the first window, and go on with the next where one ends. A window may hold apps: processes run
//! from there what is written here, but never while it is written, as the executor capsule stops a slot before.

use core::cell::Cell;
use kernel::ErrorCode;
use kernel::deferred_call::{DeferredCall, DeferredCallClient};
use kernel::hil::nonvolatile_storage::{NonvolatileStorage, NonvolatileStorageClient};
use kernel::utilities::cells::{OptionalCell, TakeCell};

/// A piece of memory.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    start: *mut u8,
    len: usize,
}

impl Window {
    /// The bytes from `start` on.
    ///
    /// # Safety
    ///
    /// They have to be readable and writable as long as the storage is used, and no Rust object of the kernel may be among
    /// them.
    #[expect(unsafe_code, reason = "only the board knows what memory is free")]
    pub const unsafe fn new(start: *mut u8, len: usize) -> Self {
        Self { start, len }
    }
}

#[derive(Clone, Copy)]
enum Done {
    Read(usize),
    Write(usize),
}

/// Storage over `N` windows. Operations finish in a deferred call, as those of real storage do later.
pub struct RamStorage<'a, const N: usize> {
    windows: [Window; N],
    client: OptionalCell<&'a dyn NonvolatileStorageClient>,
    buffer: TakeCell<'static, [u8]>,
    done: Cell<Option<Done>>,
    deferred: DeferredCall,
}

impl<const N: usize> RamStorage<'_, N> {
    /// Over these windows, in this order. It has to be registered for its deferred call.
    pub fn new(windows: [Window; N]) -> Self {
        Self {
            windows,
            client: OptionalCell::empty(),
            buffer: TakeCell::empty(),
            done: Cell::new(None),
            deferred: DeferredCall::new(),
        }
    }

    /// Where the bytes of one operation are, all of them in one window.
    fn place(&self, address: usize, len: usize) -> Result<*mut u8, ErrorCode> {
        let mut start = 0;
        for window in &self.windows {
            if let Some(at) = address.checked_sub(start).filter(|at| *at < window.len) {
                let fits = len <= window.len - at;
                // `wrapping_add` needs no promise: the place is inside the window.
                return if fits { Ok(window.start.wrapping_add(at)) } else { Err(ErrorCode::INVAL) };
            }
            start += window.len;
        }
        Err(ErrorCode::INVAL)
    }

    fn begin(
        &self,
        buffer: &'static mut [u8],
        address: usize,
        length: usize,
        copy: impl Fn(*mut u8, &mut [u8]),
        done: Done,
    ) -> Result<(), ErrorCode> {
        // The trait gives a refused buffer no way back: it is kept for the caller's sake in no case that our capsule causes.
        let place = self.place(address, length)?;
        let bytes = buffer.get_mut(..length).ok_or(ErrorCode::SIZE)?;
        if self.done.get().is_some() {
            return Err(ErrorCode::BUSY);
        }
        copy(place, bytes);
        self.buffer.replace(buffer);
        self.done.set(Some(done));
        self.deferred.set();
        Ok(())
    }
}

impl<'a, const N: usize> NonvolatileStorage<'a> for RamStorage<'a, N> {
    fn set_client(&self, client: &'a dyn NonvolatileStorageClient) {
        self.client.set(client);
    }

    #[expect(
        unsafe_code,
        reason = "the memory is no Rust object: processes run from it, and it outlives the kernel"
    )]
    fn read(&self, buffer: &'static mut [u8], address: usize, length: usize) -> Result<(), ErrorCode> {
        let copy = |place: *mut u8, bytes: &mut [u8]| {
            for (at, byte) in bytes.iter_mut().enumerate() {
                // SAFETY: `place` checked that all of the bytes are in a window, and windows are valid.
                *byte = unsafe { place.wrapping_add(at).read_volatile() };
            }
        };
        self.begin(buffer, address, length, copy, Done::Read(length))
    }

    #[expect(unsafe_code, reason = "as for reading")]
    fn write(&self, buffer: &'static mut [u8], address: usize, length: usize) -> Result<(), ErrorCode> {
        let copy = |place: *mut u8, bytes: &mut [u8]| {
            for (at, byte) in bytes.iter().enumerate() {
                // SAFETY: as above.
                unsafe { place.wrapping_add(at).write_volatile(*byte) };
            }
        };
        self.begin(buffer, address, length, copy, Done::Write(length))
    }
}

impl<const N: usize> DeferredCallClient for RamStorage<'_, N> {
    fn handle_deferred_call(&self) {
        let (Some(done), Some(buffer), Some(client)) =
            (self.done.take(), self.buffer.take(), self.client.get())
        else {
            return;
        };
        match done {
            Done::Read(length) => client.read_done(buffer, length),
            Done::Write(length) => client.write_done(buffer, length),
        }
    }

    fn register(&'static self) {
        self.deferred.register(self);
    }
}
