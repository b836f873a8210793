//! Another master, a master that does not answer, and a gateway that the master gives up on: tasks run on, agents keep
//! their ids.

mod support;

use framework::v1::TaskState::*;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use support::{Follower, PATIENCE, PLAIN, Process, System};

fn ask(server: SocketAddr, path: &str) -> Option<Value> {
    let mut response = ureq::get(format!("http://{server}{path}")).call().ok()?;
    serde_json::from_str(&response.body_mut().read_to_string().ok()?).ok()
}

/// Waits until `look` finds something.
async fn eventually<T: Send + 'static>(
    what: &str,
    look: impl Fn() -> Option<T> + Clone + Send + 'static,
) -> T {
    let begun = Instant::now();
    loop {
        let look = look.clone();
        if let Some(found) = tokio::task::spawn_blocking(look).await.unwrap() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The one agent that a master knows, if it is there and active.
fn agent_at(master: SocketAddr) -> Option<String> {
    let slaves = ask(master, "/slaves")?;
    let slave = slaves["slaves"].get(0)?;
    slave["active"].as_bool().filter(|active| *active)?;
    slave["id"].as_str().map(str::to_owned)
}

async fn runs(system: &System, task: &str) -> Follower {
    let mut follower = Follower::launch(system, task, &[], PLAIN).await;
    follower.until_running().await;
    follower
}

fn states_of(gateway: SocketAddr) -> Vec<String> {
    let nodes = ask(gateway, "/nodes").unwrap_or_default();
    let tasks = nodes["nodes"][0]["tasks"].as_array().cloned().unwrap_or_default();
    tasks.iter().filter_map(|task| task["state"].as_str().map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_master_finds_the_agent_under_its_id_and_its_task_running() {
    let named = tempfile::tempdir().unwrap();
    let file = named.path().join("master");
    let system = System::start_by_file(&file);
    let _spin = runs(&system, "spin").await;
    let first = system.master;
    let id = eventually("registered", move || agent_at(first)).await;
    let second = Process::start_with("master --listen 127.0.0.1:0");
    let at = second.address.unwrap();
    std::fs::write(&file, at.to_string()).unwrap();
    let again = eventually("registered with the other", move || agent_at(at)).await;
    assert_eq!(again, id);
    let gateway = system.gateway;
    assert_eq!(states_of(gateway), ["TASK_RUNNING"]);
    // What was the master before has no say any more: it ends there, and nothing happens here.
    let body = ask(first, "/slaves").unwrap();
    assert!(body["slaves"].is_array());
    // And back, as a leader that was only out of reach for a moment.
    std::fs::write(&file, first.to_string()).unwrap();
    let back = eventually("registered with the first again", move || agent_at(first)).await;
    assert_eq!((back, states_of(gateway)), (id, vec!["TASK_RUNNING".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_shorter_than_the_ping_timeout_changes_nothing() {
    let system = System::start_pinging(1);
    let mut spin = runs(&system, "spin").await;
    let before = system.ask("/metrics/snapshot").unwrap()["gateway/registrations"].clone();
    system.signal_master("STOP");
    tokio::time::sleep(Duration::from_secs(2)).await;
    system.signal_master("CONT");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(system.ask("/metrics/snapshot").unwrap()["gateway/registrations"], before);
    spin.kill().await;
    assert_eq!(support::states(&spin.until_the_end().await).last(), Some(&TaskKilled));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_given_up_comes_back_with_its_task() {
    let system = System::start_pinging(1);
    let _spin = runs(&system, "spin").await;
    let master = system.master;
    let id = eventually("registered", move || agent_at(master)).await;
    system.signal_gateway("STOP");
    // Five pings of a second each without an answer.
    eventually("given up", move || agent_at(master).is_none().then_some(())).await;
    system.signal_gateway("CONT");
    let again = eventually("registered again", move || agent_at(master)).await;
    assert_eq!((again, states_of(system.gateway)), (id, vec!["TASK_RUNNING".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_asks_for_proof_gets_it_after_every_loss_and_takes_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let list = file("credentials", r#"{"credentials": [{"principal": "agents", "secret": "s3cret"}]}"#);
    let (right, wrong) = (file("right", "agents s3cret"), file("wrong", "agents guess"));
    let mut system = System::start_guarded(&list, &wrong);
    let gateway = system.gateway;
    eventually("refused", move || {
        let metrics = ask(gateway, "/metrics/snapshot")?;
        (metrics["gateway/authentications_failed"].as_u64()? > 0).then_some(())
    })
    .await;
    let master = system.master;
    assert_eq!(agent_at(master), None);
    system.kill_gateway();
    system.credential = Some(right);
    system.start_gateway();
    let id = eventually("registered", move || agent_at(master)).await;
    // The master knows the id before the gateway has written it down.
    eventually("the gateway knows it too", move || {
        (ask(gateway, "/metrics/snapshot")?["gateway/agents_registered"] == 1).then_some(())
    })
    .await;
    system.kill_gateway();
    system.start_gateway();
    assert_eq!(eventually("registered again", move || agent_at(master)).await, id);
}
