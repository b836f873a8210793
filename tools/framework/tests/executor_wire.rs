//! The executor's driver against a scripted agent: recorded events, an agent that goes away and comes back, and one that
//! stays away.

mod support;

use framework::v1::executor::event::Subscribed;
use framework::v1::{KillPolicy, TaskId, TaskInfo, TaskState};
use framework::{Environment, Error, Executor, ExecutorDriver, ExecutorEnd, ExecutorHandle, Format, Outcome};
use serde_json::{Value, json};
use support::peer::{Events, Peer};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

#[derive(Debug, PartialEq)]
enum Said {
    Subscribed(String),
    Resubscribed,
    Launch(String),
    Kill(String, Option<i64>),
    Acknowledged(String, Vec<u8>),
    Message(Vec<u8>),
    Disconnected,
    Error(String),
}

/// Says that each task runs, but for one called `bad`; shuts down as the trait has it.
struct Recorder(mpsc::UnboundedSender<Said>);

impl Recorder {
    fn say(&self, said: Said) -> Outcome {
        Ok(self.0.send(said)?)
    }
}

impl Executor for Recorder {
    async fn subscribed(&mut self, _: &ExecutorHandle, subscribed: Subscribed) -> Outcome {
        self.say(Said::Subscribed(subscribed.framework_info.name))
    }
    async fn resubscribed(&mut self, _: &ExecutorHandle, _: Subscribed) -> Outcome {
        self.say(Said::Resubscribed)
    }
    async fn launch(&mut self, handle: &ExecutorHandle, task: TaskInfo) -> Outcome {
        self.say(Said::Launch(task.task_id.value.clone()))?;
        if task.task_id.value == "bad" {
            return Err("there is no such pump".into());
        }
        Ok(handle.report(&task.task_id, TaskState::TaskRunning, "")?)
    }
    async fn kill(&mut self, handle: &ExecutorHandle, task: TaskId, policy: Option<KillPolicy>) -> Outcome {
        let grace = policy.and_then(|policy| policy.grace_period).map(|grace| grace.nanoseconds);
        self.say(Said::Kill(task.value.clone(), grace))?;
        Ok(handle.report(&task, TaskState::TaskKilled, "")?)
    }
    async fn acknowledged(&mut self, _: &ExecutorHandle, task: TaskId, uuid: Vec<u8>) -> Outcome {
        self.say(Said::Acknowledged(task.value, uuid))
    }
    async fn message(&mut self, handle: &ExecutorHandle, data: Vec<u8>) -> Outcome {
        self.say(Said::Message(data.clone()))?;
        Ok(handle.message(&data).await?)
    }
    async fn disconnected(&mut self, _: &ExecutorHandle) -> Outcome {
        self.say(Said::Disconnected)
    }
    async fn error(&mut self, _: &ExecutorHandle, message: String) -> Outcome {
        self.say(Said::Error(message))
    }
}

struct Running {
    handle: ExecutorHandle,
    heard: mpsc::UnboundedReceiver<Said>,
    driver: JoinHandle<Result<ExecutorEnd, Error>>,
}

impl Running {
    fn start(peer: &Peer, more: &[(&str, &str)]) -> Self {
        let at = peer.at.to_string();
        let mut variables = vec![
            ("MESOS_AGENT_ENDPOINT", at.as_str()),
            ("MESOS_FRAMEWORK_ID", "m-0001"),
            ("MESOS_EXECUTOR_ID", "pump-executor"),
            ("MESOS_SUBSCRIPTION_BACKOFF_MAX", "50ms"),
            ("MESOS_EXECUTOR_AUTHENTICATION_TOKEN", "hush"),
        ];
        variables.extend(more);
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let (said, heard) = mpsc::unbounded_channel();
        let environment = Environment::read(variable).unwrap();
        let driver = ExecutorDriver::new(environment, Recorder(said)).format(Format::Json);
        Self { handle: driver.handle(), heard, driver: tokio::spawn(driver.run()) }
    }

    async fn next(&mut self) -> Said {
        support::in_time(self.heard.recv()).await.expect("the driver has ended")
    }

    async fn end(self) -> Result<ExecutorEnd, Error> {
        support::in_time(self.driver).await.unwrap()
    }
}

/// Agents that may restart, as a framework with checkpoints has them.
const CHECKPOINT: [(&str, &str); 2] = [("MESOS_CHECKPOINT", "1"), ("MESOS_RECOVERY_TIMEOUT", "15mins")];

fn of(name: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/recorded/executor/{name}.json", env!("CARGO_MANIFEST_DIR")))
        .unwrap()
}

fn launch(task: &str) -> String {
    of("01-launch").replace("pump-1", task)
}

fn acknowledged(update: &Value) -> String {
    let status = &update["update"]["status"];
    let acknowledged = json!({"task_id": status["task_id"], "uuid": status["uuid"]});
    json!({"type": "ACKNOWLEDGED", "acknowledged": acknowledged}).to_string()
}

async fn subscribed(peer: &mut Peer, more: &[(&str, &str)]) -> (Running, Events) {
    let mut running = Running::start(peer, more);
    let (call, events) = peer.subscribed().await;
    assert_eq!(call["executor_id"]["value"], "pump-executor");
    assert_eq!(call["framework_id"]["value"], "m-0001");
    events.send(&of("00-subscribed"));
    assert_eq!(running.next().await, Said::Subscribed("pumps".into()));
    (running, events)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_documented_event_is_a_callback_though_it_comes_byte_by_byte() {
    let mut peer = Peer::start().await;
    let (mut running, events) = subscribed(&mut peer, &[]).await;
    let names = ["01-launch", "02-launch-group", "03-kill", "04-acknowledged", "05-message", "06-heartbeat"];
    for name in names {
        let json = of(name);
        for byte in format!("{}\n{json}", json.len()).bytes() {
            events.piece(vec![byte]);
        }
    }
    for task in ["pump-1", "pump-2", "gauge-2"] {
        assert_eq!(running.next().await, Said::Launch(task.into()));
    }
    assert_eq!(running.next().await, Said::Kill("pump-1".into(), Some(5_000_000_000)));
    assert_eq!(running.next().await, Said::Acknowledged("pump-1".into(), (0..16).collect()));
    assert_eq!(running.next().await, Said::Message(b"more".to_vec()));
    // Updates go out in their order, messages beside them.
    let mut updates = Vec::new();
    let mut messages = 0;
    while messages == 0 || updates.len() < 4 {
        let request = peer.next().await;
        assert!(request.head.contains("authorization: Bearer hush"), "{}", request.head);
        let call = request.json();
        request.answer(202);
        match call["type"].as_str().unwrap() {
            "MESSAGE" => {
                assert_eq!(call["message"]["data"], "bW9yZQ==");
                messages += 1;
            }
            _ => updates.push(call["update"]["status"].clone()),
        }
    }
    let told = |status: &Value| (status["task_id"]["value"].clone(), status["state"].clone());
    let expected = [
        ("pump-1", "TASK_RUNNING"),
        ("pump-2", "TASK_RUNNING"),
        ("gauge-2", "TASK_RUNNING"),
        ("pump-1", "TASK_KILLED"),
    ];
    assert!(updates.iter().map(told).eq(expected.map(|(task, state)| (json!(task), json!(state)))));
    assert_eq!(updates[0]["source"], "SOURCE_EXECUTOR");
    assert_eq!(updates[0]["agent_id"]["value"], "m-S3");
    assert_eq!(updates[0]["executor_id"]["value"], "pump-executor");
    assert_ne!(updates[0]["uuid"], updates[1]["uuid"]);
    events.send(&of("08-error"));
    assert_eq!(running.next().await, Said::Error("the executor is unknown".into()));
    assert!(matches!(running.end().await, Err(Error::Ended(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_restarts_is_told_again_what_was_not_acknowledged() {
    let mut peer = Peer::start().await;
    let (mut running, events) = subscribed(&mut peer, &CHECKPOINT).await;
    for task in ["a", "b"] {
        events.send(&launch(task));
    }
    let first = peer.takes("UPDATE").await;
    assert_eq!(first["update"]["status"]["task_id"]["value"], "a");
    let second = peer.takes("UPDATE").await;
    events.send(&acknowledged(&first));
    for _ in 0..2 {
        assert!(matches!(running.next().await, Said::Launch(_)));
    }
    assert!(matches!(running.next().await, Said::Acknowledged(task, _) if task == "a"));
    drop(events);
    assert_eq!(running.next().await, Said::Disconnected);
    // Meanwhile a task ends.
    running.handle.report(&TaskId { value: "a".into() }, TaskState::TaskFinished, "").unwrap();
    assert!(matches!(running.handle.message(b"x").await, Err(Error::Disconnected)));

    // An agent that recovers is not ready at first.
    let mut request = peer.next().await;
    while request.json()["subscribe"]["unacknowledged_updates"].as_array().map(Vec::len) != Some(2) {
        request.answer(503);
        request = peer.next().await;
    }
    let again = request.json();
    let events = request.stream();
    assert_eq!(again["subscribe"]["unacknowledged_tasks"].as_array().unwrap().len(), 1);
    assert_eq!(again["subscribe"]["unacknowledged_tasks"][0]["task_id"]["value"], "b");
    let updates = &again["subscribe"]["unacknowledged_updates"];
    assert_eq!(updates[0]["status"]["uuid"], second["update"]["status"]["uuid"]);
    assert_eq!(updates[1]["status"]["state"], "TASK_FINISHED");
    events.send(&of("00-subscribed"));
    assert_eq!(running.next().await, Said::Resubscribed);

    // It ends by itself once all of it is acknowledged.
    running.handle.stop();
    for update in updates.as_array().unwrap() {
        events.send(&acknowledged(&json!({ "update": update })));
    }
    assert_eq!(running.end().await.unwrap(), ExecutorEnd::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_kills_what_runs_and_waits_for_its_acknowledgement() {
    let mut peer = Peer::start().await;
    let (running, events) =
        subscribed(&mut peer, &[("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "60secs")]).await;
    events.send(&launch("a"));
    events.send(&launch("bad"));
    events.send(&of("07-shutdown"));
    // What comes after it is not launched any more.
    events.send(&launch("late"));
    let mut told = Vec::new();
    for _ in 0..3 {
        let update = peer.takes("UPDATE").await;
        let status = &update["update"]["status"];
        told.push((status["task_id"]["value"].clone(), status["state"].clone(), status["message"].clone()));
        events.send(&acknowledged(&update));
    }
    assert_eq!(told[0], (json!("a"), json!("TASK_RUNNING"), Value::Null));
    assert_eq!(told[1], (json!("bad"), json!("TASK_FAILED"), json!("there is no such pump")));
    assert_eq!((&told[2].0, &told[2].1), (&json!("a"), &json!("TASK_KILLED")));
    assert_eq!(running.end().await.unwrap(), ExecutorEnd::Shutdown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_without_acknowledgement_ends_with_its_grace_period() {
    let mut peer = Peer::start().await;
    let (running, events) = subscribed(&mut peer, &[("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "200ms")]).await;
    events.send(&launch("a"));
    events.send(&of("07-shutdown"));
    assert_eq!(running.end().await.unwrap(), ExecutorEnd::Shutdown);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_checkpoints_the_executor_ends_with_its_agent() {
    let mut peer = Peer::start().await;
    let (mut running, events) = subscribed(&mut peer, &[]).await;
    drop(events);
    assert_eq!(running.next().await, Said::Disconnected);
    assert_eq!(running.end().await.unwrap(), ExecutorEnd::AgentLost);

    // With them it has some patience.
    let patience = [CHECKPOINT[0], ("MESOS_RECOVERY_TIMEOUT", "300ms")];
    let (mut running, events) = subscribed(&mut peer, &patience).await;
    drop((events, peer));
    assert_eq!(running.next().await, Said::Disconnected);
    assert_eq!(running.end().await.unwrap(), ExecutorEnd::AgentLost);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_sent_until_it_is_taken_unless_it_never_will_be() {
    let mut peer = Peer::start().await;
    let (running, events) = subscribed(&mut peer, &CHECKPOINT).await;
    events.send(&launch("a"));
    let uuid = |call: &Value| call["update"]["status"]["uuid"].clone();
    let busy = peer.next().await;
    let first = busy.json();
    busy.answer(503);
    let refused = peer.next().await;
    assert_eq!(uuid(&refused.json()), uuid(&first));
    refused.answer_with(400, "", "what is that?");
    events.send(&launch("b"));
    let second = peer.takes("UPDATE").await;
    assert_eq!(second["update"]["status"]["task_id"]["value"], "b");
    events.send(&acknowledged(&second));
    running.handle.stop();
    assert_eq!(running.end().await.unwrap(), ExecutorEnd::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_does_not_know_the_executor_is_not_asked_again() {
    let mut peer = Peer::start().await;
    let mut running = Running::start(&peer, &CHECKPOINT);
    peer.next().await.answer_with(403, "", "not yours");
    assert!(matches!(running.next().await, Said::Error(why) if why.contains("not yours")));
    assert!(matches!(running.end().await, Err(Error::Refused { status: 403, .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_may_listen_on_a_socket_in_the_file_system() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.sock");
    let mut peer = Peer::start_unix(&path);
    let socket =
        [("MESOS_DOMAIN_SOCKET", path.to_str().unwrap()), ("MESOS_SLAVE_PID", "slave(7)@10.0.0.5:5051")];
    let mut running = Running::start(&peer, &socket);
    let request = peer.next().await;
    assert!(request.head.starts_with("POST /slave(7)/api/v1/executor HTTP/1.1"), "{}", request.head);
    let events = request.stream();
    events.send(&of("00-subscribed"));
    assert_eq!(running.next().await, Said::Subscribed("pumps".into()));
    events.send(&launch("a"));
    peer.takes("UPDATE").await;
}
