//! Seeds of what native slots run.

use crate::Seed;
use fuzz_targets::native_image;
use grants::native::{Addresses, PROTECTED};

const LINKED: Addresses = Addresses { flash: 0x8020_0000, ram: 0x8080_0000 };
/// The first byte of a seed whose sum the target is to make right, and the pieces that it is read in.
const MENDED: u8 = 0x80;

/// Every kind of place, near to and far from the one before, and more of them than one piece of a table has.
pub fn seeds() -> Vec<Seed> {
    let binary: Vec<u8> = (0..700u16).map(|at| at as u8).collect();
    let begin = PROTECTED / 2;
    let few = [(begin, 0), (2, 1), (3, 2), (200, 1), (60, 0)];
    let many: Vec<_> = (0..80).map(|at| (if at == 0 { begin } else { 2 + at % 3 }, at % 3)).collect();
    let image = |places: &[(u32, u32)], mended| native_image(&binary, LINKED, places, mended);
    let seed =
        |name: &str, how: u8, image: Vec<u8>| ("native", name.to_string(), [vec![how], image].concat());
    vec![
        seed("places", 0, image(&few, false)),
        seed("many-places", 57, image(&many, false)),
        seed("sum-to-mend", MENDED, image(&few, true)),
        seed("no-place", MENDED | 5, image(&[], true)),
        seed("overlapping", 3, image(&[(begin, 0), (1, 0)], false)),
        seed("beyond", 3, image(&[(begin + 349, 0)], false)),
    ]
}

/// What the seeds are good for: those that are images get to the copy, and say where.
#[test]
fn seeds_are_images() {
    use grants::native::Header;
    for (_, name, bytes) in seeds().into_iter().filter(|(_, _, bytes)| bytes[0] & MENDED == 0) {
        let header = Header::parse(&bytes[1..][..PROTECTED as usize]);
        assert!(header.is_ok_and(|header| header.linked == Some(LINKED)), "{name}");
    }
}
