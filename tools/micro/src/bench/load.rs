//! A gateway with thousands of nodes: figures beside the budgets of the design.
//!
//! The gateway is a process of its own, so that its memory and CPU time are its own; each node is a CoAP client on a
//! UDP socket of its own. What is to be told of the gateway's store alone is measured in this process over a link
//! without sockets, against a master that does nothing but answer.

use super::fleet::{self, Counts, Fleet};
use super::stub::Stub;
use super::{Launches, percentile};
use crate::ask::Server;
use crate::token::TokenArgs;
use anyhow::{Context, Result, bail};
use gateway::keys::KeySource;
use gateway::session::Keyring;
use mesos_proto::resources::Scalars;
use serde_json::{Map, Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(300);
/// Launches whose latency is measured.
const LAUNCHES: usize = 100;
/// Looks at the whole fleet that are measured.
const LOOKS: usize = 20;
/// Updates that are made durable, about.
const UPDATES: usize = 40_000;

/// A figure: its name, its value, its unit, and its budget.
struct Figure(&'static str, f64, &'static str, Option<(char, f64)>);

/// Kills the gateway with the benchmark.
struct Gateway {
    child: Child,
    http: SocketAddr,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may be gone
        let _ = self.child.wait();
    }
}

impl Gateway {
    fn start(state: &Path, keys: &Path, master: &str, udp: SocketAddr) -> Result<Self> {
        use std::io::BufRead;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["gateway", "--listen", "127.0.0.1:0", "--poll-mains", "15", "--master", master])
            .arg("--keys")
            .arg(keys)
            .arg("--udp")
            .arg(udp.to_string())
            .arg("--state")
            .arg(state)
            .env("MICRO_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("no output")?;
        std::io::BufReader::new(stdout).read_line(&mut line)?;
        let http = line.trim().rsplit(' ').next().and_then(|word| word.parse().ok());
        Ok(Self { child, http: http.with_context(|| format!("the gateway did not start: {line}"))? })
    }

    async fn metric(&self, name: &'static str) -> Result<u64> {
        let gateway = Server::gateway(self.http, &TokenArgs::default())?;
        let all = tokio::task::spawn_blocking(move || gateway.document("/metrics/snapshot")).await??;
        all[name].as_u64().with_context(|| format!("no figure {name}"))
    }

    /// How long documents of the whole fleet take, milliseconds: sums over all nodes, a search in all, a page of 100.
    async fn looks(&self) -> Result<Vec<f64>> {
        let gateway = Server::gateway(self.http, &TokenArgs::default())?;
        let look = move || {
            let mut times = Vec::new();
            for _ in 0..LOOKS {
                let begun = Instant::now();
                let path = "/view/fleet?q=fleet&sort=quality&limit=100";
                gateway.document(path)?;
                times.push(begun.elapsed().as_secs_f64() * 1000.0);
                // The gateway takes a pause as long as each look.
                std::thread::sleep(begun.elapsed());
            }
            times.sort_by(f64::total_cmp);
            Ok(times)
        };
        tokio::task::spawn_blocking(look).await?
    }

    async fn until(&self, name: &'static str, wanted: u64) -> Result<Duration> {
        let begun = Instant::now();
        let mut told = Instant::now();
        loop {
            let now = self.metric(name).await?;
            if now >= wanted {
                return Ok(begun.elapsed());
            }
            if begun.elapsed() > PATIENCE {
                bail!("{name} is {now} after {PATIENCE:?}, not {wanted}");
            }
            if told.elapsed() > Duration::from_secs(5) {
                eprintln!("  {name}: {now} of {wanted}");
                told = Instant::now();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Resident memory, bytes.
    fn memory(&self) -> Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id()))?;
        let pages: f64 = text.split(' ').nth(1).context("statm")?.parse()?;
        Ok(pages * 4096.0)
    }

    /// CPU time so far, seconds.
    fn cpu(&self) -> Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let after = text.rsplit_once(')').context("stat")?.1;
        let ticks: f64 =
            after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
        Ok(ticks / 100.0)
    }
}

pub async fn load(sizes: &[usize], idle: Duration, as_json: bool) -> Result<ExitCode> {
    let mut document = Map::new();
    for nodes in sizes {
        eprintln!("{nodes} nodes");
        let mut figures = real(*nodes, idle).await?;
        figures.extend(in_memory(*nodes).await?);
        if as_json {
            let shown = figures.iter().map(|Figure(name, value, unit, budget)| {
                let budget = budget.map(|(_, budget)| budget);
                (name.to_string(), json!({ "value": value, "unit": unit, "budget": budget }))
            });
            document.insert(nodes.to_string(), Value::Object(shown.collect()));
            continue;
        }
        println!("\n{nodes} nodes behind one gateway{:>34} {:>14}", "measured", "budget");
        for Figure(name, value, unit, budget) in figures {
            let budget = budget.map_or(String::new(), |(sign, budget)| format!("{sign} {budget}"));
            println!("  {name:<48} {value:>9.1} {unit:<9} {budget:>9}");
        }
    }
    if as_json {
        println!("{:#}", Value::Object(document));
    }
    Ok(ExitCode::SUCCESS)
}

async fn new_master() -> Result<master::Handle> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Ok(master::run(master::Config { listen: any, ..Default::default() }).await?)
}

/// A gateway process, real sockets, the embedded master.
async fn real(nodes: usize, idle: Duration) -> Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let first = new_master().await?;
    // The master is named in a file, so that another one can be found at another address at once.
    let named = dir.path().join("master");
    std::fs::write(&named, first.addr.to_string())?;
    let udp = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let state = dir.path().join("gateway");
    let counts = Arc::<Counts>::default();
    let fleet = Fleet::new(nodes, counts.clone())?;
    let keys = dir.path().join("nodes.keys");
    let lines: Vec<String> = fleet.credentials().iter().map(node_oscore::Credential::to_line).collect();
    std::fs::write(&keys, lines.join("\n"))?;
    let gateway = Gateway::start(&state, &keys, &format!("file://{}", named.display()), udp)?;
    let empty = gateway.memory()?;

    let fleet = tokio::spawn(fleet::over_sockets(fleet, udp));
    eprintln!("  registering");
    let registering = gateway.until("gateway/agents_registered", nodes as u64).await?;

    eprintln!("  idle for {} s", idle.as_secs());
    let before = gateway.cpu()?;
    tokio::time::sleep(idle).await;
    let busy = (gateway.cpu()? - before) / idle.as_secs_f64();
    let memory = (gateway.memory()? - empty) / nodes as f64;

    eprintln!("  looking at the fleet");
    let looks = gateway.looks().await?;
    eprintln!("  another master");
    let answered = gateway.metric("gateway/registrations").await?;
    drop(first);
    let second = new_master().await?;
    std::fs::write(&named, second.addr.to_string())?;
    gateway.until("gateway/registrations", answered + 1).await?;
    let over = gateway.until("gateway/registrations", answered + nodes as u64).await?;

    eprintln!("  launching");
    let image = dir.path().join("hello.wasm");
    std::fs::write(&image, include_bytes!("../../../task-sdk/images/hello.wasm"))?;
    let granted = Scalars::from_amounts([("cpus", 0.1), ("mem", 0.008)]);
    let uri = image.display().to_string();
    let times =
        Launches::subscribe(SocketAddr::from(second.addr), uri, granted).await?.times(LAUNCHES).await?;
    let at = |percent| percentile(&times, percent);
    fleet.abort();
    Ok(vec![
        Figure("all registered after", registering.as_secs_f64(), "s", None),
        Figure("failover: all re-registered after the first", over.as_secs_f64(), "s", Some(('<', 10.0))),
        Figure("gateway memory per idle node", memory / 1024.0, "KiB", Some(('<', 3.0))),
        Figure("gateway CPU, idle, of one core", busy * 100.0, "%", None),
        Figure("fleet page with a filter, p50", percentile(&looks, 50), "ms", None),
        Figure("offer accepted to TASK_RUNNING, p50", at(50), "ms", Some(('<', 5.0))),
        Figure("offer accepted to TASK_RUNNING, p99", at(99), "ms", Some(('<', 20.0))),
    ])
}

/// The gateway in this process, no sockets to the nodes, a master that only answers.
async fn in_memory(nodes: usize) -> Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let stub = Stub::start().await?;
    let (link, to_gateway, at_nodes) = gateway::MemoryLink::new(65_536);
    let counts = Arc::<Counts>::default();
    let fleet = Fleet::new(nodes, counts.clone())?;
    let keyring = Keyring { credentials: fleet.credentials().to_vec(), revoked: Vec::new() };
    let gateway = gateway::run(gateway::Config {
        keys: KeySource::Held(keyring),
        ..gateway::Config::new(
            ([127, 0, 0, 1], 0).into(),
            stub.transport.local().into(),
            gateway::LinkConfig::Memory(link),
            dir.path().join("gateway"),
        )
    })
    .await?;
    let fleet = tokio::spawn(fleet::over_memory(fleet, to_gateway, at_nodes));
    eprintln!("  registering, without sockets");
    let registering = Instant::now();
    until(|| stub.seen.agents.lock().map_or(0, |agents| agents.len()), nodes).await?;
    let registering = registering.elapsed();

    let image = dir.path().join("hello.wasm");
    std::fs::write(&image, include_bytes!("../../../task-sdk/images/hello.wasm"))?;
    // Each task makes two updates, in rounds of at most four tasks on a node at a time.
    let rounds = (UPDATES / 2 / nodes).clamp(1, 64);
    let per_round = rounds.min(4);
    eprintln!("  {} updates", rounds * nodes * 2);
    let begun = Instant::now();
    let (mut wanted, mut round, mut left) = (0, 0, rounds);
    while left > 0 {
        let now = left.min(per_round);
        stub.launch(round, now, &image.display().to_string());
        wanted += now * nodes;
        until(|| stub.seen.ended.load(Relaxed), wanted).await?;
        (round, left) = (round + 1, left - now);
    }
    let took = begun.elapsed().as_secs_f64();
    let updates = stub.seen.updates.load(Relaxed) as f64;
    fleet.abort();
    gateway.stop().await?;
    Ok(vec![
        Figure("all registered after, without sockets", registering.as_secs_f64(), "s", None),
        Figure("durable updates, launch to acknowledgement", updates / took, "per s", Some(('>', 20_000.0))),
    ])
}

async fn until(count: impl Fn() -> usize, wanted: usize) -> Result<()> {
    let begun = Instant::now();
    let mut told = Instant::now();
    while count() < wanted {
        if begun.elapsed() > PATIENCE {
            bail!("{} of {wanted} after {PATIENCE:?}", count());
        }
        if told.elapsed() > Duration::from_secs(5) {
            eprintln!("  {} of {wanted}", count());
            told = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}
