//! Figures: what messages cost on the air, how long a launch takes, what an agent's state takes.

mod day;
mod exchanges;
mod fleet;
mod load;
mod pair;
mod stub;

use crate::keys;
use crate::run::{info, task};
use agent_posix::{AGENT_STATE_BYTES, Node, NodeConfig};
use anyhow::{Context, Result};
use framework::v1::TaskState;
use framework::{Client, Event, is_terminal};
use gateway::keys::KeySource;
use gateway::session::Keyring;
use lowpan::Eui64;
use mesos_proto::resources::Scalars;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

#[derive(clap::Args)]
pub struct Args {
    /// Launches to time
    #[arg(long, default_value_t = 100)]
    launches: usize,
    /// Instead, put so many nodes behind one gateway, one number after the other: 1000,10000
    #[arg(long, value_delimiter = ',', value_name = "N,...")]
    nodes: Vec<usize>,
    /// Seconds for which the gateway is left idle to measure its CPU time
    #[arg(long, default_value_t = 20, value_name = "S", requires = "nodes")]
    idle: u64,
    /// Print one JSON document instead of tables
    #[arg(long, requires = "nodes")]
    json: bool,
}

pub async fn bench(args: Args) -> Result<ExitCode> {
    if !args.nodes.is_empty() {
        return load::load(&args.nodes, Duration::from_secs(args.idle.max(1)), args.json).await;
    }
    exchanges::exchanges()?;
    println!();
    day::day()?;
    println!("\nnode agent state, without storage and executor: {AGENT_STATE_BYTES} bytes on this machine");
    launches(args.launches.max(1)).await?;
    Ok(ExitCode::SUCCESS)
}

async fn launches(count: usize) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    // The gateway's UDP port has to be known to the node before it exists.
    let udp = std::net::UdpSocket::bind(any)?.local_addr()?;
    let master = master::run(master::Config { listen: any, ..Default::default() }).await?;
    let credential = keys::made_up([2, 0, 0, 0, 0, 0, 0, 10], 0);
    let keyring = Keyring { credentials: vec![credential.clone()], revoked: Vec::new() };
    let gateway = gateway::run(gateway::Config {
        keys: KeySource::Held(keyring),
        ..gateway::Config::new(
            any,
            master.addr.into(),
            gateway::LinkConfig::Udp(udp),
            dir.path().join("gateway"),
        )
    })
    .await?;
    let mut node = Node::start(NodeConfig {
        eui64: Eui64(credential.eui64),
        credential: Some(credential),
        listen: None,
        board: "bench,cpu=1,mem=128K,flash=256K".parse()?,
        link: agent_posix::LinkConfig::Udp(udp),
        state: dir.path().join("node"),
        ack_timeout_ms: 2000,
        block_szx: 6,
        publishers: Vec::new(),
    })?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let thread = std::thread::spawn(move || node.run(|| stopped.load(Relaxed)));
    let image = dir.path().join("hello.wasm");
    std::fs::write(&image, include_bytes!("../../../task-sdk/images/hello.wasm"))?;

    let granted = Scalars::from_amounts([("cpus", 0.2), ("mem", 0.008)]);
    let uri = image.display().to_string();
    let times = Launches::subscribe(SocketAddr::from(master.addr), uri, granted).await?.times(count).await?;
    stop.store(true, Relaxed);
    let _ = thread.join(); // a panic there has been printed
    gateway.stop().await?;
    println!("offer accepted to TASK_RUNNING, image cached, UDP on loopback, {count} launches:");
    println!(
        "  p50 {:6.2} ms   budget  5 ms\n  p99 {:6.2} ms   budget 20 ms",
        percentile(&times, 50),
        percentile(&times, 99)
    );
    Ok(())
}

/// Launches one task after the other and times them, from offers that are kept for as long as nobody takes them back.
struct Launches {
    client: Client,
    events: mpsc::Receiver<Event>,
    offers: Vec<framework::v1::Offer>,
    granted: Scalars,
    uri: String,
}

impl Launches {
    async fn subscribe(master: SocketAddr, uri: String, granted: Scalars) -> Result<Self> {
        let (client, events) = Client::subscribe(master, info("bench", 0.0)).await?;
        Ok(Self { client, events, offers: Vec::new(), granted, uri })
    }

    /// Times in milliseconds, in order of length. The first launch brings the image into both caches and is not
    /// counted.
    async fn times(&mut self, count: usize) -> Result<Vec<f64>> {
        let mut times = Vec::new();
        for number in 0..=count {
            let took = self.one(number).await?;
            if number > 0 {
                times.push(took.as_secs_f64() * 1000.0);
            }
        }
        times.sort_by(f64::total_cmp);
        Ok(times)
    }

    async fn one(&mut self, number: usize) -> Result<Duration> {
        let id = format!("bench-{number}");
        let mut launched = None;
        let mut took = None;
        loop {
            if launched.is_none()
                && let Some(offer) = self.offers.pop()
            {
                let mut task = task(&id, &self.uri, &[], &[], &self.granted)?;
                task.agent_id = offer.agent_id.clone();
                launched = Some(Instant::now());
                self.client.launch(&offer, vec![task]).await?;
            }
            let event = tokio::time::timeout(Duration::from_secs(30), self.events.recv()).await?;
            let event = event.context("no more events")?;
            self.offers.extend(event.offers.into_iter().flat_map(|offers| offers.offers));
            if let Some(rescind) = event.rescind {
                self.offers.retain(|offer| offer.id != rescind.offer_id);
            }
            let Some(update) = event.update else { continue };
            if update.status.state() == TaskState::TaskRunning {
                took = launched.map(|at| at.elapsed());
            }
            self.client.acknowledge(&update.status).await?;
            if is_terminal(update.status.state()) {
                if self.offers.is_empty() {
                    self.client.revive().await?;
                }
                let why = &update.status.message;
                return took.with_context(|| format!("{id} ended without running: {why:?}"));
            }
        }
    }
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted
        .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}
