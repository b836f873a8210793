//! Checks an image before anything of it runs: its digest, who published it, and, for a native slot, whether it is one that
//! can run there; then it is copied into the slot. Whatever fails ends the slot: nothing half copied is ever started.

use crate::board::Region;
use crate::work::{Means, Step};
use grants::native::{Header, PROTECTED, Relocation, Shift};
use grants::syscall::VerifyRecord;
use grants::{Slot, SlotEvent};
use kernel::ErrorCode;
use node_proto::limits::MANIFEST_MAX;
use node_proto::{Kind, Manifest};
use sha2::{Digest, Sha256};

/// An image that is checked for a slot.
pub(crate) struct Check {
    slot: u8,
    /// Where the image is: as long as it was named, inside an area.
    image: Region,
    digest: [u8; 32],
    phase: Phase,
}

enum Phase {
    /// So many bytes are hashed, and so many more are in the scratch buffer.
    Hash {
        sha: Sha256,
        done: u32,
        piece: u32,
    },
    /// The header is in the scratch buffer.
    Header,
    Copy(Copy),
}

/// A binary on its way into a slot.
struct Copy {
    to: Region,
    /// Bytes of header and binary, and how far they are copied.
    total: u32,
    at: u32,
    /// How far the table of places was read.
    table: u32,
    relocation: Option<Relocation>,
    asked: Asked,
}

/// What the scratch buffer holds or held.
#[derive(Clone, Copy)]
enum Asked {
    Nothing,
    Table(usize),
    Binary(usize),
    Written(usize),
}

impl Check {
    /// Takes the record and the manifest from the caller. The errors of what was asked leave the slot as it was, those of
    /// the image end it.
    pub(crate) fn begin<const SLOTS: usize, const UP: usize, const DOWN: usize>(
        means: &mut Means<'_, SLOTS, UP, DOWN>,
        slot: u8,
        area: u8,
    ) -> Result<Self, ErrorCode> {
        let area_region = means.board.layout.area(area).ok_or(ErrorCode::INVAL)?;
        let given = means.buffers.input();
        if given > VerifyRecord::LEN + MANIFEST_MAX {
            return Err(ErrorCode::SIZE);
        }
        let bytes = means.scratch.get_mut(..given).ok_or(ErrorCode::SIZE)?;
        if !means.buffers.copy_in(0, bytes) {
            return Err(ErrorCode::RESERVE);
        }
        let record = VerifyRecord::from_bytes(bytes).ok_or(ErrorCode::RESERVE)?;
        let entry = means.slots.entry(slot)?;
        let staged = entry.state.on(SlotEvent::Stage).map_err(|_| match entry.state {
            Slot::Verified => ErrorCode::ALREADY,
            _ => ErrorCode::OFF,
        })?;
        if record.len == 0 || record.len > area_region.len {
            return Err(ErrorCode::SIZE);
        }
        entry.state = staged;
        (entry.area, entry.image_len) = (Some(area), record.len);
        let digest = record.digest();
        let image = Region { len: record.len, ..area_region };
        let phase = Phase::Hash { sha: Sha256::new(), done: 0, piece: 0 };
        let check = Self { slot, image, digest, phase };
        if means.board.native(slot).is_some() && !means.board.publishers.is_empty() {
            let signed = means.scratch.get(VerifyRecord::LEN..given).unwrap_or(&[]);
            if !check.published(means.board.publishers, means.signatures, signed) {
                means.slots.verified(slot, false);
                return Err(ErrorCode::NOACK);
            }
        }
        Ok(check)
    }

    /// True if one of the publishers says of this image what it is.
    fn published(&self, keys: &[[u8; 32]], signatures: &dyn crate::Signatures, signed: &[u8]) -> bool {
        let Ok(manifest) = Manifest::peek(signed) else { return false };
        let named = manifest.kind == Kind::Native
            && manifest.digest == self.digest
            && manifest.size == self.image.len;
        // Made anew from what was read, so that only the one way to write a manifest bears a signature.
        let (Ok(message), Some(signature)) = (manifest.signed_message(), signed.last_chunk::<64>()) else {
            return false;
        };
        let theirs = |key: &&[u8; 32]| key.starts_with(&manifest.publisher);
        named && keys.iter().filter(theirs).any(|key| signatures.check(key, signature, &message))
    }

    pub(crate) fn first<const SLOTS: usize, const UP: usize, const DOWN: usize>(
        &mut self,
        means: &mut Means<'_, SLOTS, UP, DOWN>,
    ) -> Step {
        let step = self.read_on(means.scratch.len());
        self.close(means, step)
    }

    pub(crate) fn step<const SLOTS: usize, const UP: usize, const DOWN: usize>(
        &mut self,
        means: &mut Means<'_, SLOTS, UP, DOWN>,
    ) -> Step {
        // The agent may end the slot at any time.
        if means.slots.state(self.slot) != Slot::Staging {
            return Step::Done(Err(ErrorCode::CANCEL));
        }
        let step = self.on(means);
        self.close(means, step)
    }

    /// The slot is ready, or ends, with the last step.
    fn close<const SLOTS: usize, const UP: usize, const DOWN: usize>(
        &self,
        means: &mut Means<'_, SLOTS, UP, DOWN>,
        step: Result<Option<Step>, ErrorCode>,
    ) -> Step {
        match step {
            Ok(Some(step)) => step,
            Ok(None) => {
                means.slots.verified(self.slot, true);
                Step::Done(Ok(self.image.len))
            }
            Err(code) => {
                means.slots.verified(self.slot, false);
                Step::Done(Err(code))
            }
        }
    }

    /// The next piece to hash.
    fn read_on(&mut self, scratch: usize) -> Result<Option<Step>, ErrorCode> {
        let Phase::Hash { done, piece, .. } = &mut self.phase else { return Err(ErrorCode::FAIL) };
        let left = self.image.len.saturating_sub(*done);
        *piece = left.min(u32::try_from(scratch).unwrap_or(u32::MAX));
        Ok(Some(Step::Read { at: self.image.offset + *done, len: *piece as usize }))
    }

    /// What follows the last step; `None`: all is well.
    fn on<const SLOTS: usize, const UP: usize, const DOWN: usize>(
        &mut self,
        means: &mut Means<'_, SLOTS, UP, DOWN>,
    ) -> Result<Option<Step>, ErrorCode> {
        match &mut self.phase {
            Phase::Hash { sha, done, piece } => {
                sha.update(means.scratch.get(..*piece as usize).ok_or(ErrorCode::FAIL)?);
                *done += *piece;
                if *done < self.image.len {
                    return self.read_on(means.scratch.len());
                }
                if sha.finalize_reset()[..] != self.digest[..] {
                    return Err(ErrorCode::FAIL);
                }
                if means.board.native(self.slot).is_none() {
                    return Ok(None);
                }
                if self.image.len <= PROTECTED {
                    return Err(ErrorCode::INVAL);
                }
                self.phase = Phase::Header;
                Ok(Some(Step::Read { at: self.image.offset, len: PROTECTED as usize }))
            }
            Phase::Header => {
                let header = means.scratch.get(..PROTECTED as usize).ok_or(ErrorCode::FAIL)?;
                let mut copy = self.place(means, Header::parse(header).map_err(|_| ErrorCode::INVAL)?)?;
                let step = copy.next(self.image, means.scratch.len());
                self.phase = Phase::Copy(copy);
                step
            }
            Phase::Copy(copy) => copy.on(self.image, means.scratch),
        }
    }

    /// Whether an image of this header runs in the slot, and how it gets there.
    fn place<const SLOTS: usize, const UP: usize, const DOWN: usize>(
        &self,
        means: &Means<'_, SLOTS, UP, DOWN>,
        header: Header,
    ) -> Result<Copy, ErrorCode> {
        let slot = means.board.native(self.slot).ok_or(ErrorCode::FAIL)?;
        let granted = means.slots.ledger.grant(self.slot.into()).map_or(0, |grant| grant.mem_bytes);
        let table = self.image.len.checked_sub(header.total_size).ok_or(ErrorCode::INVAL)?;
        let linked = header.linked.ok_or(ErrorCode::INVAL)?;
        let fits = header.total_size <= slot.image_bytes()
            && header.init_fn_offset == slot.init_fn_offset
            && header.ram_bytes <= granted.min(slot.ram_bytes);
        if !fits || (table == 0 && linked != slot.addresses) {
            return Err(ErrorCode::SIZE);
        }
        let shift = Shift::between(linked, slot.addresses).ok_or(ErrorCode::INVAL)?;
        let relocation = (table > 0).then(|| Relocation::new(header.total_size, table, shift));
        let (total, table) = (header.total_size, header.total_size);
        Ok(Copy { to: slot.region(), total, at: PROTECTED, table, relocation, asked: Asked::Nothing })
    }
}

impl Copy {
    fn next(&mut self, image: Region, scratch: usize) -> Result<Option<Step>, ErrorCode> {
        let wants = self.relocation.as_ref().map_or(0, Relocation::wants);
        let (from, len) = if wants > 0 {
            self.asked = Asked::Table(wants);
            (self.table, wants)
        } else if self.at < self.total {
            let len = ((self.total - self.at) as usize).min(scratch);
            self.asked = Asked::Binary(len);
            (self.at, len)
        } else {
            let whole = self.relocation.as_ref().is_none_or(Relocation::complete);
            return if whole { Ok(None) } else { Err(ErrorCode::INVAL) };
        };
        let at = image.span(from, len as u32).ok_or(ErrorCode::INVAL)?;
        Ok(Some(Step::Read { at, len }))
    }

    fn on(&mut self, image: Region, scratch: &mut [u8]) -> Result<Option<Step>, ErrorCode> {
        match self.asked {
            Asked::Nothing => {}
            Asked::Table(len) => {
                let bytes = scratch.get(..len).ok_or(ErrorCode::FAIL)?;
                let relocation = self.relocation.as_mut().ok_or(ErrorCode::FAIL)?;
                relocation.table(bytes).map_err(|_| ErrorCode::INVAL)?;
                self.table += len as u32;
            }
            Asked::Binary(len) => {
                let bytes = scratch.get_mut(..len).ok_or(ErrorCode::FAIL)?;
                let len = match &mut self.relocation {
                    Some(relocation) => relocation.apply(self.at, bytes).map_err(|_| ErrorCode::INVAL)?,
                    None => len,
                };
                let at = self.to.span(self.at - PROTECTED, len as u32).ok_or(ErrorCode::SIZE)?;
                self.asked = Asked::Written(len);
                return Ok(Some(Step::Write { at, len }));
            }
            Asked::Written(len) => self.at += len as u32,
        }
        self.next(image, scratch.len())
    }
}
