//! `micro check` as a process: what it prints, and its exit status.

use std::process::{Command, Output};

fn check(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_micro")).arg("check").args(args).output().unwrap()
}

fn image(name: &str) -> String {
    format!("{}/../task-sdk/images/{name}.wasm", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_exit_status_says_whether_it_would_run() {
    let blink = image("blink");
    let cases: [(&[&str], i32); 8] = [
        (&[&blink], 0),
        (&[&blink, "--entry", "walk"], 1),
        (&[&blink, "--mem", "0.0004"], 1),
        (&[&blink, "--mem", "0.002", "--cpus", "0.3"], 0),
        (&[&blink, "--board", "dark,mem=64K"], 1),
        (&[&blink, "--board", "dark,mem=64K", "--board", "lit,leds=1"], 0),
        (&[&blink, "--cpus", "2"], 1),
        (&["/nonexistent.wasm"], 1),
    ];
    for (args, status) in cases {
        let output = check(args);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {output:?}");
    }
}

#[test]
fn json_is_one_document_with_the_same_answer() {
    let output = check(&[&image("count"), "--json"]);
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["would_run"], true);
    assert_eq!(said["module"]["capabilities"], serde_json::json!(["message", "sleep", "kv"]));
    assert_eq!(said["module"]["entries"], serde_json::json!(["run", "well"]));
    let broken = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(broken.path(), b"\0asm\x01\0\0\0garbage").unwrap();
    let output = check(&[broken.path().to_str().unwrap(), "--json"]);
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &said["valid"]), (Some(1), &serde_json::json!(false)));
    assert!(said["fault"]["offset"].is_u64(), "{said}");
}
