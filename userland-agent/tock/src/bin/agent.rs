//! The agent's entry: heap, stack, and what becomes of a panic. Everything else is in the library.
//!
//! On any other target than Tock's it is an empty program, so that the workspace builds there.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod app {
    //! Unsafe code here: the heap's memory and `GlobalAlloc`, both for one thread that nothing interrupts.
    #![allow(unsafe_code)]

    use agent_tock::clock::Clock;
    use agent_tock::node::Node;
    use core::alloc::{GlobalAlloc, Layout};
    use core::cell::{Cell, UnsafeCell};
    use core::mem::MaybeUninit;
    use core::panic::PanicInfo;
    use core::ptr::{NonNull, null_mut};
    use libtock_platform::Syscalls;
    use libtock_runtime::{TockSyscalls, set_main, stack_size};
    use rlsf::Tlsf;

    /// Bytes of the stack: the deepest chain of calls takes 8.3 KB, at the start, and an upcall on top of it 0.7.
    const STACK: usize = 0x2800;
    /// Bytes of the heap: see `tests/heap.rs`.
    const HEAP: usize = 0x3600;

    /// Pause before a node that could not start tries again, milliseconds: the agent goes before everybody else, so that
    /// nothing else would run, and the core would never sleep.
    const AGAIN_MS: u64 = 5_000;

    set_main! {main}
    stack_size! {STACK}

    fn main() {
        if let Ok(mut node) = Node::<TockSyscalls>::start() {
            node.run();
        }
        if let Ok(clock) = Clock::<TockSyscalls>::open() {
            clock.wait(AGAIN_MS, || false);
        }
        // What is missing may be there after a restart: the kernel's other parts, or provisioning.
        TockSyscalls::exit_restart(2)
    }

    /// A task's or a peer's doing never comes here; should a defect, the agent starts again on what it has kept, and the
    /// node stays alive.
    #[panic_handler]
    fn panic(_: &PanicInfo<'_>) -> ! {
        TockSyscalls::exit_restart(1)
    }

    /// Blocks of up to 16 KiB in classes of eight: few enough that the lists take 340 bytes.
    type Blocks = Tlsf<'static, u16, u8, 10, 8>;

    struct Heap {
        blocks: UnsafeCell<Blocks>,
        memory: UnsafeCell<MaybeUninit<[u8; HEAP]>>,
        /// The memory was put into the lists.
        filled: Cell<bool>,
    }

    #[global_allocator]
    static HEAP_OF_APP: Heap = Heap {
        blocks: UnsafeCell::new(Blocks::new()),
        memory: UnsafeCell::new(MaybeUninit::uninit()),
        filled: Cell::new(false),
    };

    // SAFETY: a Tock app has one thread, and its upcalls are called only where it yields, which the heap never does.
    unsafe impl Sync for Heap {}

    impl Heap {
        /// Works on the lists, with the memory put into them before.
        fn with<R>(&self, work: impl FnOnce(&mut Blocks) -> R) -> R {
            // SAFETY: as above, and `work` calls the lists' own functions only: no other reference is in use.
            let blocks = unsafe { &mut *self.blocks.get() };
            if !self.filled.replace(true)
                && let Some(memory) = NonNull::new(self.memory.get().cast::<u8>())
            {
                // SAFETY: the memory is this heap's alone, lives for ever, and is put in once.
                unsafe { blocks.insert_free_block_ptr(NonNull::slice_from_raw_parts(memory, HEAP)) };
            }
            work(blocks)
        }
    }

    // SAFETY: the blocks come from `Tlsf`, which keeps what `GlobalAlloc` asks for.
    unsafe impl GlobalAlloc for Heap {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            self.with(|blocks| blocks.allocate(layout)).map_or(null_mut(), NonNull::as_ptr)
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            if let Some(block) = NonNull::new(block) {
                // SAFETY: the caller gives a block of this heap, with the layout that it was asked for.
                self.with(|blocks| unsafe { blocks.deallocate(block, layout.align()) });
            }
        }
    }
}

#[cfg(not(target_os = "none"))]
fn main() {}
