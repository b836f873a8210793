//! `micro task`: publishers' keys and signed manifests of images.

use anyhow::{Context, Result, bail};
use ed25519_dalek::{Signer, SigningKey};
use gateway::agent::Image;
use gateway::images::{Fetcher, Trust, parse_key};
use node_proto::limits::{BOARD_NAME_MAX, MANIFEST_NAME_MAX};
use node_proto::{Arch, Manifest};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// Signs images and checks signatures
#[derive(clap::Args)]
pub struct TaskArgs {
    #[command(subcommand)]
    command: TaskCommand,
    /// For machines
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum TaskCommand {
    /// Make a publisher's key pair: OUT.key, which stays secret, and OUT.pub
    Keygen {
        /// Path of the files without their endings
        out: PathBuf,
    },
    /// Sign an image: writes IMAGE.manifest, to be published beside it
    Sign {
        /// The image
        image: PathBuf,
        /// The secret key
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// What the image is called from release to release [default: its file's name without the ending]
        #[arg(long)]
        name: Option<String>,
        /// Number of the release: a node that ran one starts none with a lower number [default: seconds since 1970]
        #[arg(long, value_name = "NUMBER")]
        sequence: Option<u32>,
        /// The only architecture it is for: host, thumbv7em or riscv32imac
        #[arg(long, value_parser = parse_arch)]
        arch: Option<Arch>,
        /// The only board it is for
        #[arg(long, default_value = "", hide_default_value = true)]
        board: String,
    },
    /// Check that an image is signed by a publisher
    Verify {
        /// The image; its manifest is beside it as IMAGE.manifest
        image: PathBuf,
        /// The publisher's public key
        #[arg(long, value_name = "FILE", required_unless_present = "trust")]
        key: Option<PathBuf>,
        /// A trust file, as the gateway takes it
        #[arg(long, value_name = "FILE", conflicts_with = "key")]
        trust: Option<PathBuf>,
        /// The Mesos role of the tasks that it is for
        #[arg(long, default_value = "*")]
        role: String,
    },
}

/// What was done, for people and for machines.
type Told = (String, Value);

pub fn task(args: TaskArgs) -> Result<ExitCode> {
    let (text, document) = match args.command {
        TaskCommand::Keygen { out } => keygen(&out)?,
        TaskCommand::Sign { image, key, name, sequence, arch, board } => {
            let about = About { name, sequence, arch, board };
            sign(&image, &key, &about)?
        }
        TaskCommand::Verify { image, key, trust, role } => {
            verify(&image, key.as_deref(), trust.as_deref(), &role)?
        }
    };
    match args.json {
        true => println!("{document}"),
        false => println!("{text}"),
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

fn keygen(out: &Path) -> Result<Told> {
    let key = SigningKey::from_bytes(&rand::random());
    let (secret, public) = (beside(out, ".key"), beside(out, ".pub"));
    write_new(&secret, &hex(&key.to_bytes()), 0o600)?;
    let named = format!("ed25519:{}", hex(key.verifying_key().as_bytes()));
    write_new(&public, &named, 0o644)?;
    let text = format!("{named}\nsecret key in {}, public key in {}", secret.display(), public.display());
    Ok((text, json!({ "key": named, "secret_file": secret, "public_file": public })))
}

/// What `sign` is told of an image.
struct About {
    name: Option<String>,
    sequence: Option<u32>,
    arch: Option<Arch>,
    board: String,
}

fn parse_arch(text: &str) -> Result<Arch, String> {
    match text {
        "host" => Ok(Arch::Host),
        "thumbv7em" => Ok(Arch::Thumbv7em),
        "riscv32imac" => Ok(Arch::Riscv32imac),
        _ => Err("known are host, thumbv7em and riscv32imac".into()),
    }
}

/// An image as the gateway sees it when it fetches the file, its manifest among it.
fn fetch(image: &Path) -> Result<Image> {
    let dir = tempfile::tempdir()?;
    let path = image.canonicalize().with_context(|| image.display().to_string())?;
    let fetched = Fetcher::new(dir.path())?.fetch(&path.display().to_string())?;
    Ok(Image {
        handle: 0,
        len: u32::try_from(fetched.bytes.len())?,
        digest: fetched.digest,
        kind: fetched.kind,
        manifest: fetched.manifest,
    })
}

fn sign(path: &Path, key: &Path, about: &About) -> Result<Told> {
    let text = std::fs::read_to_string(key).with_context(|| key.display().to_string())?;
    let digits = text.trim();
    let parsed = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok());
    let bytes = parsed.collect::<Option<Vec<u8>>>().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let Some(bytes) = bytes else {
        bail!("{}: expected 64 hexadecimal digits (micro task keygen)", key.display())
    };
    let key = SigningKey::from_bytes(&bytes);
    let image = fetch(path)?;
    let stem = || path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = about.name.clone().or_else(stem).unwrap_or_default();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs() as u32);
    let sequence = about.sequence.map_or_else(now, Ok)?;
    let public = key.verifying_key().to_bytes();
    let manifest = Manifest {
        name: &name,
        sequence,
        publisher: std::array::from_fn(|at| public[at]),
        digest: image.digest,
        size: image.len,
        kind: image.kind,
        arch: about.arch,
        board: &about.board,
    };
    let long = || {
        format!(
            "a name has 1 to {MANIFEST_NAME_MAX} bytes (--name), a board at most {BOARD_NAME_MAX}: '{name}', '{}'",
            about.board
        )
    };
    if about.board.len() > BOARD_NAME_MAX {
        bail!(long());
    }
    let Ok(message) = manifest.signed_message() else { bail!(long()) };
    let Ok(sealed) = manifest.seal(&key.sign(&message).to_bytes()) else { bail!(long()) };
    let beside = beside(path, ".manifest");
    std::fs::write(&beside, hex(&sealed)).with_context(|| beside.display().to_string())?;
    let sha256 = hex(&image.digest);
    let text = format!("signed {name} release {sequence} sha256={sha256} in {}", beside.display());
    Ok((text, json!({ "name": name, "release": sequence, "sha256": sha256, "manifest": beside })))
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

fn verify(image: &Path, key: Option<&Path>, trust: Option<&Path>, role: &str) -> Result<Told> {
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
    let known = fetch(image)?;
    let manifest = known.manifest.as_deref();
    match trust.check(&known, manifest, role) {
        Ok(signer) => {
            let said = manifest.and_then(|sealed| Manifest::peek(sealed).ok());
            let (name, sequence) = said.map_or(("?", 0), |said| (said.name, said.sequence));
            let (signer, sha256) = (signer.unwrap_or("nobody"), hex(&known.digest));
            let text = format!("{name} release {sequence} signed by {signer}: sha256={sha256}");
            Ok((text, json!({ "name": name, "release": sequence, "signer": signer, "sha256": sha256 })))
        }
        Err(why) => bail!("{}: {why}", image.display()),
    }
}
