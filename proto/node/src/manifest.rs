//! What a publisher says of an image, and signs: the fields of a SUIT manifest (RFC 9124) that a node of this kind can
//! check, in postcard instead of CBOR.
//!
//! ```text
//!   signed manifest:  postcard(Manifest) | Ed25519 signature (64 bytes)
//!   signature over:   "mesos-micro manifest v1" NUL | postcard(Manifest)
//! ```

use crate::limits::{MANIFEST_MAX, MANIFEST_NAME_MAX};
use crate::{Arch, Kind};
use heapless::Vec;
use serde::{Deserialize, Serialize};

/// A name of its own before what is signed, so that no signature made for something else fits.
const SIGNED_PREFIX: &[u8] = b"mesos-micro manifest v1\0";
/// Bytes of an Ed25519 signature.
pub const SIGNATURE_LEN: usize = 64;

/// What a publisher says of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest<'a> {
    /// What the image is called from release to release, at most [`MANIFEST_NAME_MAX`] bytes.
    pub name: &'a str,
    /// Rises with each release of this name. A node that has run one starts none with a lower number.
    pub sequence: u32,
    /// The publisher: the first 8 bytes of its Ed25519 key.
    pub publisher: [u8; 8],
    /// SHA-256 of the image.
    pub digest: [u8; 32],
    /// Length of the image, bytes.
    pub size: u32,
    /// What kind of image it is.
    pub kind: Kind,
    /// The only architecture it is for, if it is not for all.
    pub arch: Option<Arch>,
    /// The only board it is for; empty if it is for all.
    pub board: &'a str,
}

/// Why a manifest cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestError {
    /// Not a manifest, or too long for one.
    Unreadable,
    /// The signature is not this key's.
    Signature,
}

impl<'a> Manifest<'a> {
    /// Reads a signed manifest, without a look at the signature.
    pub fn peek(signed: &'a [u8]) -> Result<Self, ManifestError> {
        Ok(split(signed)?.0)
    }

    /// Reads a signed manifest if it names this publisher and bears its signature.
    #[cfg(feature = "ed25519")]
    pub fn open(signed: &'a [u8], publisher: &[u8; 32]) -> Result<Self, ManifestError> {
        let sealed = Sealed::read(signed)?;
        let believed = sealed.names(publisher) && verify(publisher, sealed.signature, &sealed.message);
        if believed { Ok(sealed.manifest) } else { Err(ManifestError::Signature) }
    }

    /// The bytes that are signed for this manifest, after which [`seal`](Self::seal) puts the signature.
    pub fn signed_message(&self) -> Result<Vec<u8, MANIFEST_MAX>, ManifestError> {
        to_sign(&self.encode()?)
    }

    /// The manifest with its signature.
    pub fn seal(&self, signature: &[u8; SIGNATURE_LEN]) -> Result<Vec<u8, MANIFEST_MAX>, ManifestError> {
        let mut bytes = self.encode()?;
        bytes.extend_from_slice(signature).map_err(|_| ManifestError::Unreadable)?;
        Ok(bytes)
    }

    fn encode(&self) -> Result<Vec<u8, MANIFEST_MAX>, ManifestError> {
        if self.name.is_empty() || self.name.len() > MANIFEST_NAME_MAX {
            return Err(ManifestError::Unreadable);
        }
        let mut buffer = [0; MANIFEST_MAX];
        let used = postcard::to_slice(self, &mut buffer).map_err(|_| ManifestError::Unreadable)?;
        Vec::from_slice(used).map_err(|_| ManifestError::Unreadable)
    }
}

/// A signed manifest taken apart, for one who has the signature checked elsewhere. Nothing in it is to be believed before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed<'a> {
    /// What it says.
    pub manifest: Manifest<'a>,
    /// The bytes that are signed.
    pub message: Vec<u8, MANIFEST_MAX>,
    /// The Ed25519 signature.
    pub signature: &'a [u8; SIGNATURE_LEN],
}

impl<'a> Sealed<'a> {
    /// Takes a signed manifest apart, without a look at the signature.
    pub fn read(signed: &'a [u8]) -> Result<Self, ManifestError> {
        let (manifest, said, signature) = split(signed)?;
        let signature = signature.try_into().map_err(|_| ManifestError::Unreadable)?;
        Ok(Self { manifest, message: to_sign(said)?, signature })
    }

    /// Whether it names the publisher with this key.
    pub fn names(&self, publisher: &[u8; 32]) -> bool {
        self.manifest.publisher[..] == publisher[..self.manifest.publisher.len()]
    }
}

/// Whether a signature of a message is this Ed25519 key's.
#[cfg(feature = "ed25519")]
pub fn verify(key: &[u8; 32], signature: &[u8; SIGNATURE_LEN], message: &[u8]) -> bool {
    use ed25519_dalek::{Signature, VerifyingKey};
    let Ok(key) = VerifyingKey::from_bytes(key) else { return false };
    key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
}

fn to_sign(said: &[u8]) -> Result<Vec<u8, MANIFEST_MAX>, ManifestError> {
    let mut message = Vec::new();
    for part in [SIGNED_PREFIX, said] {
        message.extend_from_slice(part).map_err(|_| ManifestError::Unreadable)?;
    }
    Ok(message)
}

fn split(signed: &[u8]) -> Result<(Manifest<'_>, &[u8], &[u8]), ManifestError> {
    if signed.len() > MANIFEST_MAX {
        return Err(ManifestError::Unreadable);
    }
    let (manifest, rest) =
        postcard::take_from_bytes::<Manifest<'_>>(signed).map_err(|_| ManifestError::Unreadable)?;
    let fits = (1..=MANIFEST_NAME_MAX).contains(&manifest.name.len()) && rest.len() == SIGNATURE_LEN;
    if !fits {
        return Err(ManifestError::Unreadable);
    }
    Ok((manifest, &signed[..signed.len() - SIGNATURE_LEN], rest))
}
