//! `micro task`: publishers' keys and signatures of images.

use anyhow::{Context, Result, bail};
use ed25519_dalek::{Signer, SigningKey};
use gateway::images::{Trust, parse_key, parse_signature};
use sha2::{Digest, Sha256};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Signs images and checks signatures
#[derive(clap::Subcommand)]
pub enum TaskCommand {
    /// Make a publisher's key pair: OUT.key, which stays secret, and OUT.pub
    Keygen {
        /// Path of the files without their endings
        out: PathBuf,
    },
    /// Sign an image: writes IMAGE.sig, to be published beside it
    Sign {
        /// The image
        image: PathBuf,
        /// The secret key
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Check that an image is signed by a publisher
    Verify {
        /// The image; its signature is beside it as IMAGE.sig
        image: PathBuf,
        /// The publisher's public key
        #[arg(long, value_name = "FILE", required_unless_present = "trust")]
        key: Option<PathBuf>,
        /// A trust file, as the gateway takes it
        #[arg(long, value_name = "FILE", conflicts_with = "key")]
        trust: Option<PathBuf>,
    },
}

pub fn task(command: TaskCommand) -> Result<ExitCode> {
    match command {
        TaskCommand::Keygen { out } => keygen(&out)?,
        TaskCommand::Sign { image, key } => sign(&image, &key)?,
        TaskCommand::Verify { image, key, trust } => verify(&image, key.as_deref(), trust.as_deref())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `path` with something put behind its whole name.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<()> {
    // A key that is lost cannot be made again: nothing is overwritten.
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = file.with_context(|| path.display().to_string())?;
    writeln!(file, "{text}").with_context(|| path.display().to_string())
}

fn keygen(out: &Path) -> Result<()> {
    let key = SigningKey::from_bytes(&rand::random());
    let (secret, public) = (beside(out, ".key"), beside(out, ".pub"));
    write_new(&secret, &hex(&key.to_bytes()), 0o600)?;
    let named = format!("ed25519:{}", hex(key.verifying_key().as_bytes()));
    write_new(&public, &named, 0o644)?;
    println!("{named}");
    println!("secret key in {}, public key in {}", secret.display(), public.display());
    Ok(())
}

fn digest(image: &Path) -> Result<[u8; 32]> {
    let bytes = std::fs::read(image).with_context(|| image.display().to_string())?;
    Ok(Sha256::digest(bytes).into())
}

fn sign(image: &Path, key: &Path) -> Result<()> {
    let text = std::fs::read_to_string(key).with_context(|| key.display().to_string())?;
    let digits = text.trim();
    let parsed = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok());
    let bytes = parsed.collect::<Option<Vec<u8>>>().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let Some(bytes) = bytes else {
        bail!("{}: expected 64 hexadecimal digits (micro task keygen)", key.display())
    };
    let digest = digest(image)?;
    let signature = SigningKey::from_bytes(&bytes).sign(&node_proto::signed_message(&digest));
    let path = beside(image, ".sig");
    std::fs::write(&path, hex(&signature.to_bytes())).with_context(|| path.display().to_string())?;
    println!("signed sha256={} in {}", hex(&digest), path.display());
    Ok(())
}

/// A publisher's public key: 64 hexadecimal digits, with or without `ed25519:`, or a file with them.
pub fn public_key(text: &str) -> Result<[u8; 32], String> {
    match parse_key(text) {
        Ok(key) => Ok(key),
        Err(why) => match std::fs::read_to_string(text) {
            Ok(text) => parse_key(&text),
            Err(_) => Err(format!("{why}, or a file with them")),
        },
    }
}

fn verify(image: &Path, key: Option<&Path>, trust: Option<&Path>) -> Result<()> {
    let trust = match (key, trust) {
        (Some(path), _) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            let key =
                parse_key(&text).map_err(anyhow::Error::msg).with_context(|| path.display().to_string())?;
            Trust::in_key("the publisher", &key).context("no key")?
        }
        (None, Some(path)) => Trust::read(path)?,
        (None, None) => bail!("give --key or --trust"),
    };
    let digest = digest(image)?;
    let path = beside(image, ".sig");
    let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let Some(signature) = parse_signature(&bytes) else {
        bail!("{}: expected 64 bytes or 128 hexadecimal digits", path.display());
    };
    match trust.check(&digest, Some(&signature)) {
        Ok(signer) => println!("signed by {}: sha256={}", signer.unwrap_or("nobody"), hex(&digest)),
        Err(why) => bail!("{}: {why}", image.display()),
    }
    Ok(())
}
