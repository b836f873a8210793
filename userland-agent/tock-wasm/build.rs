//! Where the app is linked to: `LIBTOCK_LINKER_FLASH` and `LIBTOCK_LINKER_RAM` say it, and their `_LENGTH`.

fn main() {
    println!("cargo:rerun-if-env-changed=WASM_HEAP_KIB");
    // On a host there is nothing to place: the library's tests run there.
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        libtock_build_scripts::auto_layout();
    }
}
