//! What of an image is checked before it runs, and what becomes of it in a native slot.

use super::*;
use ed25519_dalek::{Signer, SigningKey};
use grants::native::{MAGIC, PROTECTED};
use grants::syscall::Part;
use node_proto::{Kind, Manifest};
use proptest::prelude::*;

/// Where images are linked for.
pub(crate) const LINKED: Addresses = Addresses { flash: 0x8020_0000, ram: 0x8080_0000 };
/// Places in every image's binary: bytes from the start of the file, and the kind.
const PLACES: [(u32, u32); 4] = [(0x80, 0), (0x96, 1), (0x9a, 2), (0xfe, 0)];

/// Some bytes of a binary, long enough for the places.
pub(crate) fn binary(len: usize) -> Vec<u8> {
    (0..len.max(0x90)).map(|at| (at * 31) as u8).collect()
}

struct Header {
    linked: Addresses,
    total: u32,
    ram: u32,
    init: u32,
}

fn header(what: &Header) -> Vec<u8> {
    let size = 16 + 24 + 12;
    let mut words = std::vec![2 | size << 16, what.total, 1, 0];
    words.extend([9 | 20 << 16, what.init - size, PROTECTED - size, what.ram, what.total, 0]);
    words.extend([5 | 8 << 16, what.linked.ram, what.linked.flash + PROTECTED]);
    words[3] = words.iter().fold(0, |sum, word| sum ^ word);
    let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    bytes.resize(PROTECTED as usize, 0xff);
    bytes
}

fn table() -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &(PLACES.len() as u32).to_le_bytes()].concat();
    let mut last = 0;
    for (at, kind) in PLACES {
        let number = ((at - last) / 2) << 2 | kind;
        last = at;
        if number > 0x7f {
            bytes.push(number as u8 | 0x80);
        }
        bytes.push(if number > 0x7f { (number >> 7) as u8 } else { number as u8 });
    }
    bytes
}

/// An image for one place, or with a table for any.
pub(crate) fn image(binary: &[u8], fixed: Option<Addresses>) -> Vec<u8> {
    let total = PROTECTED + binary.len() as u32;
    let head = header(&Header { linked: fixed.unwrap_or(LINKED), total, ram: 4096, init: 0x80 });
    let table = if fixed.is_some() { Vec::new() } else { table() };
    [&head[..], binary, &table].concat()
}

/// What a native slot's flash then holds.
fn moved(binary: &[u8], slot: Addresses) -> Vec<u8> {
    let (flash, ram) = (slot.flash.wrapping_sub(LINKED.flash), slot.ram.wrapping_sub(LINKED.ram));
    let mut bytes = binary.to_vec();
    for (at, kind) in PLACES {
        let word = &mut bytes[(at - PROTECTED) as usize..][..4];
        let add = [flash, ram, ram.wrapping_sub(flash)][kind as usize];
        let sum = u32::from_le_bytes(word.try_into().expect("4 bytes")).wrapping_add(add);
        word.copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}

/// A native slot whose task runs, from area 1.
pub(crate) fn run_native(world: &mut World, slot: u8) {
    let image = image(&binary(800), None);
    if !world.core.slots.uses(1) {
        world.stage(1, &image);
    }
    assert_eq!(world.agent(AgentCall::Reserve { slot }, &grant(ALL)), Ok(Answer::Done));
    assert_eq!(world.verify(slot, 1, &image, &[]), Ok(()));
    assert_eq!(world.agent(AgentCall::Start { slot, resumed: false }, &[]), Ok(Answer::Done));
}

/// Verifies in a native slot that was free, and gives it back: the result, and what was written of the storage.
fn try_native(image: &[u8], named: &[u8]) -> (Result<(), ErrorCode>, World) {
    let mut world = World::new();
    world.stage(0, image);
    assert_eq!(world.agent(AgentCall::Reserve { slot: NATIVE }, &grant(ALL)), Ok(Answer::Done));
    let verified = world.verify(NATIVE, 0, named, &[]);
    (verified, world)
}

#[test]
fn one_image_runs_in_any_slot() {
    for scratch in [256, 257, 300, 512, 4096] {
        let mut world = World::new();
        world.scratch = std::vec![0; scratch];
        let binary = binary(BINARY as usize);
        let image = image(&binary, None);
        world.stage(2, &image);
        let before = world.storage.clone();
        for (index, slot) in [(0, NATIVE), (1, NATIVE + 1)] {
            assert_eq!(world.agent(AgentCall::Reserve { slot }, &grant(ALL)), Ok(Answer::Done));
            assert_eq!(world.verify(slot, 2, &image, &[]), Ok(()));
            assert_eq!(world.state(slot), Slot::Verified);
            let at = native_offset(index) as usize;
            let expected = moved(&binary, native(index).addresses);
            assert_eq!(world.storage[at..at + binary.len()], expected[..], "scratch of {scratch}");
        }
        // Nothing else was written.
        let flash = native_offset(0) as usize..(native_offset(1) + BINARY) as usize;
        assert_eq!(world.storage[..flash.start], before[..flash.start]);
        assert_eq!(world.storage[flash.end..], before[flash.end..]);
        let gap = (native_offset(0) + BINARY) as usize..native_offset(1) as usize;
        assert_eq!(world.storage[gap.clone()], before[gap]);
    }
}

#[test]
fn an_image_without_a_table_runs_where_it_was_linked_for() {
    let binary = binary(500);
    let here = image(&binary, Some(native(0).addresses));
    let (verified, world) = try_native(&here, &here);
    assert_eq!((verified, world.state(NATIVE)), (Ok(()), Slot::Verified));
    let at = native_offset(0) as usize;
    assert_eq!(world.storage[at..at + 500], binary[..]);
    let elsewhere = image(&binary, Some(native(1).addresses));
    let (verified, world) = try_native(&elsewhere, &elsewhere);
    assert_eq!(verified, Err(ErrorCode::SIZE));
    assert!(matches!(world.state(NATIVE), Slot::Ended(_)));
}

#[test]
fn an_image_that_is_not_for_the_slot_is_refused() {
    let fit = |change: &dyn Fn(&mut Header)| {
        let binary = binary(700);
        let mut what = Header { linked: LINKED, total: PROTECTED + 700, ram: 8192, init: 0x80 };
        change(&mut what);
        let image = [&header(&what)[..], &binary, &table()].concat();
        try_native(&image, &image).0
    };
    assert_eq!(fit(&|_| {}), Ok(()));
    assert_eq!(fit(&|header| header.ram += 1), Err(ErrorCode::SIZE), "more than the slot's");
    assert_eq!(fit(&|header| header.init += 2), Err(ErrorCode::SIZE));
    assert_eq!(fit(&|header| header.linked.flash += 4), Err(ErrorCode::INVAL));
    assert_eq!(fit(&|header| header.linked.ram += 2), Err(ErrorCode::INVAL));
    assert_eq!(fit(&|header| header.total += 300), Err(ErrorCode::INVAL), "longer than the image");
    assert_eq!(fit(&|header| header.total -= 4), Err(ErrorCode::INVAL), "no table there");
    let mut world = World::new();
    let image = image(&binary(200), None);
    world.stage(0, &image);
    let small = Grant { mem_bytes: 4095, ..Grant::default() };
    let record = GrantRecord::of(&small).to_bytes();
    assert_eq!(world.agent(AgentCall::Reserve { slot: NATIVE }, &record), Ok(Answer::Done));
    assert_eq!(world.verify(NATIVE, 0, &image, &[]), Err(ErrorCode::SIZE), "more than granted");
}

#[test]
fn a_binary_too_long_for_the_slot_is_refused() {
    let image = image(&binary(BINARY as usize + 4), None);
    assert_eq!(try_native(&image, &image).0, Err(ErrorCode::SIZE));
}

#[test]
fn an_image_that_is_not_what_was_named_never_runs() {
    let image = image(&binary(300), None);
    let mut other = image.clone();
    other[200] ^= 1;
    for native in [true, false] {
        let slot = if native { NATIVE } else { 0 };
        let mut world = World::new();
        world.stage(0, &other);
        assert_eq!(world.agent(AgentCall::Reserve { slot }, &grant(ALL)), Ok(Answer::Done));
        assert_eq!(world.verify(slot, 0, &image, &[]), Err(ErrorCode::FAIL));
        let start = AgentCall::Start { slot, resumed: false };
        assert_eq!(world.agent(start, &[]), refused(ErrorCode::ALREADY));
        assert_eq!(world.take(slot).0, 0, "the agent knows");
    }
}

#[test]
fn what_a_slot_uses_is_not_written() {
    let mut world = World::new();
    world.run_hosted(0, ALL);
    let stage = AgentCall::Stage { area: 0, offset: 0 }.encode();
    assert_eq!(world.later(AGENT, stage, &[1; 8], 0), Err(ErrorCode::OFF));
    assert_eq!(world.host(0, HostCall::Ended(grants::syscall::End::Exited(0))), Ok(Answer::Done));
    assert_eq!(world.later(AGENT, stage, &[1; 8], 0), Ok((8, std::vec![])));
    let put = AgentCall::Put { slot: 0, part: Part::Document, offset: 0 }.encode();
    assert_eq!(world.later(AGENT, put, &[1; 8], 0), Err(ErrorCode::OFF));
}

const SECRET: [u8; 32] = [7; 32];

fn manifest(key: &SigningKey, image: &[u8], change: &dyn Fn(&mut Manifest<'_>)) -> Vec<u8> {
    let publisher = key.verifying_key().to_bytes();
    let mut manifest = Manifest {
        name: "blink",
        sequence: 3,
        publisher: publisher[..8].try_into().expect("8 bytes"),
        digest: Sha256::digest(image).into(),
        size: image.len() as u32,
        kind: Kind::Native,
        arch: None,
        board: "",
    };
    change(&mut manifest);
    let signature = key.sign(&manifest.signed_message().expect("short")).to_bytes();
    manifest.seal(&signature).expect("short").to_vec()
}

#[test]
fn native_images_are_a_publishers() {
    let (key, stranger) = (SigningKey::from_bytes(&SECRET), SigningKey::from_bytes(&[8; 32]));
    let keys: &'static [[u8; 32]] =
        std::boxed::Box::leak(std::boxed::Box::new([[1; 32], key.verifying_key().to_bytes()]));
    let image = image(&binary(300), None);
    let attempt = |slot: u8, manifest: &[u8]| {
        let mut world = World::publishing(keys);
        world.stage(0, &image);
        assert_eq!(world.agent(AgentCall::Reserve { slot }, &grant(ALL)), Ok(Answer::Done));
        world.verify(slot, 0, &image, manifest)
    };
    let good = manifest(&key, &image, &|_| {});
    assert_eq!(attempt(NATIVE, &good), Ok(()));
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert_eq!(attempt(NATIVE, &bad), Err(ErrorCode::NOACK), "byte {at}");
    }
    let refusals = [
        std::vec![],
        manifest(&stranger, &image, &|_| {}),
        manifest(&key, &image, &|said| said.size += 1),
        manifest(&key, &image, &|said| said.digest[3] ^= 4),
        manifest(&key, &image, &|said| said.kind = Kind::Wasm),
        [&good[..], &[0]].concat(),
    ];
    for refusal in refusals {
        assert_eq!(attempt(NATIVE, &refusal), Err(ErrorCode::NOACK));
    }
    // Wasm modules are the agent's business, which has the same keys.
    assert_eq!(attempt(0, &[]), Ok(()));
}

#[test]
fn a_signature_is_checked_for_the_agent() {
    let key = SigningKey::from_bytes(&SECRET);
    let signature = key.sign(b"message").to_bytes();
    let mut input = [&key.verifying_key().to_bytes()[..], &signature, b"message"].concat();
    let mut world = World::new();
    let call = AgentCall::Signature.encode();
    assert_eq!(world.later(AGENT, call, &input, 0), Ok((0, std::vec![])));
    input[100] ^= 1;
    assert_eq!(world.later(AGENT, call, &input, 0), Err(ErrorCode::NOACK));
    assert_eq!(world.later(AGENT, call, &input[..90], 0), Err(ErrorCode::RESERVE));
    assert_eq!(world.later(AGENT, call, &std::vec![0; 300], 0), Err(ErrorCode::SIZE));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// An image by somebody who can name its digest: any change to it is an image, or an error.
    #[test]
    fn no_image_breaks_anything(at in prop::collection::vec((0usize..1200, any::<u8>()), 0..6), cut in 0usize..1200, fix in any::<bool>()) {
        let mut bytes = image(&binary(800), None);
        for (at, byte) in at {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len() - cut % bytes.len());
        if fix && bytes.len() >= 52 {
            // The checksum is no secret.
            bytes[12..16].fill(0);
            let sum = bytes[..52].chunks(4).fold(0, |sum, word| sum ^ u32::from_le_bytes(word.try_into().expect("4 bytes")));
            bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        }
        let before = World::new().storage;
        let (verified, world) = try_native(&bytes, &bytes);
        prop_assert_eq!(verified.is_ok(), world.state(NATIVE) == Slot::Verified);
        prop_assert_eq!(verified.is_err(), matches!(world.state(NATIVE), Slot::Ended(_)));
        let (from, to) = (native_offset(0) as usize, (native_offset(0) + BINARY) as usize);
        prop_assert_eq!(&world.storage[to..], &before[to..]);
        let staged = LAYOUT.areas as usize..(LAYOUT.areas + AREA) as usize;
        prop_assert_eq!(&world.storage[staged.end..from], &before[staged.end..from]);
        prop_assert_eq!(&world.storage[..staged.start], &before[..staged.start]);
    }
}
