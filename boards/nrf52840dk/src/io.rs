//! What a panic of the kernel says, and what follows: the chip starts anew.

use crate::{PANIC_RESOURCES, pins};
use core::panic::PanicInfo;
use kernel::debug;
use kernel::hil::uart::{Parameters, Parity, StopBits, Width};
use nrf52840::uart::{UartPanicWriterConfig, Uarte};

#[panic_handler]
#[expect(unsafe_code, reason = "nothing else runs any more, so the panic has the serial line to itself")]
fn panic(info: &PanicInfo<'_>) -> ! {
    let config = UartPanicWriterConfig {
        params: Parameters {
            baud_rate: crate::BAUD,
            width: Width::Eight,
            parity: Parity::None,
            stop_bits: StopBits::One,
            hw_flow_control: false,
        },
        txd: pins::UART_TXD,
        rxd: pins::UART_RXD,
        cts: Some(pins::UART_CTS),
        rts: Some(pins::UART_RTS),
    };
    // SAFETY: as said above.
    unsafe {
        debug::panic_print::<Uarte<'static>, _, _>(
            config,
            info,
            &cortexm4f::support::nop,
            PANIC_RESOURCES.get(),
        );
    }
    cortexm4f::support::reset()
}
