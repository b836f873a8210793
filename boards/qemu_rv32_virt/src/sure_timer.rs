//! The scheduler's timer, so that a process cannot outrun it.
//!
//! At the pinned revision of Tock, a timer interrupt that comes in the kernel's own mode is noted and switched off (MTIE) until
//! the kernel's loop looks for it (`arch/rv32i/src/lib.rs`, `chips/qemu_rv32_virt_chip/src/chip.rs`). If it comes after the
//! loop has looked and before the process runs, nobody switches it on again while the process runs: one that never makes a
//! system call then has the core for ever, whatever its timeslice. Seen with a spinning task under QEMU, once in some
//! thousand timeslices.
//!
//! Between arming and the process no interrupt is taken here. One that is pending then comes as soon as the process runs:
//! in user mode they are taken whatever this switch says (Privileged ISA §3.1.6.1).

use crate::SchedulerTimerHw;
use core::num::NonZeroU32;
use kernel::platform::scheduler_timer::SchedulerTimer;
use kernel::utilities::registers::interfaces::ReadWriteable;
use rv32i::csr::{CSR, mie::mie, mstatus::mstatus};

/// Tock's virtual scheduler timer, armed without a gap.
pub struct SureTimer(pub &'static SchedulerTimerHw);

impl SchedulerTimer for SureTimer {
    fn start(&self, us: NonZeroU32) {
        self.0.start(us);
    }

    fn reset(&self) {
        self.0.reset();
    }

    fn arm(&self) {
        self.0.arm();
        CSR.mstatus.modify(mstatus::mie::CLEAR);
        CSR.mie.modify(mie::mtimer::SET);
    }

    fn disarm(&self) {
        self.0.disarm();
        CSR.mstatus.modify(mstatus::mie::SET);
    }

    fn get_remaining_us(&self) -> Option<NonZeroU32> {
        self.0.get_remaining_us()
    }
}
