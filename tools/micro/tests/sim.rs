//! `micro sim` as it is typed.

use std::process::{Command, Output};

fn sim(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_micro"));
    command.arg("sim").args(args).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_seed_is_traced_and_gives_the_same_number_again() {
    let traced = sim(&["--seed", "7", "--minutes", "1", "--trace"]);
    assert!(traced.status.success(), "{}", text(&traced));
    assert!(text(&traced).lines().count() > 100, "an event a line");
    let plain = sim(&["--seed", "7", "--minutes", "1"]);
    let last = |text: String| text.lines().find(|line| line.contains("trace ")).unwrap().to_owned();
    assert_eq!(last(text(&traced)), last(text(&plain)));
}

#[test]
fn many_seeds_are_one_document() {
    let output = sim(&["--seeds", "0..4", "--minutes", "1", "--json"]);
    assert!(output.status.success(), "{}", text(&output));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((document["seeds"].as_u64(), document["failed"].as_array().unwrap().len()), (Some(4), 0));
    assert_eq!(sim(&["--seeds", "4..4"]).status.code(), Some(2), "no seeds");
}
