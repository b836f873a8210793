//! A small cluster of real processes on loopback: master, medium, gateway, one node.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest wait for anything; what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(90);
/// The node.
pub const NODE: &str = "020000000000000a";

/// The command, with nothing in its environment that would change what it does.
pub fn micro() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_micro"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MICRO_") {
            command.env_remove(name);
        }
    }
    command.env("MICRO_MASTER_VOLATILE", "true").env_remove("COLUMNS").env_remove("NO_COLOR");
    command
}

/// What the command prints and ends with; arguments in one text.
pub fn ask(args: &str) -> Output {
    micro().args(args.split_whitespace()).stdin(Stdio::null()).output().unwrap()
}

/// A process, killed when dropped.
pub struct Process(Child);

impl Process {
    /// Starts it; gives what its first line ends with.
    pub fn start(args: &str) -> (Self, String) {
        let mut child = micro()
            .args(args.split_whitespace())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "micro {args} ended at once");
        let last = line.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        (Self(child), last)
    }

    /// Starts a server; gives the address that it listens at.
    pub fn serve(args: &str) -> (Self, SocketAddr) {
        let (process, last) = Self::start(args);
        (process, last.parse().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may be dead already
        let _ = self.0.wait();
    }
}

/// The cluster.
pub struct Cluster {
    pub master: SocketAddr,
    pub gateway: SocketAddr,
    processes: Vec<Process>,
    dir: TempDir,
}

impl Cluster {
    /// Starts it, and waits until the node is registered.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (master_process, master) = Process::serve("master --listen 127.0.0.1:0");
        let (air_process, air) = Process::serve("air --listen 127.0.0.1:0");
        let state = dir.path().join("gateway");
        let key = dir.path().join("node.key");
        let keys = state.join("nodes.keys");
        let given = ask(&format!("commission {NODE} --keys {} --out {}", keys.display(), key.display()));
        assert!(given.status.success(), "{given:?}");
        let (gateway_process, gateway) = Process::serve(&format!(
            "gateway --master {master} --listen 127.0.0.1:0 --air {air} --state {} --poll-mains 1 --ack-timeout 1000",
            state.display()
        ));
        let (node_process, _) = Process::start(&format!(
            "node --air {air} --state {} --key {} --board test,cpu=1,mem=128K,flash=256K,leds=1 --ack-timeout 1000",
            dir.path().join("node").display(),
            key.display()
        ));
        let processes = vec![master_process, air_process, gateway_process, node_process];
        let cluster = Self { master, gateway, processes, dir };
        let begun = Instant::now();
        while cluster.fleet()["summary"]["live"] != 1 || cluster.fleet()["summary"]["registered"] != 1 {
            assert!(begun.elapsed() < PATIENCE, "the node never registers: {}", cluster.fleet());
            std::thread::sleep(Duration::from_millis(50));
        }
        cluster
    }

    /// What the gateway knows of its nodes, as the command prints it.
    pub fn fleet(&self) -> serde_json::Value {
        let output = ask(&format!("top --json --gateway {}", self.gateway));
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// An image of the task SDK.
pub fn image(name: &str) -> PathBuf {
    let images = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../task-sdk/images");
    images.canonicalize().unwrap().join(format!("{name}.wasm"))
}
