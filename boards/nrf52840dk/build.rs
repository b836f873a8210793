//! Links the kernel where the machine has its memory.

fn main() {
    // The kernel is only linked for the machine itself: on the host there is nothing to place.
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        tock_build_scripts::default_linker_script();
    }
}
