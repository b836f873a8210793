//! What the kernel itself needs of a node's provisioning: the keys of the publishers whose native images may run.
//!
//! The blob is `agent_core::provision`'s, which the agent reads whole; here nothing is parsed but the place of the keys.

/// Bytes of the blob, at the start of the agent's records.
pub const BLOB: usize = 512;
/// Publishers that a node may know.
pub const PUBLISHERS_MAX: usize = 4;
/// Where their keys are.
const KEYS_AT: usize = BLOB - 32 * PUBLISHERS_MAX;
/// What a blob begins with.
const MAGIC: [u8; 4] = *b"MMAp";

/// Ed25519 keys of publishers, and how many of them there are: none in a node that was told of none, or of nothing. One that
/// is damaged is a key that signs nothing, so that no image is believed that should not be.
pub fn publishers(blob: &[u8; BLOB]) -> ([[u8; 32]; PUBLISHERS_MAX], usize) {
    let mut keys = [[0; 32]; PUBLISHERS_MAX];
    let mut count = 0;
    if blob.starts_with(&MAGIC) {
        for key in blob[KEYS_AT..].chunks_exact(32).filter(|key| key.iter().any(|byte| *byte != 0)) {
            keys[count].copy_from_slice(key);
            count += 1;
        }
    }
    (keys, count)
}
