//! Signatures, behind a trait, because the code for them is the largest that a board can choose.

use ed25519_dalek::{Signature, VerifyingKey};

/// Checks signatures.
pub trait Signatures {
    /// True if `signature` over `message` is by the Ed25519 key `key`. Takes its time: it is called where the kernel has
    /// nothing else to do for a process.
    fn check(&self, key: &[u8; 32], signature: &[u8; 64], message: &[u8]) -> bool;
}

/// Ed25519 by the crate `ed25519-dalek`, which the agent uses too.
pub struct Dalek;

impl Signatures for Dalek {
    fn check(&self, key: &[u8; 32], signature: &[u8; 64], message: &[u8]) -> bool {
        let signature = Signature::from_bytes(signature);
        VerifyingKey::from_bytes(key).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }
}
