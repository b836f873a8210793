//! Records and images over a region that loses power at any byte.

use agent_core::{Record, StorageError};
use agent_tock::areas::{Areas, STEP, Store};
use agent_tock::storage::{PAGE, Place, REGION_LEN, Records, Region};
use std::cell::RefCell;
use std::rc::Rc;

/// Flash that is erased by pages: a write erases the page and programs all of it again, byte by byte.
struct Flash {
    bytes: Vec<u8>,
    /// Bytes programmed so far.
    programmed: u64,
    /// After how many the power goes.
    cut: u64,
    /// Writes that fail without an effect.
    failing: bool,
}

#[derive(Clone)]
struct Chip(Rc<RefCell<Flash>>);

impl Chip {
    fn new() -> Self {
        let bytes = vec![0xff; 4 * PAGE as usize];
        Self(Rc::new(RefCell::new(Flash { bytes, programmed: 0, cut: u64::MAX, failing: false })))
    }

    /// A copy of what is in it, with power that goes after so many bytes.
    fn copy(&self, cut: u64) -> Self {
        let bytes = self.0.borrow().bytes.clone();
        Self(Rc::new(RefCell::new(Flash { bytes, programmed: 0, cut, failing: false })))
    }

    fn programmed(&self) -> u64 {
        self.0.borrow().programmed
    }
}

impl Region for Chip {
    fn read(&mut self, offset: u32, buffer: &mut [u8]) -> Result<(), StorageError> {
        let at = offset as usize;
        buffer.copy_from_slice(&self.0.borrow().bytes[at..at + buffer.len()]);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), StorageError> {
        assert!((PAGE..REGION_LEN).contains(&offset), "the page of the provisioning is not touched");
        let mut flash = self.0.borrow_mut();
        if flash.failing || flash.programmed >= flash.cut {
            return Err(StorageError::Failed);
        }
        let page = (offset / PAGE * PAGE) as usize;
        let at = offset as usize - page;
        assert!(at + bytes.len() <= PAGE as usize, "a copy is in one page");
        let mut whole = flash.bytes[page..page + PAGE as usize].to_vec();
        whole[at..at + bytes.len()].copy_from_slice(bytes);
        flash.bytes[page..page + PAGE as usize].fill(0xff);
        for (at, byte) in whole.into_iter().enumerate() {
            if flash.programmed >= flash.cut {
                return Err(StorageError::Failed);
            }
            flash.bytes[page + at] = byte;
            flash.programmed += 1;
        }
        Ok(())
    }
}

fn all() -> Vec<Record> {
    let mut all = vec![Record::Boot, Record::Seen, Record::Images, Record::Sequence, Record::Releases];
    all.extend((0..8).map(Record::Slot));
    all
}

fn place(record: Record) -> Place {
    Place::of(record).unwrap()
}

fn get(records: &mut Records<Chip>, record: Record) -> Option<Vec<u8>> {
    let mut buffer = [0; Record::MAX];
    records.get(place(record), &mut buffer).unwrap().map(|len| buffer[..len].to_vec())
}

fn len_of(at: usize, record: Record) -> usize {
    match record {
        Record::Boot | Record::Seen | Record::Sequence => 1 + at * 7 % 52,
        Record::Images => Record::MAX,
        _ => 1 + at * 37 % 80,
    }
}

/// Flash with a value in every place, written twice so that the second is newer.
fn filled() -> (Chip, Vec<Vec<u8>>) {
    let chip = Chip::new();
    let mut records = Records::open(chip.clone()).unwrap();
    let mut values = Vec::new();
    for (at, record) in all().into_iter().enumerate() {
        records.put(place(record), Some(b"old")).unwrap();
        let value = vec![at as u8 + 1; len_of(at, record)];
        records.put(place(record), Some(&value)).unwrap();
        values.push(value);
    }
    (chip, values)
}

#[test]
fn every_record_has_a_place_of_its_own_and_survives() {
    let (chip, values) = filled();
    let mut records = Records::open(chip.copy(u64::MAX)).unwrap();
    for (record, value) in all().into_iter().zip(values) {
        assert_eq!(get(&mut records, record).as_ref(), Some(&value), "{record:?}");
    }
    records.put(place(Record::Slot(3)), None).unwrap();
    assert_eq!(get(&mut records, Record::Slot(3)), None);
    records.put(place(Record::Images), Some(&[7; Record::MAX])).unwrap();
    assert_eq!(records.put(place(Record::Images), Some(&[7; Record::MAX + 1])), Err(StorageError::Full));
    assert_eq!(get(&mut records, Record::Images), Some(vec![7; Record::MAX]));
    assert!(Place::of(Record::Slot(8)).is_none());
}

#[test]
fn power_that_goes_at_any_byte_leaves_the_old_or_the_new_and_all_others() {
    let (chip, values) = filled();
    let targets = [
        (Record::Slot(2), Some(vec![0xa5; 60]), 1),
        (Record::Boot, Some(vec![1; 9]), 7),
        (Record::Releases, None, 7),
    ];
    for (target, new, every) in targets {
        let whole = chip.copy(u64::MAX);
        Records::open(whole.clone()).unwrap().put(place(target), new.as_deref()).unwrap();
        let mut seen = [false; 2];
        for cut in (0..=whole.programmed()).step_by(every) {
            let torn = chip.copy(cut);
            let done = Records::open(torn.clone()).unwrap().put(place(target), new.as_deref()).is_ok();
            // Power comes back, and goes once more while the copies are made equal.
            let again = torn.copy(cut * 7919 % 9000);
            drop(Records::open(again.clone()));
            let mut records = Records::open(again.copy(u64::MAX)).unwrap();
            for (record, value) in all().into_iter().zip(&values) {
                let held = get(&mut records, record);
                if record != target {
                    assert_eq!(held.as_ref(), Some(value), "{record:?} after a cut at {cut}");
                    continue;
                }
                let is_new = held == new;
                assert!(is_new || held.as_ref() == Some(value), "{record:?} after a cut at {cut}: {held:?}");
                assert!(is_new || !done, "what was put is there after a cut at {cut}");
                seen[usize::from(is_new)] = true;
            }
        }
        assert_eq!(seen, [true; 2], "some cuts leave the old, some the new");
    }
}

#[test]
fn after_a_write_that_failed_the_next_one_keeps_everything() {
    let (chip, values) = filled();
    let mut records = Records::open(chip.clone()).unwrap();
    // A copy's page is lost while the app runs on.
    {
        let mut flash = chip.0.borrow_mut();
        flash.bytes[PAGE as usize..2 * PAGE as usize].fill(0xff);
        flash.failing = true;
    }
    assert_eq!(records.put(place(Record::Seen), Some(b"x")), Err(StorageError::Failed));
    assert_eq!(records.put(place(Record::Boot), Some(b"x")), Err(StorageError::Failed));
    chip.0.borrow_mut().failing = false;
    records.put(place(Record::Seen), Some(b"new")).unwrap();
    // Now the other one is.
    chip.0.borrow_mut().bytes[2 * PAGE as usize..3 * PAGE as usize].fill(0xff);
    let mut records = Records::open(chip).unwrap();
    for (record, value) in all().into_iter().zip(values) {
        let value = if record == Record::Seen { b"new".to_vec() } else { value };
        assert_eq!(get(&mut records, record), Some(value), "{record:?}");
    }
}

#[test]
fn garbage_in_flash_is_no_record() {
    let chip = Chip::new();
    let mut random = 1u64;
    for byte in &mut chip.0.borrow_mut().bytes {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        *byte = (random >> 56) as u8;
    }
    let mut records = Records::open(chip).unwrap();
    for record in all() {
        assert_eq!(get(&mut records, record), None);
        records.put(place(record), Some(b"value")).unwrap();
        assert_eq!(get(&mut records, record), Some(b"value".to_vec()));
    }
}

/// Areas in memory.
#[derive(Clone)]
struct Memory(Rc<RefCell<Vec<Vec<u8>>>>);

impl Store for Memory {
    fn stage(&mut self, area: u8, offset: u32, bytes: &[u8]) -> Result<(), StorageError> {
        let at = offset as usize;
        self.0.borrow_mut()[usize::from(area)][at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn load(&mut self, area: u8, offset: u32, buffer: &mut [u8]) -> Result<(), StorageError> {
        let at = offset as usize;
        buffer.copy_from_slice(&self.0.borrow()[usize::from(area)][at..at + buffer.len()]);
        Ok(())
    }
}

#[test]
fn an_image_goes_on_after_a_restart_where_it_was_or_little_earlier() {
    let (chip, memory) = (Chip::new(), Memory(Rc::new(RefCell::new(vec![vec![0; 8192]; 2]))));
    let image = [5; 16];
    let mut records = Records::open(chip.clone()).unwrap();
    let mut areas = Areas::open(memory.clone(), 2, 8192, &mut records).unwrap();
    let mut len = 0;
    let mut kept = 0;
    while len < 8192 {
        areas.write(&mut records, &image, len, &[len as u8; 32]).unwrap();
        len += 32;
        assert_eq!(areas.len(&image), len);
        let mut records = Records::open(chip.copy(u64::MAX)).unwrap();
        let after = Areas::open(memory.clone(), 2, 8192, &mut records).unwrap().len(&image);
        assert!(after <= len && len - after < STEP && after >= kept, "{after} of {len}");
        kept = after;
    }
    assert_eq!(areas.write(&mut records, &image, len, &[0]), Err(StorageError::Full));
    // Written again from the middle: what was after it does not count, not even after a restart.
    areas.write(&mut records, &image, 1000, &[9; 10]).unwrap();
    assert_eq!(areas.len(&image), 1010);
    let mut after = Records::open(chip.copy(u64::MAX)).unwrap();
    let after = Areas::open(memory.clone(), 2, 8192, &mut after).unwrap();
    assert!(after.len(&image) <= 1010);
    areas.complete(&mut records, &image).unwrap();
    let mut after = Records::open(chip.copy(u64::MAX)).unwrap();
    let mut after = Areas::open(memory, 2, 8192, &mut after).unwrap();
    assert_eq!(after.len(&image), 1010);
    let mut buffer = [0; 32];
    assert_eq!(after.read(&image, 1000, &mut buffer), Ok(10));
    assert_eq!((buffer[..10].to_vec(), after.read(&image, 1010, &mut buffer)), (vec![9; 10], Ok(0)));
}

#[test]
fn a_new_image_without_a_free_area_finds_storage_full_until_one_is_removed() {
    let memory = Memory(Rc::new(RefCell::new(vec![vec![0; 64]; 2])));
    let mut records = Records::open(Chip::new()).unwrap();
    let mut areas = Areas::open(memory, 2, 64, &mut records).unwrap();
    for image in [[1; 16], [2; 16]] {
        areas.write(&mut records, &image, 0, b"bytes").unwrap();
    }
    assert_eq!(areas.write(&mut records, &[3; 16], 0, b"bytes"), Err(StorageError::Full));
    areas.retain(&mut records, &|image| *image != [1; 16]).unwrap();
    areas.write(&mut records, &[3; 16], 0, b"bytes").unwrap();
    assert_eq!((areas.find(&[3; 16]), areas.find(&[2; 16]), areas.find(&[1; 16])), (Some(0), Some(1), None));
}
