//! What is soldered to which pin of the kit (PCA10056).

use nrf52840::gpio::Pin;

/// LEDs 1 to 4; each shines while its pin is low.
pub const LEDS: [Pin; 4] = [Pin::P0_13, Pin::P0_14, Pin::P0_15, Pin::P0_16];
/// The reset button.
pub const RESET: Pin = Pin::P0_18;
/// The serial line to the debugger chip, which shows it on USB.
pub const UART_TXD: Pin = Pin::P0_06;
/// As above.
pub const UART_RXD: Pin = Pin::P0_08;
/// As above.
pub const UART_CTS: Pin = Pin::P0_07;
/// As above.
pub const UART_RTS: Pin = Pin::P0_05;
