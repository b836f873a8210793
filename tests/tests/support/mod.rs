//! A system of real processes on loopback, and a framework that follows one task.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod restarting;
pub mod tock;

pub use framework::is_terminal;
use framework::v1::{self, FrameworkInfo, TaskInfo, TaskState, TaskStatus};
use framework::{Client, Event};
use mesos_proto::{recast, resources::Scalars};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// Bytes of an image after which its transfer is well under way.
const MID_TRANSFER: u64 = 300;
/// Longest wait for anything; what takes longer hangs.
pub const PATIENCE: Duration = Duration::from_secs(90);

pub fn micro() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_micro-under-test"));
    // Masters keep something only where a test says so.
    command.env("MICRO_MASTER_VOLATILE", "true");
    command
}

/// An image of the task SDK.
pub fn image(name: &str) -> String {
    let images = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tools/task-sdk/images");
    images.canonicalize().unwrap().join(format!("{name}.wasm")).display().to_string()
}

/// Gives a node a key.
pub fn commission(node: &str, keys: &std::path::Path, out: &std::path::Path) {
    let mut command = micro();
    command.arg("commission").arg(node).arg("--keys").arg(keys).arg("--out").arg(out).stderr(Stdio::null());
    assert!(command.status().unwrap().success());
}

/// A process, killed with SIGKILL when dropped.
pub struct Process {
    child: Child,
    pub address: Option<SocketAddr>,
}

impl Process {
    /// The same, the arguments in one text.
    pub fn start_with(args: &str) -> Self {
        Self::start(&words(args))
    }

    /// Starts and waits for its first line, which ends with the address it listens at.
    fn start(args: &[String]) -> Self {
        let mut child = micro().args(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "{args:?} ended at once");
        let address = line.trim().rsplit(' ').next().and_then(|word| word.parse().ok());
        Self { child, address }
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Resident memory, bytes.
    pub fn memory(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may be dead already
        let _ = self.child.wait();
    }
}

/// Master, medium, gateway and one node.
pub struct System {
    pub dir: TempDir,
    pub master: SocketAddr,
    pub gateway: SocketAddr,
    pub air: SocketAddr,
    /// What the gateway is told of the master.
    named: String,
    /// The file of its credential.
    pub credential: Option<String>,
    master_process: Process,
    _air: Process,
    gateway_process: Option<Process>,
    node_process: Option<Process>,
    machine: Option<qemu::Machine>,
}

impl System {
    pub fn start(loss: f64, duplicate: f64, delay: f64) -> Self {
        Self::of("master --listen 127.0.0.1:0", None, (loss, duplicate, delay))
    }

    /// On a good radio, with a master that pings so many seconds apart.
    pub fn start_pinging(seconds: u32) -> Self {
        let master = format!("master --listen 127.0.0.1:0 --ping-interval {seconds}");
        Self::of(&master, None, (0.0, 0.0, 0.0))
    }

    /// On a good radio, with a gateway that reads in a file where its master is.
    pub fn start_by_file(file: &std::path::Path) -> Self {
        Self::of("master --listen 127.0.0.1:0", Some(file), (0.0, 0.0, 0.0))
    }

    /// On a good radio, with a master that asks for proof and a gateway that has a credential.
    pub fn start_guarded(credentials: &str, credential: &str) -> Self {
        let master = format!("master --listen 127.0.0.1:0 --authenticate-agents --credentials {credentials}");
        let mut system = Self::of(&master, None, (0.0, 0.0, 0.0));
        system.kill_gateway();
        system.credential = Some(credential.to_owned());
        system.start_gateway();
        system
    }

    fn of(master: &str, named: Option<&std::path::Path>, conditions: (f64, f64, f64)) -> Self {
        let mut system = Self::without_node(master, named, conditions);
        let key = system.dir.path().join("node.key");
        commission("020000000000000a", &system.keys(), &key);
        system.start_node();
        system
    }

    /// The gateway's file of keys.
    fn keys(&self) -> PathBuf {
        self.dir.path().join("gateway/nodes.keys")
    }

    fn without_node(
        master: &str,
        named: Option<&std::path::Path>,
        (loss, duplicate, delay): (f64, f64, f64),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let master = Process::start(&words(master));
        let at = master.address.unwrap();
        if let Some(file) = named {
            std::fs::write(file, at.to_string()).unwrap();
        }
        let conditions = format!("--loss {loss} --duplicate {duplicate} --delay {delay} --seed 11");
        let air = Process::start(&words(&format!("air --listen 127.0.0.1:0 {conditions}")));
        let mut system = Self {
            dir,
            master: at,
            named: named.map_or(at.to_string(), |file| format!("file://{}", file.display())),
            credential: None,
            gateway: ([127, 0, 0, 1], 0).into(),
            air: air.address.unwrap(),
            master_process: master,
            _air: air,
            gateway_process: None,
            node_process: None,
            machine: None,
        };
        system.start_gateway();
        system
    }

    pub fn start_gateway(&mut self) {
        let state = self.dir.path().join("gateway");
        let credential = self.credential.iter().flat_map(|file| ["--credential".to_owned(), file.clone()]);
        let args = words(&format!(
            "gateway --master {} --listen {} --air {} --state {} --poll-mains 1 --ack-timeout 1000",
            self.named,
            self.gateway,
            self.air,
            state.display()
        ));
        let process = Process::start(&args.into_iter().chain(credential).collect::<Vec<_>>());
        self.gateway = process.address.unwrap();
        self.gateway_process = Some(process);
    }

    pub fn signal_master(&self, name: &str) {
        self.master_process.signal(name);
    }

    pub fn signal_gateway(&self, name: &str) {
        self.gateway_process.as_ref().unwrap().signal(name);
    }

    /// Resident memory of the gateway, bytes.
    pub fn gateway_memory(&self) -> u64 {
        self.gateway_process.as_ref().unwrap().memory()
    }

    pub fn kill_gateway(&mut self) {
        self.gateway_process.take().unwrap().kill();
    }

    pub fn start_node(&mut self) {
        let state = self.dir.path().join("node");
        // Blocks of 16 bytes make a transfer long enough to be interrupted.
        self.node_process = Some(Process::start(&words(&format!(
            "node --air {} --state {} --key {} --board test,cpu=1,mem=128K,flash=256K,sensors=1,leds=1 --block-szx 0 --ack-timeout 1000",
            self.air,
            state.display(),
            self.dir.path().join("node.key").display()
        ))));
    }

    pub fn kill_node(&mut self) {
        self.node_process.take().unwrap().kill();
    }

    /// The gateway's document at `path`.
    pub fn ask(&self, path: &str) -> Option<Value> {
        let mut response = ureq::get(format!("http://{}{path}", self.gateway)).call().ok()?;
        serde_json::from_str(&response.body_mut().read_to_string().ok()?).ok()
    }

    /// The one node as the gateway sees it.
    pub fn node(&self) -> Option<Value> {
        self.ask("/nodes")?["nodes"].get(0).cloned()
    }

    /// Bytes that the node has said to have of a task's image, and their total.
    pub fn received(&self, task: &str) -> Option<(u64, u64)> {
        let node = self.node()?;
        let task = node["tasks"].as_array()?.iter().find(|held| held["task_id"] == task)?;
        Some((task["received_bytes"].as_u64()?, task["total_bytes"].as_u64()?))
    }

    /// Waits until a good part of a task's image is at the node.
    pub async fn in_mid_transfer(&self, task: &str) -> u64 {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "no transfer of {task} was seen");
            match self.received(task) {
                Some((got, total)) if got > MID_TRANSFER && got < total => return got,
                Some((got, total)) => assert!(got < total || total == 0, "the transfer was over too soon"),
                None => {}
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// `micro run` against this system.
    pub fn run(&self, args: &[&str]) -> Output {
        micro().arg("run").args(["--master", &self.master.to_string()]).args(args).output().unwrap()
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// A framework with one task.
pub struct Follower {
    pub client: Client,
    events: mpsc::Receiver<Event>,
    pub task: String,
    pub agent: v1::AgentId,
    pub messages: Vec<String>,
}

impl Follower {
    /// Subscribes, launches the image as soon as an offer fits, and comes back when it was accepted.
    pub async fn launch(system: &System, name: &str, args: &[&str], amounts: &[(&str, f64)]) -> Self {
        Self::launch_with(system, name, args, amounts, |_| {}).await
    }

    /// The same with something more in the task.
    pub async fn launch_with(
        system: &System,
        name: &str,
        args: &[&str],
        amounts: &[(&str, f64)],
        change: impl Fn(&mut TaskInfo),
    ) -> Self {
        Self::launch_at(system.master, name, args, amounts, change).await
    }

    /// The same at any master.
    pub async fn launch_at(
        master: SocketAddr,
        name: &str,
        args: &[&str],
        amounts: &[(&str, f64)],
        change: impl Fn(&mut TaskInfo),
    ) -> Self {
        Self::launch_image(master, name, &image(name), args, amounts, change).await
    }

    /// The same with any image.
    pub async fn launch_image(
        master: SocketAddr,
        name: &str,
        uri: &str,
        args: &[&str],
        amounts: &[(&str, f64)],
        change: impl Fn(&mut TaskInfo),
    ) -> Self {
        let info = FrameworkInfo {
            user: "test".into(),
            name: "test".into(),
            roles: vec!["test".into()],
            checkpoint: Some(true),
            failover_timeout: Some(3600.0),
            capabilities: [6, 5].map(|kind| v1::framework_info::Capability { r#type: Some(kind) }).into(),
            ..Default::default()
        };
        let (client, events) = Client::subscribe(master, info).await.unwrap();
        let mut follower =
            Self { client, events, task: name.to_owned(), agent: Default::default(), messages: Vec::new() };
        let needs = Scalars::from_amounts(amounts.iter().copied());
        let begun = Instant::now();
        loop {
            let event = follower.event().await;
            let Some(offer) = event.offers.and_then(|offers| offers.offers.into_iter().next()) else {
                continue;
            };
            let resources: Vec<_> = offer.resources.iter().map(|held| recast(held).unwrap()).collect();
            if !Scalars::of(&resources).contains(&needs) {
                // What another task has just given back may be in the next one.
                follower.client.decline(std::slice::from_ref(&offer), 0.1).await.unwrap();
                assert!(begun.elapsed() < PATIENCE, "the node offers too little");
                continue;
            }
            let mut task = TaskInfo {
                name: name.to_owned(),
                task_id: v1::TaskId { value: name.to_owned() },
                agent_id: offer.agent_id.clone(),
                resources: needs.to_resources(None).iter().map(|held| recast(held).unwrap()).collect(),
                command: Some(v1::CommandInfo {
                    uris: vec![v1::command_info::Uri { value: uri.to_owned(), ..Default::default() }],
                    shell: Some(false),
                    arguments: args.iter().map(|arg| arg.to_string()).collect(),
                    ..Default::default()
                }),
                ..Default::default()
            };
            change(&mut task);
            follower.agent = offer.agent_id.clone();
            follower.client.launch(&offer, vec![task]).await.unwrap();
            follower.client.suppress().await.unwrap();
            return follower;
        }
    }

    async fn event(&mut self) -> Event {
        let begun = Instant::now();
        let event = loop {
            let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
            let event = event.expect("nothing happens").expect("the subscription ended");
            // A heartbeat is no news.
            if event.offers.is_some() || event.update.is_some() || event.message.is_some() {
                break event;
            }
            assert!(begun.elapsed() < PATIENCE, "nothing but heartbeats");
        };
        if let Some(message) = &event.message {
            self.messages.push(String::from_utf8_lossy(&message.data).into_owned());
        }
        event
    }

    /// The next status, not acknowledged.
    pub async fn status(&mut self) -> TaskStatus {
        loop {
            if let Some(update) = self.event().await.update {
                return update.status;
            }
        }
    }

    /// Acknowledges everything until the task runs.
    pub async fn until_running(&mut self) {
        loop {
            let status = self.status().await;
            self.client.acknowledge(&status).await.unwrap();
            if status.state() == TaskState::TaskRunning {
                return;
            }
            assert!(!is_terminal(status.state()), "{status:?}");
        }
    }

    /// Waits for a message of the task.
    pub async fn until_message(&mut self, text: &str) {
        while !self.messages.iter().any(|message| message == text) {
            self.event().await;
        }
    }

    /// Sends to the task.
    pub async fn message(&self, data: &[u8]) {
        self.client.message(&self.agent, &self.task, data).await.unwrap();
    }

    /// Asks for the task's end.
    pub async fn kill(&self) {
        self.client.kill(&self.task).await.unwrap();
    }

    /// Acknowledges everything to the end; gives the statuses, each UUID once. Nothing may follow but the same again.
    pub async fn until_the_end(&mut self) -> Vec<TaskStatus> {
        let statuses = self.until_the_end_at_once().await;
        let after = tokio::time::timeout(Duration::from_secs(2), self.status()).await;
        if let Ok(status) = after {
            assert!(statuses.iter().any(|held| held.uuid == status.uuid), "after the end comes {status:?}");
        }
        statuses
    }

    /// The same without waiting for what may follow.
    pub async fn until_the_end_at_once(&mut self) -> Vec<TaskStatus> {
        let mut statuses: Vec<TaskStatus> = Vec::new();
        loop {
            let status = self.status().await;
            // The call may meet a gateway that is down; the update then comes again.
            self.client.acknowledge(&status).await.unwrap();
            if statuses.iter().all(|held| held.uuid != status.uuid) {
                statuses.push(status);
            }
            if statuses.last().is_some_and(|last| is_terminal(last.state())) {
                return statuses;
            }
        }
    }
}

pub fn states(statuses: &[TaskStatus]) -> Vec<TaskState> {
    statuses.iter().map(TaskStatus::state).collect()
}

/// What a plain task needs.
pub const PLAIN: &[(&str, f64)] = &[("cpus", 0.2), ("mem", 0.016)];
/// What a task with a sensor needs.
pub const WITH_SENSOR: &[(&str, f64)] = &[("cpus", 0.2), ("mem", 0.016), ("sensors", 1.0)];
