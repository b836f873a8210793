//! Reassembly (RFC 4944 §5.3) within fixed limits.

use crate::Eui64;

/// Limits of reassembly.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Datagrams in reassembly at once.
    pub datagrams: usize,
    /// Largest datagram, bytes, uncompressed with IPv6 and UDP header.
    pub size: usize,
    /// How long its fragments are kept, milliseconds (RFC 4944: at most 60 s).
    pub timeout_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { datagrams: 16, size: 1280, timeout_ms: 5_000 }
    }
}

/// What names the datagram that a fragment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub source: Eui64,
    pub tag: u16,
    pub size: u16,
}

/// A datagram whose fragments are coming in.
struct Partial<H> {
    key: Key,
    started_ms: u64,
    header: Option<H>,
    bytes: Vec<u8>,
    /// Which units of 8 bytes are there.
    units: Vec<bool>,
}

/// Datagrams in reassembly; `H` is what the first fragment's headers said.
pub(crate) struct Reassembly<H> {
    limits: Limits,
    partial: Vec<Partial<H>>,
}

/// Why a fragment was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    Size,
    Range,
}

impl<H> Reassembly<H> {
    pub fn new(limits: Limits) -> Self {
        Self { limits, partial: Vec::new() }
    }

    /// Takes a fragment whose bytes begin at `offset` of the uncompressed datagram. Gives the header and all bytes
    /// of a datagram that is complete, and counts in `lapsed` what was given up to make room.
    pub fn add(
        &mut self,
        key: Key,
        header: Option<H>,
        offset: usize,
        bytes: &[u8],
        now_ms: u64,
        lapsed: &mut u64,
    ) -> Result<Option<(H, Vec<u8>)>, Bad> {
        let before = self.partial.len();
        let timeout_ms = self.limits.timeout_ms;
        self.partial.retain(|partial| now_ms.saturating_sub(partial.started_ms) < timeout_ms);
        *lapsed += (before - self.partial.len()) as u64;

        let size = usize::from(key.size);
        if size > self.limits.size {
            return Err(Bad::Size);
        }
        let end = offset.checked_add(bytes.len()).filter(|end| *end <= size).ok_or(Bad::Range)?;
        // Every fragment but the last ends on a unit (RFC 4944 §5.3).
        if !offset.is_multiple_of(8) || (!end.is_multiple_of(8) && end != size) {
            return Err(Bad::Range);
        }
        let at = match self.partial.iter().position(|partial| partial.key == key) {
            Some(at) => at,
            None => {
                if self.partial.len() >= self.limits.datagrams {
                    self.partial.remove(0);
                    *lapsed += 1;
                }
                self.partial.push(Partial {
                    key,
                    started_ms: now_ms,
                    header: None,
                    bytes: vec![0; size],
                    units: vec![false; size.div_ceil(8)],
                });
                self.partial.len() - 1
            }
        };
        let partial = &mut self.partial[at];
        partial.bytes[offset..end].copy_from_slice(bytes);
        partial.units[offset / 8..end.div_ceil(8)].fill(true);
        if header.is_some() {
            // The units of the headers were not in the frame as such: they are the space before the first bytes.
            partial.units[..offset / 8].fill(true);
            partial.header = header;
        }
        if partial.header.is_none() || !partial.units.iter().all(|there| *there) {
            return Ok(None);
        }
        let partial = self.partial.remove(at);
        Ok(partial.header.map(|header| (header, partial.bytes)))
    }
}
