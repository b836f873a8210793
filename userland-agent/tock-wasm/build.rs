//! Where the app is linked to, and how much heap it has: all of the memory that it is given and does not need itself.
//!
//! `LIBTOCK_LINKER_FLASH` and `LIBTOCK_LINKER_RAM` are addresses; their `_LENGTH` is what there is. `WASM_HEAP_KIB` gives the
//! heap another size.

use std::env::var;

/// What is not heap, bytes: the stack (`src/main.rs`), the allocator's lists, and what is lost to alignment.
const OWN: usize = 5 << 10;
const STACK: usize = 0x3e00;
/// What is reckoned with if nobody says.
const RAM_LENGTH: &str = "46K";

fn main() {
    for name in ["WASM_HEAP_KIB", "LIBTOCK_LINKER_FLASH", "LIBTOCK_LINKER_RAM_LENGTH"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let heap = match var("WASM_HEAP_KIB") {
        Ok(kib) => number(&kib) << 10,
        Err(_) => {
            let ram = var("LIBTOCK_LINKER_RAM_LENGTH").unwrap_or_else(|_| RAM_LENGTH.into());
            number(&ram).saturating_sub(OWN + STACK) & !15
        }
    };
    println!("cargo:rustc-env=WASM_HEAP_BYTES={heap}");
    // Without an address there is nothing to place: the library is checked and tested so.
    if var("LIBTOCK_LINKER_FLASH").is_ok() {
        app_layout::link();
    }
}

/// A number as linkers take it: `0x2000`, `8192` or `8K`.
fn number(text: &str) -> usize {
    let (digits, unit) = match text.strip_suffix(['K', 'k']) {
        Some(digits) => (digits, 1 << 10),
        None => (text, 1),
    };
    let number = match digits.strip_prefix("0x") {
        Some(digits) => usize::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    number.unwrap_or_else(|error| panic!("{text}: {error}")) * unit
}
