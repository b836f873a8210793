//! Runs a Tock image under QEMU as a node on the simulated medium.
//!
//! ```text
//!   kernel.elf, apps.bin  --loader-->  machine's memory = a file: what is stored outlives the process
//!   virtio network card   <-- UDP -->  medium (tools/air)
//!   serial line           --------->   a log file
//! ```
//!
//! The emulator is the system's own `qemu-system-riscv32`. It is killed with SIGKILL, as a battery that is pulled out: a
//! machine that starts again on the same memory file finds what its node had stored.

use lowpan::Eui64;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The emulator.
const PROGRAM: &str = "qemu-system-riscv32";
/// The first version with the PMP that the kernel asks for (Smepmp).
pub const VERSION_MIN: (u32, u32) = (8, 2);
/// Memory of the machine.
const MEMORY: &str = "16M";
/// Where apps, and what is stored, are in memory: `boards/qemu_rv32_virt/layout.ld`.
const APPS: u32 = 0x8040_0000;
const STORED: u32 = 0x8060_0000;
/// Where the radio's EUI-64 is: the last 8 bytes of what is stored.
const IDENTITY: u32 = 0x8070_0000 - 8;

/// The files of an image.
pub const KERNEL: &str = "kernel.elf";
/// All apps, one after the other.
pub const APPS_FILE: &str = "apps.bin";

/// Why there is no machine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No emulator.
    #[error("{PROGRAM} does not start ({0}): install it (Debian: qemu-system-misc, version 8.2 or later)")]
    Missing(io::Error),
    /// One that lacks Smepmp.
    #[error("{PROGRAM} is version {0}; 8.2 or later is needed (Debian 12: qemu-system-misc of backports)")]
    Old(String),
    /// No image.
    #[error("{0}: no image: make one with `micro image qemu_rv32_virt --out {1}`")]
    NoImage(PathBuf, PathBuf),
    /// A file of the machine's.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    /// Its socket.
    #[error("no port for the machine's radio: {0}")]
    Port(io::Error),
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory with `kernel.elf` and `apps.bin`.
    pub image: PathBuf,
    /// Directory of the machine's own files: its memory and its log.
    pub state: PathBuf,
    /// Its radio.
    pub eui64: Eui64,
    /// Where the medium listens.
    pub air: SocketAddr,
    /// What the node was provisioned with, as stored before its records.
    pub provision: Vec<u8>,
}

/// A machine that runs; it is killed when dropped.
pub struct Machine {
    child: Child,
    log: PathBuf,
}

/// True if this emulator can run the kernel; an error that says why not otherwise.
pub fn check() -> Result<(), Error> {
    let output = Command::new(PROGRAM).arg("--version").output().map_err(Error::Missing)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().skip_while(|word| *word != "version").nth(1).unwrap_or("unknown");
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if found < VERSION_MIN { Err(Error::Old(version.into())) } else { Ok(()) }
}

/// The emulator with a machine, its serial line at `serial` as QEMU names such places.
pub fn command(config: &Config, serial: &str) -> Result<Command, Error> {
    check()?;
    let (kernel, apps) = (config.image.join(KERNEL), config.image.join(APPS_FILE));
    if !kernel.is_file() || !apps.is_file() {
        return Err(Error::NoImage(config.image.clone(), config.image.clone()));
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| Error::File(path, error)
    };
    fs::create_dir_all(&config.state).map_err(failed(&config.state))?;
    let (memory, provision) = (config.state.join("memory"), config.state.join("provision.bin"));
    fs::write(&provision, &config.provision).map_err(failed(&provision))?;
    // Of the radio's own port nobody has to know: the medium learns it from what comes.
    let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
    let port = port.map_err(Error::Port)?.port();
    let identity = u64::from_be_bytes(config.eui64.0);
    let (host, air) = (config.air.ip(), config.air.port());
    let mut command = Command::new(PROGRAM);
    command
        .args(["-machine", "virt,memory-backend=ram", "-m", MEMORY])
        .arg("-object")
        .arg(format!("memory-backend-file,id=ram,size={MEMORY},mem-path={},share=on", memory.display()))
        .args(["-global", "driver=riscv-cpu,property=smepmp,value=true"])
        .args(["-global", "virtio-mmio.force-legacy=false"])
        .args(["-device", "virtio-rng-device"])
        .arg("-netdev")
        .arg(format!(
            "dgram,id=radio,local.type=inet,local.host=127.0.0.1,local.port={port},\
             remote.type=inet,remote.host={host},remote.port={air}"
        ))
        .args(["-device", "virtio-net-device,netdev=radio"])
        .arg("-bios")
        .arg(&kernel)
        .arg("-device")
        .arg(format!("loader,file={},addr={APPS:#x},force-raw=on", apps.display()))
        .arg("-device")
        .arg(format!("loader,file={},addr={STORED:#x},force-raw=on", provision.display()))
        .arg("-device")
        .arg(format!("loader,addr={IDENTITY:#x},data={identity:#x},data-len=8,data-be=on"))
        .args(["-display", "none", "-monitor", "none", "-serial", serial])
        .stdin(Stdio::null());
    Ok(command)
}

impl Machine {
    /// Starts a machine on what its memory file holds; on nothing if there is none.
    pub fn start(config: &Config) -> Result<Self, Error> {
        let log = config.state.join("serial.log");
        let errors = config.state.join("qemu.log");
        let mut command = command(config, &format!("file:{}", log.display()))?;
        let errors = File::create(&errors).map_err(|error| Error::File(errors, error))?;
        let child = command.stdout(Stdio::null()).stderr(errors).spawn().map_err(Error::Missing)?;
        Ok(Self { child, log })
    }

    /// What its serial line has said since it started.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// True while the emulator runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Pulls its plug.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may be dead already
        let _ = self.child.wait();
    }
}
