//! Images of native slots: any bytes are an error or an image, and one image comes out the same however it is cut.

use grants::Budget;
use grants::native::{
    Addresses, CHUNK_MIN, Header, MAGIC, PROTECTED, Place, Places, Relocation, Shift, TABLE_PIECE,
};
use proptest::{collection::vec, prelude::*};

const LINKED: Addresses = Addresses { flash: 0x8020_0000, ram: 0x8080_0000 };
const SLOT: Addresses = Addresses { flash: 0x8031_0000, ram: 0x8007_1000 };

/// A table of places: distances in units of 2 bytes and kinds.
fn table(places: &[(u32, u32)]) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &(places.len() as u32).to_le_bytes()].concat();
    for (delta, kind) in places {
        let mut number = delta << 2 | kind;
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
    }
    bytes
}

fn read(bytes: &[u8], total: u32) -> Option<Vec<Place>> {
    let (mut reader, mut places) = (Places::new(total), Vec::new());
    for byte in bytes {
        places.extend(reader.byte(*byte).ok()?);
    }
    reader.complete().then_some(places)
}

/// Copies as the capsule does, in chunks of the sizes given, in turn.
fn copy(binary: &[u8], table: &[u8], shift: Shift, chunks: &[usize]) -> Option<Vec<u8>> {
    let mut relocation = Relocation::new(PROTECTED + binary.len() as u32, table.len() as u32, shift);
    let (mut out, mut read) = (Vec::new(), 0);
    let mut sizes = chunks.iter().cycle();
    loop {
        let wants = relocation.wants();
        if wants > 0 {
            relocation.table(&table[read..read + wants]).ok()?;
            read += wants;
            continue;
        }
        if out.len() == binary.len() {
            return relocation.complete().then_some(out);
        }
        let rest = &binary[out.len()..];
        let mut chunk = rest[..rest.len().min(*sizes.next()?)].to_vec();
        let done = relocation.apply(PROTECTED + out.len() as u32, &mut chunk).ok()?;
        assert!(done > 0 && done <= chunk.len());
        out.extend_from_slice(&chunk[..done]);
    }
}

/// The same, in one piece and by hand.
fn expected(binary: &[u8], places: &[(u32, u32)]) -> Vec<u8> {
    let (flash, ram) = (SLOT.flash.wrapping_sub(LINKED.flash), SLOT.ram.wrapping_sub(LINKED.ram));
    let (mut out, mut at) = (binary.to_vec(), 0);
    for (delta, kind) in places {
        at += delta * 2;
        let word = &mut out[(at - PROTECTED) as usize..][..4];
        let add = [flash, ram, ram.wrapping_sub(flash)][*kind as usize];
        let sum = u32::from_le_bytes(word.try_into().expect("4 bytes")).wrapping_add(add);
        word.copy_from_slice(&sum.to_le_bytes());
    }
    out
}

/// A header as `elf2tab` writes it: Main, Program and Fixed Addresses, and a name in the middle.
fn header(total: u32, ram: u32, linked: Addresses) -> Vec<u8> {
    let mut tlvs = Vec::new();
    let mut tlv = |kind: u16, words: &[u32]| {
        tlvs.extend_from_slice(&kind.to_le_bytes());
        tlvs.extend_from_slice(&(words.len() as u16 * 4).to_le_bytes());
        tlvs.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    };
    let size = 16 + 16 + 24 + 8 + 12;
    tlv(1, &[PROTECTED - size, PROTECTED - size, ram]);
    tlv(9, &[PROTECTED - size, PROTECTED - size, ram, total, 1]);
    tlv(3, &[u32::from_le_bytes(*b"blin")]);
    tlv(5, &[linked.ram, linked.flash + PROTECTED]);
    let mut bytes = [2u16.to_le_bytes(), (size as u16).to_le_bytes()].concat();
    bytes.extend(total.to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(0u32.to_le_bytes());
    bytes.extend(tlvs);
    assert_eq!(bytes.len(), size as usize);
    let sum =
        bytes.chunks(4).fold(0, |sum, word| sum ^ u32::from_le_bytes(word.try_into().expect("4 bytes")));
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    bytes.resize(PROTECTED as usize, 0);
    bytes
}

/// Places that fit a binary: the first behind the header, each at least 4 bytes after the one before.
fn places() -> impl Strategy<Value = (Vec<u8>, Vec<(u32, u32)>)> {
    vec((2u32..200, 0u32..3), 0..150).prop_flat_map(|mut places| {
        if let Some(first) = places.first_mut() {
            first.0 += PROTECTED / 2;
        }
        let end: u32 = places.iter().map(|(delta, _)| delta * 2).sum::<u32>().max(PROTECTED) + 4;
        let len = (end - PROTECTED) as usize;
        (vec(any::<u8>(), len..len + 60), Just(places))
    })
}

proptest! {
    #[test]
    fn any_bytes_are_an_image_or_an_error(bytes in vec(any::<u8>(), 0..300), total in any::<u32>()) {
        let _ = Header::parse(&bytes);
        let _ = read(&bytes, total);
        let behind = [&MAGIC[..], &bytes].concat();
        let _ = read(&behind, total);
    }

    #[test]
    fn one_wrong_byte_in_a_header_is_noticed(at in 0usize..76, wrong in 1u8..) {
        let mut bytes = header(0x4000, 4096, LINKED);
        let good = Header::parse(&bytes).expect("a good one");
        prop_assert_eq!(good.linked, Some(LINKED));
        prop_assert_eq!((good.total_size, good.ram_bytes, good.init_fn_offset), (0x4000, 4096, PROTECTED));
        bytes[at] ^= wrong;
        prop_assert!(Header::parse(&bytes).is_err());
    }

    /// The checksum is no secret: with it put right, any header is read or refused, and what is read can be used.
    #[test]
    fn a_forged_header_promises_nothing_impossible(mut bytes in vec(any::<u8>(), 128), size in 0u16..140) {
        bytes[0..2].copy_from_slice(&2u16.to_le_bytes());
        bytes[2..4].copy_from_slice(&size.to_le_bytes());
        bytes[12..16].fill(0);
        let sum = bytes[..usize::from(size).min(128)].chunks_exact(4)
            .fold(0, |sum, word| sum ^ u32::from_le_bytes(word.try_into().expect("4 bytes")));
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        if let Ok(header) = Header::parse(&bytes) {
            prop_assert!(header.total_size > PROTECTED);
            prop_assert!((PROTECTED..header.total_size).contains(&header.init_fn_offset));
        }
    }

    #[test]
    fn places_rise_inside_the_binary(numbers in vec((0u32..1000, 0u32..4), 0..60), total in 0u32..20_000) {
        if let Some(places) = read(&table(&numbers), total) {
            prop_assert_eq!(places.len(), numbers.len());
            let mut from = PROTECTED;
            for place in places {
                prop_assert!(place.at >= from && place.at + 4 <= total && place.kind < 3);
                from = place.at + 4;
            }
        }
    }

    #[test]
    fn the_cut_does_not_matter((binary, places) in places(), chunks in vec(CHUNK_MIN..700, 1..9)) {
        let shift = Shift::between(LINKED, SLOT).expect("multiples of 4096");
        let copied = copy(&binary, &table(&places), shift, &chunks);
        prop_assert_eq!(copied, Some(expected(&binary, &places)));
    }

    /// A table that is cut short, or goes on, or is any other bytes, never counts as one.
    #[test]
    fn a_wrong_table_is_never_complete((binary, places) in places(), cut in 1usize..40, more in vec(any::<u8>(), 1..50), chunk in CHUNK_MIN..600) {
        let shift = Shift::between(LINKED, SLOT).expect("multiples of 4096");
        let good = table(&places);
        let short = &good[..good.len().saturating_sub(cut)];
        if !short.is_empty() {
            prop_assert_eq!(copy(&binary, short, shift, &[chunk]), None);
        }
        prop_assert_eq!(copy(&binary, &[&good[..], &more].concat(), shift, &[chunk]), None);
        let _ = copy(&binary, &more, shift, &[chunk]);
    }

    #[test]
    fn many_windows_at_once_are_as_many_one_by_one(share in 0u16..=1000, carry in 0u64..300_000,
        steps in vec((0u64..200_000, 0u64..40), 0..12), change in 0u16..=1000)
    {
        let mut one = Budget::new(share, 100_000, carry);
        let mut many = one;
        for (used, windows) in steps {
            one.charge(used);
            many.charge(used);
            for _ in 0..windows { one.start_window(); }
            many.start_windows(windows);
            prop_assert_eq!(one, many);
        }
        let joined = Budget::new(share, 100_000, carry).joining(25_000, 100_000);
        prop_assert_eq!(joined.remaining(), u64::from(share) * 25);
        prop_assert_eq!(joined.granted(), joined.remaining());
        let changed = one.with_share(change, 100_000);
        prop_assert_eq!(changed.remaining(), one.remaining());
        prop_assert_eq!(changed.per_window(), u64::from(change) * 100);
    }
}

#[test]
fn slots_lie_whole_pages_apart() {
    let odd = Addresses { flash: SLOT.flash + 2, ..SLOT };
    assert_eq!(Shift::between(LINKED, odd), None);
    assert_eq!(Shift::between(LINKED, Addresses { ram: SLOT.ram + 2048, ..SLOT }), None);
    assert!(Shift::between(LINKED, LINKED).is_some());
    assert!(TABLE_PIECE >= MAGIC.len() + 4 + 5, "head of the table and a number fit a piece");
}
