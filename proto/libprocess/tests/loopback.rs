//! Two transports on loopback.

use http::Response;
use libprocess::{Config, Event, Transport, Upid, full};
use std::net::SocketAddrV4;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

async fn transport(actors: &'static [&'static str]) -> (Transport, mpsc::Receiver<Event>) {
    let (events, received) = mpsc::channel(100);
    let config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        advertise: None,
        is_hosted: Arc::new(|actor| actors.contains(&actor)),
        http: Arc::new(|request| {
            Box::pin(async move { Response::new(full(format!("you asked for {}", request.uri().path()))) })
        }),
        max_body: 1000,
        tls: None,
    };
    (Transport::bind(config, events).await.unwrap(), received)
}

async fn exchange(addr: SocketAddrV4, request: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn messages_arrive_in_order_whole_or_empty() {
    let (master, mut at_master) = transport(&["master"]).await;
    let (gateway, _events) = transport(&[]).await;
    let to = Upid::new("master", master.local());
    for n in 0..500u32 {
        let body = if n % 2 == 0 { Vec::new() } else { n.to_be_bytes().to_vec() };
        gateway.send(&format!("slave({n})"), &to, "mesos.internal.X", &body);
    }
    for n in 0..500u32 {
        let Some(Event::Message(message)) = at_master.recv().await else { panic!("no message") };
        assert_eq!(message.from, Some(Upid::new(format!("slave({n})"), gateway.local())));
        assert_eq!(message.body.len(), if n % 2 == 0 { 0 } else { 4 });
    }
}

#[tokio::test]
async fn who_is_linked_learns_of_the_end_and_may_send_again() {
    let (master, mut at_master) = transport(&["master"]).await;
    let (gateway, events) = transport(&[]).await;
    let there = gateway.local();
    master.link(there);
    // A message proves that the link stands.
    let probe = exchange(there, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(probe.ends_with("you asked for /x"), "{probe}");
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    drop((gateway, events));
    assert_eq!(at_master.recv().await, Some(Event::Exited(there)));
    master.link(there);
    assert_eq!(at_master.recv().await, Some(Event::Exited(there)), "nobody listens there");
}

#[tokio::test]
async fn strangers_get_the_answers_of_libprocess() {
    let (master, mut events) = transport(&["slave(7)"]).await;
    let post = |path: &str, extra: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nLibprocess-From: m@127.0.0.1:1\r\n{extra}\r\n")
    };
    let answer = exchange(master.local(), &post("/slave%287%29/mesos.internal.X", "")).await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let Some(Event::Message(message)) = events.recv().await else { panic!("no message") };
    assert_eq!((message.to.as_str(), message.body.len()), ("slave(7)", 0));
    let answer = exchange(master.local(), &post("/slave(8)/mesos.internal.X", "")).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let answer = exchange(master.local(), &post("/slave", "")).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let big = post("/slave(7)/mesos.internal.X", "Content-Length: 2000\r\n") + &"x".repeat(2000);
    let answer = exchange(master.local(), &big).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(master.counters().refused, 3);
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let (first, _events) = transport(&[]).await;
    let (events, _received) = mpsc::channel(1);
    let config = Config {
        listen: first.local().into(),
        advertise: None,
        is_hosted: Arc::new(|_| false),
        http: Arc::new(|_| Box::pin(async { Response::new(full("")) })),
        max_body: 1,
        tls: None,
    };
    let error = Transport::bind(config, events).await.err().unwrap().to_string();
    assert!(error.contains(&first.local().to_string()), "{error}");
}
