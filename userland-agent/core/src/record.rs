//! Records in storage: postcard with a leading format byte, so that a newer agent knows an older one's.

use crate::os::{Os, Record, StorageError};
use serde::{Serialize, de::DeserializeOwned};

const FORMAT: u8 = 3;

/// Reads a record. One that cannot be read as `T` counts as absent: it is of another version or damaged, and the
/// gateway holds what is needed to go on without it.
#[inline(never)] // its buffer is not to be on its callers' stack for as long as they run
pub(crate) fn load<T: DeserializeOwned>(os: &mut impl Os, record: Record) -> Result<Option<T>, StorageError> {
    let mut buffer = [0; Record::MAX];
    let Some(len) = os.get(record, &mut buffer)? else { return Ok(None) };
    match buffer.get(..len) {
        Some([FORMAT, body @ ..]) => Ok(postcard::from_bytes(body).ok()),
        _ => Ok(None),
    }
}

/// Writes a record durably.
#[inline(never)]
pub(crate) fn save<T: Serialize>(os: &mut impl Os, record: Record, value: &T) -> Result<(), StorageError> {
    let mut buffer = [0; Record::MAX];
    buffer[0] = FORMAT;
    let len = postcard::to_slice(value, &mut buffer[1..]).map_err(|_| StorageError::Failed)?.len();
    os.put(record, &buffer[..=len])
}
