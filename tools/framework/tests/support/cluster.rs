//! The embedded master, a gateway and a node, in this process, each on its own port of the loopback address.

use agent_posix::{LinkConfig, Node, NodeConfig};
use framework::v1::{self, Offer, Resource, TaskInfo};
use gateway::keys::KeySource;
use gateway::session::Keyring;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use tempfile::TempDir;

pub struct Cluster {
    pub dir: TempDir,
    pub at: SocketAddr,
    master: Option<master::Handle>,
    gateway: Option<gateway::Handle>,
    stop: Arc<AtomicBool>,
    node: Option<JoinHandle<()>>,
}

impl Cluster {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let udp = std::net::UdpSocket::bind(any).unwrap().local_addr().unwrap();
        let master = Self::master(any, &dir).await;
        let sessions = gateway::session::Config { insecure: true, ..Default::default() };
        let nobody = Keyring { credentials: Vec::new(), revoked: Vec::new() };
        let link = gateway::LinkConfig::Udp(udp);
        let gateway = gateway::run(gateway::Config {
            sessions,
            keys: KeySource::Held(nobody),
            ..gateway::Config::new(any, master.addr.into(), link, dir.path().join("gateway"))
        });
        let gateway = gateway.await.unwrap();
        let mut node = Node::start(NodeConfig {
            eui64: lowpan::Eui64([2, 0, 0, 0, 0, 0, 0, 10]),
            credential: None,
            listen: None,
            board: "test,cpu=1,mem=128K,flash=256K".parse().unwrap(),
            link: LinkConfig::Udp(udp),
            state: dir.path().join("node"),
            ack_timeout_ms: 1000,
            block_szx: 6,
            publishers: Vec::new(),
        })
        .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let node = std::thread::spawn(move || node.run(|| stopped.load(Relaxed)));
        let at = master.addr.into();
        Self { dir, at, master: Some(master), gateway: Some(gateway), stop, node: Some(node) }
    }

    async fn master(listen: SocketAddr, dir: &TempDir) -> master::Handle {
        let config = master::Config {
            listen,
            state: Some(dir.path().join("master")),
            // An agent misses a master that has restarted after ten pings.
            ping_interval: std::time::Duration::from_secs(1),
            max_missed_pings: 10,
            ..Default::default()
        };
        master::run(config).await.unwrap()
    }

    pub fn spec(&self) -> framework::MasterSpec {
        self.at.to_string().parse().unwrap()
    }

    pub async fn stop_master(&mut self) {
        self.master.take().unwrap().stop().await;
    }

    /// At the same address, on the same state.
    pub async fn start_master(&mut self) {
        self.master = Some(Self::master(self.at, &self.dir).await);
    }

    pub async fn end(mut self) {
        self.stop.store(true, Relaxed);
        self.node.take().unwrap().join().unwrap();
        self.gateway.take().unwrap().stop().await.unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

pub fn image(name: &str) -> String {
    format!("{}/../task-sdk/images/{name}.wasm", env!("CARGO_MANIFEST_DIR"))
}

/// A task of one image.
pub fn task(offer: &Offer, id: &str, image_name: &str) -> TaskInfo {
    let scalar = |name: &str, value: f64| Resource {
        name: name.into(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value }),
        ..Default::default()
    };
    TaskInfo {
        name: id.into(),
        task_id: v1::TaskId { value: id.into() },
        agent_id: offer.agent_id.clone(),
        resources: vec![scalar("cpus", 0.1), scalar("mem", 0.016)],
        command: Some(v1::CommandInfo {
            uris: vec![v1::command_info::Uri { value: image(image_name), ..Default::default() }],
            shell: Some(false),
            ..Default::default()
        }),
        ..Default::default()
    }
}
