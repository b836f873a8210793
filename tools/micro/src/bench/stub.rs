//! A master that is as little as one can be, so that figures are the gateway's: it takes every agent in, launches what
//! it is told to, and acknowledges every update at once.

use anyhow::Result;
use libprocess::{Event, Transport, Upid};
use mesos_proto::mesos::{self, CommandInfo};
use mesos_proto::{internal::*, resources::scalar};
use prost::{Message, Name};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// What the stub has seen.
#[derive(Default)]
pub struct Seen {
    /// Agents by actor, with the ids they were given.
    pub agents: Mutex<HashMap<Upid, String>>,
    /// Updates acknowledged.
    pub updates: AtomicUsize,
    /// Tasks whose terminal update was acknowledged.
    pub ended: AtomicUsize,
}

/// The stub at work.
pub struct Stub {
    pub transport: Transport,
    pub seen: Arc<Seen>,
}

impl Stub {
    pub async fn start() -> Result<Self> {
        let (events, received) = mpsc::channel(65_536);
        let http: libprocess::HttpHandler =
            Arc::new(|_| Box::pin(async { http::Response::new(libprocess::full("")) }));
        let transport = Transport::bind(
            libprocess::Config {
                listen: ([127, 0, 0, 1], 0).into(),
                advertise: None,
                is_hosted: Arc::new(|_| true),
                http,
                max_body: 1 << 20,
                tls: None,
            },
            events,
        )
        .await?;
        let seen = Arc::<Seen>::default();
        tokio::spawn(work(transport.clone(), received, seen.clone()));
        Ok(Self { transport, seen })
    }

    /// Launches `tasks` on every agent.
    pub fn launch(&self, round: usize, tasks: usize, uri: &str) {
        let agents = self.seen.agents.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for number in 0..tasks {
            for (actor, id) in agents.iter() {
                let name = format!("t{round}-{number}");
                let uris = vec![mesos::command_info::Uri { value: uri.to_owned(), ..Default::default() }];
                let task = mesos::TaskInfo {
                    name: name.clone(),
                    task_id: mesos::TaskId { value: name },
                    slave_id: mesos::SlaveId { value: id.clone() },
                    resources: vec![scalar("cpus", 0.01), scalar("mem", 0.01)],
                    command: Some(CommandInfo { uris, ..Default::default() }),
                    ..Default::default()
                };
                let framework = mesos::FrameworkInfo {
                    user: "bench".into(),
                    name: "bench".into(),
                    id: Some(mesos::FrameworkId { value: "F".into() }),
                    ..Default::default()
                };
                let run = RunTaskMessage { framework, task, ..Default::default() };
                self.send("master", actor, &run);
            }
        }
    }

    fn send<M: Message + Name>(&self, from: &str, to: &Upid, message: &M) {
        self.transport.send(from, to, &M::full_name(), &message.encode_to_vec());
    }
}

/// Tells an agent not to wait for pings: there are none.
fn never_pings() -> Option<MasterSlaveConnection> {
    Some(MasterSlaveConnection { total_ping_timeout_seconds: Some(86_400.0) })
}

async fn work(transport: Transport, mut events: mpsc::Receiver<Event>, seen: Arc<Seen>) {
    let send = |to: &Upid, name: String, body: Vec<u8>| transport.send("master", to, &name, &body);
    while let Some(event) = events.recv().await {
        let Event::Message(message) = event else { continue };
        let Some(from) = message.from else { continue };
        let name = message.name.trim_start_matches("mesos.internal.");
        if name == RegisterSlaveMessage::NAME {
            let id = format!("S{}", from.id);
            seen.agents
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner())
                .insert(from.clone(), id.clone());
            let slave_id = mesos::SlaveId { value: id };
            let answer = SlaveRegisteredMessage { slave_id, connection: never_pings() };
            send(&from, SlaveRegisteredMessage::full_name(), answer.encode_to_vec());
        } else if name == ReregisterSlaveMessage::NAME {
            let slave_id = mesos::SlaveId { value: format!("S{}", from.id) };
            let answer =
                SlaveReregisteredMessage { slave_id, reconciliations: Vec::new(), connection: never_pings() };
            send(&from, SlaveReregisteredMessage::full_name(), answer.encode_to_vec());
        } else if name == StatusUpdateMessage::NAME {
            let Ok(update) = StatusUpdateMessage::decode(message.body) else { continue };
            let update = update.update;
            seen.updates.fetch_add(1, Relaxed);
            if update.status.state == mesos::TaskState::TaskFinished as i32 {
                seen.ended.fetch_add(1, Relaxed);
            }
            let acknowledgement = StatusUpdateAcknowledgementMessage {
                slave_id: update.slave_id.unwrap_or_default(),
                framework_id: update.framework_id,
                task_id: update.status.task_id,
                uuid: update.uuid.unwrap_or_default(),
            };
            send(&from, StatusUpdateAcknowledgementMessage::full_name(), acknowledgement.encode_to_vec());
        }
    }
}
