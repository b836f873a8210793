//! The corpus through its targets without a fuzzer: each file, and each file cut off anywhere.
//!
//! `UPDATE_CORPUS=1` makes the seeds anew from what the crates themselves write.

mod radio;
mod slots;
mod tcp;

use fuzz_targets::TARGETS;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// What all seeds may take together, bytes.
const TOTAL_MAX: u64 = 200_000;
/// Cuts of one file: all of a small one.
const CUTS_MAX: usize = 64;

/// A seed: its target, its name, its bytes.
type Seed = (&'static str, String, Vec<u8>);

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus")
}

/// The files of one target, seeds and what a fuzzer has found since.
fn files(target: &str) -> Vec<PathBuf> {
    let dir = corpus().join(target);
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files: Vec<_> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn update() {
    for (name, _) in TARGETS {
        fs::create_dir_all(corpus().join(name)).unwrap();
        // A regression is a seed that nobody can make again.
        for old in files(name).iter().filter(|path| path.to_string_lossy().ends_with(".made.seed")) {
            fs::remove_file(old).unwrap();
        }
    }
    for (target, name, bytes) in radio::seeds().into_iter().chain(slots::seeds()).chain(tcp::seeds()) {
        fs::write(corpus().join(target).join(format!("{name}.made.seed")), bytes).unwrap();
    }
}

#[test]
fn all_targets_survive_the_corpus_and_what_is_left_of_it_when_it_is_cut_off() {
    if env::var_os("UPDATE_CORPUS").is_some() {
        update();
    }
    let mut failed = Vec::new();
    let mut total = 0;
    for (name, target) in TARGETS {
        let files = files(name);
        assert!(!files.is_empty(), "{name} has no seeds: UPDATE_CORPUS=1 makes them");
        for file in files {
            let bytes = fs::read(&file).unwrap();
            let is_seed = file.extension().is_some_and(|kind| kind == "seed");
            total += if is_seed { bytes.len() as u64 } else { 0 };
            let cuts = if is_seed { bytes.len().min(CUTS_MAX) } else { 0 };
            let lengths = (0..cuts).map(|cut| bytes.len() * cut / cuts).chain([bytes.len()]);
            for len in lengths {
                if catch_unwind(|| target(&bytes[..len])).is_err() {
                    failed.push(format!("{}, its first {len} bytes", file.display()));
                }
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(total <= TOTAL_MAX, "the seeds have {total} bytes");
}

/// What the seeds are good for: they get as far as strangers can.
#[test]
fn a_seed_of_each_kind_of_traffic_is_there() {
    let traffic = radio::traffic();
    assert!(traffic.iter().any(|passed| passed.from_node) && traffic.iter().any(|passed| !passed.from_node));
    assert!(traffic.len() > 30, "{}", traffic.len());
}
