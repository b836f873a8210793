//! A whole cluster on this machine: every part real, speaking its real wire format on loopback, over a radio that
//! loses frames; and a list of what has to come true.

mod cast;
mod scene;
mod show;

pub use cast::board;

use crate::ask::Server;
use crate::keys;
use crate::serve::{ConditionArgs, GATEWAY_EUI64};
use crate::token::TokenArgs;
use agent_posix::{Node, NodeConfig, Snapshot};
use air::{Air, AirConfig};
use anyhow::{Context, Result, bail};
use gateway::keys::KeySource;
use gateway::session::Keyring;
use scene::Scene;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The demo fails if it is not through by then; a medium worse than the usual one gets more time.
const DEADLINE: Duration = Duration::from_secs(29);
/// CoAP ACK_TIMEOUT of both sides: the least that RFC 8085 §3.1.1 leaves for an unknown path is a second.
const ACK_TIMEOUT_MS: u32 = 1_000;
/// How often the picture is drawn.
const FRAME: Duration = Duration::from_millis(250);

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    conditions: ConditionArgs,
    /// Number of nodes, 3 or more
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=64))]
    nodes: u8,
    /// Write what is in the air for Wireshark
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// One more node, a Tock image under QEMU, as micro image makes it: boards/README.md
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "target/tock/qemu_rv32_virt")]
    tock: Option<PathBuf>,
    /// One JSON document at the end
    #[arg(long)]
    json: bool,
}

/// A node on a thread of its own.
struct Running {
    snapshot: Arc<Mutex<Snapshot>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(config: NodeConfig) -> Result<Self> {
        let mut node = Node::start(config)?;
        let snapshot = Arc::new(Mutex::new(node.snapshot()));
        let stop = Arc::new(AtomicBool::new(false));
        let (shown, stopped) = (snapshot.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Relaxed) {
                node.turn();
                if let Ok(mut shown) = shown.lock() {
                    *shown = node.snapshot();
                }
            }
        });
        Ok(Self { snapshot, stop, thread: Some(thread) })
    }

    fn snapshot(&self) -> Snapshot {
        self.snapshot.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic there has been printed already
        }
    }
}

pub async fn demo(args: Args) -> Result<ExitCode> {
    let started = Instant::now();
    // A real kernel is emulated at a fraction of this machine's speed.
    let slow = args.conditions.is_harsh() || args.tock.is_some();
    let deadline = DEADLINE * if slow { 6 } else { 1 };
    let (conditions, seed) = args.conditions.conditions()?;
    let dir = tempfile::tempdir().context("a directory for the demo's state")?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));

    let air = Air::start(AirConfig { listen: any, scene: conditions.into(), seed, pcap: args.pcap.clone() })?;
    let master = master::run(master::Config { listen: any, ..Default::default() }).await?;
    let nodes = args.nodes + u8::from(args.tock.is_some());
    let eui64s: Vec<_> = (0..nodes).map(|number| [0x02, 0, 0, 0, 0, 0, 0, 0x0a + number]).collect();
    let credentials: Vec<_> = eui64s.iter().zip(0..).map(|(eui64, at)| keys::made_up(*eui64, at)).collect();
    let radio = GATEWAY_EUI64.parse().map_err(anyhow::Error::msg)?;
    let gateway = gateway::run(gateway::Config {
        sessions: gateway::session::Config {
            ack_timeout_ms: ACK_TIMEOUT_MS,
            poll_mains_s: 2,
            poll_battery_s: 2,
            ..Default::default()
        },
        keys: KeySource::Held(Keyring { credentials: credentials.clone(), revoked: Vec::new() }),
        ..gateway::Config::new(
            any,
            master.addr.into(),
            gateway::LinkConfig::Radio { air: air.address, eui64: radio },
            dir.path().join("gateway"),
        )
    })
    .await?;
    let machine = match (&args.tock, credentials.last()) {
        (Some(image), Some(credential)) => Some(qemu::Machine::start(&qemu::Config {
            image: image.clone(),
            state: dir.path().join("tock"),
            eui64: lowpan::Eui64(credential.eui64),
            air: air.address,
            provision: crate::tock::made_up(credential, radio)?,
        })?),
        _ => None,
    };
    let mut processes = Vec::new();
    for (number, credential) in (0..args.nodes).zip(credentials) {
        processes.push(Running::start(NodeConfig {
            eui64: lowpan::Eui64(credential.eui64),
            credential: Some(credential),
            listen: None,
            board: cast::board(number)?,
            link: agent_posix::LinkConfig::Radio { air: air.address, gateway: radio },
            state: dir.path().join(format!("node-{number}")),
            ack_timeout_ms: ACK_TIMEOUT_MS,
            // Blocks of 128 bytes take two frames: fragments too have to get through.
            block_szx: if number == 0 { 2 } else { 3 },
            publishers: Vec::new(),
        })?);
    }
    let images = {
        let native = args.tock.as_ref().map(|image| image.join("tasks"));
        cast::write_images(&dir.path().join("images"), native.as_deref())?
    };

    let (master_at, gateway_at) = (SocketAddr::from(master.addr), SocketAddr::from(gateway.address));
    let mut scene = Scene::start(master_at, &images, nodes.into(), args.tock.is_some()).await?;
    let mut show = show::Show::new(args.json);
    show.line(&format!(
        "master {master_at}, gateway {gateway_at}, medium {} (loss {} permille, seed {seed}), {} nodes",
        air.address, conditions.loss_permille, nodes
    ));
    let mut tick = tokio::time::interval(FRAME);
    while !scene.is_over() {
        if started.elapsed() > deadline {
            scene.give_up();
            break;
        }
        tokio::select! {
            event = scene.next_event() => {
                for line in scene.handle(event).await? {
                    show.line(&format!("{:6.2} s  {line}", started.elapsed().as_secs_f64()));
                }
            }
            _ = tick.tick() => {
                let gateway = Server::gateway(gateway_at, &TokenArgs::default())?;
                let view = tokio::task::spawn_blocking(move || gateway.document("/nodes")).await??;
                for line in scene.look(&view).await? {
                    show.line(&format!("{:6.2} s  {line}", started.elapsed().as_secs_f64()));
                }
                let frames: Vec<_> = processes.iter().map(|node| node.snapshot().traffic).collect();
                show.table(&view, &frames, &scene, air.stats());
            }
        }
    }
    let snapshots: Vec<Snapshot> = processes.iter().map(Running::snapshot).collect();
    let report = scene.report(&snapshots, air.stats(), conditions, started.elapsed());
    show.finish(&report)?;
    drop(processes);
    drop(machine);
    if let Err(error) = gateway.stop().await {
        bail!("the gateway ended badly: {error}");
    }
    drop(master);
    if let Some(path) = args.pcap {
        drop(air);
        eprintln!("frames are in {}", path.display());
    }
    Ok(if report.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
