//! The node protocol as it goes on the air, byte by byte: CoAP, OSCORE, UDP, 6LoWPAN and IEEE 802.15.4.
//!
//! `tests/golden/frames.hex` holds what a node and a gateway with fixed keys, clocks and random numbers send to each
//! other. A difference is a change of the protocol, or of a library under it: if it is meant, `UPDATE_GOLDEN=1` writes
//! the file anew, and what of it changed is to be read before it is committed.

mod listener;
mod scenes;
mod worst;

use fuzz_targets::rig::Passed;
use lowpan::{FCS_LEN, FRAME_MAX};
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

/// What is at the top of the file.
const HEAD: &str = "\
# What goes on the air, byte by byte. Made by `UPDATE_GOLDEN=1 cargo test -p system-tests --test golden`.
# An entry: its number, who sends, what it is; the frame's length with its check sequence, which is not shown.
";

/// What has to be among the entries, in these words.
const WANTED: [&str; 30] = [
    "node: POST r, register",
    "gateway: 4.01, challenge",
    "node: POST r, register, echo",
    "gateway: 2.01, registered",
    "node: POST p, poll, nothing",
    "node: POST p, poll, vitals",
    "node: POST p, poll, usage",
    "gateway: 2.04",
    "gateway: POST c, launch",
    "gateway: 2.05, launch",
    "node: 2.04",
    "gateway: POST c, kill",
    "gateway: POST c, message",
    "node: POST s, status",
    "node: POST m, message",
    "node: POST l, log",
    "node: GET d/2, block 0 of 64",
    "node: GET i/1, block 0 of 64",
    "gateway: 2.05, block 0 of 64",
    "node: POST m/2, block 0 of 32",
    "gateway: 2.31, block 0 of 32",
    "gateway: 2.04, block 3 of 32",
    "gateway: POST c, fetch",
    "gateway: 2.05, fetch",
    "node: GET b/2, block 0 of 64",
    "node: 4.01, challenge",
    "node: acknowledgement",
    "gateway: acknowledgement",
    "node: reset",
    "gateway: reset",
];

/// One datagram and what it is.
pub struct Entry {
    what: String,
    passed: Passed,
}

fn show(title: &str, entries: &[Entry], to: &mut String) {
    writeln!(to, "\n== {title}").unwrap();
    for (number, Entry { what, passed }) in entries.iter().enumerate() {
        assert_eq!(passed.frames.len(), 1, "{title}: more than one frame: {what}");
        let frame = &passed.frames[0];
        let len = frame.len() + FCS_LEN;
        assert!(len <= FRAME_MAX, "{title}: {len} bytes: {what}");
        writeln!(to, "\n{}. {what}: {len} of {FRAME_MAX} bytes", number + 1).unwrap();
        for line in frame.chunks(32) {
            line.iter().for_each(|byte| write!(to, "{byte:02x}").unwrap());
            to.push('\n');
        }
    }
}

#[test]
fn every_operation_is_one_frame_of_these_bytes() {
    let scenes = [
        ("a node with mains: a launch, a message, a kill", scenes::mains()),
        ("a node on battery: a launch that rides on a poll", scenes::battery()),
        ("a node that has just started is pushed an order", scenes::restarted()),
        ("what belongs to nothing", scenes::strays()),
        ("the largest that there can be", worst::largest()),
        ("messages that are too long for one frame", scenes::long()),
    ];
    let mut text = HEAD.to_owned();
    for (title, entries) in &scenes {
        show(title, entries, &mut text);
    }
    for wanted in WANTED {
        let found =
            scenes.iter().flat_map(|(_, entries)| entries).any(|entry| entry.what.starts_with(wanted));
        assert!(found, "nothing is '{wanted}' in\n{text}");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/frames.hex");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &text).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    if let Some((line, (is, was))) =
        text.lines().zip(golden.lines()).enumerate().find(|(_, (is, was))| is != was)
    {
        let entry =
            text.lines().take(line + 1).filter(|line| line.ends_with("bytes")).last().unwrap_or_default();
        panic!("{}, line {}, in '{entry}':\n  is  {is}\n  was {was}", path.display(), line + 1);
    }
    assert_eq!(text.lines().count(), golden.lines().count(), "{}: more or fewer entries", path.display());
}
