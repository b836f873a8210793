//! The parts of the system, each as a process of its own.

use agent_posix::{Node, NodeConfig, board::Board};
use air::{Air, AirConfig, Conditions, Scene, Stats};
use anyhow::{Context, Result, bail};
use lowpan::Eui64;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::net::{SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// EUI-64 of a gateway's radio unless it is told another.
pub const GATEWAY_EUI64: &str = "0200000000000001";

#[derive(clap::Args)]
pub struct NodeArgs {
    /// Show this node, as its gateway knows it, and run none
    #[arg(value_name = "EUI64", conflicts_with_all = ["air", "eui64", "key", "insecure", "listen"])]
    shown: Option<Eui64>,
    #[command(flatten)]
    token: crate::token::TokenArgs,
    /// Of a node that is shown: for machines
    #[arg(long, requires = "shown")]
    json: bool,
    /// The gateway, over UDP; of a node that is shown, where operators ask it
    #[arg(long, value_name = "ADDR", required_unless_present_any = ["air", "shown"], conflicts_with = "air")]
    gateway: Option<SocketAddr>,
    /// The medium, over 802.15.4
    #[arg(long, value_name = "ADDR")]
    air: Option<SocketAddr>,
    /// EUI-64 of the gateway's radio
    #[arg(long, default_value = GATEWAY_EUI64, value_name = "EUI64", requires = "air")]
    gateway_radio: Eui64,
    /// EUI-64 of this node, its identity for ever; that of its key, or 020000000000000a, if absent
    #[arg(long)]
    eui64: Option<Eui64>,
    /// File with the node's key, as micro commission makes it; it is moved into the state directory
    #[arg(long, env = "MICRO_NODE_KEY", value_name = "FILE", conflicts_with = "insecure")]
    key: Option<PathBuf>,
    /// For the laboratory: believe everybody, and protect nothing
    #[arg(long)]
    insecure: bool,
    /// Where CoAP clients find what the node tells of itself, on UDP
    #[arg(long, value_name = "ADDR", requires = "gateway")]
    listen: Option<SocketAddr>,
    /// What the node is: NAME,cpu=0.8,mem=128K,flash=256K,sensors=1,leds=2,battery=90
    #[arg(long, default_value = "posix,sensors=1,leds=2")]
    board: Board,
    /// Directory that its records and images survive in
    #[arg(long, default_value = "micro-node", value_name = "DIR")]
    state: PathBuf,
    /// CoAP ACK_TIMEOUT in milliseconds
    #[arg(long, default_value_t = 2000, value_name = "MS")]
    ack_timeout: u32,
    /// Image blocks of 2^(N+4) bytes, 0 to 6
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=6))]
    block_szx: u8,
    /// Start only images signed by this publisher: ed25519:HEX, or a file with that (micro task keygen); up to four
    #[arg(long, env = "MICRO_PUBLISHER", value_name = "KEY", value_delimiter = ',', value_parser = crate::task::public_key)]
    publisher: Vec<[u8; 32]>,
}

pub fn node(args: NodeArgs) -> Result<ExitCode> {
    if let Some(shown) = args.shown {
        let at = crate::ask::GatewayAt::named(args.gateway, args.token)?;
        return crate::ask::node(&at, shown, args.json);
    }
    if args.publisher.len() > agent_posix::PUBLISHERS_MAX {
        bail!("--publisher: a node knows at most {}", agent_posix::PUBLISHERS_MAX);
    }
    let link = match (args.gateway, args.air) {
        (Some(gateway), _) => agent_posix::LinkConfig::Udp(gateway),
        (None, Some(air)) => agent_posix::LinkConfig::Radio { air, gateway: args.gateway_radio },
        (None, None) => bail!("give --gateway or --air"),
    };
    let credential = match args.insecure {
        true => None,
        false => {
            let held = crate::keys::provision(&args.state, args.key.as_deref())?;
            let missing =
                || format!("no key in {}: give --key FILE, made by micro commission", args.state.display());
            Some(held.with_context(missing)?)
        }
    };
    let own = credential.as_ref().map_or(Eui64([2, 0, 0, 0, 0, 0, 0, 10]), |held| Eui64(held.eui64));
    let eui64 = args.eui64.unwrap_or(own);
    if credential.is_some() && eui64 != own {
        bail!("--eui64 {eui64}: the key is that of node {own}");
    }
    let config = NodeConfig {
        eui64,
        credential,
        listen: args.listen,
        board: args.board,
        link,
        state: args.state,
        ack_timeout_ms: args.ack_timeout,
        block_szx: args.block_szx,
        publishers: args.publisher,
    };
    let mut node = Node::start(config)?;
    println!("node {eui64} runs");
    let mut registered = false;
    loop {
        node.turn();
        let now = node.snapshot().registered;
        if now != registered {
            registered = now;
            tracing::info!(node = %eui64, registered, "link");
        }
    }
}

/// Says where something is, all at once: whoever started it may read the first line and close the pipe.
pub fn announce(lines: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody has to read it.
    let _ = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
}

#[derive(clap::Args)]
pub struct MasterArgs {
    /// Where agents, frameworks and operators reach it
    #[arg(long, default_value = "127.0.0.1:5050", value_name = "ADDR")]
    listen: SocketAddr,
    /// Allocation policy: drf or priority
    #[arg(long, default_value = "drf")]
    policy: String,
    /// Weight of a role among its siblings, 1 unless given; UPDATE_WEIGHTS changes it at run time
    #[arg(long, value_name = "ROLE=NUMBER", value_parser = named::<f64>)]
    weight: Vec<(String, f64)>,
    /// With --policy priority: of a role among its siblings, 0 unless given; higher goes first
    #[arg(long, value_name = "ROLE=NUMBER", value_parser = named::<i64>, allow_hyphen_values = true)]
    priority: Vec<(String, i64)>,
    /// The address to tell peers, if they reach it by another
    #[arg(long, value_name = "ADDR")]
    advertise: Option<SocketAddrV4>,
    /// File with principals and secrets, as for mesos-master
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// Take in agents only that have proved who they are
    #[arg(long, requires = "credentials")]
    authenticate_agents: bool,
    /// Directory of what survives a restart: agents, frameworks, jobs, maintenance; micro-master if absent
    #[arg(long, env = "MICRO_MASTER_STATE", value_name = "DIR")]
    state: Option<PathBuf>,
    /// Keep nothing, unless --state says where: start empty each time
    #[arg(long, env = "MICRO_MASTER_VOLATILE")]
    volatile: bool,
    /// Seconds that agents which are disconnected, or not heard of since a restart, have to come back
    #[arg(long, default_value_t = 600, value_name = "S")]
    agent_reregister_timeout: u64,
    /// Give no agent up after a restart if more than this part of them does not come back
    #[arg(long, default_value_t = 100, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    recovery_agent_removal_limit: u8,
    /// At least so many seconds between two agents that are given up
    #[arg(long, default_value_t = 0, value_name = "S")]
    agent_removal_interval: u64,
    /// File of the token that operators need for the page and for jobs; made if it is not there. Unless it is given, a
    /// token is asked for only beyond loopback, and is in the file `token` in the state directory
    #[arg(long, env = "MICRO_MASTER_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Seconds between pings
    #[arg(long, default_value_t = 15, value_name = "S")]
    ping_interval: u64,
}

/// `ROLE=NUMBER`.
fn named<N: std::str::FromStr>(text: &str) -> Result<(String, N), String> {
    let wrong = || format!("'{text}': expected ROLE=NUMBER");
    let (role, number) = text.split_once('=').filter(|(role, _)| !role.is_empty()).ok_or_else(wrong)?;
    Ok((role.to_owned(), number.parse().map_err(|_| wrong())?))
}

pub async fn master(args: MasterArgs, log: master::LogLevel) -> Result<ExitCode> {
    let credentials = match &args.credentials {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            mesos_proto::cram::parse_list(&text).with_context(|| path.display().to_string())?
        }
        None => Vec::new(),
    };
    let state = args.state.or_else(|| (!args.volatile).then(|| "micro-master".into()));
    let mut handle = master::run(master::Config {
        state,
        token_file: args.token_file,
        listen: args.listen,
        advertise: args.advertise,
        credentials,
        authenticate_agents: args.authenticate_agents,
        policy: args.policy,
        weights: args.weight.into_iter().collect(),
        priorities: args.priority.into_iter().collect(),
        ping_interval: Duration::from_secs(args.ping_interval.max(1)),
        agent_reregister_timeout: Duration::from_secs(args.agent_reregister_timeout),
        recovery_agent_removal_limit: f64::from(args.recovery_agent_removal_limit) / 100.0,
        agent_removal_interval: Duration::from_secs(args.agent_removal_interval),
        logging: Some(log),
        ..Default::default()
    })
    .await?;
    announce(&format!("master listens at {}\npage at {}\n", handle.addr, handle.page));
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = handle.wait() => return ended.map(|()| ExitCode::SUCCESS).map_err(Into::into),
        _ = terminate.recv() => tracing::info!("stopping"),
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    handle.stop().await;
    Ok(ExitCode::SUCCESS)
}

#[derive(clap::Args)]
pub struct AirArgs {
    /// Where radios send to
    #[arg(long, default_value = "127.0.0.1:17001", value_name = "ADDR")]
    listen: SocketAddr,
    #[command(flatten)]
    conditions: ConditionArgs,
    /// TOML file with places, links, collisions, partitions and limits of airtime: see tools/air/README.md
    #[arg(long, value_name = "FILE", conflicts_with_all = ["loss", "delay", "duplicate"])]
    scene: Option<PathBuf>,
    /// Write what is in the air for Wireshark
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// One JSON document at the end, with every counter of every radio
    #[arg(long)]
    json: bool,
}

/// How bad the medium is.
#[derive(clap::Args, Clone, Copy)]
pub struct ConditionArgs {
    /// Share of frames that are lost
    #[arg(long, default_value_t = 0.05, value_name = "0..1")]
    loss: f64,
    /// Share of frames that are delayed by up to 30 ms
    #[arg(long, default_value_t = 0.1, value_name = "0..1")]
    delay: f64,
    /// Share of frames that are heard twice
    #[arg(long, default_value_t = 0.01, value_name = "0..1")]
    duplicate: f64,
    /// What decides the fate of frames
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl ConditionArgs {
    /// Worse than what a usable radio link is.
    pub fn is_harsh(&self) -> bool {
        self.loss > 0.06
    }

    /// The medium's settings, and its seed.
    pub fn conditions(&self) -> Result<(Conditions, u64)> {
        let permille = |name: &str, share: f64| match share {
            0.0..=1.0 => Ok((share * 1000.0).round() as u32),
            _ => bail!("--{name} {share}: expected a share from 0 to 1"),
        };
        let conditions = Conditions {
            loss_permille: permille("loss", self.loss)?,
            duplicate_permille: permille("duplicate", self.duplicate)?,
            delay_permille: permille("delay", self.delay)?,
            delay_max_us: 30_000,
        };
        Ok((conditions, self.seed))
    }
}

pub async fn air(args: AirArgs) -> Result<ExitCode> {
    let (conditions, seed) = args.conditions.conditions()?;
    let scene = match &args.scene {
        Some(path) => Scene::read(path)?,
        None => conditions.into(),
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let air = Air::start(AirConfig { listen: args.listen, scene, seed, pcap: args.pcap })?;
    let listens = format!("medium listens at {}", air.address);
    match args.json {
        true => eprintln!("{listens}"), // standard output is for the document
        false => println!("{listens}"),
    }
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    let (total, radios) = (air.stats(), air.radios());
    drop(air); // what is captured is in the file then
    if args.json {
        println!("{:#}", air_report(total, &radios));
        return Ok(ExitCode::SUCCESS);
    }
    println!("{total}");
    let row = |cells: [String; 9]| {
        let [name, numbers @ ..] = cells;
        let numbers = numbers.map(|cell| format!("{cell:>9}"));
        println!("{name:<16} {}", numbers.join(" "));
    };
    let heads = ["RADIO", "SENT", "AIR ms", "HEARD", "LOST", "COLLIDED", "REACH", "APART", "DUTY"];
    row(heads.map(String::from));
    for (eui64, stats) in radios {
        let name = eui64.map_or("?".into(), |eui64| eui64.to_string());
        let Stats { frames, airtime_us, delivered, lost, collided, out_of_reach, partitioned, .. } = stats;
        let numbers = [
            frames,
            airtime_us / 1000,
            delivered,
            lost,
            collided,
            out_of_reach,
            partitioned,
            stats.duty_refused,
        ];
        let mut cells = numbers.iter().map(u64::to_string);
        row(std::array::from_fn(|at| if at == 0 { name.clone() } else { cells.next().unwrap_or_default() }));
    }
    Ok(ExitCode::SUCCESS)
}

fn air_report(total: Stats, radios: &[(Option<Eui64>, Stats)]) -> Value {
    let counters = |stats: &Stats| -> Map<String, Value> {
        stats.fields().into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect()
    };
    let radios = radios.iter().map(|(eui64, stats)| {
        let mut said = counters(stats);
        said.insert("eui64".into(), eui64.map(|eui64| eui64.to_string()).into());
        Value::Object(said)
    });
    json!({ "total": counters(&total), "radios": radios.collect::<Vec<_>>() })
}
