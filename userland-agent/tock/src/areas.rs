//! Images in the areas of the kernel's image store: which is where, and how much of it is there.
//!
//! An area holds one image, however short. How long an image is so far is kept in the area's record, at each
//! [`STEP`] bytes and when it is complete: after a restart a transfer goes on at most that much earlier. The bytes are
//! always written before the length that counts them.

use crate::storage::{AREA_LEN, AREAS_MAX, Place, Records, Region};
use agent_core::{Digest, StorageError};
use alloc::vec::Vec;

/// Bytes of an image between two writes of its length.
pub const STEP: u32 = 1024;

/// Where the bytes of images are.
pub trait Store {
    /// Writes a piece of an image.
    fn stage(&mut self, area: u8, offset: u32, bytes: &[u8]) -> Result<(), StorageError>;
    /// Reads a piece of an image.
    fn load(&mut self, area: u8, offset: u32, buffer: &mut [u8]) -> Result<(), StorageError>;
}

/// What is in an area.
#[derive(Clone, Copy, Debug)]
struct Held {
    image: Digest,
    /// Bytes.
    len: u32,
    /// Bytes that would be known of after a restart.
    kept: u32,
}

/// The areas.
pub struct Areas<T> {
    store: T,
    /// At most [`AREAS_MAX`].
    held: Vec<Option<Held>>,
    area_bytes: u32,
}

impl<T: Store> Areas<T> {
    /// Opens `count` areas of `area_bytes` each, by what the records say of them. More than [`AREAS_MAX`] are left alone.
    pub fn open<R: Region>(
        store: T,
        count: u8,
        area_bytes: u32,
        records: &mut Records<R>,
    ) -> Result<Self, StorageError> {
        let mut held = Vec::with_capacity(usize::from(count).min(AREAS_MAX));
        for area in 0..count {
            let Some(place) = Place::of_area(area) else { break };
            let mut buffer = [0; AREA_LEN];
            let read = records.get(place, &mut buffer)?;
            let known = read.filter(|len| *len == AREA_LEN).map(|_| unpack(&buffer));
            held.push(known.filter(|held| held.len <= area_bytes));
        }
        Ok(Self { store, held, area_bytes })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.held.len()
    }

    /// Bytes of one.
    pub fn area_bytes(&self) -> u32 {
        self.area_bytes
    }

    /// The area of an image.
    pub fn find(&self, image: &Digest) -> Option<u8> {
        let at = self.held.iter().position(|held| held.is_some_and(|held| held.image == *image))?;
        Some(at as u8)
    }

    /// Bytes of an image so far.
    pub fn len(&self, image: &Digest) -> u32 {
        self.held.iter().flatten().find(|held| held.image == *image).map_or(0, |held| held.len)
    }

    /// Writes at `offset`, which is at most the present length; what was there after it is cut off.
    pub fn write<R: Region>(
        &mut self,
        records: &mut Records<R>,
        image: &Digest,
        offset: u32,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        let end = u32::try_from(bytes.len()).ok().and_then(|len| offset.checked_add(len));
        let end = end.filter(|end| *end <= self.area_bytes).ok_or(StorageError::Full)?;
        let (area, mut held) = match self.find(image) {
            Some(area) => (area, self.held[usize::from(area)].ok_or(StorageError::Failed)?),
            None => {
                let free = self.held.iter().position(Option::is_none).ok_or(StorageError::Full)?;
                let held = Held { image: *image, len: 0, kept: 0 };
                self.keep(records, free as u8, held)?;
                (free as u8, held)
            }
        };
        if offset > held.len {
            return Err(StorageError::Failed);
        }
        if offset < held.kept {
            held = self.keep(records, area, Held { len: offset, ..held })?;
        }
        // Should this fail half way, what it wrote over does not count any more.
        self.held[usize::from(area)] = Some(Held { len: offset, ..held });
        self.store.stage(area, offset, bytes)?;
        held.len = end;
        self.held[usize::from(area)] = Some(held);
        if end / STEP > held.kept / STEP {
            self.keep(records, area, held)?;
        }
        Ok(())
    }

    /// Reads at `offset`; gives how many bytes were read, 0 at the end.
    pub fn read(&mut self, image: &Digest, offset: u32, buffer: &mut [u8]) -> Result<usize, StorageError> {
        let Some(area) = self.find(image) else { return Ok(0) };
        let len = buffer.len().min(self.len(image).saturating_sub(offset) as usize);
        if len > 0 {
            self.store.load(area, offset, &mut buffer[..len])?;
        }
        Ok(len)
    }

    /// Notes that an image is complete: all of it is there after a restart.
    pub fn complete<R: Region>(
        &mut self,
        records: &mut Records<R>,
        image: &Digest,
    ) -> Result<(), StorageError> {
        let Some(area) = self.find(image) else { return Ok(()) };
        match self.held[usize::from(area)] {
            Some(held) if held.kept < held.len => self.keep(records, area, held).map(drop),
            _ => Ok(()),
        }
    }

    /// Frees the areas of images that are not to be kept.
    pub fn retain<R: Region>(
        &mut self,
        records: &mut Records<R>,
        keep: &dyn Fn(&Digest) -> bool,
    ) -> Result<(), StorageError> {
        for area in 0..self.held.len() {
            if self.held[area].is_some_and(|held| !keep(&held.image)) {
                let place = Place::of_area(area as u8).ok_or(StorageError::Failed)?;
                records.put(place, None)?;
                self.held[area] = None;
            }
        }
        Ok(())
    }

    /// Keeps what is known of an area.
    fn keep<R: Region>(
        &mut self,
        records: &mut Records<R>,
        area: u8,
        held: Held,
    ) -> Result<Held, StorageError> {
        let place = Place::of_area(area).ok_or(StorageError::Failed)?;
        let mut record = [0; AREA_LEN];
        record[..16].copy_from_slice(&held.image);
        record[16..].copy_from_slice(&held.len.to_le_bytes());
        records.put(place, Some(&record))?;
        let held = Held { kept: held.len, ..held };
        self.held[usize::from(area)] = Some(held);
        Ok(held)
    }
}

fn unpack(record: &[u8; AREA_LEN]) -> Held {
    let mut image = Digest::default();
    image.copy_from_slice(&record[..16]);
    let len = u32::from_le_bytes([record[16], record[17], record[18], record[19]]);
    Held { image, len, kept: len }
}
