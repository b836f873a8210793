//! Nonvolatile storage in the flash that the kernel itself runs from, with as few erasures as its contents allow.
//!
//! Flash of this kind clears bits one word at a time, but sets them only a page at a time: that takes some 85 ms on an
//! nRF52840, during which the core stands still, and wears the page out after 10,000 times. So:
//!
//! - what is there already is not written again;
//! - what goes to erased words is written without erasing;
//! - a [region](Region) may be one that is written front to back, as images are: then a page is erased when the first
//!   change reaches it, and what followed in the same unit is given up, so that the pieces after it find erased words.
//!
//! Storage addresses begin with the first region, and go on with the next where one ends. Nothing outside the regions is
//! ever read or written, the kernel least of all.
//! What this does not do: a page that is erased to change a part of it is lost as a whole if power goes before it is
//! written again. Whoever needs more keeps two copies in two pages.

use core::cell::Cell;
use core::ops::Range;
use kernel::ErrorCode;
use kernel::deferred_call::{DeferredCall, DeferredCallClient};
use kernel::hil::nonvolatile_storage::{NonvolatileStorage, NonvolatileStorageClient};
use kernel::utilities::cells::{OptionalCell, TakeCell};

/// Bytes of a page, what is erased at once.
pub const PAGE: usize = 4096;
/// Bytes of a word, what is written at once.
const WORD: usize = 4;
const ERASED: u32 = u32::MAX;

/// The flash itself. Every operation is done when it returns.
pub trait Nor {
    /// The word at an address that is a multiple of 4.
    fn word(&self, address: usize) -> u32;
    /// Writes an erased word.
    fn program(&self, address: usize, word: u32);
    /// Sets all bits of the page that begins at this address.
    fn erase(&self, address: usize);
}

/// A part of the flash that may be used.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    /// Its first byte, at a page's beginning.
    pub start: usize,
    /// Bytes, whole pages.
    pub len: usize,
    /// Bytes of a unit that is written front to back; `None` if everything is kept that is not written over.
    pub unit: Option<usize>,
}

impl Region {
    /// A region that keeps what is not written over.
    pub const fn kept(start: usize, len: usize) -> Self {
        Self { start, len, unit: None }
    }

    /// A region of units of so many bytes, each written front to back.
    pub const fn units(start: usize, len: usize, unit: usize) -> Self {
        Self { start, len, unit: Some(unit) }
    }

    /// True if it is whole pages, and whole units.
    const fn sound(&self) -> bool {
        let units = match self.unit {
            Some(0) => false,
            Some(unit) => self.len.is_multiple_of(unit) && unit.is_multiple_of(WORD),
            None => true,
        };
        self.start.is_multiple_of(PAGE) && self.len.is_multiple_of(PAGE) && units
    }

    /// Where the unit of an address ends, if it has one.
    fn unit_end(&self, address: usize) -> Option<usize> {
        self.unit.map(|unit| address + unit - (address - self.start) % unit)
    }
}

/// A flash whose pages are changed with as few erasures as possible. It knows nothing of who asks.
pub struct Pages<F: Nor> {
    flash: F,
    page: TakeCell<'static, [u8; PAGE]>,
}

impl<F: Nor> Pages<F> {
    /// Over a flash; `page` is where pages are put together.
    pub fn new(flash: F, page: &'static mut [u8; PAGE]) -> Self {
        Self { flash, page: TakeCell::new(page) }
    }

    /// Reads what is at an address.
    pub fn read(&self, address: usize, bytes: &mut [u8]) {
        for (at, byte) in (address..).zip(bytes) {
            *byte = self.flash.word(at - at % WORD).to_le_bytes()[at % WORD];
        }
    }

    /// The word at an address once `bytes` are at `start`.
    fn word_with(&self, address: usize, start: usize, bytes: &[u8]) -> u32 {
        let mut word = self.flash.word(address).to_le_bytes();
        for (at, byte) in (address..).zip(&mut word) {
            if let Some(new) = at.checked_sub(start).and_then(|at| bytes.get(at)) {
                *byte = *new;
            }
        }
        u32::from_le_bytes(word)
    }

    /// Writes bytes that are all in one page of a region. False if they are not there after that.
    pub fn write(&self, region: Region, start: usize, bytes: &[u8]) -> bool {
        let words = words(start, bytes.len());
        let change = |at: &usize| self.flash.word(*at) != self.word_with(*at, start, bytes);
        let mut changes = words.clone().filter(change);
        if changes.any(|at| self.flash.word(at) != ERASED) {
            self.page.map(|page| self.rewrite(region, start, bytes, page));
        } else {
            for at in words.clone() {
                let word = self.word_with(at, start, bytes);
                if word != ERASED && self.flash.word(at) != word {
                    self.flash.program(at, word);
                }
            }
        }
        words.clone().all(|at| self.flash.word(at) == self.word_with(at, start, bytes))
    }

    /// Erases a page and writes it again with new bytes in it.
    fn rewrite(&self, region: Region, start: usize, bytes: &[u8], page: &mut [u8; PAGE]) {
        let first = start - start % PAGE;
        self.read(first, page);
        let (from, end) = (start - first, start - first + bytes.len());
        let dropped = region.unit_end(start).map_or(end, |unit| unit - first).clamp(end, PAGE);
        if let Some(place) = page.get_mut(from..end) {
            place.copy_from_slice(bytes);
        }
        if let Some(rest) = page.get_mut(end..dropped) {
            rest.fill(0xff);
        }
        self.flash.erase(first);
        for (at, word) in (first..).step_by(WORD).zip(page.chunks_exact(WORD)) {
            let word = word.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
            if word != ERASED {
                self.flash.program(at, word);
            }
        }
    }
}

/// The words that some bytes are in.
fn words(start: usize, len: usize) -> core::iter::StepBy<Range<usize>> {
    (start - start % WORD..start + len).step_by(WORD)
}

#[derive(Clone, Copy)]
enum State {
    Idle,
    /// So many bytes were read.
    Read(usize),
    /// Under way in a region.
    Write {
        region: Region,
        address: usize,
        len: usize,
        done: usize,
    },
}

/// Storage over `N` regions of a flash. Each page is a step of its own, between which the kernel does its other work.
pub struct FlashStorage<'a, F: Nor, const N: usize> {
    pages: Pages<F>,
    regions: [Region; N],
    client: OptionalCell<&'a dyn NonvolatileStorageClient>,
    buffer: TakeCell<'static, [u8]>,
    state: Cell<State>,
    deferred: DeferredCall,
}

impl<F: Nor, const N: usize> FlashStorage<'_, F, N> {
    /// Over these regions of a flash; `page` is where pages are put together. It has to be registered for its deferred
    /// call.
    ///
    /// # Panics
    ///
    /// If a region is not whole pages and whole units, which is the board's mistake.
    pub fn new(flash: F, regions: [Region; N], page: &'static mut [u8; PAGE]) -> Self {
        assert!(regions.iter().all(Region::sound), "a region of the flash is not whole pages and units");
        Self {
            pages: Pages::new(flash, page),
            regions,
            client: OptionalCell::empty(),
            buffer: TakeCell::empty(),
            state: Cell::new(State::Idle),
            deferred: DeferredCall::new(),
        }
    }

    /// The region that all of some bytes are in, and where in the flash they are.
    fn place(&self, address: usize, len: usize) -> Result<(Region, usize), ErrorCode> {
        let mut before = 0;
        for region in self.regions {
            if let Some(at) = address.checked_sub(before).filter(|at| *at < region.len) {
                let fits = len <= region.len - at;
                return if fits { Ok((region, region.start + at)) } else { Err(ErrorCode::INVAL) };
            }
            before += region.len;
        }
        Err(ErrorCode::INVAL)
    }

    fn begin(&self, buffer: &'static mut [u8], length: usize, state: State) -> Result<(), ErrorCode> {
        // The trait gives a refused buffer no way back: in no case that the executor capsule causes is one refused.
        if length > buffer.len() {
            return Err(ErrorCode::SIZE);
        }
        if !matches!(self.state.get(), State::Idle) {
            return Err(ErrorCode::BUSY);
        }
        self.buffer.replace(buffer);
        self.state.set(state);
        self.deferred.set();
        Ok(())
    }

    fn finish(&self, written: bool, length: usize) {
        self.state.set(State::Idle);
        let Some((client, buffer)) = self.client.get().zip(self.buffer.take()) else { return };
        if written {
            client.write_done(buffer, length);
        } else {
            client.read_done(buffer, length);
        }
    }
}

impl<'a, F: Nor, const N: usize> NonvolatileStorage<'a> for FlashStorage<'a, F, N> {
    fn set_client(&self, client: &'a dyn NonvolatileStorageClient) {
        self.client.set(client);
    }

    fn read(&self, buffer: &'static mut [u8], address: usize, length: usize) -> Result<(), ErrorCode> {
        let (_, address) = self.place(address, length)?;
        let into = buffer.get_mut(..length).ok_or(ErrorCode::SIZE)?;
        if matches!(self.state.get(), State::Idle) {
            self.pages.read(address, into);
        }
        self.begin(buffer, length, State::Read(length))
    }

    fn write(&self, buffer: &'static mut [u8], address: usize, length: usize) -> Result<(), ErrorCode> {
        let (region, address) = self.place(address, length)?;
        self.begin(buffer, length, State::Write { region, address, len: length, done: 0 })
    }
}

impl<F: Nor, const N: usize> DeferredCallClient for FlashStorage<'_, F, N> {
    fn handle_deferred_call(&self) {
        match self.state.get() {
            State::Idle => {}
            State::Read(length) => self.finish(false, length),
            State::Write { len, done, .. } if done == len => self.finish(true, len),
            State::Write { region, address, len, done } => {
                let at = address + done;
                let piece = (len - done).min(PAGE - at % PAGE);
                let good = self.buffer.map(|buffer| {
                    buffer.get(done..done + piece).is_some_and(|bytes| self.pages.write(region, at, bytes))
                });
                if good == Some(true) {
                    self.state.set(State::Write { region, address, len, done: done + piece });
                    self.deferred.set();
                } else {
                    // The flash is worn out: what the client is told was written is what is there.
                    self.finish(true, done);
                }
            }
        }
    }

    fn register(&'static self) {
        self.deferred.register(self);
    }
}
