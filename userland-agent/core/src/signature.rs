//! The publisher's word for an image: a node that knows a publisher's key starts nothing that it did not sign.

use ed25519_dalek::{Signature, VerifyingKey};
use node_proto::signed_message;

/// True if `signature` is the publisher's for the image of this SHA-256.
pub(crate) fn is_signed(digest: &[u8; 32], publisher: &[u8; 32], signature: &[u8]) -> bool {
    match (VerifyingKey::from_bytes(publisher), Signature::from_slice(signature)) {
        (Ok(key), Ok(signature)) => key.verify_strict(&signed_message(digest), &signature).is_ok(),
        _ => false,
    }
}
