//! `micro air` as a process: the scene it is given, and what it says at the end.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::time::Duration;

const SCENE: &str = r#"
[conditions]
range = 10

[[radio]]
eui64 = "0200000000000001"
x = 0
y = 0

[[radio]]
eui64 = "0200000000000002"
x = 8
y = 0

[[radio]]
eui64 = "0200000000000003"
x = 80
y = 0
"#;

/// A data frame in its datagram: IEEE 802.15.4-2020, 7.3.2.
fn datagram(from: u8, to: u8) -> Vec<u8> {
    let mut mac = vec![0x41, 0xdc, 1, 0xcd, 0xab];
    mac.extend([to, 0, 0, 0, 0, 0, 0, 2]);
    mac.extend([from, 0, 0, 0, 0, 0, 0, 2]);
    mac.extend(b"hello");
    lowpan::ether::wrap(&mac)
}

#[test]
fn a_scene_decides_who_hears_whom_and_the_counters_tell() {
    let dir = tempfile::tempdir().unwrap();
    let scene = dir.path().join("scene.toml");
    std::fs::write(&scene, SCENE).unwrap();
    let mut air = Command::new(env!("CARGO_BIN_EXE_micro"))
        .args(["air", "--listen", "127.0.0.1:0", "--json", "--scene"])
        .arg(&scene)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(air.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().rsplit(' ').next().unwrap().to_owned();
    let radio = |number, to| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.connect(&address).unwrap();
        socket.send(&datagram(number, to)).unwrap();
        socket
    };
    let mut buffer = [0; 200];
    let first = radio(1, 9);
    let far = radio(3, 9);
    let second = radio(2, 1);
    let len = first.recv(&mut buffer).unwrap();
    assert_eq!(buffer[..len], datagram(2, 1));
    far.send(&datagram(3, 1)).unwrap();
    first.send(&datagram(1, 2)).unwrap();
    let len = second.recv(&mut buffer).unwrap();
    assert_eq!(buffer[..len], datagram(1, 2));
    Command::new("kill").arg(air.id().to_string()).status().unwrap();
    let mut text = String::new();
    air.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(air.wait().unwrap().success());
    let said: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&said["total"]["frames"], &said["total"]["lost"]), (&5.into(), &0.into()), "{text}");
    let names: Vec<_> = said["radios"].as_array().unwrap().iter().map(|radio| &radio["eui64"]).collect();
    assert_eq!(names, ["0200000000000001", "0200000000000002", "0200000000000003"]);
    assert_eq!(said["radios"][2]["delivered"], 0);
    assert!(said["radios"][0]["out_of_reach"].as_u64().unwrap() >= 1, "{text}");
    let sum = |field: &str| {
        said["radios"].as_array().unwrap().iter().map(|radio| radio[field].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(said["total"]["delivered"], sum("delivered"));
}

#[test]
fn a_scene_with_an_unknown_key_is_refused_with_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let scene = dir.path().join("scene.toml");
    std::fs::write(&scene, "[conditions]\nlos = 0.5\n").unwrap();
    let air =
        Command::new(env!("CARGO_BIN_EXE_micro")).args(["air", "--scene"]).arg(&scene).output().unwrap();
    let said = String::from_utf8_lossy(&air.stderr);
    assert_eq!(air.status.code(), Some(1));
    assert!(said.contains("scene.toml, line 2: unknown field `los`"), "{said}");
}
