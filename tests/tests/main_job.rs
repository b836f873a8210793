//! The demo's expectations, and what users and strangers do wrong.

mod support;

use serde_json::Value;
use std::io::Write;
use std::net::TcpStream;
use support::{System, image, micro};

#[test]
fn the_demo_proves_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let pcap = dir.path().join("air.pcap");
    let output = micro().args(["demo", "--json", "--seed", "5", "--pcap"]).arg(&pcap).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&text).unwrap();
    let checks = report["checks"].as_array().unwrap();
    assert_eq!((checks.len(), &report["failed"]), (9, &Value::from(0)), "{text}");
    assert!(report["radio"]["lost"].as_u64().unwrap() > 0);
    let capture = std::fs::read(pcap).unwrap();
    assert_eq!(capture[..4], [0xd4, 0xc3, 0xb2, 0xa1]);
    assert_eq!(capture[20..24], 230u32.to_le_bytes(), "802.15.4 without check sequence");
    let frames = report["radio"]["frames"].as_u64().unwrap();
    assert!(capture.len() as u64 > 24 + frames * 16);
}

#[test]
fn a_demo_that_cannot_come_true_fails_and_says_what() {
    let output = micro().args(["demo", "--loss", "2"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--loss 2"));
}

#[test]
fn what_cannot_be_run_fails_alone_with_a_reason() {
    let system = System::start(0.0, 0.0, 0.0);
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("broken.wasm");
    std::fs::write(&broken, b"\0asm\x01\0\0\0garbage").unwrap();
    let (hello, blink) = (image("hello"), image("blink"));
    let wrong_digest = format!("file://{hello}#sha256=00");
    let cases: [(&[&str], &str); 7] = [
        (&["ftp://host/x.wasm"], "unknown scheme 'ftp'"),
        (&["http://127.0.0.1:9/x.wasm"], "127.0.0.1:9"),
        (&["/nonexistent/x.wasm"], "No such file"),
        (&[broken.to_str().unwrap()], "not a valid module"),
        (&[&wrong_digest], "wrong digest"),
        (&[&blink], "not granted: micro.led_set"),
        (&[&hello, "--mem", "0"], "needs"),
    ];
    for (args, word) in cases {
        let output = system.run(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {said}");
        assert!(said.contains("TASK_FAILED") && said.contains(word), "{args:?}: {said}");
    }
    // Nothing else was disturbed.
    let output = system.run(&[&hello, "--env", "A=b", "--", "exit=0"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = system.run(&[&hello, "--", "exit=9"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("exited with status 9"));
}

#[test]
fn strangers_at_the_ports_are_counted_and_survived() {
    let system = System::start(0.0, 0.0, 0.0);
    let junk: [&[u8]; 4] = [
        b"\x00\xff\x13\x37\r\n\r\n",
        b"POST /slave(1)/mesos.internal.RunTaskMessage HTTP/1.1\r\nLibprocess-From: m@1.2.3.4:5\r\nContent-Length: 3\r\n\r\n\xff\xff\xff",
        b"POST /slave(99)/mesos.internal.PingSlaveMessage HTTP/1.1\r\nLibprocess-From: m@1.2.3.4:5\r\n\r\n",
        b"POST /slave(1)/mesos.internal.PingSlaveMessage HTTP/1.1\r\nLibprocess-From: m@1.2.3.4:5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ];
    for address in [system.master, system.gateway] {
        for bytes in junk {
            TcpStream::connect(address).unwrap().write_all(bytes).unwrap();
        }
    }
    let radio = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for len in [0, 1, 13, 14, 20, 60, 141, 142, 1400] {
        let mut datagram = vec![0x41; len];
        if len >= 14 {
            datagram[12..14].copy_from_slice(&[0x80, 0x9a]);
        }
        radio.send_to(&datagram, system.air).unwrap();
    }
    let output = system.run(&[&image("hello")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_port_in_use_and_a_foreign_store_are_refused_with_the_way_out() {
    let system = System::start(0.0, 0.0, 0.0);
    let said = |args: &[&str]| {
        let output = micro().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let (master, air) = (system.master.to_string(), system.air.to_string());
    assert!(said(&["master", "--listen", &master]).contains(&master));
    assert!(said(&["air", "--listen", &air]).contains(&air));
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("gateway.redb");
    std::fs::write(&store, "not a store").unwrap();
    let state = dir.path().to_str().unwrap();
    let refused = said(&["gateway", "--listen", "127.0.0.1:0", "--air", &air, "--state", state]);
    assert!(refused.contains("gateway.redb") && refused.contains("move it away"), "{refused}");
    assert_eq!(std::fs::read_to_string(&store).unwrap(), "not a store");
}

#[test]
fn operators_find_their_way() {
    let system = System::start(0.0, 0.0, 0.0);
    let (master, gateway) = (system.master.to_string(), system.gateway.to_string());
    let spin = image("spin");
    let output = system.run(&[&spin, "--name", "whirl", "--detach"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = |args: &[&str]| {
        let output = micro().args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(said(&["nodes", "--gateway", &gateway]).contains("registered"));
    let tasks: Value = serde_json::from_str(&said(&["tasks", "--master", &master, "--json"])).unwrap();
    assert_eq!((&tasks[0]["id"], &tasks[0]["state"]), (&"whirl".into(), &"TASK_RUNNING".into()));
    said(&["kill", "whirl", "--master", &master]);
    assert!(system.run(&[&image("hello"), "--name", "greeter", "--", "there"]).status.success());
    assert_eq!(said(&["logs", "greeter", "--gateway", &gateway]), "arg there\n");
    let missing = micro().args(["kill", "nobody", "--master", &master]).output().unwrap();
    assert!(String::from_utf8_lossy(&missing.stderr).contains("knows no task 'nobody'"));
}
