//! `micro commission` and `micro revoke`: which nodes a gateway hears; and the key that a node was given.

use anyhow::{Context, Result, bail};
use gateway::bridge::NodeId;
use gateway::keys;
use lowpan::Eui64;
use node_oscore::Credential;
use serde_json::json;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where a gateway with default settings has its keys.
const KEYS: &str = "micro-gateway/nodes.keys";
/// The node's key in its state directory, beside the records of what it used.
const CREDENTIAL: &str = "credential";

#[derive(clap::Args)]
#[command(after_help = "\
The key is added to the gateway's file, which a running gateway notices within a second, and printed: one line, to be
put into the node (micro node --key FILE) and nowhere else. A node that has lost its storage is commissioned again:
its numbers begin anew, and must not with the same key.")]
pub struct CommissionArgs {
    /// The node
    eui64: Eui64,
    /// The gateway's file of keys
    #[arg(long, env = "MICRO_KEYS", default_value = KEYS, value_name = "FILE")]
    keys: PathBuf,
    /// Replace the key that the node has
    #[arg(long)]
    again: bool,
    /// Write the line to a new file instead
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// For machines
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct RevokeArgs {
    /// The node
    eui64: Eui64,
    /// The gateway's file of keys
    #[arg(long, env = "MICRO_KEYS", default_value = KEYS, value_name = "FILE")]
    keys: PathBuf,
    /// For machines
    #[arg(long)]
    json: bool,
}

pub fn commission(args: &CommissionArgs) -> Result<ExitCode> {
    // A file that cannot be made is found before there is a key that nobody has.
    let out = match &args.out {
        None => None,
        Some(path) => {
            let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            Some(file.with_context(|| path.display().to_string())?)
        }
    };
    let made = keys::commission(&args.keys, NodeId(args.eui64.0), args.again);
    let credential = match (made, &args.out) {
        (Ok(credential), _) => credential,
        (Err(error), out) => {
            if let Some(path) = out {
                let _ = std::fs::remove_file(path); // it is empty
            }
            return Err(error.into());
        }
    };
    let line = credential.to_line();
    if let Some(mut file) = out {
        writeln!(file, "{line}")?;
    } else if !args.json {
        println!("{line}");
    }
    match args.json {
        true => {
            let key = args.out.is_none().then_some(line);
            println!(
                "{}",
                json!({ "node": args.eui64.to_string(), "keys": args.keys, "file": args.out, "key": key })
            );
        }
        false => eprintln!("node {} has a key in {}", args.eui64, args.keys.display()),
    }
    Ok(ExitCode::SUCCESS)
}

pub fn revoke(args: &RevokeArgs) -> Result<ExitCode> {
    keys::revoke(&args.keys, NodeId(args.eui64.0))?;
    match args.json {
        true => println!("{}", json!({ "node": args.eui64.to_string(), "revoked": true })),
        false => eprintln!("node {} is not heard any more", args.eui64),
    }
    Ok(ExitCode::SUCCESS)
}

/// The key of the node with this state directory. A file with a key is moved into it: the key and what was used of it
/// stay together.
pub fn provision(state: &Path, file: Option<&Path>) -> Result<Option<Credential>> {
    let held = state.join(CREDENTIAL);
    if let Some(file) = file {
        match read(file)? {
            Some(credential) => {
                std::fs::create_dir_all(state).with_context(|| state.display().to_string())?;
                let mut open = std::fs::OpenOptions::new();
                let half = state.join("credential.half");
                let kept = open.write(true).create(true).truncate(true).mode(0o600).open(&half).and_then(
                    |mut to| {
                        writeln!(to, "{}", credential.to_line())?;
                        to.sync_all()?;
                        std::fs::rename(&half, &held)
                    },
                );
                kept.with_context(|| held.display().to_string())?;
                std::fs::remove_file(file).with_context(|| file.display().to_string())?;
                tracing::info!(file = %file.display(), state = %state.display(), "moved the key into the node's state");
            }
            None if held.exists() => {} // moved there before
            None => {
                bail!("--key {}: there is no such file; make one with micro commission --out", file.display())
            }
        }
    }
    read(&held)
}

fn read(path: &Path) -> Result<Option<Credential>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.parse().with_context(|| path.display().to_string())?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// A key for a node of a demo or a benchmark.
pub fn made_up(eui64: [u8; 8], number: u32) -> Credential {
    let bytes = (number + 1).to_be_bytes();
    let kid = node_oscore::Id::new(&bytes[1..]).unwrap_or_default();
    Credential { eui64, kid, secret: rand::random(), salt: rand::random() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_moved_into_the_nodes_state_and_stays_there() {
        let dir = tempfile::tempdir().unwrap();
        let (state, file) = (dir.path().join("state"), dir.path().join("key"));
        assert!(provision(&state, None).unwrap().is_none());
        assert!(provision(&state, Some(&file)).unwrap_err().to_string().contains("micro commission"));
        let credential = made_up([1; 8], 4);
        std::fs::write(&file, credential.to_line()).unwrap();
        assert!(provision(&state, Some(&file)).unwrap() == Some(credential.clone()));
        assert!(!file.exists());
        assert!(
            provision(&state, Some(&file)).unwrap() == Some(credential.clone()),
            "as when it is started again"
        );
        std::fs::write(&file, "half a key").unwrap();
        assert!(format!("{:#}", provision(&state, Some(&file)).unwrap_err()).contains("field 1"));
        assert!(provision(&state, None).unwrap() == Some(credential));
    }
}
