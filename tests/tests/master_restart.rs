//! The master killed in mid run, and at every commit of its store: the agent and the framework keep their ids, the task
//! runs on, each update comes once.

mod support;

use framework::v1::{self, FrameworkId, FrameworkInfo, MasterInfo, Offer, TaskInfo, TaskState, TaskStatus};
use framework::{Backoff, Handle, Outcome, Scheduler, SchedulerDriver};
use mesos_proto::{recast, resources::Scalars};
use serde_json::{Value, json};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use support::restarting::{Restarting, every_commit, free_tcp_port};
use support::{PATIENCE, PLAIN, Process, image, is_terminal, states};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// What a scheduler heard.
#[derive(Debug)]
enum Heard {
    Registered(String),
    Again(String),
    Status(Box<TaskStatus>),
    Error(String),
}

/// Launches one task on the first offer that fits.
struct Launcher {
    task: Option<&'static str>,
    heard: mpsc::UnboundedSender<Heard>,
}

impl Launcher {
    fn say(&self, heard: Heard) -> Outcome {
        Ok(self.heard.send(heard)?)
    }
}

impl Scheduler for Launcher {
    async fn registered(&mut self, _: &Handle, id: &FrameworkId, _: Option<&MasterInfo>) -> Outcome {
        self.say(Heard::Registered(id.value.clone()))
    }

    async fn reregistered(&mut self, _: &Handle, id: &FrameworkId, _: Option<&MasterInfo>) -> Outcome {
        self.say(Heard::Again(id.value.clone()))
    }

    async fn resource_offers(&mut self, handle: &Handle, offers: Vec<Offer>) -> Outcome {
        let needs = Scalars::from_amounts(PLAIN.iter().copied());
        for offer in offers {
            let held: Vec<_> = offer.resources.iter().filter_map(|held| recast(held).ok()).collect();
            match self.task.filter(|_| Scalars::of(&held).contains(&needs)) {
                Some(name) => {
                    // An answer that is lost is no launch: offers from before a restart are void.
                    handle.launch(&offer, vec![task(&offer, name, &needs)]).await?;
                    self.task = None;
                }
                None => handle.decline(&[offer], None).await?,
            }
        }
        Ok(())
    }

    async fn status_update(&mut self, _: &Handle, status: TaskStatus) -> Outcome {
        self.say(Heard::Status(Box::new(status)))
    }

    async fn error(&mut self, _: &Handle, message: String) -> Outcome {
        self.say(Heard::Error(message))
    }
}

fn task(offer: &Offer, name: &str, needs: &Scalars) -> TaskInfo {
    TaskInfo {
        name: name.to_owned(),
        task_id: v1::TaskId { value: name.to_owned() },
        agent_id: offer.agent_id.clone(),
        resources: needs.to_resources(None).iter().filter_map(|held| recast(held).ok()).collect(),
        command: Some(v1::CommandInfo {
            uris: vec![v1::command_info::Uri { value: image(name), ..Default::default() }],
            shell: Some(false),
            arguments: vec!["1".into()],
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn info(id: Option<&str>) -> FrameworkInfo {
    FrameworkInfo {
        id: id.map(|id| FrameworkId { value: id.to_owned() }),
        user: "test".into(),
        name: "test".into(),
        roles: vec!["test".into()],
        checkpoint: Some(true),
        failover_timeout: Some(3600.0),
        capabilities: [6, 5].map(|kind| v1::framework_info::Capability { r#type: Some(kind) }).into(),
        ..Default::default()
    }
}

/// A master that keeps its state and comes back, a gateway, a node and a framework.
struct Cluster {
    at: SocketAddr,
    master: Restarting,
    _gateway: Process,
    _node: Process,
    _dir: TempDir,
}

impl Cluster {
    fn start(stop_at: String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (at, udp) = (free_tcp_port(), UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
        let master = dir.path().join("master");
        // Pings often enough that the gateway notices soon that they have stopped.
        let args = format!("master --listen {at} --ping-interval 1 --state {}", master.display());
        let master = Restarting::start(args.split(' ').map(str::to_owned).collect(), stop_at);
        let state = dir.path().join("gateway");
        let key = dir.path().join("node.key");
        support::commission("020000000000000a", &state.join("nodes.keys"), &key);
        let gateway = Process::start_with(&format!(
            "gateway --master {at} --listen 127.0.0.1:0 --udp {udp} --state {} --poll-mains 1 --ack-timeout 1000",
            state.display()
        ));
        let node = Process::start_with(&format!(
            "node --gateway {udp} --state {} --key {} --board test,cpu=1,mem=128K,flash=256K --block-szx 6 --ack-timeout 1000",
            dir.path().join("node").display(),
            key.display()
        ));
        Self { at, master, _gateway: gateway, _node: node, _dir: dir }
    }

    /// Kills the master, and waits until it has come back.
    async fn kill_master(&self) {
        let before = self.document("/state").await["start_time"].clone();
        tokio::task::block_in_place(|| self.master.kill());
        assert_ne!(self.document("/state").await["start_time"], before);
    }

    /// The master's document at `path`, when it answers.
    async fn document(&self, path: &str) -> Value {
        let url = format!("http://{}{path}", self.at);
        let begun = Instant::now();
        loop {
            let url = url.clone();
            let asked = tokio::task::spawn_blocking(move || {
                let mut response = ureq::get(url).call().ok()?;
                serde_json::from_str(&response.body_mut().read_to_string().ok()?).ok()
            });
            if let Some(document) = asked.await.unwrap() {
                return document;
            }
            assert!(begun.elapsed() < PATIENCE, "the master does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The one agent's id, when it is there and active.
    async fn agent(&self) -> String {
        let begun = Instant::now();
        loop {
            let document = self.document("/slaves").await;
            let slaves = document["slaves"].as_array().unwrap();
            assert!(slaves.len() <= 1, "one node is one agent: {slaves:?}");
            if let Some(slave) = slaves.first().filter(|slave| slave["active"] == true) {
                return slave["id"].as_str().unwrap().to_owned();
            }
            assert!(begun.elapsed() < PATIENCE, "the agent does not come back");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The operator's word counts from the answer on, whatever becomes of the master then.
    async fn operator_says(&self, agent: &str) {
        let named = json!({"agent_id": {"value": agent}});
        self.operator(json!({"type": "DEACTIVATE_AGENT", "deactivate_agent": named})).await;
        assert_eq!(self.agent_is_deactivated(agent).await, Some(true));
        self.operator(json!({"type": "REACTIVATE_AGENT", "reactivate_agent": named})).await;
        assert_eq!(self.agent_is_deactivated(agent).await, Some(false));
        let machine = json!({"hostname": "elsewhere", "ip": "10.0.0.9"});
        let window = json!({"machine_ids": [machine], "unavailability": {"start": {"nanoseconds": 7}}});
        let update = json!({"schedule": {"windows": [window]}});
        self.operator(json!({"type": "UPDATE_MAINTENANCE_SCHEDULE", "update_maintenance_schedule": update}))
            .await;
        assert_eq!(self.document("/maintenance/schedule").await["windows"], json!([window]));
        self.operator(json!({"type": "MARK_AGENT_GONE", "mark_agent_gone": named})).await;
        assert_eq!(self.agent_is_deactivated(agent).await, None);
    }

    /// Makes a call of the operator API until it is answered; an answer that was lost with the master may be followed by
    /// one that says that it is done.
    async fn operator(&self, call: Value) {
        let url = format!("http://{}/api/v1", self.at);
        let begun = Instant::now();
        loop {
            let (url, body) = (url.clone(), call.to_string());
            let asked = tokio::task::spawn_blocking(move || {
                let request = ureq::post(url).config().http_status_as_error(false).build();
                request
                    .header("Content-Type", "application/json")
                    .send(body)
                    .map(|response| response.status())
            });
            match asked.await.unwrap().map(|status| status.as_u16()) {
                Ok(200) => return,
                Ok(400) if call["type"] == "REACTIVATE_AGENT" => return,
                // It may not be back yet.
                Ok(_) | Err(_) => assert!(begun.elapsed() < PATIENCE, "no answer to {call}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the master says of an agent that is there; none of one that is not.
    async fn agent_is_deactivated(&self, id: &str) -> Option<bool> {
        let begun = Instant::now();
        loop {
            let document = self.document("/slaves").await;
            let of = |list: &str| {
                document[list]
                    .as_array()
                    .unwrap()
                    .iter()
                    .find(|slave| slave["id"] == id || slave["id"]["value"] == id)
            };
            match (of("slaves"), of("recovered_slaves")) {
                (Some(slave), _) => return slave["deactivated"].as_bool(),
                (None, None) => return None,
                // It is expected, and will be back.
                (None, Some(_)) => assert!(begun.elapsed() < PATIENCE, "the agent does not come back"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn framework(&self, id: Option<&str>, task: Option<&'static str>) -> Framework {
        let (heard, inbox) = mpsc::unbounded_channel();
        let spec = self.at.to_string().parse().unwrap();
        let soon = Backoff { least: Duration::from_millis(50), most: Duration::from_millis(500) };
        let driver = SchedulerDriver::new(spec, info(id), Launcher { task, heard }).backoff(soon);
        let handle = driver.handle();
        tokio::spawn(driver.run());
        Framework { handle, inbox, ids: Vec::new(), statuses: Vec::new() }
    }
}

/// A framework and what it has heard so far.
struct Framework {
    handle: Handle,
    inbox: mpsc::UnboundedReceiver<Heard>,
    /// Each id it was given, by each subscription.
    ids: Vec<String>,
    /// Each status once, by its UUID; those of the master itself, without one, are left out.
    statuses: Vec<TaskStatus>,
}

impl Framework {
    async fn next(&mut self) -> Heard {
        let heard = tokio::time::timeout(PATIENCE, self.inbox.recv()).await;
        heard
            .unwrap_or_else(|_| panic!("nothing follows {:?} {:?}", self.ids, self.statuses))
            .expect("it ended")
    }

    /// Takes in what it hears until `enough`.
    async fn until(&mut self, enough: impl Fn(&Self) -> bool) {
        while !enough(self) {
            match self.next().await {
                Heard::Registered(id) | Heard::Again(id) => self.ids.push(id),
                Heard::Status(status) => {
                    assert!(status.uuid.is_some() || !is_terminal(status.state()), "lost: {status:?}");
                    if status.uuid.is_some() && self.statuses.iter().all(|held| held.uuid != status.uuid) {
                        self.statuses.push(*status);
                    }
                }
                Heard::Error(message) => panic!("{message}"),
            }
        }
    }

    async fn until_the_end(&mut self) {
        self.until(|own| own.statuses.last().is_some_and(|last| is_terminal(last.state()))).await;
    }
}

/// One life; true if the master was stopped in it.
async fn life(stop_at: String) -> bool {
    let cluster = tokio::task::spawn_blocking({
        let stop_at = stop_at.clone();
        move || Cluster::start(stop_at)
    });
    let cluster = cluster.await.unwrap();
    let mut chatty = cluster.framework(None, Some("chatty"));
    chatty.until_the_end().await;
    assert_eq!(
        states(&chatty.statuses),
        [TaskState::TaskStarting, TaskState::TaskRunning, TaskState::TaskFinished],
        "{stop_at}: {:?}",
        chatty.statuses
    );
    // An id that was told is kept; one that was not told may be given to nobody.
    assert!(chatty.ids.iter().all(|id| *id == chatty.ids[0]), "{stop_at}: {:?}", chatty.ids);
    let agent = cluster.agent().await;
    assert!(
        chatty.statuses.iter().all(|status| status.agent_id.as_ref().unwrap().value == agent),
        "{stop_at}"
    );
    cluster.operator_says(&agent).await;
    cluster.master.restarts() > 0
}

async fn every(stage: &'static str) {
    let runtime = tokio::runtime::Handle::current();
    let live = move |stop_at| runtime.block_on(life(stop_at));
    tokio::task::block_in_place(|| every_commit("master", stage, 6, live));
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_before_any_commit_the_master_has_promised_nothing() {
    every("before").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_after_any_commit_the_master_keeps_its_word() {
    every("after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_mid_run_again_and_again_nothing_is_lost_and_nothing_ends_twice() {
    let cluster = tokio::task::spawn_blocking(|| Cluster::start(String::new())).await.unwrap();
    let mut spin = cluster.framework(None, Some("spin"));
    spin.until(|own| own.statuses.last().is_some_and(|last| last.state() == TaskState::TaskRunning)).await;
    let agent = cluster.agent().await;
    for _ in 0..3 {
        let subscriptions = spin.ids.len();
        cluster.kill_master().await;
        spin.until(|own| own.ids.len() > subscriptions).await;
        assert_eq!(cluster.agent().await, agent);
        assert!(spin.ids.iter().all(|id| *id == spin.ids[0]), "{:?}", spin.ids);
        let tasks = cluster.document("/tasks").await;
        assert_eq!(tasks["tasks"][0]["state"], "TASK_RUNNING", "{tasks}");
    }
    let name = v1::TaskId { value: "spin".into() };
    spin.handle.kill(&name, None, None).await.unwrap();
    spin.until_the_end().await;
    assert_eq!(states(&spin.statuses).last(), Some(&TaskState::TaskKilled));
    let subscriptions = spin.ids.len();
    cluster.kill_master().await;
    spin.until(|own| own.ids.len() > subscriptions).await;
    assert_eq!(cluster.agent().await, agent);
    assert_eq!(states(&spin.statuses).iter().filter(|state| is_terminal(**state)).count(), 1);

    // What is torn down stays so.
    let id = spin.ids[0].clone();
    spin.handle.stop(false).await.unwrap();
    cluster.kill_master().await;
    let mut again = cluster.framework(Some(&id), None);
    match again.next().await {
        Heard::Error(message) => assert!(message.contains("removed"), "{message}"),
        other => panic!("taken in again: {other:?}"),
    }
}
