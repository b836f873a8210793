//! Flash keeps what is written, is erased as little as possible, and is never asked for what it cannot do.

use parts::flash_storage::{Nor, PAGE, Pages, Region};
use proptest::prelude::*;
use std::cell::{Cell, RefCell};

/// Bytes of the flash under test.
const SIZE: usize = 4 * PAGE;

/// A flash that panics where a real one would go wrong.
struct Chip {
    words: RefCell<Vec<u32>>,
    erased: Cell<usize>,
    /// Words are stuck from here on.
    worn: usize,
}

impl Chip {
    fn full_of(byte: u8) -> Self {
        let word = u32::from_le_bytes([byte; 4]);
        Self { words: RefCell::new(vec![word; SIZE / 4]), erased: Cell::new(0), worn: SIZE }
    }
}

impl Nor for &Chip {
    fn word(&self, address: usize) -> u32 {
        assert_eq!(address % 4, 0);
        self.words.borrow()[address / 4]
    }

    fn program(&self, address: usize, word: u32) {
        assert_eq!(address % 4, 0);
        let old = &mut self.words.borrow_mut()[address / 4];
        assert_eq!(*old, u32::MAX, "a word at {address:#x} is written twice");
        if address < self.worn {
            *old = word;
        }
    }

    fn erase(&self, address: usize) {
        assert_eq!(address % PAGE, 0);
        self.words.borrow_mut()[address / 4..][..PAGE / 4].fill(u32::MAX);
        self.erased.set(self.erased.get() + 1);
    }
}

fn pages(chip: &Chip) -> Pages<&Chip> {
    Pages::new(chip, Box::leak(Box::new([0; PAGE])))
}

/// Writes across pages, as the storage does.
fn write(pages: &Pages<&Chip>, region: Region, at: usize, bytes: &[u8]) -> bool {
    let mut done = 0;
    while done < bytes.len() {
        let piece = (bytes.len() - done).min(PAGE - (at + done) % PAGE);
        if !pages.write(region, at + done, &bytes[done..done + piece]) {
            return false;
        }
        done += piece;
    }
    true
}

fn read(pages: &Pages<&Chip>, at: usize, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    pages.read(at, &mut bytes);
    bytes
}

#[test]
fn an_image_in_blocks_erases_each_page_once() {
    for (before, erasures) in [(0x5a, 2), (0xff, 0)] {
        let chip = Chip::full_of(before);
        let (pages, region) = (pages(&chip), Region::units(0, SIZE, 2 * PAGE));
        let image: Vec<u8> = (0..2 * PAGE).map(|at| (at * 7 + at / PAGE) as u8).collect();
        for (at, block) in (0..).step_by(64).zip(image.chunks(64)) {
            assert!(write(&pages, region, at, block));
        }
        assert_eq!(read(&pages, 0, image.len()), image);
        assert_eq!(chip.erased.get(), erasures);
        // The other unit is as it was, and so is the image if it comes again.
        assert!(read(&pages, 2 * PAGE, 2 * PAGE).iter().all(|byte| *byte == before));
        assert!(write(&pages, region, 0, &image));
        assert_eq!(chip.erased.get(), erasures);
    }
}

/// The protected header of a slot comes before what is written.
#[test]
fn what_comes_before_the_first_block_stays() {
    let chip = Chip::full_of(0x11);
    let (pages, region) = (pages(&chip), Region::units(0, SIZE, SIZE));
    assert!(write(&pages, region, 0x80, &[0x22; 100]));
    assert_eq!(read(&pages, 0, 0x80), [0x11; 0x80]);
    assert_eq!(read(&pages, 0x80, 100), [0x22; 100]);
}

#[test]
fn a_unit_shares_its_page_without_harm() {
    let chip = Chip::full_of(0x33);
    let (pages, region) = (pages(&chip), Region::units(0, SIZE, 1024));
    for (at, block) in (1024..).step_by(64).zip([0x44; 1024].chunks(64)) {
        assert!(write(&pages, region, at, block));
    }
    assert_eq!(chip.erased.get(), 1);
    assert_eq!(read(&pages, 0, 1024), [0x33; 1024]);
    assert_eq!(read(&pages, 2048, 2048), [0x33; 2048]);
}

#[test]
fn worn_flash_is_noticed() {
    let chip = Chip { worn: 8, ..Chip::full_of(0xff) };
    let (pages, region) = (pages(&chip), Region::kept(0, SIZE));
    assert!(write(&pages, region, 0, &[1; 8]));
    assert!(!write(&pages, region, 4, &[1; 8]));
}

proptest! {
    /// What is written over another thing keeps all around it.
    #[test]
    fn kept_regions_are_memory(writes in proptest::collection::vec((0..SIZE, 1..300usize, any::<u8>()), 1..40)) {
        let chip = Chip::full_of(0xff);
        let (pages, region) = (pages(&chip), Region::kept(0, SIZE));
        let mut model = vec![0xff; SIZE];
        for (at, len, byte) in writes {
            let bytes: Vec<u8> = (0..len.min(SIZE - at)).map(|i| byte.wrapping_add(i as u8)).collect();
            prop_assert!(write(&pages, region, at, &bytes));
            model[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        prop_assert_eq!(read(&pages, 0, SIZE), model);
    }

    /// Whatever was there, and however it is cut: what was written front to back is there, and other units are untouched.
    #[test]
    fn units_take_whole_images(
        before in proptest::collection::vec(any::<u8>(), SIZE),
        image in proptest::collection::vec(any::<u8>(), 1..PAGE * 3 / 2),
        unit in 0usize..2,
        piece in 1usize..200,
    ) {
        let chip = Chip::full_of(0xff);
        let (pages, region) = (pages(&chip), Region::units(0, SIZE, 2 * PAGE));
        prop_assert!(write(&pages, Region::kept(0, SIZE), 0, &before));
        let start = unit * 2 * PAGE;
        for (at, block) in (start..).step_by(piece).zip(image.chunks(piece)) {
            prop_assert!(write(&pages, region, at, block));
        }
        prop_assert_eq!(read(&pages, start, image.len()), &image[..]);
        let other = 2 * PAGE - start;
        prop_assert_eq!(read(&pages, other, 2 * PAGE), &before[other..other + 2 * PAGE]);
    }
}
