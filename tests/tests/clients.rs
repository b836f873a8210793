//! Schedulers that others wrote, as they come from their registries, run tasks on a node by the embedded master: pymesos
//! (PyPI) and mesos-framework (npm).
//!
//! `PYMESOS_PYTHON` is a Python that has pymesos, `python3` if unset. mesos-framework is where Node.js finds it
//! (`NODE_PATH`). Where one is absent its test says SKIPPED and why.

mod support;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::{System, image};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// True if a command can be run and succeeds.
fn works(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).output().is_ok_and(|output| output.status.success())
}

/// Runs a client to its end and returns what it said, a line each.
fn lines(command: &mut Command) -> Vec<String> {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(said.lines().any(|line| line == "stopped"), "{said}\n{errors}");
    said.lines().map(|line| line.trim().to_owned()).collect()
}

/// Both clients do the same: these lines come in this order, others may be between them.
fn has_seen(said: &[String], expected: &[&str]) {
    let mut left = said.iter();
    for line in expected {
        assert!(left.any(|said| said.starts_with(line)), "no '{line}' in its place in {said:#?}");
    }
    let unexpected = said.iter().find(|line| line.starts_with("error") || line.starts_with("failed"));
    assert_eq!(unexpected, None, "{said:#?}");
}

const STORY: [&str; 9] = [
    "registered ",
    "offer ",
    "update ends TASK_RUNNING",
    "update ends TASK_FINISHED",
    "offer ",
    "update runs TASK_RUNNING",
    "update runs TASK_RUNNING REASON_RECONCILIATION",
    "update runs TASK_KILLED",
    "stopped",
];

/// The framework is gone from the master, and nothing of it is left on the node.
fn is_torn_down(system: &System, name: &str) {
    let mut response = ureq::get(format!("http://{}/frameworks", system.master)).call().unwrap();
    let frameworks: Value = serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap();
    let named = |list: &Value| list.as_array().unwrap().iter().filter(|f| f["name"] == name).count();
    assert_eq!((named(&frameworks["frameworks"]), named(&frameworks["completed_frameworks"])), (0, 1));
}

#[test]
fn pymesos_runs_kills_reconciles_and_tears_down() {
    let python = std::env::var("PYMESOS_PYTHON").unwrap_or("python3".into());
    if !works(Command::new(&python).args(["-c", "import pymesos"])) {
        println!("SKIPPED: {python} has no pymesos; see .ci/run for how to install it");
        return;
    }
    let system = System::start(0.0, 0.0, 0.0);
    let said = lines(
        Command::new(&python)
            .arg(script("pymesos_scheduler.py"))
            .arg(system.master.to_string())
            .args([image("hello"), image("spin")]),
    );
    has_seen(&said, &STORY);
    has_seen(&said, &["operator 1.11.0 runs", "update nobody TASK_LOST REASON_RECONCILIATION"]);
    is_torn_down(&system, "pymesos");
}

#[test]
fn mesos_framework_runs_kills_reconciles_and_tears_down() {
    if !works(Command::new("node").args(["-e", "require.resolve('mesos-framework')"])) {
        println!("SKIPPED: Node.js finds no mesos-framework; npm install mesos-framework, and NODE_PATH");
        return;
    }
    let system = System::start(0.0, 0.0, 0.0);
    let logs = system.dir.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    let said = lines(
        Command::new("node")
            .arg(script("mesos_framework.js"))
            .arg(system.master.to_string())
            .args([image("hello"), image("spin")])
            .arg(&logs)
            .current_dir(&logs),
    );
    has_seen(&said, &STORY);
    is_torn_down(&system, "mesos-framework");
}
