//! What is captured can be read by others: tshark, if it is there, dissects it down to CoAP.

use air::{Air, AirConfig, Conditions};
use lowpan::{Config, Eui64, Stack, ether};
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

/// A confirmable GET of /node (RFC 7252, 3) with so many bytes of payload.
fn request(id: u8, payload: usize) -> Vec<u8> {
    let mut bytes = vec![0x40, 0x01, 0x00, id, 0xb4];
    bytes.extend(b"node");
    if payload > 0 {
        bytes.push(0xff);
        bytes.resize(bytes.len() + payload, b'.');
    }
    bytes
}

#[test]
fn a_capture_is_dissected_from_802_15_4_to_coap() {
    let dir = tempfile::tempdir().unwrap();
    let pcap = dir.path().join("air.pcap");
    let air = Air::start(AirConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        scene: Conditions::PERFECT.into(),
        seed: 1,
        pcap: Some(pcap.clone()),
    })
    .unwrap();
    let gateway = Eui64([2, 0, 0, 0, 0, 0, 0, 1]);
    let node = Eui64([2, 0, 0, 0, 0, 0, 0, 0x0a]);
    let radio = || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.connect(air.address).unwrap();
        socket.send(&ether::wrap(&[])).unwrap();
        socket
    };
    let (sender, receiver) = (radio(), radio());
    let mut stack = Stack::new(Config::new(node));
    let mut frames = Vec::new();
    for (id, payload) in [(1, 0), (2, 20), (3, 300)] {
        frames.extend(stack.encode(gateway.link_local(), 5683, 5683, &request(id, payload)).unwrap());
    }
    assert!(frames.len() > 4, "the last one goes in fragments");
    let mut buffer = [0; 200];
    for frame in &frames {
        sender.send(&ether::wrap(frame)).unwrap();
        let len = receiver.recv(&mut buffer).unwrap();
        assert_eq!(ether::unwrap(&buffer[..len]), Some(&frame[..]));
    }
    drop(air);
    let tshark = Command::new("tshark")
        .args(["-Y", "coap", "-T", "fields", "-E", "separator=|"])
        .args(["-e", "wpan.src64", "-e", "udp.dstport", "-e", "coap.mid", "-e", "coap.opt.uri_path_recon"])
        .arg("-r")
        .arg(&pcap)
        .output();
    let Ok(output) = tshark else {
        println!("SKIPPED: dissection of the capture: no tshark");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<_> = said.lines().collect();
    let expected: Vec<_> = (1..=3).map(|id| format!("02:00:00:00:00:00:00:0a|5683|{id}|/node")).collect();
    assert_eq!(lines, expected, "{}", String::from_utf8_lossy(&output.stderr));
}
