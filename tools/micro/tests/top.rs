//! `micro top` as a process, against a real gateway with a real node.

mod support;

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use support::{Cluster, NODE, Process, ask, image, micro};

#[test]
fn a_frame_and_the_documents_show_the_node_and_who_uses_it() {
    let cluster = Cluster::start();
    let (gateway, master) = (cluster.gateway, cluster.master);
    let spin = image("spin");
    let run = ask(&format!(
        "run {} --master {master} --name whirl --cpus 0.25 --mem 0.016 --detach",
        spin.display()
    ));
    assert!(run.status.success(), "{run:?}");

    let output = micro()
        .args(["top", "--once", "--gateway", &gateway.to_string()])
        .env("COLUMNS", "120")
        .env("LC_ALL", "C")
        .output();
    let output = output.unwrap();
    let frame = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && frame.is_ascii() && !frame.contains('\u{1b}'), "{frame}");
    let lines: Vec<&str> = frame.lines().collect();
    assert!(lines[0].starts_with(&format!("micro top  {gateway}")), "{frame}");
    assert!(lines[1].starts_with("nodes 1 live of 1   tasks 1 running"), "{frame}");
    assert!(lines[2].contains("0.25 granted of 1.00") && lines[3].contains("16K granted of 128K"), "{frame}");
    assert!(
        lines.iter().any(|line| line.starts_with("micro ") && line.contains("/0.25")),
        "no tenant: {frame}"
    );
    let node = lines.iter().find(|line| line.starts_with(NODE)).expect("no node");
    assert!(node.contains(" live ") && node.contains("/0.25/1.00") && node.contains(" mains "), "{frame}");
    assert!(lines.iter().all(|line| line.len() <= 120), "{frame}");

    // Not found is no failure, and says so.
    let none = ask(&format!("top --once --find nothing --gateway {gateway}"));
    assert!(
        none.status.success()
            && String::from_utf8_lossy(&none.stdout).contains("no node matches \"nothing\"")
    );

    let fleet = cluster.fleet();
    assert_eq!((&fleet["nodes"][0]["node"], &fleet["tenants"][0]["role"]), (&NODE.into(), &"micro".into()));
    let mut child = micro()
        .args(["top", "--json", "--follow", "--gateway", &gateway.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let (first, second) = (next(), next());
    assert!(first["at"].as_u64() < second["at"].as_u64() && second["nodes"][0]["node"] == NODE);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What a terminal is told to show another screen, to show the first again, and to show its cursor.
const OTHER_SCREEN: &str = "\u{1b}[?1049h";
const FIRST_SCREEN: &str = "\u{1b}[?1049l";
const CURSOR: &str = "\u{1b}[?25h";

/// Runs `micro top` on a terminal of its own (`script`, of util-linux) until it shows a fleet, and then `end`, which is
/// given its process id and the keyboard. What the terminal was told, its settings after it at the end.
fn on_a_terminal(gateway: &str, end: impl FnOnce(&str, &mut dyn Write)) -> String {
    let shell = format!(
        "stty rows 24 cols 80; '{}' top --gateway {gateway} </dev/tty & echo pid=$!.; wait $!; echo status=$?.; stty -a; echo over.",
        env!("CARGO_BIN_EXE_micro")
    );
    let mut command = Command::new("timeout");
    command.args(["90", "script", "-qec", &shell, "/dev/null"]).env("TERM", "xterm").env("SHELL", "/bin/sh");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keys, mut shown) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut told, mut end) = (String::new(), Some(end));
    let mut buffer = [0; 4096];
    while !told.contains("over.") {
        let read = shown.read(&mut buffer).unwrap();
        assert!(read > 0, "the terminal is closed after {told:?}");
        told += &String::from_utf8_lossy(&buffer[..read]);
        let pid =
            told.split_once("pid=").and_then(|(_, rest)| rest.split_once('.')).map(|(pid, _)| pid.to_owned());
        if let Some(pid) = pid
            && told.contains("commission`")
            && let Some(end) = end.take()
        {
            end(&pid, &mut keys);
        }
    }
    drop(keys);
    child.wait().unwrap();
    told
}

#[test]
fn the_terminal_is_given_back_after_a_key_and_after_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    let (_gateway, gateway) = Process::serve(&format!(
        "gateway --master 127.0.0.1:1 --listen 127.0.0.1:0 --udp 127.0.0.1:0 --state {}",
        dir.path().join("gateway").display()
    ));
    let gateway = gateway.to_string();
    let signal = |name: &'static str| {
        move |pid: &str, _: &mut dyn Write| {
            assert!(Command::new("kill").args(["-s", name, pid]).status().unwrap().success());
        }
    };
    let ends = [
        ("status=0.", on_a_terminal(&gateway, |_, keys| keys.write_all(b"q").unwrap())),
        ("status=0.", on_a_terminal(&gateway, |_, keys| keys.write_all(b"/q\r?xjk\x03").unwrap())),
        ("status=143.", on_a_terminal(&gateway, signal("TERM"))),
        ("status=129.", on_a_terminal(&gateway, signal("HUP"))),
    ];
    for (status, told) in ends {
        let (before, after) = told.split_once(FIRST_SCREEN).unwrap_or_else(|| panic!("{told:?}"));
        assert!(
            before.contains(OTHER_SCREEN) && after.contains(CURSOR) && after.contains(status),
            "{told:?}"
        );
        assert!(
            after.contains(" icanon") && after.contains(" echo "),
            "keys are not as they were: {after:?}"
        );
    }
}
