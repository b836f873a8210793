//! `micro provision` and `micro emulate`: what a node without files is told, and such a node under QEMU.

use crate::serve::GATEWAY_EUI64;
use agent_core::provision::{Network, Provision};
use anyhow::{Context, Result, anyhow, bail};
use lowpan::Eui64;
use node_oscore::Credential;
use node_proto::Power;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

/// The PAN of the simulated medium's radios.
const PAN: u16 = 0xABCD;
/// What the emulated board calls itself.
const BOARD: &str = "qemu_rv32_virt";
/// Any channel will do on a simulated medium; on the air it has to be the border router's.
const CHANNEL: u8 = 26;

/// What a node is told of itself and its surroundings.
#[derive(clap::Args)]
pub struct ProvisionArgs {
    /// File with the node's key, as micro commission makes it
    #[arg(long, env = "MICRO_NODE_KEY", value_name = "FILE", required_unless_present = "insecure")]
    key: Option<PathBuf>,
    /// For the laboratory: believe everybody, and protect nothing
    #[arg(long, conflicts_with = "key", requires = "eui64")]
    insecure: bool,
    /// EUI-64 of the node; that of its key if absent
    #[arg(long)]
    eui64: Option<Eui64>,
    /// EUI-64 of the gateway's radio
    #[arg(long, default_value = GATEWAY_EUI64, value_name = "EUI64")]
    gateway_radio: Eui64,
    /// The PAN, hexadecimal
    #[arg(long, default_value = "abcd", value_name = "HEX", value_parser = pan)]
    pan: u16,
    /// Channel of the 2.4 GHz band, 11 to 26
    #[arg(long, default_value_t = CHANNEL, value_name = "N", value_parser = clap::value_parser!(u8).range(11..=26))]
    channel: u8,
    /// Join a Thread network with this key, 32 hexadecimal digits
    #[arg(long, env = "MICRO_THREAD_KEY", value_name = "KEY", value_parser = thread_key)]
    thread_key: Option<[u8; 16]>,
    /// Start only images signed by this publisher: ed25519:HEX, or a file with that; up to four
    #[arg(long, env = "MICRO_PUBLISHER", value_name = "KEY", value_delimiter = ',', value_parser = crate::task::public_key)]
    publisher: Vec<[u8; 32]>,
    /// Longest pause between polls that the node wants, seconds
    #[arg(long, default_value_t = u16::MAX, value_name = "S")]
    poll_max: u16,
    /// It runs on a battery with so much left, percent
    #[arg(long, value_name = "PERCENT")]
    battery: Option<u8>,
    /// What the board calls itself, if not by the name it was built for
    #[arg(long, default_value = "", value_name = "NAME")]
    board: String,
}

#[derive(clap::Args)]
#[command(after_help = "\
The file holds the node's secret. It is flashed to the start of the node's storage: boards/README.md says where that is.")]
pub struct ProvisionCommand {
    #[command(flatten)]
    provision: ProvisionArgs,
    /// Where to put it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(clap::Args)]
pub struct EmulateArgs {
    #[command(flatten)]
    provision: ProvisionArgs,
    /// Directory with the image, as micro image makes it
    #[arg(long, default_value = "target/tock/qemu_rv32_virt", value_name = "DIR")]
    image: PathBuf,
    /// The medium
    #[arg(long, value_name = "ADDR")]
    air: SocketAddr,
    /// Directory of the machine's memory, which its storage is part of
    #[arg(long, default_value = "micro-tock", value_name = "DIR")]
    state: PathBuf,
}

fn pan(text: &str) -> Result<u16, String> {
    u16::from_str_radix(text.trim_start_matches("0x"), 16).map_err(|error| error.to_string())
}

fn thread_key(text: &str) -> Result<[u8; 16], String> {
    let digits = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = u128::from_str_radix(text, 16).ok().filter(|_| digits);
    number.map(u128::to_be_bytes).ok_or_else(|| "expected 32 hexadecimal digits".into())
}

/// What the arguments come to, and the node that it is for.
fn told(args: &ProvisionArgs, board: &str) -> Result<(Eui64, Vec<u8>)> {
    let credential: Option<Credential> = match &args.key {
        None => None,
        Some(path) => {
            let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            Some(text.parse().with_context(|| path.display().to_string())?)
        }
    };
    let own = credential.as_ref().map(|credential| Eui64(credential.eui64));
    let eui64 = args.eui64.or(own).context("give --eui64")?;
    if own.is_some_and(|own| own != eui64) {
        bail!("--eui64 {eui64}: the key is that of another node");
    }
    let (pan, channel) = (args.pan, args.channel);
    let network = match args.thread_key {
        None => Network::Lowpan { pan, channel },
        Some(key) => Network::Thread { pan, channel, key, key_sequence: 0 },
    };
    let publishers = heapless::Vec::from_slice(&args.publisher);
    let provision = Provision {
        eui64: Some(eui64.0),
        gateway: args.gateway_radio.0,
        network,
        credential,
        publishers: publishers.map_err(|_| anyhow!("--publisher: a node knows at most four"))?,
        poll_max_s: args.poll_max,
        power: args.battery.map_or(Power::Mains, Power::Battery),
        board: if args.board.is_empty() { board } else { &args.board }
            .try_into()
            .map_err(|_| anyhow!("--board: at most 14 bytes"))?,
    };
    Ok((eui64, blob(&provision)?))
}

/// What is to be stored for a node to find.
fn blob(provision: &Provision) -> Result<Vec<u8>> {
    let blob = provision.encode().map_err(|error| anyhow!("provisioning: {error:?}"))?;
    Ok(blob.to_vec())
}

/// The same for a node of a demo, with a key.
pub fn made_up(credential: &Credential, gateway: Eui64) -> Result<Vec<u8>> {
    blob(&Provision {
        eui64: Some(credential.eui64),
        gateway: gateway.0,
        network: Network::Lowpan { pan: PAN, channel: CHANNEL },
        credential: Some(credential.clone()),
        publishers: heapless::Vec::new(),
        poll_max_s: u16::MAX,
        power: Power::Mains,
        board: BOARD.try_into().unwrap_or_default(),
    })
}

pub fn provision(args: &ProvisionCommand) -> Result<ExitCode> {
    let (eui64, blob) = told(&args.provision, "")?;
    let mut open = fs::OpenOptions::new();
    let file = open.write(true).create(true).truncate(true).mode(0o600).open(&args.out);
    file.and_then(|mut file| file.write_all(&blob)).with_context(|| args.out.display().to_string())?;
    eprintln!("{} bytes for node {eui64} in {}", blob.len(), args.out.display());
    Ok(ExitCode::SUCCESS)
}

/// Becomes the emulator, its serial line on standard output.
pub fn emulate(args: &EmulateArgs) -> Result<ExitCode> {
    let (eui64, provision) = told(&args.provision, BOARD)?;
    let config = qemu::Config {
        image: args.image.clone(),
        state: args.state.clone(),
        eui64,
        air: args.air,
        provision,
    };
    let mut command = qemu::command(&config, "stdio")?;
    println!("node {eui64} runs");
    Err(command.exec()).context("the emulator does not start")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ProvisionArgs,
    }

    #[test]
    fn a_node_is_told_what_the_command_line_says() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        let credential = crate::keys::made_up([2, 0, 0, 0, 0, 0, 0, 0x77], 4);
        fs::write(&key, credential.to_line()).unwrap();
        let key = key.display().to_string();
        let line = |more: &[&str]| {
            Line::try_parse_from(["micro"].iter().chain(&["--key", key.as_str()]).chain(more))
                .map(|line| line.args)
        };
        let args =
            line(&["--pan", "0x1234", "--channel", "11", "--battery", "80", "--board", "mine"]).unwrap();
        let (eui64, bytes) = told(&args, "").unwrap();
        let held = Provision::decode(&bytes).unwrap();
        assert_eq!(eui64, Eui64(credential.eui64));
        assert_eq!(held.network, Network::Lowpan { pan: 0x1234, channel: 11 });
        assert_eq!((held.power, held.board.as_str()), (Power::Battery(80), "mine"));
        assert!(held.credential == Some(credential));

        let thread = line(&["--thread-key", "000102030405060708090a0b0c0d0e0f"]).unwrap();
        let held = Provision::decode(&told(&thread, "").unwrap().1).unwrap();
        assert!(matches!(held.network, Network::Thread { key: [0, 1, .., 15], .. }));

        let other = line(&["--eui64", "0200000000000078"]).unwrap();
        assert!(told(&other, "").unwrap_err().to_string().contains("another node"));
        assert!(line(&["--channel", "27"]).is_err());
        assert!(line(&["--thread-key", "+00102030405060708090a0b0c0d0e0f"]).is_err());
    }
}
