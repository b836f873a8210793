//! The app's binary: where the executor's memory is, and what becomes of it when it fails.
//!
//! A panic, and an allocation that the heap can not give where nothing was asked before, ends the process with code 1:
//! the kernel then knows that the tasks of all hosted slots have ended.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod app {
    use core::cell::UnsafeCell;
    use core::mem::MaybeUninit;
    use core::panic::PanicInfo;
    use embedded_alloc::TlsfHeap;
    use libtock_low_level_debug::{AlertCode, LowLevelDebug};
    use libtock_platform::Syscalls;
    use libtock_runtime::{TockSyscalls, set_main, stack_size};
    use tock_wasm::{Config, calibrate};

    /// Bytes of heap, for all tasks: `build.rs`.
    const HEAP_BYTES: usize = number(env!("WASM_HEAP_BYTES"));

    #[global_allocator]
    static HEAP: TlsfHeap = TlsfHeap::empty();

    struct Memory(UnsafeCell<MaybeUninit<[u8; HEAP_BYTES]>>);

    // A Tock process has one thread, and `main` alone takes the address.
    #[allow(unsafe_code)]
    unsafe impl Sync for Memory {}

    static MEMORY: Memory = Memory(UnsafeCell::new(MaybeUninit::uninit()));

    set_main! {main}
    // Measured on riscv32imac, in the kernel: 13,976 bytes with wasmi, of which the app itself takes 1.7 KB; SpaceWasm 7.2 KB
    // without the app. What is below the stack is not the process's: going beyond is a fault, not a corruption.
    #[cfg(feature = "wasmi")]
    stack_size! {0x3e00}
    #[cfg(not(feature = "wasmi"))]
    stack_size! {0x2c00}

    fn main() {
        // Once, before the first allocation, and the memory is used for nothing else.
        #[allow(unsafe_code)]
        unsafe {
            HEAP.init(MEMORY.0.get() as usize, HEAP_BYTES);
        }
        let config = |kernel: &tock_wasm::Kernel<'_, TockSyscalls>| Config {
            fuel_per_ms: calibrate::measure(&kernel.clock),
        };
        if tock_wasm::with(config, |app| app.run()).is_err() {
            LowLevelDebug::<TockSyscalls>::print_alert_code(AlertCode::WrongLocation);
            TockSyscalls::exit_terminate(2);
        }
    }

    #[panic_handler]
    fn panicked(_: &PanicInfo<'_>) -> ! {
        LowLevelDebug::<TockSyscalls>::print_alert_code(AlertCode::Panic);
        TockSyscalls::exit_terminate(1)
    }

    /// The allocator guards itself against interrupts and threads, of which a Tock process has none: upcalls run only
    /// where it yields.
    struct Alone;
    critical_section::set_impl!(Alone);

    #[allow(unsafe_code)]
    unsafe impl critical_section::Impl for Alone {
        unsafe fn acquire() -> critical_section::RawRestoreState {}
        unsafe fn release(_: critical_section::RawRestoreState) {}
    }

    const fn number(text: &str) -> usize {
        let (digits, mut value, mut at) = (text.as_bytes(), 0, 0);
        while at < digits.len() {
            assert!(digits[at].is_ascii_digit(), "build.rs gives a number");
            value = value * 10 + (digits[at] - b'0') as usize;
            at += 1;
        }
        value
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is a Tock app: build it for riscv32imac-unknown-none-elf or thumbv7em-none-eabihf");
    std::process::exit(2);
}
