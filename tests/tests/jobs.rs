//! Jobs of the embedded master with real processes: a gateway with three nodes of different kinds, constraints, priorities,
//! periodic runs, and a master that is killed in the middle of it all, or at every commit.

mod support;

use serde_json::Value;
use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use support::restarting::{Restarting, every_commit, free_tcp_port};
use support::{PATIENCE, Process, image, micro};
use tempfile::TempDir;

/// Sensors, and the rack that the operator says it is in.
const NODES: [(u8, u8, &str); 3] = [(1, 1, "a"), (2, 0, "b"), (3, 1, "b")];

struct Cluster {
    dir: TempDir,
    master: SocketAddr,
    gateway: SocketAddr,
    master_process: Option<Process>,
    _others: Vec<Process>,
}

impl Cluster {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // It is started again at the same address.
        let master = free_tcp_port();
        let mut cluster = Self { dir, master, gateway: master, master_process: None, _others: Vec::new() };
        cluster.start_master();
        let path = |name: &str| cluster.dir.path().join(name).display().to_string();
        let racks: String = NODES
            .iter()
            .map(|(number, _, rack)| {
                format!("[node.02000000000000a{number}]\nattributes = \"rack:{rack}\"\n")
            })
            .collect();
        std::fs::write(path("nodes.toml"), racks).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let gateway = Process::start_with(&format!(
            "gateway --master {master} --listen 127.0.0.1:0 --udp {udp} --insecure --state {} --nodes {} \
             --poll-mains 1 --ack-timeout 1000",
            path("gateway"),
            path("nodes.toml")
        ));
        cluster.gateway = gateway.address.unwrap();
        cluster._others.push(gateway);
        for (number, sensors, _) in NODES {
            let node = Process::start_with(&format!(
                "node --gateway {udp} --insecure --eui64 02000000000000a{number} --state {} --ack-timeout 1000 \
                 --board test,cpu=1,mem=128K,flash=256K,sensors={sensors},leds=1 --block-szx 6",
                path(&format!("node{number}"))
            ));
            cluster._others.push(node);
        }
        cluster
    }

    fn start_master(&mut self) {
        let state = self.dir.path().join("master");
        let args = format!("master --listen {} --state {} --ping-interval 1", self.master, state.display());
        self.master_process = Some(Process::start_with(&args));
    }

    /// `micro job`: its exit status and what it says.
    fn job(&self, args: &[&str]) -> (i32, String) {
        let mut command = micro();
        let (verb, rest) = args.split_first().unwrap();
        command.args(["job", verb, "--master", &self.master.to_string()]).args(rest);
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
    }

    fn submit(&self, name: &str, args: &[&str]) {
        let (code, said) = self.job(&[&["run", &image(name)], args].concat());
        assert_eq!(code, 0, "{args:?}: {said}");
    }

    fn show(&self, id: &str) -> Value {
        let mut command = micro();
        command.args(["job", "show", id, "--json", "--master", &self.master.to_string()]);
        serde_json::from_slice(&command.output().unwrap().stdout).unwrap_or_default()
    }

    /// Waits until a job is as wanted.
    fn until(&self, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let job = self.show(id);
            if wanted(&job) {
                return job;
            }
            assert!(begun.elapsed() < PATIENCE, "{id} is never {what}: {job:#}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn until_running(&self, id: &str, instances: u64) -> Value {
        self.until(id, "running", |job| job["running"] == instances)
    }

    /// Tasks that the nodes themselves run, with the nodes they are on.
    fn on_nodes(&self) -> BTreeSet<(String, String)> {
        let mut response = ureq::get(format!("http://{}/nodes", self.gateway)).call().unwrap();
        let nodes: Value = serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap();
        let tasks = nodes["nodes"].as_array().unwrap().iter().flat_map(|node| {
            let name = node["node"].as_str().unwrap().to_owned();
            let tasks = node["tasks"].as_array().cloned().unwrap_or_default();
            tasks.into_iter().map(move |task| (task["task_id"].as_str().unwrap().to_owned(), name.clone()))
        });
        tasks.collect()
    }
}

/// The nodes that a job's instances are on, by the last digit of their names.
fn places(job: &Value) -> Vec<char> {
    let instances = job["instances"].as_array().unwrap();
    let hostnames = instances.iter().filter_map(|held| held["hostname"].as_str());
    let mut places: Vec<char> = hostnames.map(|name| name.chars().nth(15).unwrap()).collect();
    places.sort();
    places
}

fn tasks(job: &Value) -> BTreeSet<String> {
    let instances = job["instances"].as_array().unwrap();
    instances.iter().filter_map(|held| held["task_id"].as_str().map(str::to_owned)).collect()
}

#[test]
fn jobs_go_where_they_may_and_outlive_their_master() {
    let mut cluster = Cluster::start();
    // What becomes of a job is in the exit status.
    let hello = image("hello");
    let (code, said) = cluster.job(&["run", &hello, "--id", "good", "--wait", "--", "exit=0"]);
    assert_eq!(code, 0, "{said}");
    let bad =
        ["run", &hello, "--id", "bad", "--restart", "on-failure", "--retries", "1", "--backoff", "100ms"];
    let (code, said) = cluster.job(&[&bad[..], &["--wait", "--", "exit=9"]].concat());
    assert!(code == 3 && said.contains("exited with status 9"), "{code}: {said}");
    assert_eq!(cluster.show("bad")["history"]["tasks"].as_array().unwrap().len(), 2);
    let (code, said) = cluster.job(&["show", "nobody"]);
    assert!(code == 4 && said.contains("micro job list"), "{code}: {said}");
    let (code, said) = cluster.job(&["run", &hello, "-c", "floor<high"]);
    assert!(code == 2 && said.contains("constraints[0]"), "{code}: {said}");
    let (code, said) = cluster.job(&["run", &hello, "--id", "good"]);
    assert!(code == 1 && said.contains("--purge"), "{code}: {said}");

    // Constraints.
    cluster
        .submit("spin", &["--id", "pair", "--instances", "2", "-c", "on=temp-sensor", "-c", "unique=node"]);
    cluster.submit("spin", &["--id", "blind", "-c", "rack=b", "-c", "on!=temp-sensor"]);
    cluster.submit("spin", &["--id", "even", "--instances", "2", "-c", "group-by=rack:2"]);
    cluster.submit("spin", &["--id", "nowhere", "-c", "on=camera"]);
    let pair = cluster.until_running("pair", 2);
    assert_eq!(places(&pair), ['1', '3']);
    assert_eq!(places(&cluster.until_running("blind", 1)), ['2']);
    let even = places(&cluster.until_running("even", 2));
    assert!(even.contains(&'1'), "one in either rack: {even:?}");
    let nowhere = cluster.until("nowhere", "placing", |job| job["state"] == "placing");
    assert!(nowhere["why"]["text"].as_str().unwrap().contains("fail on=camera"), "{nowhere:#}");

    // Priorities: what is free goes to the higher one, whoever asked first.
    let alone = |id: &str, priority: &str| {
        let args = ["--id", id, "-c", "rack=a", "--cpus", "0.5", "--mem", "0.016", "--priority", priority];
        cluster.submit("spin", &args);
    };
    alone("first", "0");
    cluster.until_running("first", 1);
    alone("low", "1");
    alone("high", "2");
    cluster.until("high", "placing", |job| job["state"] == "placing");
    assert_eq!(cluster.job(&["kill", "first"]).0, 0);
    cluster.until_running("high", 1);
    assert_eq!(cluster.show("low")["running"], 0);

    // Periodic.
    cluster.submit("hello", &["--id", "tick", "--every", "1s", "--", "exit=0"]);
    let finished = |job: &Value| job["runs"]["finished"].as_u64().unwrap_or(0);
    let before = finished(&cluster.until("tick", "periodic", |job| finished(job) >= 2));

    // The master is killed; all that ran goes on as the same tasks, and nothing runs twice.
    cluster.master_process.take().unwrap().kill();
    cluster.start_master();
    assert_eq!(tasks(&cluster.until_running("pair", 2)), tasks(&pair));
    for (id, instances) in [("blind", 1), ("even", 2), ("high", 1)] {
        cluster.until_running(id, instances);
    }
    cluster.until("tick", "periodic again", |job| finished(job) >= before + 2);
    assert_eq!(cluster.job(&["kill", "tick", "--purge"]).0, 0);
    cluster.until("tick", "forgotten", |job| job["id"].is_null());
    let running = cluster.on_nodes();
    let mut wanted = BTreeSet::new();
    for id in ["pair", "blind", "even", "high"] {
        wanted.extend(tasks(&cluster.show(id)));
    }
    let names: BTreeSet<String> = running.iter().map(|(task, _)| task.clone()).collect();
    assert!(running.len() == names.len() && names.is_superset(&wanted), "{running:?} {wanted:?}");
    let of = |id: &str| names.iter().filter(|task| task.starts_with(&format!("{id}."))).count();
    assert_eq!([of("pair"), of("blind"), of("even"), of("high"), of("low")], [2, 1, 2, 1, 0]);

    // And it still does what it is told.
    assert_eq!(cluster.job(&["kill", "pair"]).0, 0);
    cluster.until("pair", "killed", |job| job["state"] == "killed");
    assert_eq!(cluster.show("good")["state"], "finished");
}

/// One job's life, its master stopped at one commit; true if it was.
fn life(stop_at: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let master = free_tcp_port();
    let words = format!("master --listen {master} --state {} --ping-interval 1", path("master"));
    let process = Restarting::start(words.split(' ').map(str::to_owned).collect(), stop_at.to_owned());
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Process::start_with(&format!(
        "gateway --master {master} --listen 127.0.0.1:0 --udp {udp} --insecure --state {} --poll-mains 1 --ack-timeout 1000",
        path("gateway")
    ));
    let _node = Process::start_with(&format!(
        "node --gateway {udp} --insecure --state {} --board test,cpu=1,mem=128K,flash=256K --block-szx 6 --ack-timeout 1000",
        path("node")
    ));
    let begun = Instant::now();
    let job = |args: &[&str]| {
        let mut command = micro();
        command.args(["job", args[0], "--master", &master.to_string()]).args(&args[1..]);
        let output = command.output().unwrap();
        (output.status.code().unwrap(), output.stdout)
    };
    let patience = || {
        assert!(begun.elapsed() < PATIENCE, "{stop_at}: it never ends");
        std::thread::sleep(Duration::from_millis(100));
    };
    let hello = image("hello");
    // What was answered is kept; what was not may be there or not, and is asked for again.
    while job(&["run", &hello, "--id", "one", "--backoff", "100ms", "--", "there"]).0 != 0 {
        if job(&["show", "one"]).0 == 0 {
            break;
        }
        patience();
    }
    let said = loop {
        let (code, said) = job(&["show", "one", "--json"]);
        assert_ne!(code, 4, "{stop_at}: the job is lost");
        match serde_json::from_slice::<Value>(&said) {
            Ok(said) if said["state"] == "finished" => break said,
            Ok(said) if said["state"] == "failed" => panic!("{stop_at}: {said:#}"),
            _ => patience(),
        }
    };
    // Tasks that have logged are tasks that have run: one, however often it was launched.
    let tasks = said["history"]["tasks"].as_array().unwrap();
    let logged = |task: &Value| {
        let url =
            format!("http://{}/logs?task={}", gateway.address.unwrap(), task["task_id"].as_str().unwrap());
        ureq::get(url).call().is_ok()
    };
    let ran = tasks.iter().filter(|task| logged(task)).count();
    assert_eq!(ran, 1, "{stop_at}: {said:#}");
    process.restarts() > 0
}

fn every(stage: &str) {
    every_commit("master", stage, 6, |stop_at| life(&stop_at));
}

#[test]
fn stopped_before_any_commit_a_job_is_run_once() {
    every("before");
}

#[test]
fn stopped_after_any_commit_a_job_is_run_once() {
    every("after");
}
