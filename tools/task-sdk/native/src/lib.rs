//! Tasks as native Tock processes: host interface version 1, made of the executor capsule's system calls.
//!
//! A task's source knows `task_sdk` alone. For a target without an operating system that declares the interface's
//! functions and leaves them open; they are here (`interface`), and [`start!`] makes the process of the task's `main`.
//! So the same file becomes a WebAssembly module and a Tock process, and does the same in both.
//!
//! - Every function is a call for slot 0 of `grants::syscall::SlotCall`; the kernel knows whose slot that is.
//! - What waits is woken by the capsule's news or by the alarm, and always comes back.
//! - The exit code of `main` is the process's completion code. A panic ends it with [`PANICKED`].
//! - Nothing here keeps a task from anything: it is part of the task. What a task may do is the kernel's to say.
//!
//! Weaker than in WebAssembly: functions exported with `task_sdk::check!` are not called; the clock starts at what the
//! alarm's counter, which wraps, shows when the task first asks; `log` waits a moment for room where a module has a
//! buffer of its own.
#![cfg_attr(not(test), no_std)]
// On a host there is no process that would call it; the tests do.
#![cfg_attr(not(target_os = "none"), allow(dead_code))]

mod clock;
mod driver;
mod interface;
mod outgoing;
mod task;
#[cfg(test)]
mod tests;
mod values;

/// Exit code of a task that panicked, as a Rust program on a host has it.
pub const PANICKED: u32 = 101;

/// Makes a process of a `fn() -> i32`. `task_sdk::task!` expands to it.
#[macro_export]
macro_rules! start {
    ($main:path) => {
        // In a block of its own: the name is for the linker, and the task may have another `run`.
        const _: () = {
            #[unsafe(no_mangle)]
            extern "C" fn run() -> i32 {
                $main()
            }
        };
    };
}

#[cfg(target_os = "none")]
#[allow(
    unsafe_code,
    reason = "the process's first and last steps are what libtock's runtime leaves to the program"
)]
mod process {
    use libtock_platform::Syscalls;
    use libtock_runtime::TockSyscalls;

    /// Bytes of stack. It is the lowest of the process's memory, so that what overflows it faults.
    const STACK: usize = 4096;

    // Space without contents: a static would be stored in the image, zero by zero.
    core::arch::global_asm!(
        ".section .stack_buffer,\"aw\",%nobits",
        ".balign 16",
        ".global STACK_MEMORY",
        "STACK_MEMORY:",
        ".space {stack}",
        ".previous",
        stack = const STACK,
    );

    unsafe extern "C" {
        safe fn run() -> i32;
    }

    // The name by which libtock's runtime calls the program.
    #[unsafe(no_mangle)]
    fn libtock_unsafe_main() -> ! {
        let code = run();
        crate::interface::flush();
        TockSyscalls::exit_terminate(code as u32)
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        TockSyscalls::exit_terminate(crate::PANICKED)
    }
}
