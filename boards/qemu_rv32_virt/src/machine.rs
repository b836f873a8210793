//! The machine's own switch: QEMU's copy of SiFive's test device (`hw/misc/sifive_test.c`).

use kernel::utilities::StaticRef;
use kernel::utilities::registers::interfaces::Writeable;
use kernel::utilities::registers::{WriteOnly, register_bitfields, register_structs};

register_structs! {
    /// Its one register.
    TestRegisters {
        (0x0 => finish: WriteOnly<u32, Finish::Register>),
        (0x4 => @END),
    }
}

register_bitfields! [u32,
    Finish [
        /// What the machine is to do.
        Status OFFSET(0) NUMBITS(16) [
            Reset = 0x7777,
        ],
    ]
];

#[expect(unsafe_code, reason = "the device is there on every virt machine, and nobody else uses it")]
// SAFETY: as said above; the address is that of `VIRT_TEST` in QEMU's `hw/riscv/virt.c`.
const TEST: StaticRef<TestRegisters> = unsafe { StaticRef::new(core::ptr::without_provenance(0x10_0000)) };

/// Starts the machine anew, its memory as it is.
pub fn reset() -> ! {
    TEST.finish.write(Finish::Status::Reset);
    loop {
        core::hint::spin_loop();
    }
}
