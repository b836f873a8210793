//! What the kernel holds of this app for as long as the app runs: upcalls, and buffers that it fills at any time.
//!
//! libtock's shares end with a scope. The agent's never end, and its receive buffer has to be looked into between two
//! datagrams, which a scope's borrow does not allow. This is the one module of the port with unsafe code.
#![allow(unsafe_code)]

use alloc::boxed::Box;
use core::cell::UnsafeCell;
use libtock_platform::share::{Handle, List};
use libtock_platform::subscribe::OneId;
use libtock_platform::{AllowRw, DefaultConfig, ErrorCode, Subscribe, Syscalls, Upcall};

/// A share that never ends.
fn forever<L: List + 'static>() -> Handle<'static, L> {
    let list: &'static L = Box::leak(Box::new(L::default()));
    // SAFETY: what the list stands for has to be given back before the list is gone, and it never is: it was leaked.
    // (It has no size, so nothing is lost.)
    unsafe { Handle::new(list) }
}

/// Has `upcall` called from now on. What it was called for before is not called again.
pub fn subscribe<S, U, const DRIVER: u32, const NUMBER: u32>(upcall: &'static U) -> Result<(), ErrorCode>
where
    S: Syscalls + 'static,
    U: Upcall<OneId<DRIVER, NUMBER>>,
{
    let handle = forever::<Subscribe<'static, S, DRIVER, NUMBER>>();
    S::subscribe::<_, U, DefaultConfig, DRIVER, NUMBER>(handle, upcall)
}

/// A buffer that is the kernel's to write to, but for moments.
pub struct Lent<S: Syscalls + 'static, const DRIVER: u32, const NUMBER: u32, const LEN: usize> {
    bytes: UnsafeCell<[u8; LEN]>,
    handle: Handle<'static, AllowRw<'static, S, DRIVER, NUMBER>>,
}

impl<S: Syscalls + 'static, const DRIVER: u32, const NUMBER: u32, const LEN: usize>
    Lent<S, DRIVER, NUMBER, LEN>
{
    /// A buffer that the kernel does not have yet. It has to stay where it is: only a `'static` one can be lent.
    pub fn new() -> Self {
        Self { bytes: UnsafeCell::new([0; LEN]), handle: forever() }
    }

    /// Gives it to the kernel with these bytes at its beginning; what does not fit is left out.
    pub fn lend(&'static self, bytes: &[u8]) -> Result<(), ErrorCode> {
        S::unallow_rw(DRIVER, NUMBER);
        // SAFETY: as in `take`; and the exclusive reference that goes to the kernel is used by nobody here until the
        // buffer is taken back. It lives for ever, as the share does.
        let buffer: &'static mut [u8; LEN] = unsafe { &mut *self.bytes.get() };
        let len = bytes.len().min(LEN);
        buffer[..len].copy_from_slice(&bytes[..len]);
        S::allow_rw::<DefaultConfig, DRIVER, NUMBER>(self.handle, buffer)
    }

    /// Takes it back and copies what is in it, as far as `to` has room. Nothing that the kernel gets meanwhile is mixed
    /// in: without a buffer it drops it.
    pub fn take(&'static self, to: &mut [u8]) {
        S::unallow_rw(DRIVER, NUMBER);
        // SAFETY: the kernel has given the buffer back, so it does not write to it. Nothing else holds a reference:
        // none leaves this module, the copy below makes no system call, and the app has one thread.
        let buffer: &[u8; LEN] = unsafe { &*self.bytes.get() };
        let len = to.len().min(LEN);
        to[..len].copy_from_slice(&buffer[..len]);
    }
}

impl<S: Syscalls + 'static, const DRIVER: u32, const NUMBER: u32, const LEN: usize> Default
    for Lent<S, DRIVER, NUMBER, LEN>
{
    fn default() -> Self {
        Self::new()
    }
}
