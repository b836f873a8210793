//! The agent's records in a region of flash, each in two places, so that power may go at any byte.
//!
//! ```text
//!   page 0           page 1                       page 2                       page 3
//!   +-----------+----+--------------------------+-+--------------------------+-+-------+
//!   | provision |    | copy A                   | | copy B                   | | free  |
//!   +-----------+----+--------------------------+-+--------------------------+-+-------+
//!   0          512   4096                         8192                         12288
//!
//!   a copy:    3 small places | 10 large places | 16 places of areas
//!   a place:   magic 2 | length 2 | sequence 4 | CRC-32 4 | the record
//! ```
//!
//! A copy has a page of its own, since flash is erased by pages: a write that is cut off may take the whole page with it,
//! and then the other copy has everything. So only one copy is ever written to, and the other not before the first is
//! whole: [`put`](Records::put) writes A, then B; after a failure or a restart the copies are made equal first.
//! Page 0 is written by whoever provisions the node, never here.

use agent_core::crc::crc32;
use agent_core::{Record, StorageError, provision};
use node_proto::limits::TASKS_MAX;

/// Where raw bytes are kept.
pub trait Region {
    /// Fills `buffer` from `offset` on.
    fn read(&mut self, offset: u32, buffer: &mut [u8]) -> Result<(), StorageError>;
    /// Writes at `offset`; on return it would survive a loss of power.
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), StorageError>;
}

/// Bytes that are erased at once.
pub const PAGE: u32 = 4096;
/// Room for the node's provisioning, bytes; see [`provision`].
pub const PROVISION_LEN: usize = provision::BLOB_MAX;
/// Where the copies begin.
pub const COPIES: [u32; 2] = [PAGE, 2 * PAGE];
/// Bytes of the region that are used.
pub const REGION_LEN: u32 = 3 * PAGE;

/// Areas of the image store that can be named.
pub const AREAS_MAX: usize = 16;
/// Records of numbers alone: `Boot`, `Seen`, `Sequence`.
const SMALL: usize = 3;
/// All others of the agent's: `Images`, `Releases`, and one for each task.
const LARGE: usize = 2 + TASKS_MAX;
/// All places.
const PLACES: usize = SMALL + LARGE + AREAS_MAX;
/// Bytes before a record.
const HEADER: usize = 12;
/// Bytes of a small record.
const SMALL_LEN: usize = 52;
/// Bytes of an area's record.
pub const AREA_LEN: usize = 20;
/// What a place that was written begins with.
const MAGIC: u16 = 0x4d52;
/// The length of a record that was deleted.
const DELETED: u16 = u16::MAX;

const COPY_LEN: usize =
    SMALL * (HEADER + SMALL_LEN) + LARGE * align(HEADER + Record::MAX) + AREAS_MAX * (HEADER + AREA_LEN);
const _: () = assert!(COPY_LEN <= PAGE as usize, "a copy has one page");
const _: () = assert!(PROVISION_LEN <= PAGE as usize, "page 0 is not written by the agent");

/// The next multiple of a flash word.
const fn align(len: usize) -> usize {
    (len + 3) & !3
}

/// A place in both copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u8);

impl Place {
    /// The place of one of the agent's records.
    pub fn of(record: Record) -> Option<Self> {
        Some(Self(match record {
            Record::Boot => 0,
            Record::Seen => 1,
            Record::Sequence => 2,
            Record::Images => SMALL as u8,
            Record::Releases => SMALL as u8 + 1,
            Record::Slot(slot) if usize::from(slot) < TASKS_MAX => SMALL as u8 + 2 + slot,
            Record::Slot(_) => return None,
        }))
    }

    /// The place for what is in an area of the image store.
    pub fn of_area(area: u8) -> Option<Self> {
        (usize::from(area) < AREAS_MAX).then_some(Self((SMALL + LARGE) as u8 + area))
    }

    /// Offset in a copy, and bytes of the longest record.
    fn span(self) -> (u32, usize) {
        let place = usize::from(self.0);
        let (small, large) = (HEADER + SMALL_LEN, align(HEADER + Record::MAX));
        let (at, room) = if place < SMALL {
            (place * small, SMALL_LEN)
        } else if place < SMALL + LARGE {
            (SMALL * small + (place - SMALL) * large, Record::MAX)
        } else {
            (SMALL * small + LARGE * large + (place - SMALL - LARGE) * (HEADER + AREA_LEN), AREA_LEN)
        };
        (at as u32, room)
    }

    fn all() -> impl Iterator<Item = Self> {
        (0..PLACES as u8).map(Self)
    }
}

/// A place as it was read or will be written: header and record.
struct Image {
    bytes: [u8; HEADER + Record::MAX],
    len: usize,
}

impl Image {
    fn empty() -> Self {
        Self { bytes: [0; HEADER + Record::MAX], len: HEADER }
    }

    /// Makes it what a place is to hold; `None` deletes.
    fn fill(&mut self, place: Place, sequence: u32, record: Option<&[u8]>) -> Option<()> {
        let body = record.unwrap_or_default();
        let len = record.map_or(DELETED, |record| record.len() as u16);
        self.len = HEADER + body.len();
        self.bytes.get_mut(HEADER..self.len)?.copy_from_slice(body);
        self.bytes[..2].copy_from_slice(&MAGIC.to_le_bytes());
        self.bytes[2..4].copy_from_slice(&len.to_le_bytes());
        self.bytes[4..8].copy_from_slice(&sequence.to_le_bytes());
        let crc = self.crc(place);
        self.bytes[8..HEADER].copy_from_slice(&crc.to_le_bytes());
        Some(())
    }

    /// Reads a place of a copy and gives the number of the write; `None` if what is there was not written whole.
    fn read(
        &mut self,
        region: &mut impl Region,
        copy: u32,
        place: Place,
    ) -> Result<Option<u32>, StorageError> {
        let (at, room) = place.span();
        self.len = HEADER;
        region.read(copy + at, &mut self.bytes[..HEADER])?;
        let [m0, m1, l0, l1, s0, s1, s2, s3, ..] = self.bytes;
        let len = match u16::from_le_bytes([l0, l1]) {
            DELETED => 0,
            len => usize::from(len),
        };
        if u16::from_le_bytes([m0, m1]) != MAGIC || len > room {
            return Ok(None);
        }
        self.len += len;
        if len > 0 {
            region.read(copy + at + HEADER as u32, &mut self.bytes[HEADER..HEADER + len])?;
        }
        let whole = self.bytes[8..HEADER] == self.crc(place).to_le_bytes();
        Ok(whole.then_some(u32::from_le_bytes([s0, s1, s2, s3])))
    }

    fn crc(&self, place: Place) -> u32 {
        crc32(&[&[place.0], &self.bytes[..8], self.record()])
    }

    fn record(&self) -> &[u8] {
        &self.bytes[HEADER..self.len]
    }

    fn is_deleted(&self) -> bool {
        self.bytes[2..4] == DELETED.to_le_bytes()
    }

    fn written(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The records.
pub struct Records<R> {
    region: R,
    /// The number of each place's newest write.
    sequences: [u32; PLACES],
    /// The copies may differ: they are made equal before anything is written.
    unequal: bool,
}

impl<R: Region> Records<R> {
    /// Opens what is in a region, and makes the copies equal where power went in between.
    pub fn open(region: R) -> Result<Self, StorageError> {
        let mut records = Self { region, sequences: [0; PLACES], unequal: true };
        records.repair(&mut Image::empty())?;
        Ok(records)
    }

    /// The region.
    pub fn region(&mut self) -> &mut R {
        &mut self.region
    }

    /// Reads a record into `buffer` and gives its length; `None` if there is none.
    pub fn get(&mut self, place: Place, buffer: &mut [u8]) -> Result<Option<usize>, StorageError> {
        let mut image = Image::empty();
        let held = self.newest(place, &mut image)?;
        if held.is_none() || image.is_deleted() {
            return Ok(None);
        }
        let record = image.record();
        buffer.get_mut(..record.len()).ok_or(StorageError::Failed)?.copy_from_slice(record);
        Ok(Some(record.len()))
    }

    /// Replaces a record; `None` deletes it. After an error it is the old one or the new one.
    #[inline(never)]
    pub fn put(&mut self, place: Place, record: Option<&[u8]>) -> Result<(), StorageError> {
        let (at, room) = place.span();
        if record.is_some_and(|record| record.len() > room) {
            return Err(StorageError::Full);
        }
        let mut image = Image::empty();
        if self.unequal {
            self.repair(&mut image)?;
        }
        let index = usize::from(place.0);
        let sequence = self.sequences[index].wrapping_add(1);
        image.fill(place, sequence, record).ok_or(StorageError::Full)?;
        self.unequal = true;
        self.region.write(COPIES[0] + at, image.written())?;
        self.sequences[index] = sequence;
        // It is safe from here on. If the second copy fails, the next write tries that again first.
        if self.region.write(COPIES[1] + at, image.written()).is_ok() {
            self.unequal = false;
        }
        Ok(())
    }

    /// Makes both copies of all places equal, by the newer one.
    ///
    /// All of A first: a write that was cut off may have left it with one place that is newer than in B, and holes after
    /// it. B is what those are mended from, so it is not written to before.
    fn repair(&mut self, image: &mut Image) -> Result<(), StorageError> {
        for copy in COPIES {
            for place in Place::all() {
                let Some((sequence, stale)) = self.newest(place, image)? else { continue };
                self.sequences[usize::from(place.0)] = sequence;
                if stale == Some(copy) {
                    self.region.write(copy + place.span().0, image.written())?;
                }
            }
        }
        self.unequal = false;
        Ok(())
    }

    /// Reads the newest that is whole into `image`; gives the number of its write, and the copy that does not have it.
    fn newest(
        &mut self,
        place: Place,
        image: &mut Image,
    ) -> Result<Option<(u32, Option<u32>)>, StorageError> {
        let b = image.read(&mut self.region, COPIES[1], place)?;
        let a = image.read(&mut self.region, COPIES[0], place)?;
        let (sequence, stale) = match (a, b) {
            (Some(a), Some(b)) if a == b => return Ok(Some((a, None))),
            (Some(a), Some(b)) if (a.wrapping_sub(b) as i32) > 0 => (a, COPIES[1]),
            (Some(a), None) => (a, COPIES[1]),
            (_, Some(b)) => {
                image.read(&mut self.region, COPIES[1], place)?;
                (b, COPIES[0])
            }
            (None, None) => return Ok(None),
        };
        Ok(Some((sequence, Some(stale))))
    }
}
