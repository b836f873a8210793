//! Links the app to where the image tool puts it; builds for the host need no place.

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTOCK_LINKER_FLASH");
    let target = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if target == "none" && std::env::var_os("LIBTOCK_LINKER_FLASH").is_some() {
        libtock_build_scripts::auto_layout();
    }
}
