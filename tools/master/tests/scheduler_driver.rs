//! A scheduler that speaks libprocess, on loopback: the transport as the driver has it, and an agent on another.

use libprocess::{Event as Lib, Transport, Upid};
use master::{Config, run};
use mesos_proto::internal::*;
use mesos_proto::mesos::{
    CommandInfo, Filters, FrameworkId, FrameworkInfo, SlaveId, SlaveInfo, TaskId, TaskInfo, TaskState,
    TaskStatus,
};
use mesos_proto::resources::scalar;
use prost::{Message, Name};
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Only so that a broken test ends.
const LIMIT: Duration = Duration::from_secs(30);

/// An actor on a port of its own.
struct Actor {
    name: &'static str,
    transport: Transport,
    events: mpsc::Receiver<Lib>,
    master: Upid,
}

impl Actor {
    async fn start(name: &'static str, master: SocketAddrV4) -> Self {
        let (sender, events) = mpsc::channel(100);
        let config = libprocess::Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            is_hosted: Arc::new(move |actor| actor == name),
            http: Arc::new(|_| Box::pin(async { http::Response::new(libprocess::full("")) })),
            max_body: 1 << 20,
            tls: None,
        };
        let transport = Transport::bind(config, sender).await.unwrap();
        Self { name, transport, events, master: Upid::new("master", master) }
    }

    fn pid(&self) -> String {
        Upid::new(self.name, self.transport.local()).to_string()
    }

    fn send<M: Message + Name>(&self, message: &M) {
        self.transport.send(self.name, &self.master, &M::full_name(), &message.encode_to_vec());
    }

    async fn wait<M: Message + Name + Default>(&mut self) -> M {
        let search = async {
            loop {
                let Some(Lib::Message(message)) = self.events.recv().await else { continue };
                if message.name == M::full_name() {
                    return M::decode(message.body).unwrap();
                }
            }
        };
        tokio::time::timeout(LIMIT, search).await.unwrap_or_else(|_| panic!("no {}", M::full_name()))
    }
}

fn info(id: Option<&FrameworkId>) -> FrameworkInfo {
    FrameworkInfo {
        user: "u".into(),
        name: "driver".into(),
        id: id.cloned(),
        failover_timeout: Some(60.0),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_driver_runs_a_task_loses_its_connection_and_comes_back() {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let master = run(Config { listen, ..Config::default() }).await.unwrap();
    let mut agent = Actor::start("slave(1)", master.addr).await;
    agent.send(&RegisterSlaveMessage {
        slave: SlaveInfo {
            hostname: "node".into(),
            resources: vec![scalar("cpus", 1.0), scalar("mem", 64.0)],
            checkpoint: Some(true),
            ..Default::default()
        },
        version: Some("1.11.0".into()),
        ..Default::default()
    });
    let slave_id: SlaveId = agent.wait::<SlaveRegisteredMessage>().await.slave_id;

    let mut driver = Actor::start("scheduler(1)", master.addr).await;
    driver.send(&RegisterFrameworkMessage { framework: info(None) });
    let registered: FrameworkRegisteredMessage = driver.wait().await;
    assert_eq!(registered.master_info.pid(), format!("master@{}", master.addr));
    let framework_id = registered.framework_id;
    let offers: ResourceOffersMessage = driver.wait().await;
    assert_eq!(offers.pids, [agent.pid()]);
    driver.send(&LaunchTasksMessage {
        framework_id: framework_id.clone(),
        tasks: vec![TaskInfo {
            name: "t".into(),
            task_id: TaskId { value: "t".into() },
            slave_id: slave_id.clone(),
            resources: vec![scalar("cpus", 0.5), scalar("mem", 8.0)],
            command: Some(CommandInfo { value: Some("run".into()), ..Default::default() }),
            ..Default::default()
        }],
        filters: Filters::default(),
        offer_ids: offers.offers.iter().map(|offer| offer.id.clone()).collect(),
    });
    let run: RunTaskMessage = agent.wait().await;
    assert_eq!(run.pid(), driver.pid());

    let giver = agent.pid();
    let status = |state: TaskState, uuid: u8| StatusUpdateMessage {
        update: StatusUpdate {
            framework_id: framework_id.clone(),
            slave_id: Some(slave_id.clone()),
            status: TaskStatus {
                task_id: TaskId { value: "t".into() },
                state: state as i32,
                uuid: Some(vec![uuid; 16]),
                ..Default::default()
            },
            timestamp: 1.0,
            uuid: Some(vec![uuid; 16]),
            latest_state: Some(state as i32),
            ..Default::default()
        },
        pid: Some(giver.clone()),
    };
    agent.send(&status(TaskState::TaskRunning, 1));
    let update: StatusUpdateMessage = driver.wait().await;
    assert_eq!((update.update.status.state(), update.pid()), (TaskState::TaskRunning, agent.pid().as_str()));

    // The driver's process is gone with its connection; another takes over under the same id.
    let old = driver.pid();
    drop(driver);
    let mut driver = Actor::start("scheduler(2)", master.addr).await;
    driver.send(&ReregisterFrameworkMessage { framework: info(Some(&framework_id)), failover: true });
    assert_eq!(driver.wait::<FrameworkRegisteredMessage>().await.framework_id, framework_id);
    let update: UpdateFrameworkMessage = agent.wait().await;
    assert_ne!(update.pid(), old);
    assert_eq!(update.pid(), driver.pid());
    driver.send(&ReconcileTasksMessage { framework_id: framework_id.clone(), ..Default::default() });
    assert_eq!(driver.wait::<StatusUpdateMessage>().await.update.status.state(), TaskState::TaskRunning);

    agent.send(&status(TaskState::TaskFinished, 2));
    let update: StatusUpdateMessage = driver.wait().await;
    driver.send(&StatusUpdateAcknowledgementMessage {
        slave_id: slave_id.clone(),
        framework_id: framework_id.clone(),
        task_id: update.update.status.task_id,
        uuid: vec![2; 16],
    });
    assert_eq!(agent.wait::<StatusUpdateAcknowledgementMessage>().await.uuid, [2; 16]);
    driver.send(&UnregisterFrameworkMessage { framework_id: framework_id.clone() });
    driver.send(&RegisterFrameworkMessage { framework: info(None) });
    assert_ne!(driver.wait::<FrameworkRegisteredMessage>().await.framework_id, framework_id);
    master.stop().await;
}
