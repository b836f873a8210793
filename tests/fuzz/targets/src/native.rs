//! Images of native slots: what a stranger's file does to the reader that the kernel has.

use crate::script::first;
use grants::native::{
    ALIGNMENT, Addresses, CHUNK_MIN, Header, MAGIC, PROTECTED, Place, Places, Relocation, Shift,
};

/// Where the slot is.
const SLOT: Addresses = Addresses { flash: 0x8031_0000, ram: 0x8007_1000 };

/// Makes a header's sum right, which no fuzzer guesses.
fn mend(image: &mut [u8]) {
    let size = image.get(2..4).map_or(0, |size| usize::from(u16::from_le_bytes([size[0], size[1]])));
    let Some(header) = image.get_mut(..size).filter(|header| header.len() >= 16) else { return };
    let words = header.chunks_exact(4).enumerate().filter(|(at, _)| *at != 3);
    let sum = words.fold([0; 4], |sum: [u8; 4], (_, word)| core::array::from_fn(|at| sum[at] ^ word[at]));
    header[12..16].copy_from_slice(&sum);
}

/// All places of a table, if it is one.
fn places(table: &[u8], total: u32) -> Option<Vec<Place>> {
    let (mut reader, mut places) = (Places::new(total), Vec::new());
    for byte in table {
        places.extend(reader.byte(*byte).ok()?);
    }
    reader.complete().then_some(places)
}

/// Copies a binary as the capsule does, in chunks of so many bytes; `None` if the table is none.
fn copied(image: &[u8], total: usize, shift: Shift, chunk: usize) -> Option<Vec<u8>> {
    let table = &image[total..];
    let mut relocation = Relocation::new(total as u32, table.len() as u32, shift);
    let (mut at, mut read, mut out) = (PROTECTED as usize, 0, Vec::new());
    loop {
        let wants = relocation.wants();
        if wants > 0 {
            relocation.table(table.get(read..read + wants).expect("no more than there is")).ok()?;
            read += wants;
        } else if at < total {
            let mut bytes = image[at..total.min(at + chunk)].to_vec();
            let done = relocation.apply(at as u32, &mut bytes).ok()?;
            assert!(done > 0 && done <= bytes.len(), "it goes on, and not beyond what it was given");
            out.extend_from_slice(&bytes[..done]);
            at += done;
        } else {
            return relocation.complete().then_some(out);
        }
    }
}

/// Reads an image and copies it for a slot; the first byte says in which pieces, and whether its sum is made right.
pub fn native(data: &[u8]) {
    let (how, image) = first(data);
    let mut image = image.to_vec();
    if how & 0x80 != 0 {
        mend(&mut image);
    }
    let Ok(header) = Header::parse(&image[..image.len().min(PROTECTED as usize)]) else { return };
    assert!((PROTECTED..header.total_size).contains(&header.init_fn_offset), "it begins in the binary");
    let (total, linked) = (header.total_size as usize, header.linked.unwrap_or(SLOT));
    let Some(shift) = Shift::between(linked, SLOT) else { return };
    let far = |from: u32, to: u32| to.wrapping_sub(from);
    assert!(far(linked.flash, SLOT.flash).is_multiple_of(ALIGNMENT));
    if image.len() <= total {
        return;
    }
    let whole = copied(&image, total, shift, total);
    let chunk = CHUNK_MIN + usize::from(how & 0x7f);
    assert_eq!(whole, copied(&image, total, shift, chunk), "in pieces of {chunk}");
    let places = places(&image[total..], header.total_size);
    assert_eq!(whole.is_some(), places.is_some(), "the table says the same however it is read");
    let (Some(whole), Some(places)) = (whole, places) else { return };
    // The words at the places, and nothing else, are as much more as their kinds say.
    let adds = [far(linked.flash, SLOT.flash), far(linked.ram, SLOT.ram)];
    let mut expected = image[PROTECTED as usize..total].to_vec();
    for place in places {
        let add = adds.get(place.kind as usize).copied().unwrap_or(adds[1].wrapping_sub(adds[0]));
        let at = place.at.checked_sub(PROTECTED).expect("behind the header") as usize;
        let word =
            expected.get_mut(at..at + 4).and_then(|word| word.first_chunk_mut()).expect("in the binary");
        *word = u32::from_le_bytes(*word).wrapping_add(add).to_le_bytes();
    }
    assert!(whole == expected);
}

/// An image as `elf2tab` makes it, with a table of these distances and kinds behind it; `mended` says if its sum is left to
/// [`native`].
pub fn native_image(binary: &[u8], linked: Addresses, places: &[(u32, u32)], mended: bool) -> Vec<u8> {
    let (size, total) = (16 + 16 + 24 + 12, PROTECTED + binary.len() as u32);
    let mut words = vec![2 | size << 16, total, 1, 0];
    words.extend([1 | 12 << 16, PROTECTED - size, PROTECTED - size, 4096]);
    words.extend([9 | 20 << 16, PROTECTED - size, PROTECTED - size, 4096, total, 1]);
    words.extend([5 | 8 << 16, linked.ram, linked.flash + PROTECTED]);
    let mut image: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    if !mended {
        mend(&mut image);
    }
    image.resize(PROTECTED as usize, 0xff);
    image.extend_from_slice(binary);
    image.extend_from_slice(&MAGIC);
    image.extend((places.len() as u32).to_le_bytes());
    for (delta, kind) in places {
        let mut number = delta << 2 | kind;
        while number >= 0x80 {
            image.push(number as u8 | 0x80);
            number >>= 7;
        }
        image.push(number as u8);
    }
    image
}
