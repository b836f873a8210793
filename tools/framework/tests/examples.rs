//! The examples, as processes: the scheduler with a cluster, the executor with a scripted agent.

mod support;

use serde_json::json;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use support::cluster::{Cluster, image};
use support::peer::Peer;
use tokio::process::Command;

/// Cargo builds the examples before the tests, beside them.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let directory: PathBuf = test.parent().and_then(|deps| deps.parent()).unwrap().join("examples");
    let mut command = Command::new(directory.join(name));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn schedule(cluster: &Cluster, name: &str, count: &str) -> Output {
    let mut command = example("scheduler");
    command.args([cluster.at.to_string().as_str(), &image(name), count]);
    support::in_time(command.output()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scheduler_runs_its_image_as_often_as_it_was_told() {
    let cluster = Cluster::start().await;
    let output = schedule(&cluster, "hello", "3").await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.matches("TASK_FINISHED").count(), 3, "{said}");
    assert!(said.ends_with("0 failed\n"), "{said}");

    // What fails is tried three times, and then it has failed.
    let output = schedule(&cluster, "fault", "1").await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.matches("TASK_FAILED").count(), 3, "{said}");
    assert!(said.ends_with("1 failed\n"), "{said}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_executor_runs_programs_until_it_is_shut_down() {
    let mut peer = Peer::start().await;
    let mut command = example("executor");
    command
        .env("MESOS_AGENT_ENDPOINT", peer.at.to_string())
        .env("MESOS_FRAMEWORK_ID", "m-0001")
        .env("MESOS_EXECUTOR_ID", "programs")
        .env("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "60secs");
    let process = command.spawn().unwrap();
    let (_, events) = peer.subscribed().await;
    events.send(r#"{"type": "SUBSCRIBED", "subscribed": {"agent_info": {"id": {"value": "m-S0"}}}}"#);
    for (task, program) in [("good", "true"), ("bad", "false"), ("long", "sleep"), ("other", "sleep")] {
        let command = json!({"value": program, "shell": false, "arguments": [program, "600"]});
        let task = json!({"name": task, "task_id": {"value": task}, "command": command});
        events.send(&json!({"type": "LAUNCH", "launch": {"task": task}}).to_string());
    }
    events.send(r#"{"type": "LAUNCH", "launch": {"task": {"name": "none", "task_id": {"value": "none"}}}}"#);
    events.send(r#"{"type": "KILL", "kill": {"task_id": {"value": "long"}}}"#);
    // Nine updates: four tasks run, five end, one of them because it is told to shut down.
    let mut ends = Vec::new();
    let mut told = 0;
    while told < 9 {
        let update = peer.takes("UPDATE").await;
        told += 1;
        let status = &update["update"]["status"];
        if status["state"] != "TASK_RUNNING" {
            ends.push((
                status["task_id"]["value"].clone(),
                status["state"].clone(),
                status["message"].clone(),
            ));
        }
        let acknowledged = json!({"task_id": status["task_id"], "uuid": status["uuid"]});
        events.send(&json!({"type": "ACKNOWLEDGED", "acknowledged": acknowledged}).to_string());
        if told == 8 {
            events.send(r#"{"type": "SHUTDOWN"}"#);
        }
    }
    ends.sort_by_key(|(task, ..)| task.to_string());
    let expected = [
        ("bad", "TASK_FAILED", "exit status: 1"),
        ("good", "TASK_FINISHED", "exit status: 0"),
        ("long", "TASK_KILLED", "killed on request"),
        ("none", "TASK_FAILED", "the task has no program"),
        ("other", "TASK_KILLED", "killed on request"),
    ];
    assert_eq!(ends, expected.map(|(task, state, why)| (json!(task), json!(state), json!(why))));
    let output = support::in_time(process.wait_with_output()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Shutdown\n");
}
