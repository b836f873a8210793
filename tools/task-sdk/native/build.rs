//! Where an image is linked to: `LIBTOCK_LINKER_FLASH` and `LIBTOCK_LINKER_RAM`, which `micro image` sets.

use std::path::PathBuf;
use std::{env, fs};

/// What a slot keeps of its own at its start, bytes: the TBF header.
const HEADER: u32 = 0x80;

fn main() {
    println!("cargo:rerun-if-changed=layout.ld");
    // On a host there is nothing to link; clippy and tests come by here.
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
    let script = out.join("task.ld");
    fs::write(&script, layout).unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    println!("cargo:rustc-link-arg=-T{}", script.display());
    // lld would otherwise round segments to pages of 64 KiB, and put what it finds there before the image.
    println!("cargo:rustc-link-arg=-zmax-page-size=4096");
}

fn address(variable: &str) -> u32 {
    println!("cargo:rerun-if-env-changed={variable}");
    let text = env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: it says where the task is linked to, as 0x80500000")
    });
    let digits =
        text.strip_prefix("0x").unwrap_or_else(|| panic!("{variable}={text}: not a number like 0x80500000"));
    let address =
        u32::from_str_radix(digits, 16).unwrap_or_else(|error| panic!("{variable}={text}: {error}"));
    assert!(address.is_multiple_of(4096), "{variable}={text}: not a multiple of 4096, by which a slot moves");
    address
}
