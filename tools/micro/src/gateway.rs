//! `micro gateway`: its settings from flags, environment and a file, and its life as a process.
//!
//! What is given on the command line counts before the environment, that before the file of `--config`, and that
//! before the defaults. The file's keys are the names of the flags.

use crate::serve::GATEWAY_EUI64;
use anyhow::{Context, Result, bail};
use clap::CommandFactory;
use detect::MasterSpec;
use gateway::images::Trust;
use gateway::keys::KeySource;
use gateway::offers::Offers;
use libprocess::{Tls, TlsConfig, Verify};
use lowpan::Eui64;
use mesos_proto::cram::Credential;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Flags of the gateway. Each can be given in the environment and in the file too.
#[derive(clap::Args)]
#[command(
    args_override_self = true,
    after_help = "\
Settings: the command line counts before the environment, that before --config FILE, that before the defaults.
The file is TOML; its keys are the names of the flags: master = \"zk://zk1:2181/mesos\".

Signals: SIGTERM and SIGINT stop the gateway; its agents keep their ids and tasks, and are back when it is.
SIGUSR1 unregisters all agents from the master, ends their tasks and stops, as with mesos-agent.

MICRO_LOG sets what is logged, such as info,gateway=debug."
)]
pub struct GatewayArgs {
    /// TOML file with any of these settings
    #[arg(long, env = "MICRO_GATEWAY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The master: HOST:PORT, a list of them, zk://HOST:PORT,.../PATH, or file:///PATH
    #[arg(long, env = "MICRO_MASTER", default_value = "127.0.0.1:5050", value_name = "WHERE")]
    master: MasterSpec,
    /// Where the master and operators reach this gateway
    #[arg(long, env = "MICRO_GATEWAY_LISTEN", default_value = "127.0.0.1:5051", value_name = "ADDR")]
    listen: SocketAddr,
    /// The IPv4 address to tell the master, if it reaches this gateway by another than the one listened at
    #[arg(long, env = "MICRO_GATEWAY_ADVERTISE_IP", value_name = "IP")]
    advertise_ip: Option<Ipv4Addr>,
    /// The port to tell the master, if it is another than the one listened at
    #[arg(long, env = "MICRO_GATEWAY_ADVERTISE_PORT", value_name = "PORT")]
    advertise_port: Option<u16>,
    /// Begin with new agents although the master knows these at another address or by other hostnames
    #[arg(long, env = "MICRO_GATEWAY_NEW_AGENTS")]
    new_agents: bool,
    /// Where nodes reach it over UDP
    #[arg(
        long,
        env = "MICRO_GATEWAY_UDP",
        default_value = "[::]:5683",
        overrides_with = "air",
        value_name = "ADDR"
    )]
    udp: SocketAddr,
    /// The medium, to reach nodes over 802.15.4 instead
    #[arg(long, env = "MICRO_GATEWAY_AIR", value_name = "ADDR")]
    air: Option<SocketAddr>,
    /// EUI-64 of this gateway's radio
    #[arg(long, env = "MICRO_GATEWAY_RADIO", default_value = GATEWAY_EUI64, value_name = "EUI64")]
    radio: Eui64,
    /// Directory of the store and the image cache
    #[arg(long, env = "MICRO_GATEWAY_STATE", default_value = "micro-gateway", value_name = "DIR")]
    state: PathBuf,
    /// File of the nodes' keys, as micro commission writes it; nodes.keys in the state directory if absent
    #[arg(long, env = "MICRO_KEYS", value_name = "FILE")]
    keys: Option<PathBuf>,
    /// For the laboratory: take every node at its word, and protect nothing
    #[arg(long, env = "MICRO_GATEWAY_INSECURE", conflicts_with = "keys")]
    insecure: bool,
    /// File with the principal and the secret to prove to the master, as for mesos-agent
    #[arg(long, env = "MICRO_GATEWAY_CREDENTIAL", value_name = "FILE")]
    credential: Option<PathBuf>,
    /// What nodes offer instead of all they have, as for mesos-agent: cpus:0.5;mem(role):0.064
    #[arg(long, env = "MICRO_GATEWAY_RESOURCES", default_value = "", value_name = "RESOURCES")]
    resources: String,
    /// Attributes of all nodes, as for mesos-agent: site:north;floor:2
    #[arg(long, env = "MICRO_GATEWAY_ATTRIBUTES", default_value = "", value_name = "ATTRIBUTES")]
    attributes: String,
    /// TOML file with resources, attributes and hostnames of single nodes
    #[arg(long, env = "MICRO_GATEWAY_NODES", value_name = "FILE")]
    nodes: Option<PathBuf>,
    /// Certificates of this gateway, PEM: encrypts all connections with the master, as LIBPROCESS_SSL_ENABLED does
    #[arg(long, env = "MICRO_GATEWAY_TLS_CERT", requires = "tls_key", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, env = "MICRO_GATEWAY_TLS_KEY", requires = "tls_cert", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Certificates of the authorities, PEM
    #[arg(long, env = "MICRO_GATEWAY_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// How the master's certificate is verified: by its authority, by its address too, or not at all
    #[arg(long, env = "MICRO_GATEWAY_TLS_VERIFY", default_value = "chain", value_name = "HOW")]
    tls_verify: TlsVerify,
    /// Refuse whoever shows no certificate of the authority
    #[arg(long, env = "MICRO_GATEWAY_TLS_REQUIRE_CLIENT_CERT")]
    tls_require_client_cert: bool,
    /// Take and call peers without TLS in the clear
    #[arg(long, env = "MICRO_GATEWAY_TLS_DOWNGRADE")]
    tls_downgrade: bool,
    /// TOML file with the keys of publishers; then only images that one of them signed are launched
    #[arg(long, env = "MICRO_GATEWAY_TRUST", value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Megabytes of images kept on disk; images in use stay in any case
    #[arg(long, env = "MICRO_GATEWAY_IMAGE_CACHE", default_value_t = 64, value_name = "MB",
        value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    image_cache: u64,
    /// File of the token that operators need for the page, /nodes and /logs; made if it is not there. Unless it is given,
    /// a token is asked for only beyond loopback, and is in the file `token` in the state directory
    #[arg(long, env = "MICRO_GATEWAY_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Put after a node's EUI-64 to make its hostname
    #[arg(long, env = "MICRO_GATEWAY_DOMAIN", default_value = "micro", value_name = "NAME")]
    domain: String,
    /// Capacity of a node's battery in milliampere hours, for the estimate of how long it lasts
    #[arg(long, env = "MICRO_GATEWAY_BATTERY", default_value_t = gateway::BATTERY_MAH, value_name = "MAH")]
    battery: f64,
    /// Longest pause between polls of a node with mains, seconds
    #[arg(long, env = "MICRO_GATEWAY_POLL_MAINS", default_value_t = 5, value_name = "S")]
    poll_mains: u16,
    /// Longest pause between polls of a node on battery, seconds
    #[arg(long, env = "MICRO_GATEWAY_POLL_BATTERY", default_value_t = 60, value_name = "S")]
    poll_battery: u16,
    /// CoAP ACK_TIMEOUT towards nodes, milliseconds
    #[arg(long, env = "MICRO_GATEWAY_ACK_TIMEOUT", default_value_t = 2000, value_name = "MS")]
    ack_timeout: u32,
}

/// `--tls-verify`.
#[derive(Clone, Copy, clap::ValueEnum)]
enum TlsVerify {
    /// Anybody is believed
    None,
    /// The authority signed it
    Chain,
    /// The authority signed it for this address
    Full,
}

impl From<TlsVerify> for Verify {
    fn from(how: TlsVerify) -> Self {
        match how {
            TlsVerify::None => Self::None,
            TlsVerify::Chain => Self::Chain,
            TlsVerify::Full => Self::Full,
        }
    }
}

/// Runs a gateway until it is told to stop.
pub async fn gateway(args: GatewayArgs) -> Result<ExitCode> {
    let link = match args.air {
        Some(air) => gateway::LinkConfig::Radio { air, eui64: args.radio },
        None => gateway::LinkConfig::Udp(args.udp),
    };
    let credential = match &args.credential {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            Some(Credential::parse(&text).with_context(|| format!("credential in {}", path.display()))?)
        }
        None => None,
    };
    let offers = Offers::from_flags(&args.resources, &args.attributes)?;
    let offers = match &args.nodes {
        Some(path) => offers.with_file(path)?,
        None => offers,
    };
    let trust = args.trust.as_deref().map(Trust::read).transpose()?.unwrap_or_default();
    let (tls, advertise) = (tls(&args)?, advertised(&args)?);
    let keys = args.keys.unwrap_or_else(|| args.state.join("nodes.keys"));
    let mut handle = gateway::run(gateway::Config {
        keys: KeySource::File(keys),
        listen: args.listen,
        advertise,
        new_agents: args.new_agents,
        master: args.master,
        link,
        state: args.state,
        domain: args.domain,
        sessions: gateway::session::Config {
            ack_timeout_ms: args.ack_timeout,
            poll_mains_s: args.poll_mains,
            poll_battery_s: args.poll_battery,
            insecure: args.insecure,
            ..Default::default()
        },
        credential,
        offers,
        tls,
        trust,
        image_cache: args.image_cache << 20,
        token_file: args.token_file,
        battery_mah: args.battery,
    })
    .await?;
    crate::serve::announce(&format!("gateway listens at {}\npage at {}\n", handle.address, handle.page));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut retire = signal(SignalKind::user_defined1())?;
    tokio::select! {
        ended = handle.wait() => return ended.map(|()| ExitCode::SUCCESS).map_err(Into::into),
        _ = terminate.recv() => tracing::info!("stopping; agents stay registered for as long as the master waits"),
        _ = interrupt.recv() => tracing::info!("stopping; agents stay registered for as long as the master waits"),
        _ = retire.recv() => {
            tracing::warn!("unregistering all agents");
            handle.retire().await?;
        }
    }
    handle.stop().await?;
    Ok(ExitCode::SUCCESS)
}

fn tls(args: &GatewayArgs) -> Result<Option<Tls>> {
    let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) else { return Ok(None) };
    let config = TlsConfig {
        certificate: certificate.clone(),
        key: key.clone(),
        authority: args.tls_ca.clone(),
        verify: args.tls_verify.into(),
        require_client_certificate: args.tls_require_client_cert,
        downgrade: args.tls_downgrade,
    };
    Tls::load(&config).context("TLS").map(Some)
}

/// The address to tell peers, if it is not simply the one that is listened at.
fn advertised(args: &GatewayArgs) -> Result<Option<SocketAddrV4>> {
    let (ip, port) = match (args.advertise_ip, args.advertise_port) {
        (None, None) => return Ok(None),
        (ip, port) => (ip, port.unwrap_or(args.listen.port())),
    };
    if port == 0 {
        bail!("--advertise-port: needed when --listen leaves the port to the system");
    }
    match (ip, args.listen.ip()) {
        (Some(ip), _) => Ok(Some(SocketAddrV4::new(ip, port))),
        (None, IpAddr::V4(ip)) if !ip.is_unspecified() => Ok(Some(SocketAddrV4::new(ip, port))),
        (None, ip) => bail!("--advertise-ip: needed too, for {ip} is not an address to be called at"),
    }
}

/// The command line with what the file of `--config` says put before it, where neither the command line nor the
/// environment says otherwise. Other commands than the gateway are left as they are.
pub fn with_file(args: Vec<OsString>) -> Result<Vec<OsString>> {
    let Some(at) = args.iter().skip(1).position(|word| word == "gateway").map(|at| at + 2) else {
        return Ok(args);
    };
    let mut flag = args.iter().enumerate().skip(at).filter_map(|(index, word)| {
        let word = word.to_str()?;
        match word.strip_prefix("--config=") {
            Some(path) => Some(PathBuf::from(path)),
            None if word == "--config" => args.get(index + 1).map(PathBuf::from),
            None => None,
        }
    });
    let Some(path) = flag.next_back().or_else(|| std::env::var_os("MICRO_GATEWAY_CONFIG").map(PathBuf::from))
    else {
        return Ok(args);
    };
    let mut all = args[..at].to_vec();
    all.extend(from_file(&path)?);
    all.extend_from_slice(&args[at..]);
    Ok(all)
}

fn from_file(path: &Path) -> Result<Vec<OsString>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("--config {}", path.display()))?;
    let line = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
    let table: std::collections::BTreeMap<toml::Spanned<String>, toml::Value> = toml::from_str(&text)
        .map_err(|error| {
            let at = error.span().map_or(1, |span| line(span.start));
            anyhow::anyhow!("{}, line {at}: {}", path.display(), error.message())
        })?;
    let cli = crate::Cli::command();
    let known = cli.find_subcommand("gateway").context("no such command")?;
    let mut words = Vec::new();
    for (key, value) in table {
        let name = key.get_ref().replace('_', "-");
        let at = || format!("{}, line {}: {}", path.display(), line(key.span().start), key.get_ref());
        let Some(arg) = known.get_arguments().find(|arg| arg.get_long() == Some(&name) && name != "config")
        else {
            bail!("{}: no such setting; see micro gateway --help", at());
        };
        if arg.get_env().is_some_and(|name| std::env::var_os(name).is_some()) {
            continue;
        }
        match value {
            toml::Value::Boolean(true) => words.push(format!("--{name}").into()),
            toml::Value::Boolean(false) => {}
            toml::Value::String(text) => words.push(format!("--{name}={text}").into()),
            toml::Value::Integer(number) => words.push(format!("--{name}={number}").into()),
            _ => bail!("{}: expected a text, a number or true or false", at()),
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    fn parsed(file: &str, command: &str) -> Result<GatewayArgs> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("gateway.toml");
        std::fs::write(&path, file)?;
        let command = command.replace("FILE", path.to_str().context("path")?);
        let cli = crate::Cli::try_parse_from(with_file(words(&command))?)?;
        match cli.command {
            crate::Command::Gateway(args) => Ok(*args),
            _ => bail!("another command"),
        }
    }

    #[test]
    fn the_command_line_counts_before_the_file() {
        let file = "poll-mains = 9\npoll_battery = 90\nmaster = \"zk://z:2181/m\"\nnew-agents = true\n";
        let args = parsed(file, "micro gateway --poll-mains 7 --config FILE").unwrap();
        assert_eq!((args.poll_mains, args.poll_battery, args.ack_timeout), (7, 90, 2000));
        assert!(args.new_agents && args.master.to_string() == "zk://z:2181/m");
        let args = parsed("udp = \"[::]:1\"", "micro gateway --config=FILE --air 127.0.0.1:2").unwrap();
        assert!(args.air.is_some());
    }

    #[test]
    fn what_is_wrong_in_the_file_is_named() {
        let error = |file: &str| match parsed(file, "micro gateway --config FILE") {
            Ok(_) => panic!("{file} is taken"),
            Err(error) => format!("{error:#}"),
        };
        assert!(error("\npoll-mains = 1\nfrequency = 3").contains("line 3: frequency: no such setting"));
        assert!(error("a = = 1").contains("line 1"));
        assert!(error("listen = [1]").contains("line 1: listen: expected"));
        assert!(error("config = \"x\"").contains("no such setting"));
        assert!(error("poll-mains = 70000").contains("--poll-mains"));
        let missing = with_file(words("micro gateway --config /nowhere")).unwrap_err();
        assert!(format!("{missing:#}").contains("/nowhere"));
    }

    #[test]
    fn an_address_to_advertise_is_whole_or_refused() {
        let said = |flags: &str| {
            let args = parsed("", &format!("micro gateway --config FILE {flags}")).unwrap();
            advertised(&args).map(|address| address.map(|address| address.to_string())).ok()
        };
        assert_eq!(said(""), Some(None));
        assert_eq!(said("--advertise-ip 192.0.2.1"), Some(Some("192.0.2.1:5051".into())));
        assert_eq!(said("--listen 10.0.0.5:1 --advertise-port 2"), Some(Some("10.0.0.5:2".into())));
        assert_eq!(said("--listen 0.0.0.0:1 --advertise-port 2"), None);
        assert_eq!(said("--listen 0.0.0.0:0 --advertise-ip 192.0.2.1"), None);
    }
}
