//! A gateway in this process, with nodes that are no more than their CoAP, and somebody who asks over HTTP.

use gateway::keys::KeySource;
use gateway::{Config, Datagram, Handle, LinkConfig, MemoryLink};
use node_coap::{Endpoint, Event, Params, Request, Response};
use node_proto::{Arch, Inventory, News, Poll, Power, Register, Runtimes, encode, limits, paths};
use serde_json::Value;
use std::net::{SocketAddr, SocketAddrV4};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Only so that a broken test ends.
const LIMIT: Duration = Duration::from_secs(30);

pub struct Rig {
    pub address: SocketAddrV4,
    handle: Handle,
    dir: TempDir,
    coap: Endpoint<u8>,
    to_gateway: mpsc::Sender<Datagram>,
    from_gateway: mpsc::Receiver<Datagram>,
    started: Instant,
}

/// The EUI-64 of node `number`.
pub fn eui64(number: u8) -> String {
    format!("02000000000000{number:02x}")
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 5683))
}

impl Rig {
    pub async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (link, to_gateway, from_gateway) = MemoryLink::new(1_024);
        let master = "127.0.0.1:1".parse().unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let mut config = Config::new(listen, master, LinkConfig::Memory(link), dir.path().join("state"));
        config.keys = KeySource::Held(Default::default());
        config.sessions.insecure = true;
        change(&mut config);
        let handle = gateway::run(config).await.unwrap();
        let coap = Endpoint::new(Params::default(), 1);
        Self { address: handle.address, handle, dir, coap, to_gateway, from_gateway, started: Instant::now() }
    }

    pub fn state(&self) -> std::path::PathBuf {
        Path::new(self.dir.path()).join("state")
    }

    pub fn page(&self) -> &str {
        &self.handle.page
    }

    pub async fn stop(self) {
        self.handle.stop().await.unwrap();
    }

    /// Bytes from a node's address.
    pub async fn send(&self, number: u8, bytes: &[u8]) {
        self.to_gateway.send((address(number), bytes.to_vec())).await.unwrap();
    }

    async fn ask(&mut self, number: u8, request: &Request) -> Response {
        let now = self.started.elapsed().as_millis() as u64;
        self.coap.request(number, request, now).unwrap();
        let exchange = async {
            loop {
                while let Some((peer, bytes)) = self.coap.poll_transmit() {
                    self.to_gateway.send((address(peer), bytes)).await.unwrap();
                }
                let (_, bytes) = self.from_gateway.recv().await.unwrap();
                if let Some(incoming) = self.coap.read(number, &bytes) {
                    self.coap.take(number, incoming, now);
                }
                if let Some(Event::Response { response, .. }) = self.coap.poll_event() {
                    return response;
                }
            }
        };
        tokio::time::timeout(LIMIT, exchange).await.unwrap()
    }

    pub async fn register(&mut self, number: u8, power: Power) {
        let inventory = Inventory {
            cpu_permille: 1000,
            mem_bytes: 256 << 10,
            flash_bytes: 1 << 20,
            sensors: 1,
            leds: 0,
            power,
            arch: Arch::Thumbv7em,
            runtimes: Runtimes(Runtimes::WASM),
            block_szx: 2,
            board: "fake".try_into().unwrap(),
        };
        let eui64 = [2, 0, 0, 0, 0, 0, 0, number];
        let register = Register { version: limits::VERSION, eui64, boot: 1, epoch: 1, seen: 0, inventory };
        let response = self.ask(number, &Request::post(paths::REGISTER, &encode(&register).unwrap())).await;
        assert!(response.code.is_success(), "{response:?}");
    }

    pub async fn poll(&mut self, number: u8, power: Power, news: News) {
        let poll = Poll { seen: 0, power, next_s: 1, news };
        let response = self.ask(number, &Request::post(paths::POLL, &encode(&poll).unwrap())).await;
        assert!(response.code.is_success(), "{response:?}");
    }

    /// A document, once it is as it has to be.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let wait = async {
            loop {
                let document = get(self.address, path).await;
                if wanted(&document) {
                    return document;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("{path} never is as it has to be"))
    }
}

pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.body))
    }

    pub fn has(&self, header: &str) -> bool {
        self.head.contains(header)
    }
}

/// One request on a connection of its own.
pub async fn raw(at: SocketAddrV4, method: &str, path: &str, headers: &str) -> Answer {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let host = if headers.contains("Host:") { "" } else { "Host: 127.0.0.1\r\n" };
    let request = format!("{method} {path} HTTP/1.1\r\n{host}{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("no head");
    let head = String::from_utf8_lossy(&answer[..at]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: answer.split_off(at + 4) }
}

pub async fn get(at: SocketAddrV4, path: &str) -> Value {
    let answer = raw(at, "GET", path, "").await;
    assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()
}
