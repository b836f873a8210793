//! Signed manifests: what a node that knows publishers starts, and what it remembers of it.

mod support;

use ed25519_dalek::{Signer, SigningKey};
use node_proto::{Arch, Document, Failure, Launch, Manifest, Order, State, TaskHandle};
use support::Sim;

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn public(key: &SigningKey) -> [u8; 32] {
    key.verifying_key().to_bytes()
}

/// Orders a task whose document has the manifest that `about` makes of the right one, signed with `signer`.
fn launch(
    sim: &mut Sim,
    task: TaskHandle,
    len: usize,
    signer: &SigningKey,
    about: impl FnOnce(Manifest<'static>) -> Manifest<'static>,
) -> Vec<State> {
    let launch = sim.prepare(task, len);
    let image = &sim.gateway.images[&launch.image];
    let right = Manifest {
        name: "pump",
        sequence: 5,
        publisher: std::array::from_fn(|at| public(signer)[at]),
        digest: <sha2::Sha256 as sha2::Digest>::digest(image).into(),
        size: launch.image_len,
        kind: launch.kind,
        arch: None,
        board: "",
    };
    let manifest = about(right);
    let sealed = manifest.seal(&signer.sign(&manifest.signed_message().unwrap()).to_bytes()).unwrap();
    order(sim, launch, Some(&sealed))
}

fn order(sim: &mut Sim, launch: Launch, sealed: Option<&[u8]>) -> Vec<State> {
    let document = Document { manifest: sealed.unwrap_or_default(), entry: "run", ..Document::default() };
    let document = postcard::to_allocvec(&document).unwrap();
    let document_len = document.len() as u16;
    sim.gateway.documents.insert(launch.task, document);
    sim.gateway.order(Order::Launch(Launch { document_len, ..launch }));
    sim.until("ended", |sim| sim.ended(launch.task));
    sim.states(launch.task)
}

fn ran(states: &[State]) -> bool {
    states.contains(&State::Running) && states.last() == Some(&State::Exited(0))
}

#[test]
fn only_what_a_publisher_signed_for_this_image_and_node_is_started() {
    let (ours, also, theirs) = (key(1), key(2), key(3));
    let start = || Sim::with_publishers(1, &[public(&ours), public(&also)]);
    for signer in [&ours, &also] {
        assert!(ran(&launch(&mut start(), 1, 300, signer, |right| right)));
        let board = |right| Manifest { board: "fake", arch: Some(Arch::Host), ..right };
        let mut sim = start();
        sim.world.borrow_mut().inventory.board = "fake".try_into().unwrap();
        assert!(ran(&launch(&mut sim, 1, 300, signer, board)));
    }
    type Change = fn(Manifest<'static>) -> Manifest<'static>;
    let wrong: [Change; 6] = [
        |right| Manifest { digest: [1; 32], ..right },
        |right| Manifest { size: 301, ..right },
        |right| Manifest { kind: node_proto::Kind::Native, ..right },
        |right| Manifest { arch: Some(Arch::Thumbv7em), ..right },
        |right| Manifest { board: "another", ..right },
        |right| Manifest { publisher: [0; 8], ..right },
    ];
    for (number, wrong) in wrong.into_iter().enumerate() {
        let mut sim = start();
        let states = launch(&mut sim, 1, 300, &ours, wrong);
        assert_eq!(states.last(), Some(&State::Failed(Failure::Signature)), "wrong {number}");
        assert!(sim.gateway.served_bytes < 300 && !ran(&states), "not worth the radio");
    }
    let mut sim = start();
    let states = launch(&mut sim, 1, 300, &theirs, |right| right);
    assert_eq!(states.last(), Some(&State::Failed(Failure::Signature)));
    let unsigned = sim.prepare(2, 300);
    assert_eq!(order(&mut sim, unsigned, None).last(), Some(&State::Failed(Failure::Signature)));
    assert!(sim.world.borrow().starts.is_empty());
}

/// The digest in the order is half of the one in the manifest: an image with the same half is not the one.
#[test]
fn the_whole_digest_of_the_manifest_counts() {
    let mut sim = Sim::with_publishers(1, &[public(&key(1))]);
    let states = launch(&mut sim, 1, 300, &key(1), |right| {
        let mut digest = right.digest;
        digest[31] ^= 1;
        Manifest { digest, ..right }
    });
    assert_eq!(states.last(), Some(&State::Failed(Failure::Digest)));
}

#[test]
fn a_release_older_than_one_that_ran_is_refused_over_restarts() {
    let ours = key(1);
    let mut sim = Sim::with_publishers(1, &[public(&ours), public(&key(2))]);
    assert!(ran(&launch(&mut sim, 1, 300, &ours, |right| right)));
    assert!(ran(&launch(&mut sim, 2, 300, &ours, |right| right)), "the same one again");
    assert!(ran(&launch(&mut sim, 3, 310, &ours, |right| Manifest { sequence: 6, ..right })));
    sim.restart();
    let states = launch(&mut sim, 4, 320, &ours, |right| right);
    assert_eq!(states.last(), Some(&State::Failed(Failure::Rollback)));
    // Another name, or another publisher's image of that name, counts for itself.
    assert!(ran(&launch(&mut sim, 5, 320, &ours, |right| Manifest { name: "door", ..right })));
    assert!(ran(&launch(&mut sim, 6, 320, &key(2), |right| right)));
}

#[test]
fn no_name_is_forgotten_to_make_room_for_another() {
    let ours = key(1);
    let mut sim = Sim::with_publishers(1, &[public(&ours)]);
    for number in 0..agent_core::RELEASES_MAX {
        let name = number.to_string();
        let states = launch(&mut sim, number as u16 + 1, 100, &ours, |right| Manifest {
            digest: right.digest,
            name: Box::leak(name.into_boxed_str()),
            ..right
        });
        assert!(ran(&states), "{number}: {states:?}");
    }
    let states = launch(&mut sim, 100, 100, &ours, |right| Manifest { name: "one more", ..right });
    assert_eq!(states.last(), Some(&State::Failed(Failure::Resources)));
    assert!(ran(&launch(&mut sim, 101, 100, &ours, |right| Manifest { name: "3", sequence: 6, ..right })));
}

/// Pieces of the same size whatever the image's, and the last block brings no work that grows with it.
#[test]
fn an_image_is_looked_at_as_it_comes() {
    for len in [5_000, 50_000, 500_000] {
        let mut sim = Sim::with_publishers(1, &[public(&key(1))]);
        sim.world.borrow_mut().inventory.flash_bytes = 1 << 20;
        assert!(ran(&launch(&mut sim, 1, len, &key(1), |right| right)));
        let (shown, most) = sim.world.borrow().shown[&1];
        assert!(shown as usize == len && most <= 128);
    }
}

#[test]
fn an_image_that_could_never_run_is_not_fetched_to_its_end() {
    let mut sim = Sim::new(1);
    let launch = sim.prepare(1, 3_000);
    sim.gateway.images.get_mut(&launch.image).unwrap()[1_000] = 0xee;
    let digest: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(&sim.gateway.images[&launch.image]).into();
    sim.world.borrow_mut().bad_byte = Some(0xee);
    let digest = std::array::from_fn(|at| digest[at]);
    let states = order(&mut sim, Launch { digest, ..launch }, None);
    assert_eq!(states.last(), Some(&State::Failed(Failure::Image)));
    assert!(sim.gateway.served_bytes < 1_500, "{}", sim.gateway.served_bytes);
}
