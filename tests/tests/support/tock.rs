//! A node with a Tock kernel under QEMU in place of a Linux process.

use super::{System, commission, micro};
use std::path::PathBuf;
use std::process::Stdio;

/// The machine's radio.
pub const TOCK_EUI64: &str = "020000000000000b";

/// Directory with the image for QEMU.
fn tock_image() -> PathBuf {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/tock/qemu_rv32_virt");
    std::env::var_os("MICRO_TOCK_IMAGE").map_or(beside, PathBuf::from)
}

/// A native task's image.
pub fn native(name: &str) -> String {
    tock_image().join("tasks").join(format!("{name}.tbf")).display().to_string()
}

impl System {
    /// Master, medium and gateway, and a node with a Tock kernel under QEMU: `None`, with the reason on standard error, where
    /// there is no image or no emulator.
    pub fn start_tock(conditions: (f64, f64, f64)) -> Option<Self> {
        Self::start_tock_believing(conditions, None)
    }

    /// The same with a node that believes only the publisher with the key in a file.
    pub fn start_tock_believing(
        conditions: (f64, f64, f64),
        publisher: Option<&std::path::Path>,
    ) -> Option<Self> {
        let image = tock_image();
        if !image.join(qemu::APPS_FILE).is_file() {
            eprintln!("SKIPPED: no image in {}: micro image qemu_rv32_virt", image.display());
            return None;
        }
        if let Err(error) = qemu::check() {
            eprintln!("SKIPPED: {error}");
            return None;
        }
        let mut system = Self::without_node("master --listen 127.0.0.1:0", None, conditions);
        system.start_machine(publisher);
        Some(system)
    }

    /// Starts the machine on what it had stored; one that is new, as one that believes only this publisher.
    pub fn start_machine(&mut self, publisher: Option<&std::path::Path>) {
        let (key, blob) = (self.dir.path().join("tock.key"), self.dir.path().join("tock.bin"));
        if !blob.exists() {
            commission(TOCK_EUI64, &self.keys(), &key);
            let mut provision = micro();
            provision
                .args(["provision", "--board", "qemu_rv32_virt"])
                .arg("--key")
                .arg(&key)
                .arg("--out")
                .arg(&blob)
                .stderr(Stdio::null());
            if let Some(publisher) = publisher {
                provision.arg("--publisher").arg(publisher);
            }
            assert!(provision.status().unwrap().success());
        }
        self.machine = Some(
            qemu::Machine::start(&qemu::Config {
                image: tock_image(),
                state: self.dir.path().join("machine"),
                eui64: TOCK_EUI64.parse().unwrap(),
                air: self.air,
                provision: std::fs::read(&blob).unwrap(),
            })
            .unwrap(),
        );
    }

    /// Pulls the machine's plug.
    pub fn kill_machine(&mut self) {
        drop(self.machine.take());
    }

    /// What the machine's serial line has said since it started.
    pub fn serial(&self) -> String {
        self.machine.as_ref().map(qemu::Machine::log).unwrap_or_default()
    }
}
