//! Compiles the `.proto` files with `protox`, so that no `protoc` is needed, and makes the v1 API's types from the
//! v0 ones: Mesos' two sets differ in the package and in saying "agent" for "slave", and in nothing else that is
//! used here.

use prost::Message as _;
use std::{env, fs, io::Error, path::PathBuf};

/// All that is in `protos`; `v1.proto` is made below.
const FILES: [&str; 9] = [
    "allocator.proto",
    "driver.proto",
    "executor.proto",
    "internal.proto",
    "maintenance.proto",
    "master.proto",
    "mesos.proto",
    "quota.proto",
    "scheduler.proto",
];

fn main() -> Result<(), Error> {
    println!("cargo::rerun-if-changed=protos");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| Error::other("no OUT_DIR"))?);
    let protos = out.join("protos");
    fs::create_dir_all(&protos)?;
    for file in FILES {
        fs::copy(format!("protos/{file}"), protos.join(file))?;
    }
    let v1 = fs::read_to_string("protos/mesos.proto")?
        .replace("package mesos;", "package mesos.v1;")
        .replace("SLAVE", "AGENT")
        .replace("Slave", "Agent")
        .replace("slave", "agent");
    fs::write(protos.join("v1.proto"), v1)?;

    let descriptors = protox::compile(FILES.iter().chain(&["v1.proto"]), [&protos])
        .map_err(|error| Error::other(format!("{error:?}")))?;
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let mut config = prost_build::Config::new();
    config.enable_type_names().include_file("all.rs");
    config.compile_fds(descriptors)
}
