//! Links an app or a native task to its place, for build scripts: `LIBTOCK_LINKER_FLASH` and `LIBTOCK_LINKER_RAM`, which
//! `micro image` sets, are the addresses of its flash and of its memory.
//!
//! What there is of either is not checked here: `micro image` compares what is stored and what is taken with the board's map.

use std::path::PathBuf;
use std::{env, fs};

/// What an app keeps of its own at the start of its flash, bytes: the TBF header.
const HEADER: u32 = 0x80;

/// Tells cargo to link the package's programs by this layout. On a host there is nothing to link; clippy and tests come
/// by here.
///
/// # Panics
/// For Tock, if an address is not set, is no number or is not a multiple of 4096, and if the script cannot be written.
pub fn link() {
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let flash = address("LIBTOCK_LINKER_FLASH");
    let memory = address("LIBTOCK_LINKER_RAM");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let layout = format!(
        "IMAGE = {flash:#x};\nMEMORY_START = {memory:#x};\nHEADER = {HEADER:#x};\n{}",
        include_str!("layout.ld")
    );
    let script = out.join("app.ld");
    fs::write(&script, layout).unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    println!("cargo:rustc-link-arg=-T{}", script.display());
    // lld would otherwise round segments to pages of 64 KiB, and put what it finds there before the image.
    println!("cargo:rustc-link-arg=-zmax-page-size=4096");
}

fn address(variable: &str) -> u32 {
    println!("cargo:rerun-if-env-changed={variable}");
    let text = env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: it says where the program is linked to, as 0x80500000")
    });
    let digits =
        text.strip_prefix("0x").unwrap_or_else(|| panic!("{variable}={text}: not a number like 0x80500000"));
    let address =
        u32::from_str_radix(digits, 16).unwrap_or_else(|error| panic!("{variable}={text}: {error}"));
    assert!(address.is_multiple_of(4096), "{variable}={text}: not a multiple of 4096, by which a slot moves");
    address
}
