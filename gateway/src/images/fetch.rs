//! Getting images: `http(s)`, files, and `data:` URIs. A download that breaks off goes on where it was, in the same
//! attempt or after a restart; what a server says has changed begins anew.

use super::{hex, unhex};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use node_proto::limits::IMAGE_MAX;
use node_proto::{Kind, Manifest};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Longest wait for a server in one attempt, its download included.
const ATTEMPT: Duration = Duration::from_secs(60);
/// Longest time for all attempts.
const TOTAL: Duration = Duration::from_secs(150);
/// Attempts.
const ATTEMPTS: u32 = 5;
/// Pause before the second attempt; doubled after each.
const PAUSE: Duration = Duration::from_millis(500);
/// Half a download is kept for so long.
const PART_KEPT: Duration = Duration::from_secs(86_400);
/// Bytes of an answer that is no image.
const SMALL: u64 = 4096;

/// Why an image cannot be had. The text goes to the framework.
#[derive(Debug, thiserror::Error)]
#[error("{uri}: {why}")]
pub struct FetchError {
    uri: String,
    why: String,
}

/// Bytes of an image and what they are.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The image.
    pub bytes: Arc<[u8]>,
    /// Their SHA-256.
    pub digest: [u8; 32],
    /// What the first bytes say.
    pub kind: Kind,
    /// The signed manifest that was found beside it.
    pub manifest: Option<Vec<u8>>,
}

/// What a half download is half of.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Part {
    /// ETag or Last-Modified: what `If-Range` compares.
    validator: String,
}

/// Why an attempt came to nothing.
enum Failure {
    /// Another attempt may do better.
    Passing(String),
    /// None will.
    Lasting(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Passing(error.to_string())
    }
}

/// Gets images; half downloads wait in its directory.
#[derive(Clone, Debug)]
pub struct Fetcher {
    dir: PathBuf,
    pause: Duration,
}

/// The digest that the fragment of a URI demands: `#sha256=HEX`.
pub fn demanded(uri: &str) -> Option<[u8; 32]> {
    let (_, fragment) = uri.split_once('#')?;
    let digits = fragment.split('&').find_map(|part| part.strip_prefix("sha256="))?;
    unhex(digits)?.try_into().ok()
}

impl Fetcher {
    /// Half downloads are kept in `dir`, and those of long ago removed from it.
    pub fn new(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let is_part = entry.path().extension().is_some_and(|kind| kind == "part" || kind == "json");
            let age = SystemTime::now().duration_since(entry.metadata()?.modified()?).unwrap_or_default();
            if is_part && age > PART_KEPT {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { dir: dir.to_owned(), pause: PAUSE })
    }

    /// With another first pause between attempts, for tests.
    pub fn with_pause(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// Gets an image from `http(s)://`, `file://`, an absolute path or `data:`. A fragment `#sha256=HEX` says what it
    /// has to be. A signed manifest is looked for beside it, as `.manifest`. Blocks for a few minutes at most.
    pub fn fetch(&self, uri: &str) -> Result<Fetched, FetchError> {
        let shown: String = uri.chars().take(200).collect();
        let fail = |why: String| FetchError { uri: shown.clone(), why };
        let (place, fragment) = uri.split_once('#').unwrap_or((uri, ""));
        let (bytes, manifest) = match place.split_once(':') {
            Some(("http" | "https", _)) => (self.download(place).map_err(fail)?, self.manifest_of(place)),
            Some(("file", path)) => file(path.strip_prefix("//").unwrap_or(path)).map_err(fail)?,
            Some(("data", data)) => (inline(data).map_err(fail)?, None),
            None if place.starts_with('/') => file(place).map_err(fail)?,
            Some((scheme, _)) if !place.starts_with('/') => {
                let why =
                    format!("unknown scheme '{scheme}': use http, https, file, data or an absolute path");
                return Err(fail(why));
            }
            Some(_) => file(place).map_err(fail)?,
            None => return Err(fail("not a URI: use http, https, file, data or an absolute path".into())),
        };
        let fetched = examine(bytes, manifest).map_err(fail)?;
        match fragment.split('&').find_map(|part| part.strip_prefix("sha256=")) {
            Some(_) if demanded(uri) != Some(fetched.digest) => {
                Err(fail(format!("wrong digest: it is sha256={}", hex(&fetched.digest))))
            }
            _ => Ok(fetched),
        }
    }

    fn download(&self, url: &str) -> Result<Vec<u8>, String> {
        let begun = Instant::now();
        let name = hex(&Sha256::digest(url)[..16]);
        let part = self.dir.join(format!("{name}.part"));
        let about = self.dir.join(format!("{name}.json"));
        let mut pause = self.pause;
        for attempt in 1.. {
            match self.attempt(url, &part, &about) {
                Ok(bytes) => {
                    for path in [&part, &about] {
                        let _ = fs::remove_file(path); // at worst it is there for a day
                    }
                    return Ok(bytes);
                }
                Err(Failure::Lasting(why)) => return Err(why),
                Err(Failure::Passing(why)) if attempt >= ATTEMPTS || begun.elapsed() > TOTAL => {
                    return Err(format!("{why}, {attempt} attempts"));
                }
                Err(Failure::Passing(why)) => {
                    tracing::info!(url, why, attempt, "download broke off; it goes on");
                    std::thread::sleep(pause);
                    pause *= 2;
                }
            }
        }
        Err("no attempt".into())
    }

    fn attempt(&self, url: &str, part: &Path, about: &Path) -> Result<Vec<u8>, Failure> {
        let held: Part =
            fs::read(about).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let have =
            if held.validator.is_empty() { 0 } else { fs::metadata(part).map_or(0, |meta| meta.len()) };
        let mut request = agent(ATTEMPT).get(url);
        if have > 0 {
            request = request.header("range", format!("bytes={have}-")).header("if-range", &held.validator);
        }
        let mut response = request.call().map_err(|error| Failure::Passing(error.to_string()))?;
        let status = response.status().as_u16();
        let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        // A weak tag does not promise the same bytes (RFC 9110 §13.1.5).
        let validator = text("etag").filter(|tag| !tag.starts_with("W/")).or(text("last-modified"));
        let validator = validator.unwrap_or_default().to_owned();
        let whole = text("content-length").and_then(|length| length.parse::<u64>().ok());
        let at = text("content-range")
            .and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
        let from = match status {
            200 => 0,
            206 if have > 0 && at == Some(have) => have,
            206 | 416 => {
                let _ = fs::remove_file(about); // begins anew
                return Err(Failure::Passing(format!("http status: {status}, another range than asked for")));
            }
            408 | 425 | 429 | 500..=599 => return Err(Failure::Passing(format!("http status: {status}"))),
            _ => return Err(Failure::Lasting(format!("http status: {status}"))),
        };
        if whole.is_some_and(|more| from + more > u64::from(IMAGE_MAX)) {
            return Err(Failure::Lasting(format!("larger than {IMAGE_MAX} bytes")));
        }
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(from > 0)
            .write(true)
            .truncate(from == 0)
            .open(part)?;
        if from == 0 {
            let about_it = serde_json::to_vec(&Part { validator }).map_err(io::Error::other)?;
            fs::write(about, about_it)?;
        }
        let mut got = from;
        let mut reader = response.body_mut().as_reader();
        let mut buffer = [0; 16 << 10];
        loop {
            let count = reader.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            got += count as u64;
            if got > u64::from(IMAGE_MAX) {
                return Err(Failure::Lasting(format!("larger than {IMAGE_MAX} bytes")));
            }
            file.write_all(&buffer[..count])?;
        }
        if whole.is_some_and(|more| from + more != got) {
            return Err(Failure::Passing(format!("{got} bytes of {}", from + whole.unwrap_or_default())));
        }
        Ok(fs::read(part)?)
    }

    /// What is found as `.manifest` beside an image: hexadecimal digits, or bytes. Nothing there is no error.
    fn manifest_of(&self, url: &str) -> Option<Vec<u8>> {
        let (path, query) =
            url.split_once('?').map_or((url, String::new()), |(path, query)| (path, format!("?{query}")));
        let mut response =
            agent(Duration::from_secs(10)).get(format!("{path}.manifest{query}")).call().ok()?;
        if response.status() != 200 {
            return None;
        }
        let mut bytes = Vec::new();
        response.body_mut().as_reader().take(SMALL).read_to_end(&mut bytes).ok()?;
        parse_manifest(&bytes)
    }
}

fn agent(timeout: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .max_redirects(5)
        .http_status_as_error(false)
        .build()
        .into()
}

/// A signed manifest as hexadecimal digits or bytes; whose it is, is not looked at.
pub fn parse_manifest(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes).ok().and_then(|text| unhex(text.trim()));
    text.or_else(|| Some(bytes.to_vec())).filter(|bytes| Manifest::peek(bytes).is_ok())
}

fn file(path: &str) -> Result<(Vec<u8>, Option<Vec<u8>>), String> {
    let open = |path: &str| {
        let file = fs::File::open(path)?;
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::other("not a file")),
        }
    };
    let mut bytes = Vec::new();
    let file = open(path).map_err(|error| error.to_string())?;
    file.take(u64::from(IMAGE_MAX) + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let mut beside = Vec::new();
    let manifest = open(&format!("{path}.manifest")).ok().and_then(|file| {
        file.take(SMALL).read_to_end(&mut beside).ok()?;
        parse_manifest(&beside)
    });
    Ok((bytes, manifest))
}

/// The rest of a `data:` URI (RFC 2397): `[MEDIATYPE][;base64],DATA`.
fn inline(data: &str) -> Result<Vec<u8>, String> {
    let (kind, data) = data.split_once(',').ok_or("a data URI has a comma before its data")?;
    if data.len() > 4 * IMAGE_MAX as usize {
        return Err(format!("larger than {IMAGE_MAX} bytes"));
    }
    if kind.ends_with(";base64") {
        let text = libprocess::percent_decode(data).ok_or("the data is no base64")?;
        return STANDARD.decode(text).map_err(|error| format!("the data is no base64: {error}"));
    }
    let mut bytes = Vec::with_capacity(data.len());
    let mut rest = data.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
            let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            bytes.push(byte.ok_or("a '%' without two hexadecimal digits")?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    Ok(bytes)
}

fn examine(bytes: Vec<u8>, manifest: Option<Vec<u8>>) -> Result<Fetched, String> {
    if bytes.len() > IMAGE_MAX as usize {
        return Err(format!("larger than {IMAGE_MAX} bytes"));
    }
    let kind = match bytes.get(..4) {
        Some(b"\0asm") => Kind::Wasm,
        // A Tock binary begins with its header's version, 2 (Tock's `doc/TockBinaryFormat.md`).
        Some([2, 0, ..]) => Kind::Native,
        _ => return Err("neither a WebAssembly module nor a Tock binary".into()),
    };
    Ok(Fetched { digest: Sha256::digest(&bytes).into(), bytes: bytes.into(), kind, manifest })
}
