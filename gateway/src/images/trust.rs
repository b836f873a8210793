//! Whose images are launched, and for whom: publishers' keys in a file.
//!
//! ```toml
//! [publisher]
//! pump-works = "ed25519:3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"
//! door-works = { key = "ed25519:8a88...", roles = ["doors"] }
//! ```
//!
//! A publisher with roles is believed only for tasks of those and of the roles below them (`doors/east`), as Mesos
//! allocated them: whoever may publish for one tenant cannot do so for another.

use super::unhex;
use crate::agent::Image;
use crate::file::{self, FileError};
use ed25519_dalek::VerifyingKey;
use node_proto::{Manifest, ManifestError};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Publishers in one file.
const PUBLISHERS_MAX: usize = 256;
/// What a key begins with.
const SCHEME: &str = "ed25519:";

/// Keys of publishers; without any, every image is taken.
#[derive(Clone, Debug, Default)]
pub struct Trust(Option<BTreeMap<String, Publisher>>);

#[derive(Clone, Debug)]
struct Publisher {
    key: [u8; 32],
    /// The roles it publishes for; all if there are none.
    roles: Vec<String>,
}

impl Publisher {
    fn serves(&self, role: &str) -> bool {
        let below = |bound: &String| {
            role.strip_prefix(bound.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.roles.is_empty() || self.roles.iter().any(below)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    publisher: BTreeMap<toml::Spanned<String>, toml::Spanned<toml::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: String,
    #[serde(default)]
    roles: Vec<String>,
}

/// Reads `ed25519:` and 64 hexadecimal digits.
pub fn parse_key(text: &str) -> Result<[u8; 32], String> {
    let digits = text.trim().strip_prefix(SCHEME).unwrap_or(text.trim());
    let bytes = unhex(digits).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let bytes = bytes.ok_or_else(|| format!("expected {SCHEME} and 64 hexadecimal digits"))?;
    VerifyingKey::from_bytes(&bytes).map_err(|_| "no point of the curve: the key is damaged".to_owned())?;
    Ok(bytes)
}

fn publisher(value: &toml::Value) -> Result<Publisher, String> {
    let entry = match value {
        toml::Value::String(key) => Entry { key: key.clone(), roles: Vec::new() },
        toml::Value::Table(_) => {
            value.clone().try_into::<Entry>().map_err(|error| error.message().to_owned())?
        }
        _ => return Err("expected a key as a string, or { key = ..., roles = [...] }".into()),
    };
    if entry.roles.iter().any(String::is_empty) {
        return Err("a role has a name".into());
    }
    Ok(Publisher { key: parse_key(&entry.key)?, roles: entry.roles })
}

impl Trust {
    /// Reads a trust file.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let (file, lines) = file::read::<File>(path)?;
        if file.publisher.len() > PUBLISHERS_MAX {
            return Err(lines.at(0, format!("publisher: more than {PUBLISHERS_MAX}")));
        }
        let mut publishers = BTreeMap::new();
        for (name, value) in file.publisher {
            let read = publisher(value.get_ref());
            let read = read.map_err(|why| {
                lines.at(value.span().start, format!("publisher.{}: {why}", name.get_ref()))
            })?;
            publishers.insert(name.into_inner(), read);
        }
        Ok(Self(Some(publishers)))
    }

    /// Trust in one key.
    pub fn in_key(name: &str, key: &[u8; 32]) -> Option<Self> {
        VerifyingKey::from_bytes(key).ok()?;
        let publisher = Publisher { key: *key, roles: Vec::new() };
        Some(Self(Some(BTreeMap::from([(name.to_owned(), publisher)]))))
    }

    /// True if unsigned images are refused.
    pub fn is_asked(&self) -> bool {
        self.0.is_some()
    }

    /// The publishers by name, each with the roles it publishes for, all if there are none; `None` if nobody is asked.
    pub fn publishers(&self) -> Option<impl Iterator<Item = (&str, &[String])>> {
        let publishers = self.0.as_ref()?;
        Some(publishers.iter().map(|(name, publisher)| (name.as_str(), publisher.roles.as_slice())))
    }

    /// Who signed a manifest, of those that are asked.
    pub fn publisher_of(&self, manifest: &[u8]) -> Option<&str> {
        let mut publishers = self.0.as_ref()?.iter();
        let signed = publishers.find(|(_, publisher)| Manifest::open(manifest, &publisher.key).is_ok());
        signed.map(|(name, _)| name.as_str())
    }

    /// Who signed the manifest of this image for tasks of this role, or why it is not taken. `Ok(None)` if nobody is
    /// asked.
    pub fn check(&self, image: &Image, manifest: Option<&[u8]>, role: &str) -> Result<Option<&str>, String> {
        let Some(publishers) = &self.0 else { return Ok(None) };
        let named = super::hex(&image.digest);
        let Some(sealed) = manifest else {
            return Err(format!(
                "image sha256={named} is not signed; publish IMAGE.manifest beside it (micro task sign)"
            ));
        };
        let mut not_for = None;
        for (name, publisher) in publishers {
            match Manifest::open(sealed, &publisher.key) {
                Ok(about)
                    if (about.digest, about.size, about.kind) != (image.digest, image.len, image.kind) =>
                {
                    return Err(format!("the manifest beside it is not of image sha256={named}"));
                }
                Ok(_) if publisher.serves(role) => return Ok(Some(name)),
                Ok(_) => not_for = Some(name),
                Err(ManifestError::Unreadable) => {
                    return Err(format!("the manifest of image sha256={named} cannot be read"));
                }
                Err(ManifestError::Signature) => {}
            }
        }
        Err(match not_for {
            Some(name) => {
                format!("publisher {name}, who signed image sha256={named}, does not publish for role {role}")
            }
            None => format!("image sha256={named} is signed by nobody that the gateway trusts"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};
    use node_proto::Kind;

    fn file(text: &str) -> Result<Trust, FileError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trust.toml");
        std::fs::write(&path, text).unwrap();
        Trust::read(&path)
    }

    fn image(number: u8) -> Image {
        Image { handle: 1, len: 100, digest: [number; 32], kind: Kind::Wasm, manifest: None }
    }

    fn sealed(key: &SigningKey, of: &Image) -> Vec<u8> {
        let public = key.verifying_key().to_bytes();
        let about = Manifest {
            name: "a",
            sequence: 1,
            publisher: std::array::from_fn(|at| public[at]),
            digest: of.digest,
            size: of.len,
            kind: of.kind,
            arch: None,
            board: "",
        };
        about.seal(&key.sign(&about.signed_message().unwrap()).to_bytes()).unwrap().to_vec()
    }

    fn named(key: &SigningKey) -> String {
        format!("ed25519:{}", super::super::hex(key.verifying_key().as_bytes()))
    }

    #[test]
    fn only_a_manifest_of_this_image_by_a_trusted_key_counts() {
        let (ours, theirs) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let trust = file(&format!("[publisher]\nours = \"{}\"\n", named(&ours))).unwrap();
        let (it, other) = (image(7), image(8));
        assert_eq!(trust.check(&it, Some(&sealed(&ours, &it)), "*"), Ok(Some("ours")));
        let mut forged = sealed(&ours, &it);
        forged[2] ^= 1; // another sequence
        for (manifest, why) in [
            (sealed(&theirs, &it), "nobody"),
            (sealed(&ours, &other), "not of image"),
            (sealed(&ours, &Image { len: 101, ..it.clone() }), "not of image"),
            (forged, "nobody"),
            (vec![1, 2, 3], "cannot be read"),
        ] {
            let error = trust.check(&it, Some(&manifest), "*").unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert!(trust.check(&it, None, "*").unwrap_err().contains("not signed"));
        assert_eq!(Trust::default().check(&it, None, "*"), Ok(None));
    }

    #[test]
    fn a_publisher_of_one_tenant_publishes_for_no_other() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let text = format!("[publisher]\nours = {{ key = \"{}\", roles = [\"doors\"] }}\n", named(&key));
        let trust = file(&text).unwrap();
        let (it, manifest) = (image(7), sealed(&key, &image(7)));
        for (role, taken) in [("doors", true), ("doors/east", true), ("doorsteps", false), ("*", false)] {
            let checked = trust.check(&it, Some(&manifest), role);
            assert_eq!(checked.is_ok(), taken, "{role}: {checked:?}");
        }
        assert!(trust.check(&it, Some(&manifest), "pumps").unwrap_err().contains("publisher ours"));
    }

    #[test]
    fn what_is_wrong_in_the_file_is_said_with_line_and_field() {
        for (text, line, word) in [
            ("[publisher]\n\nours = \"ed25519:00\"", 3, "publisher.ours: expected"),
            ("[publisher]\nours = 3", 2, "publisher.ours: expected a key"),
            ("[publisher]\nours = { keys = \"a\" }", 2, "publisher.ours: unknown field `keys`"),
            ("[publisher]\nours = { key = \"a\", roles = [\"\"] }", 2, "a role has a name"),
            ("[publishers]\n", 1, "publisher"),
        ] {
            let error = file(text).unwrap_err().to_string();
            assert!(error.contains(&format!("line {line}: ")) && error.contains(word), "{error}");
        }
    }
}
