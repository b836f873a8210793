//! Links the app to where the image tool puts it. Without a place, the library is only checked.

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTOCK_LINKER_FLASH");
    if std::env::var_os("LIBTOCK_LINKER_FLASH").is_some() {
        app_layout::link();
    }
}
