//! Whatever a linker makes of a program, the table of three links turns the base into every other link.

use image::board::{Misfit, Place, Region};
use image::relocation::{
    Kind, Links, MAGIC, MOVES, Moved, RelocationError, TableError, relocate, split, table,
};
use image::tbf::{Change, Header, TbfError, changed, trimmed};
use proptest::prelude::*;

const FLASH: u32 = 0x8050_0000;
const RAM: u32 = 0x8060_0000;
/// Bytes of header and what is kept free behind it.
const PROTECTED: usize = 0x80;

/// What a linker puts somewhere.
#[derive(Clone, Debug)]
enum Item {
    /// Half a word that is the same everywhere.
    Half(u16),
    /// Address of something in flash.
    FlashWord(u32),
    /// Address of something in memory.
    RamWord(u32),
    /// Upper part of an address in flash: `lui`.
    FlashUpper(u32, u8),
    /// Upper part of an address in memory: `lui`.
    RamUpper(u32, u8),
    /// Upper part of the distance to something in memory: `auipc`.
    RamFromHere(u32, u8),
}

fn item() -> impl Strategy<Value = Item> {
    let address = 0..0x4_0000u32;
    prop_oneof![
        8 => any::<u16>().prop_map(Item::Half),
        1 => address.clone().prop_map(Item::FlashWord),
        1 => address.clone().prop_map(Item::RamWord),
        1 => (address.clone(), 0..32u8).prop_map(|(to, register)| Item::FlashUpper(to, register)),
        1 => (address.clone(), 0..32u8).prop_map(|(to, register)| Item::RamUpper(to, register)),
        1 => (address, 0..32u8).prop_map(|(to, register)| Item::RamFromHere(to, register)),
    ]
}

/// `lui` (0x37) or `auipc` (0x17) of the upper 20 bits, rounded as the lower 12 are signed.
fn upper(value: u32, opcode: u32, register: u8) -> u32 {
    value.wrapping_add(0x800) & 0xffff_f000 | u32::from(register) << 7 | opcode
}

/// A Tock binary with these items, as it is linked to these addresses.
fn linked(items: &[Item], moved: Moved) -> Vec<u8> {
    let (flash, ram) = (FLASH.wrapping_add(moved.flash), RAM.wrapping_add(moved.ram));
    let mut program = vec![0; 4];
    for item in items {
        let here = flash + (PROTECTED + program.len()) as u32;
        match item {
            Item::Half(half) => program.extend(half.to_le_bytes()),
            Item::FlashWord(to) => program.extend(flash.wrapping_add(*to).to_le_bytes()),
            Item::RamWord(to) => program.extend(ram.wrapping_add(*to).to_le_bytes()),
            Item::FlashUpper(to, register) => {
                program.extend(upper(flash.wrapping_add(*to), 0x37, *register).to_le_bytes());
            }
            Item::RamUpper(to, register) => {
                program.extend(upper(ram.wrapping_add(*to), 0x37, *register).to_le_bytes())
            }
            Item::RamFromHere(to, register) => {
                let distance = ram.wrapping_add(*to).wrapping_sub(here);
                program.extend(upper(distance, 0x17, *register).to_le_bytes());
            }
        }
    }
    program.resize(program.len().next_multiple_of(4), 0);
    binary(&program, flash, ram)
}

/// A Tock binary as elf2tab makes it: elements main, program, name, fixed addresses.
fn binary(program: &[u8], flash: u32, ram: u32) -> Vec<u8> {
    let total = (PROTECTED + program.len()) as u32;
    let header_len = 80u32;
    let mut file = Vec::new();
    let words =
        |file: &mut Vec<u8>, words: &[u32]| words.iter().for_each(|word| file.extend(word.to_le_bytes()));
    words(&mut file, &[2 | header_len << 16, total, 1, 0]);
    let (entry, rest) = (PROTECTED as u32 - header_len, PROTECTED as u32 - header_len);
    words(&mut file, &[1 | 12 << 16, entry, rest, 4096]);
    words(&mut file, &[9 | 20 << 16, entry, rest, 4096, total, 0]);
    words(&mut file, &[3 | 4 << 16, u32::from_le_bytes(*b"test")]);
    words(&mut file, &[5 | 8 << 16, ram, flash + PROTECTED as u32]);
    words(&mut file, &[0]);
    let sum = file.chunks_exact(4).fold(0, |sum, word| sum ^ u32::from_le_bytes(word.try_into().unwrap()));
    file[12..16].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(file.len(), header_len as usize);
    file.resize(PROTECTED, 0);
    file.extend(program);
    file
}

/// The table read and applied as the format describes it, by other code than the library's.
fn by_hand(image: &[u8], moved: Moved) -> Vec<u8> {
    let total = u32::from_le_bytes(image[4..8].try_into().unwrap()) as usize;
    let mut binary = image[..total].to_vec();
    let table = &image[total..];
    assert_eq!(table[..4], *b"MRE1");
    let count = u32::from_le_bytes(table[4..8].try_into().unwrap());
    let (mut rest, mut at) = (table[8..].iter(), 0);
    for _ in 0..count {
        let (mut number, mut shift) = (0u64, 0);
        loop {
            let byte = *rest.next().unwrap();
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        at += (number >> 2) as usize * 2;
        let addend = match number & 3 {
            0 => moved.flash,
            1 => moved.ram,
            2 => moved.ram.wrapping_sub(moved.flash),
            _ => panic!("kind 3"),
        };
        let word = u32::from_le_bytes(binary[at..at + 4].try_into().unwrap()).wrapping_add(addend);
        binary[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    assert_eq!(rest.next(), None);
    binary
}

fn three(items: &[Item]) -> [Vec<u8>; 3] {
    let still = Moved::default();
    [still, Moved { ram: 0, ..MOVES }, Moved { flash: 0, ..MOVES }].map(|moved| linked(items, moved))
}

proptest! {
    #[test]
    fn the_base_becomes_every_other_link(
        items in proptest::collection::vec(item(), 0..200),
        flash_steps in 0..512u32,
        ram_steps in 0..512u32,
    ) {
        let [base, flash, ram] = three(&items);
        let image = Links { base: &base, flash: &flash, ram: &ram }.image().unwrap();
        let moved = Moved { flash: (flash_steps << 12).wrapping_sub(1 << 20), ram: (ram_steps << 12).wrapping_sub(1 << 20) };
        let wanted = linked(&items, moved);

        prop_assert_eq!(&by_hand(&image, moved)[PROTECTED..], &wanted[PROTECTED..]);

        let header = Header::parse(&image).unwrap();
        let (binary, places) = split(&image, &header).unwrap();
        let mut binary = binary.to_vec();
        relocate(&mut binary, &places, moved);
        let change = Change {
            flash_start: Some(FLASH.wrapping_add(moved.flash)),
            ram_start: Some(RAM.wrapping_add(moved.ram)),
            ..Change::default()
        };
        prop_assert_eq!(changed(&binary, change).unwrap(), wanted);
    }

    #[test]
    fn an_image_from_anywhere_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64), cut in 0..300usize) {
        let [mut file, ..] = three(&[Item::Half(1), Item::RamWord(4)]);
        let header = Header::parse(&file).unwrap();
        file.extend(MAGIC);
        file.extend(&bytes);
        if let Ok((binary, places)) = split(&file, &header) {
            relocate(&mut binary.to_vec(), &places, MOVES);
            prop_assert!(places.iter().all(|place| place.at >= PROTECTED && place.at + 4 <= binary.len()));
        }
        file.truncate(cut);
        let _ = Header::parse(&file);
        let _ = Header::parse(&bytes);
    }
}

#[test]
fn an_address_in_less_than_a_word_is_named() {
    let [base, mut flash, ram] = three(&[Item::Half(7), Item::FlashWord(8)]);
    // As if an instruction of 16 bits held a part of an address.
    let at = PROTECTED + 4;
    flash[at] = 8;
    let error = Links { base: &base, flash: &flash, ram: &ram }.places().unwrap_err();
    assert!(matches!(error, RelocationError::Unexplained { at: there, .. } if there == at), "{error}");
    assert!(error.to_string().starts_with("at 0x84 (flash 0x80500084)"), "{error}");
}

#[test]
fn links_that_do_not_belong_together_are_refused() {
    let items = [Item::Half(7), Item::Half(8), Item::RamWord(8)];
    let [base, flash, ram] = three(&items);
    let refused =
        |base: &[u8], flash: &[u8], ram: &[u8]| Links { base, flash, ram }.places().unwrap_err().to_string();

    let longer = linked(&[&items[..], &[Item::Half(1), Item::Half(2)]].concat(), Moved { ram: 0, ..MOVES });
    assert!(refused(&base, &longer, &ram).contains("144 bytes"), "{}", refused(&base, &longer, &ram));
    assert!(refused(&base, &ram, &flash).contains("its memory should be where the base has it"));
    assert!(refused(&base, &flash, &flash).contains("its flash should be where the base has it"));
    // A move by whole 64 KiB does not show where a word begins.
    let far = linked(&items, Moved { flash: 0, ram: 0x10_0000 });
    assert!(refused(&base, &flash, &far).contains("65536"));
    let mut renamed = flash.clone();
    renamed[16 + 16 + 24 + 4] ^= 1;
    renamed[12] ^= 1;
    assert!(refused(&base, &renamed, &ram).contains("the header differs from that of the base at 0x3c"));
    assert!(refused(&base[..20], &flash, &ram).starts_with("base: the header says that it has 80 bytes"));
}

#[test]
fn tables_are_small_and_exact() {
    let [base, flash, ram] =
        three(&[Item::RamWord(4), Item::FlashUpper(0, 1), Item::Half(0), Item::RamFromHere(0, 2)]);
    let places = Links { base: &base, flash: &flash, ram: &ram }.places().unwrap();
    assert_eq!(
        places.iter().map(|place| (place.at, place.kind)).collect::<Vec<_>>(),
        [(0x84, Kind::Ram), (0x88, Kind::Flash), (0x8e, Kind::RamFromFlash)]
    );
    // 0x42 half-words << 2 | 1 = 0x109, 2 << 2 = 8, 3 << 2 | 2 = 14.
    assert_eq!(table(&places), [b'M', b'R', b'E', b'1', 3, 0, 0, 0, 0x89, 0x02, 8, 14]);
}

#[test]
fn broken_tables_are_refused() {
    let [base, ..] = three(&[Item::RamWord(4)]);
    let header = Header::parse(&base).unwrap();
    let with = |table: &[u8]| split(&[&base, table].concat(), &header).map(|(_, places)| places.len());
    assert_eq!(with(b""), Err(TableError::Missing(0x88)));
    assert_eq!(with(b"MRE2\0\0\0\0"), Err(TableError::Missing(0x88)));
    assert_eq!(with(b"MRE1\0\0\0\0"), Ok(0));
    assert_eq!(with(b"MRE1\x01\0\0\0\x89\x02"), Ok(1));
    assert_eq!(with(b"MRE1\x01\0\0\0\x89"), Err(TableError::Broken(0x88 + 9)));
    assert_eq!(with(b"MRE1\x01\0\0\0\xff\xff\xff\xff\xff\x01"), Err(TableError::Broken(0x88 + 12)));
    assert_eq!(with(b"MRE1\x01\0\0\0\x01"), Err(TableError::Place(0, 0)), "in the header");
    assert_eq!(with(b"MRE1\x01\0\0\0\x8b\x02"), Err(TableError::Place(0, 0x84)), "of no kind");
    assert_eq!(with(b"MRE1\x01\0\0\0\x91\x02"), Err(TableError::Place(0, 0x88)), "behind the program");
    assert_eq!(with(b"MRE1\x02\0\0\0\x89\x02\x01"), Err(TableError::Place(1, 0x84)), "twice the same");
    assert_eq!(with(b"MRE1\0\0\0\0\0"), Err(TableError::Trailing(0x88 + 8)));
}

#[test]
fn headers_are_read_and_what_is_wrong_with_them_is_said() {
    let file = binary(&[0; 16], FLASH, RAM);
    let header = Header::parse(&file).unwrap();
    assert_eq!(
        (header.header_len, header.total_len, header.protected_len, header.entry),
        (80, 0x90, PROTECTED, PROTECTED)
    );
    assert_eq!(
        (header.ram, header.end, header.name.as_deref(), header.enabled),
        (4096, 0x90, Some("test"), true)
    );
    assert_eq!((header.flash_start(), header.fixed_ram), (Some(FLASH), Some(RAM)));

    let with = |at: usize, byte: u8| {
        let mut file = file.clone();
        // The checksum goes along, so that it is the other mistake that is found.
        file[12 + at % 4] ^= file[at] ^ byte;
        file[at] = byte;
        Header::parse(&file).unwrap_err()
    };
    assert_eq!(Header::parse(b"\0asm\x01\0\0\0"), Err(TbfError::Short(8)));
    assert_eq!(Header::parse(&[b'\0'; 20]), Err(TbfError::Version(0)));
    assert_eq!(with(2, 14), TbfError::HeaderLen(14, 0x90));
    assert_eq!(with(4, 0x94), TbfError::Cut { total: 0x94, have: 0x90 });
    assert_eq!(with(18, 13), TbfError::ElementLen { kind: 1, at: 16, len: 13, wanted: 12 });
    assert_eq!(with(59, 1), TbfError::Element { kind: 3, at: 56, len: 0x104 });
    assert!(matches!(with(36, 0xff), TbfError::Program { entry: 0x14f, .. }));
    let mut broken = file.clone();
    broken[70] ^= 1;
    assert!(matches!(Header::parse(&broken), Err(TbfError::Checksum { .. })));
}

#[test]
fn headers_are_rewritten() {
    let file = binary(&[7; 16], FLASH, RAM);
    let change = Change {
        total_len: Some(0x200),
        ram: Some(30_000),
        flash_start: Some(0x1000),
        ram_start: Some(0x2000),
    };
    let larger = changed(&file, change).unwrap();
    let header = Header::parse(&larger).unwrap();
    assert_eq!((larger.len(), header.total_len, header.end, header.ram), (0x200, 0x200, 0x200, 30_000));
    assert_eq!((header.flash_start(), header.fixed_ram), (Some(0x1000), Some(0x2000)));
    assert_eq!((&larger[0x80..0x90], &larger[0x90..]), (&[7; 16][..], &[0xff; 0x170][..]));
    // Credentials and padding go.
    let mut padded = changed(&file, Change { total_len: Some(0x100), ..Change::default() }).unwrap();
    padded[48..52].copy_from_slice(&0x8eu32.to_le_bytes());
    padded[13] ^= 1;
    padded[12] ^= 0x8e;
    let trimmed = trimmed(&padded).unwrap();
    assert_eq!((trimmed.len(), Header::parse(&trimmed).unwrap().end), (0x90, 0x90));
}

#[test]
fn a_program_has_to_be_linked_for_its_place_and_fit_it() {
    let header = Header::parse(&binary(&[0; 16], FLASH, RAM)).unwrap();
    let place = |flash, flash_len, own_ram| Place {
        name: "agent".to_owned(),
        flash: Region { start: flash, len: flash_len },
        ram: Region { start: RAM, len: 0x8000 },
        own_ram,
    };
    assert_eq!(place(FLASH, 0x1000, 0x7800).takes(&header, 0x7800), Ok(()));
    let error = place(FLASH + 0x1000, 0x1000, 0x7800).takes(&header, 0).unwrap_err();
    assert!(matches!(error, Misfit::Elsewhere { .. }));
    let said = "agent: linked to flash 0x80500000 and memory 0x80600000, and the map has flash 0x80501000";
    assert!(error.to_string().starts_with(said), "{error}");
    // A slot moves what is linked for another one.
    assert_eq!(place(FLASH + 0x1000, 0x1000, 0x7800).has_room("task", &header, 0), Ok(()));
    let error = place(FLASH, 0x8c, 0x7800).takes(&header, 0).unwrap_err();
    assert_eq!(error, Misfit::Flash { name: "agent".to_owned(), used: 0x90, len: 0x8c });
    let error = place(FLASH, 0x1000, 0x7800).has_room("task", &header, 0x7801).unwrap_err();
    assert_eq!(
        error.to_string(),
        "task: 30721 bytes of memory, and the map has 32768 for it, of which the kernel keeps 2048"
    );
}
