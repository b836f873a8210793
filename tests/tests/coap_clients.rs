//! Clients that others wrote read what a node tells of itself: libcoap's and aiocoap's, the latter under OSCORE too.

mod support;

use serde_json::Value;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use support::{Process, commission};

/// A node without a gateway, and where to read it.
fn node(dir: &Path, security: &str) -> (Process, SocketAddr) {
    let at = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let state = dir.join("state");
    let args = format!(
        "node --gateway 127.0.0.1:9 --listen {at} --state {} --board field,battery=70 {security}",
        state.display()
    );
    (Process::start_with(&args), at)
}

/// Runs a client for as long as it wants to.
fn run(command: &mut Command, package: &str) -> Output {
    match command.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => panic!("{command:?}: {error}; install {package}"),
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn libcoap(at: SocketAddr, path: &str, flags: &[&str]) -> String {
    let uri = format!("coap://{at}/{path}");
    text(&run(Command::new("coap-client-notls").args(["-B", "10"]).args(flags).arg(uri), "libcoap3-bin"))
}

fn aiocoap(args: &[&str]) -> Output {
    run(Command::new("timeout").arg("30").arg("aiocoap-client").args(args), "aiocoap[oscore] (PyPI)")
}

/// More than a client sends in one piece.
fn large_file(dir: &Path) -> String {
    let path = dir.join("large");
    std::fs::write(&path, [b'x'; 1_500]).unwrap();
    path.display().to_string()
}

fn is_field_node(text: &str) {
    let node: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
    assert_eq!(
        (&node["board"], &node["battery"], &node["registered"]),
        (&"field".into(), &70.into(), &false.into())
    );
}

#[test]
fn libcoap_reads_a_node_block_by_block_and_observes_it() {
    let dir = tempfile::tempdir().unwrap();
    let (_node, at) = node(dir.path(), "--insecure --block-szx 1");
    let links = libcoap(at, ".well-known/core", &[]);
    assert_eq!(links, "</node>;ct=50,</tasks>;ct=50;obs,</usage>;ct=50;obs");
    is_field_node(&libcoap(at, "node", &[]));
    assert_eq!(libcoap(at, "tasks", &["-s", "1"]), "[]");
    let refused = run(
        Command::new("coap-client-notls").args(["-B", "10", "-m", "delete"]).arg(format!("coap://{at}/node")),
        "libcoap3-bin",
    );
    assert!(String::from_utf8_lossy(&refused.stderr).contains("4.05"), "{refused:?}");
    // A body in blocks is refused by its first one, and not left without an answer.
    let large = large_file(dir.path());
    for (path, code) in [("node", "4.05"), ("c", "4.05"), ("x", "4.04")] {
        let refused = run(
            Command::new("coap-client-notls")
                .args(["-B", "10", "-b", "64", "-m", "put", "-f", &large])
                .arg(format!("coap://{at}/{path}")),
            "libcoap3-bin",
        );
        assert!(String::from_utf8_lossy(&refused.stderr).contains(code), "{path}: {refused:?}");
    }
}

#[test]
fn aiocoap_reads_a_node_in_the_clear() {
    let dir = tempfile::tempdir().unwrap();
    let (_node, at) = node(dir.path(), "--insecure");
    is_field_node(&text(&aiocoap(&[&format!("coap://{at}/node")])));
}

#[test]
fn aiocoap_reads_a_node_under_oscore_and_nobody_does_without() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    commission("020000000000000b", &dir.path().join("keys"), &key);
    let line = std::fs::read_to_string(&key).unwrap();
    let [_, kid, secret, salt] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line}") };
    let (_node, at) = node(dir.path(), &format!("--key {}", key.display()));
    let context = dir.path().join("context");
    std::fs::create_dir(&context).unwrap();
    let settings = serde_json::json!({
        "sender-id_hex": "", "recipient-id_hex": kid, "secret_hex": secret, "salt_hex": salt,
        "algorithm": "AES-CCM-16-64-128", "kdf-hashfun": "sha256",
    });
    std::fs::write(context.join("settings.json"), settings.to_string()).unwrap();
    let credentials = dir.path().join("credentials.json");
    let base = format!("{}/", context.display());
    let all = serde_json::json!({ format!("coap://{at}/*"): { "oscore": { "basedir": base } } });
    std::fs::write(&credentials, all.to_string()).unwrap();
    let credentials = credentials.display().to_string();
    // The first request is answered by a challenge, which the client meets.
    is_field_node(&text(&aiocoap(&["--credentials", &credentials, &format!("coap://{at}/node")])));
    let links = text(&aiocoap(&["--credentials", &credentials, &format!("coap://{at}/.well-known/core")]));
    assert!(links.contains("/tasks"), "{links}");
    // The blocks of a body are inside what is protected (RFC 8613 §4.1.3.4), and so is the refusal.
    let payload = format!("@{}", large_file(dir.path()));
    let uri = format!("coap://{at}/node");
    let refused = aiocoap(&["--credentials", &credentials, "-m", "PUT", "--payload", &payload, &uri]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("4.05"), "{refused:?}");
    // In the clear there is no answer, and so nothing but a time-out of the client's.
    assert_eq!(libcoap(at, "node", &["-B", "3"]), "");
}
