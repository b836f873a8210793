//! A master gone wrong, and strangers: what they send is counted, memory stays where it was, tasks run on.

mod support;

use mesos_proto::internal::*;
use mesos_proto::mesos;
use prost::{Message, Name};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use support::{Follower, PLAIN, System};

/// Resident memory that a gateway with one node may come to, bytes.
const MEMORY_MAX: u64 = 256 << 20;

fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// A libprocess message as bytes.
fn wire(from: &str, name: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /slave(1)/{name} HTTP/1.1\r\nLibprocess-From: {from}\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn status(stream: &mut TcpStream) -> u16 {
    let mut buffer = [0; 512];
    let count = stream.read(&mut buffer).unwrap_or(0);
    let head = String::from_utf8_lossy(&buffer[..count]).into_owned();
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

fn tell<M: Message + Name>(gateway: SocketAddr, from: &str, message: &M) {
    let mut stream = connect(gateway);
    stream.write_all(&wire(from, &M::full_name(), &message.encode_to_vec())).unwrap();
    assert_eq!(status(&mut stream), 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_master_and_strangers_change_nothing() {
    let system = System::start(0.0, 0.0, 0.0);
    let mut spin = Follower::launch(&system, "spin", &[], PLAIN).await;
    spin.until_running().await;
    let (gateway, master) = (system.gateway, format!("master@{}", system.master));
    let agent = system.node().unwrap()["agent_id"].as_str().unwrap().to_owned();
    tokio::task::spawn_blocking(move || attack(gateway, &master, &agent)).await.unwrap();

    let metrics: Value = system.ask("/metrics/snapshot").unwrap();
    for (name, least) in [
        ("gateway/master_malformed", 100),
        ("gateway/master_unknown", 1),
        ("gateway/not_master", 2),
        ("gateway/wrong_agent", 1),
        ("gateway/unknown_framework", 1),
        ("gateway/messages_dropped", 1),
        ("libprocess/refused", 3),
    ] {
        assert!(metrics[name].as_u64().unwrap() >= least, "{name}: {}", metrics[name]);
    }
    assert!(system.gateway_memory() < MEMORY_MAX, "{} bytes", system.gateway_memory());
    let node = system.node().unwrap();
    assert_eq!((&node["state"], &node["tasks"][0]["state"]), (&"registered".into(), &"TASK_RUNNING".into()));
    spin.kill().await;
    let last = spin.until_the_end().await;
    assert_eq!(support::states(&last).last(), Some(&framework::v1::TaskState::TaskKilled));
}

fn attack(gateway: SocketAddr, master: &str, agent: &str) {
    // Orders from somebody else, for another agent, for nobody.
    let slave_id = mesos::SlaveId { value: agent.to_owned() };
    let framework = |id: &str| mesos::FrameworkId { value: id.into() };
    tell(gateway, "master@127.0.0.1:1", &ShutdownMessage { message: Some("you are gone".into()) });
    tell(gateway, "scheduler@127.0.0.1:1", &ShutdownFrameworkMessage { framework_id: framework("x") });
    let mut run = RunTaskMessage::default();
    run.framework.id = Some(framework("x"));
    run.task.slave_id = mesos::SlaveId { value: "S9".into() };
    tell(gateway, master, &run);
    let kill = KillTaskMessage { framework_id: framework("nobody"), ..Default::default() };
    tell(gateway, master, &kill);
    let executor_id = mesos::ExecutorId { value: "e".into() };
    let (framework_id, data) = (framework("nobody"), vec![0; 40]);
    tell(gateway, master, &FrameworkToExecutorMessage { slave_id, framework_id, executor_id, data });

    // Bodies that are no messages, many on one connection.
    let mut stream = connect(gateway);
    let names = ["RunTaskMessage", "KillTaskMessage", "ApplyOperationMessage", "SlaveReregisteredMessage"];
    for number in 0..200usize {
        let name = format!("mesos.internal.{}", names[number % names.len()]);
        stream.write_all(&wire(master, &name, &[0xff; 9])).unwrap();
    }
    stream.write_all(&wire(master, "mesos.internal.NeverHeardOf", b"x")).unwrap();
    assert_eq!(status(&mut stream), 202);

    // Too large, to nobody, to no path.
    let mut large = connect(gateway);
    let head = "POST /slave(1)/mesos.internal.RunTaskMessage HTTP/1.1\r\nLibprocess-From: master@127.0.0.1:1\r\n\
                Host: x\r\nContent-Length: 9000000\r\n\r\n";
    large.write_all(head.as_bytes()).unwrap();
    // It may be refused before all of it is there.
    let _ = (0..90).try_for_each(|_| large.write_all(&[0; 100_000]));
    assert!(matches!(status(&mut large), 413 | 0));
    for (path, expected) in [("/slave(99)/x", 404), ("/x", 400)] {
        let mut stream = connect(gateway);
        let head = format!(
            "POST {path} HTTP/1.1\r\nLibprocess-From: a@127.0.0.1:1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        assert_eq!(status(&mut stream), expected);
    }

    // Hundreds that never finish what they say, while one that does is served.
    let mut halves: Vec<TcpStream> = (0..300).map(|_| connect(gateway)).collect();
    for (number, half) in halves.iter_mut().enumerate() {
        let start = ["", "POST /slave(1)/x HT", "GET /state HTTP/1.1\r\nHost: x\r\n", "\u{16}\u{3}\u{1}"];
        half.write_all(start[number % start.len()].as_bytes()).unwrap();
    }
    // A flood of pings, whose answers nobody takes, for an observer that is not there.
    let mut flood = connect(gateway);
    let ping = PingSlaveMessage { connected: true };
    let one = wire("slave-observer(1)@127.0.0.1:9", &PingSlaveMessage::full_name(), &ping.encode_to_vec());
    let many = one.repeat(100);
    let mut sink = flood.try_clone().unwrap();
    let drain = std::thread::spawn(move || std::io::copy(&mut sink, &mut std::io::sink()));
    for _ in 0..200 {
        flood.write_all(&many).unwrap();
    }
    let mut asked = connect(gateway);
    asked.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(status(&mut asked), 200);
    flood.shutdown(std::net::Shutdown::Both).unwrap();
    let _ = drain.join();
}
