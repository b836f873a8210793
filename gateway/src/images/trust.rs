//! Whose images are launched: publishers' keys in a file.
//!
//! ```toml
//! [publisher]
//! pump-works = "ed25519:3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"
//! ```

use super::unhex;
use crate::file::{self, FileError};
use ed25519_dalek::{Signature, VerifyingKey};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Publishers in one file.
const PUBLISHERS_MAX: usize = 256;
/// What a key begins with.
const SCHEME: &str = "ed25519:";

/// Keys of publishers; without any, every image is taken.
#[derive(Clone, Debug, Default)]
pub struct Trust(Option<BTreeMap<String, VerifyingKey>>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    publisher: BTreeMap<toml::Spanned<String>, toml::Spanned<String>>,
}

/// Reads `ed25519:` and 64 hexadecimal digits.
pub fn parse_key(text: &str) -> Result<[u8; 32], String> {
    let digits = text.trim().strip_prefix(SCHEME).unwrap_or(text.trim());
    let bytes = unhex(digits).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let bytes = bytes.ok_or_else(|| format!("expected {SCHEME} and 64 hexadecimal digits"))?;
    VerifyingKey::from_bytes(&bytes).map_err(|_| "no point of the curve: the key is damaged".to_owned())?;
    Ok(bytes)
}

impl Trust {
    /// Reads a trust file.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let (file, lines) = file::read::<File>(path)?;
        if file.publisher.len() > PUBLISHERS_MAX {
            return Err(lines.at(0, format!("publisher: more than {PUBLISHERS_MAX}")));
        }
        let mut keys = BTreeMap::new();
        for (name, key) in file.publisher {
            let bytes = parse_key(key.get_ref())
                .map_err(|why| lines.at(key.span().start, format!("publisher.{}: {why}", name.get_ref())))?;
            let key = VerifyingKey::from_bytes(&bytes)
                .map_err(|error| lines.at(key.span().start, error.to_string()))?;
            keys.insert(name.into_inner(), key);
        }
        Ok(Self(Some(keys)))
    }

    /// Trust in one key.
    pub fn in_key(name: &str, key: &[u8; 32]) -> Option<Self> {
        let key = VerifyingKey::from_bytes(key).ok()?;
        Some(Self(Some(BTreeMap::from([(name.to_owned(), key)]))))
    }

    /// True if unsigned images are refused.
    pub fn is_asked(&self) -> bool {
        self.0.is_some()
    }

    /// Who signed the image of this digest, or why it is not taken. `Ok(None)` if nobody is asked.
    pub fn check(&self, digest: &[u8; 32], signature: Option<&[u8; 64]>) -> Result<Option<&str>, String> {
        let Some(keys) = &self.0 else { return Ok(None) };
        let named = super::hex(digest);
        let Some(signature) = signature else {
            return Err(format!(
                "image sha256={named} is not signed; publish IMAGE.sig beside it (micro task sign)"
            ));
        };
        let message = node_proto::signed_message(digest);
        let signature = Signature::from_bytes(signature);
        let signer = keys.iter().find(|(_, key)| key.verify_strict(&message, &signature).is_ok());
        match signer {
            Some((name, _)) => Ok(Some(name)),
            None => Err(format!("image sha256={named} is signed by nobody that the gateway trusts")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};

    fn file(text: &str) -> Result<Trust, FileError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trust.toml");
        std::fs::write(&path, text).unwrap();
        Trust::read(&path)
    }

    #[test]
    fn only_the_signature_of_a_trusted_key_over_this_digest_counts() {
        let (ours, theirs) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let key = super::super::hex(ours.verifying_key().as_bytes());
        let trust = file(&format!("[publisher]\nours = \"ed25519:{key}\"\n")).unwrap();
        let (digest, other) = ([7; 32], [8; 32]);
        let sign = |key: &SigningKey, digest| key.sign(&node_proto::signed_message(digest)).to_bytes();
        assert_eq!(trust.check(&digest, Some(&sign(&ours, &digest))), Ok(Some("ours")));
        for signature in
            [Some(sign(&theirs, &digest)), Some(sign(&ours, &other)), Some(ours.sign(&digest).to_bytes())]
        {
            assert!(trust.check(&digest, signature.as_ref()).unwrap_err().contains("nobody"));
        }
        assert!(trust.check(&digest, None).unwrap_err().contains("not signed"));
        assert_eq!(Trust::default().check(&digest, None), Ok(None));
    }

    #[test]
    fn what_is_wrong_in_the_file_is_said_with_line_and_field() {
        for (text, line, word) in [
            ("[publisher]\n\nours = \"ed25519:00\"", 3, "publisher.ours: expected"),
            ("[publisher]\nours = 3", 2, "string"),
            ("[publishers]\n", 1, "publisher"),
        ] {
            let error = file(text).unwrap_err().to_string();
            assert!(error.contains(&format!("line {line}: ")) && error.contains(word), "{error}");
        }
    }
}
