//! What a panic of the kernel says, and what follows: the machine starts anew.

use crate::PANIC_RESOURCES;
use core::panic::PanicInfo;
use kernel::debug;
use kernel::hil::uart::{Parameters, Parity, StopBits, Width};
use qemu_rv32_virt_chip::uart::{UartPanicWriter, UartPanicWriterConfig};

#[panic_handler]
#[expect(unsafe_code, reason = "nothing else runs any more, so the panic has the serial line to itself")]
fn panic(info: &PanicInfo<'_>) -> ! {
    let params = Parameters {
        baud_rate: 115_200,
        width: Width::Eight,
        parity: Parity::None,
        stop_bits: StopBits::One,
        hw_flow_control: false,
    };
    let config = UartPanicWriterConfig { params };
    // SAFETY: as said above.
    unsafe {
        debug::panic_print::<UartPanicWriter, _, _>(
            config,
            info,
            &rv32i::support::nop,
            PANIC_RESOURCES.get(),
        );
    }
    crate::machine::reset()
}
