//! The driver on loopback: a scripted libprocess agent, a scheduler that writes raw HTTP, and peers that misbehave.

mod console;
mod documents;
mod maintenance;
mod operator;
mod state;

use libprocess::{Event as Lib, Transport, Upid};
use master::{Config, Error, Handle, run};
use mesos_proto::internal::*;
use mesos_proto::mesos::{FrameworkId, SlaveId, SlaveInfo, TaskId, TaskState, TaskStatus};
use mesos_proto::resources::scalar;
use mesos_proto::v1::scheduler::{Call, Event, event};
use prost::{Message, Name};
use serde_json::{Value, json};
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Only so that a broken test ends.
const LIMIT: Duration = Duration::from_secs(30);

async fn start() -> Handle {
    let config = Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        ping_interval: Duration::from_millis(100),
        max_missed_pings: 1000,
        heartbeat_interval: Duration::from_millis(100),
        ..Config::default()
    };
    run(config).await.unwrap()
}

struct Agent {
    transport: Transport,
    events: mpsc::Receiver<Lib>,
    master: Upid,
}

impl Agent {
    async fn start(master: SocketAddrV4) -> Self {
        let (sender, events) = mpsc::channel(100);
        let config = libprocess::Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            is_hosted: Arc::new(|actor| actor == "slave(1)"),
            http: Arc::new(|_| Box::pin(async { http::Response::new(libprocess::full("")) })),
            max_body: 1 << 20,
            tls: None,
        };
        let transport = Transport::bind(config, sender).await.unwrap();
        Self { transport, events, master: Upid::new("master", master) }
    }

    fn send<M: Message + Name>(&self, message: &M) {
        self.transport.send("slave(1)", &self.master, &M::full_name(), &message.encode_to_vec());
    }

    /// Waits for a message; answers pings meanwhile.
    async fn wait<M: Message + Name + Default>(&mut self) -> M {
        let search = async {
            loop {
                let Some(Lib::Message(message)) = self.events.recv().await else { continue };
                if message.name == M::full_name() {
                    return M::decode(message.body).unwrap();
                }
                if message.name == PingSlaveMessage::full_name() {
                    self.transport.send(
                        "slave(1)",
                        &message.from.unwrap(),
                        &PongSlaveMessage::full_name(),
                        b"",
                    );
                }
            }
        };
        tokio::time::timeout(LIMIT, search).await.unwrap_or_else(|_| panic!("no {}", M::full_name()))
    }

    async fn register(&mut self) -> String {
        self.send(&RegisterSlaveMessage {
            slave: SlaveInfo {
                hostname: "node".into(),
                resources: vec![scalar("cpus", 0.1), scalar("mem", 0.25)],
                checkpoint: Some(true),
                ..Default::default()
            },
            version: Some("1.11.0".into()),
            ..Default::default()
        });
        self.wait::<SlaveRegisteredMessage>().await.slave_id.value
    }

    fn status(&self, framework: &str, agent: &str, state: TaskState, uuid: u8) {
        let status = TaskStatus {
            task_id: TaskId { value: "t".into() },
            state: state as i32,
            uuid: Some(vec![uuid; 16]),
            ..Default::default()
        };
        self.send(&StatusUpdateMessage {
            update: StatusUpdate {
                framework_id: FrameworkId { value: framework.into() },
                slave_id: Some(SlaveId { value: agent.into() }),
                status,
                timestamp: 1.0,
                uuid: Some(vec![uuid; 16]),
                latest_state: Some(state as i32),
                ..Default::default()
            },
            pid: None,
        });
    }
}

/// One request on a connection of its own: status, head, body.
async fn http(addr: SocketAddrV4, head: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request =
        format!("{head}\r\nHost: {addr}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    // The master may answer and close before it has read all of what is too much.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await.unwrap();
    let at = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..at]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, head, answer.split_off((at + 4).min(answer.len())))
}

async fn get(addr: SocketAddrV4, path: &str) -> Value {
    let (status, _, body) = http(addr, &format!("GET {path} HTTP/1.1"), b"").await;
    assert_eq!(status, 200, "{path}");
    serde_json::from_slice(&body).unwrap_or(Value::Null)
}

const POST: &str = "POST /api/v1/scheduler HTTP/1.1";

/// A subscription's stream: undoes chunks and RecordIO.
struct Records {
    reader: BufReader<TcpStream>,
    bytes: Vec<u8>,
    json: bool,
}

impl Records {
    /// Posts a call that subscribes; the answer's headers, in lower case, and its stream.
    async fn open(addr: SocketAddrV4, post: &str, body: &[u8], json: bool) -> (String, Self) {
        let kind = if json { "application/json" } else { "application/x-protobuf" };
        let mut reader = BufReader::new(TcpStream::connect(addr).await.unwrap());
        let head = format!(
            "{post}\r\nHost: {addr}\r\nContent-Type: {kind}\r\nAccept: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        reader.write_all(head.as_bytes()).await.unwrap();
        reader.write_all(body).await.unwrap();
        let mut headers = String::new();
        while !headers.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut headers).await.unwrap(), 0);
        }
        let lower = headers.to_lowercase();
        assert!(
            lower.starts_with("http/1.1 200") && lower.contains("transfer-encoding: chunked"),
            "{headers}"
        );
        assert!(lower.contains(&format!("content-type: {kind}")), "{headers}");
        (lower, Self { reader, bytes: Vec::new(), json })
    }

    /// The next event, or none at the end of the stream.
    async fn next<E: Message + Name + Default>(&mut self) -> Option<E> {
        loop {
            if let Some(at) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let length: usize = std::str::from_utf8(&self.bytes[..at]).unwrap().parse().unwrap();
                if self.bytes.len() > at + length {
                    let record: Vec<u8> = self.bytes.drain(..=at + length).skip(at + 1).collect();
                    return Some(if self.json {
                        mesos_proto::json::from_json(&record).unwrap()
                    } else {
                        E::decode(record.as_slice()).unwrap()
                    });
                }
            }
            let mut size = String::new();
            if self.reader.read_line(&mut size).await.unwrap() == 0 {
                return None;
            }
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            self.reader.read_exact(&mut chunk).await.unwrap();
            if size == 0 {
                return None;
            }
            self.bytes.extend_from_slice(&chunk[..size]);
        }
    }
}

/// A call in the form that is sent.
fn encode<C: Message + Name + Default>(call: &Value, json: bool) -> Vec<u8> {
    let text = call.to_string().into_bytes();
    if json { text } else { mesos_proto::json::from_json::<C>(&text).unwrap().encode_to_vec() }
}

/// A subscribed scheduler.
struct Scheduler {
    addr: SocketAddrV4,
    records: Records,
    stream: String,
}

impl Scheduler {
    async fn subscribe(addr: SocketAddrV4, json: bool) -> Self {
        let body = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": {"user": "u", "name": "n"}}});
        let (headers, records) = Records::open(addr, POST, &encode::<Call>(&body, json), json).await;
        let stream =
            headers.lines().find_map(|line| line.strip_prefix("mesos-stream-id: ")).unwrap().to_owned();
        Self { addr, records, stream }
    }

    async fn next(&mut self) -> Option<Event> {
        self.records.next().await
    }

    async fn wait(&mut self, kind: event::Type) -> Event {
        let search = async {
            loop {
                let event = self.next().await.expect("the stream ended");
                if event.r#type() == kind {
                    return event;
                }
            }
        };
        tokio::time::timeout(LIMIT, search).await.unwrap_or_else(|_| panic!("no {kind:?}"))
    }

    async fn call(&self, body: Value) -> u16 {
        let head = format!("{POST}\r\nContent-Type: application/json\r\nMesos-Stream-Id: {}", self.stream);
        http(self.addr, &head, body.to_string().as_bytes()).await.0
    }
}

async fn run_one_task(json: bool) {
    let master = start().await;
    let mut agent = Agent::start(master.addr).await;
    let agent_id = agent.register().await;
    assert_eq!(agent_id, format!("{}-S0", master.id));
    let mut scheduler = Scheduler::subscribe(master.addr, json).await;
    let subscribed = scheduler.wait(event::Type::Subscribed).await.subscribed.unwrap();
    assert_eq!(subscribed.heartbeat_interval_seconds, Some(0.1));
    assert_eq!(subscribed.master_info.unwrap().port, u32::from(master.addr.port()));
    let framework = subscribed.framework_id.value;
    scheduler.wait(event::Type::Heartbeat).await;

    let mut second = Scheduler::subscribe(master.addr, json).await;
    second.wait(event::Type::Subscribed).await;
    // One agent is offered to one framework; which of the two had it is the first's business here.
    let state = get(master.addr, "/state").await;
    let offer = state["frameworks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|f| f["id"] == framework.as_str())
        .unwrap()["offers"][0]["id"]
        .clone();
    let task = json!({
        "name": "t", "task_id": {"value": "t"}, "agent_id": {"value": agent_id},
        "command": {"value": "run", "uris": [{"value": "file:///t.wasm"}]},
        "resources": [
            {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.05}},
            {"name": "mem", "type": "SCALAR", "scalar": {"value": 0.064}},
        ],
    });
    let accept = json!({
        "framework_id": {"value": framework}, "type": "ACCEPT",
        "accept": {"offer_ids": [{"value": offer}], "operations": [{"type": "LAUNCH", "launch": {"task_infos": [task]}}]},
    });
    assert_eq!(scheduler.call(accept).await, 202);
    let launched: RunTaskMessage = agent.wait().await;
    assert_eq!(launched.task.command.unwrap().uris[0].value, "file:///t.wasm");
    // What is left goes to the other framework at once.
    let offers = second.wait(event::Type::Offers).await.offers.unwrap().offers;
    assert_eq!(offers[0].resources[0].scalar.unwrap().value, 0.05);

    for (state, uuid) in [(TaskState::TaskRunning, 1), (TaskState::TaskFinished, 2)] {
        agent.status(&framework, &agent_id, state, uuid);
        let status = scheduler.wait(event::Type::Update).await.update.unwrap().status;
        assert_eq!((status.state, status.uuid()), (state as i32, &[uuid; 16][..]));
        let text = ["AQEBAQEBAQEBAQEBAQEBAQ==", "AgICAgICAgICAgICAgICAg=="][usize::from(uuid) - 1];
        let acknowledge = json!({
            "framework_id": {"value": framework}, "type": "ACKNOWLEDGE",
            "acknowledge": {"agent_id": {"value": agent_id}, "task_id": {"value": "t"}, "uuid": text},
        });
        assert_eq!(scheduler.call(acknowledge).await, 202);
        assert_eq!(agent.wait::<StatusUpdateAcknowledgementMessage>().await.uuid, [uuid; 16]);
    }
    let tasks = get(master.addr, "/master/tasks").await;
    assert_eq!(tasks["tasks"][0]["state"], "TASK_FINISHED");
    assert_eq!(get(master.addr, "/metrics/snapshot").await["master/tasks_finished"], 1.0);

    assert_eq!(scheduler.call(json!({"framework_id": {"value": framework}, "type": "TEARDOWN"})).await, 202);
    let end = async { while scheduler.next().await.is_some() {} };
    tokio::time::timeout(LIMIT, end).await.unwrap();
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_runs_by_json() {
    run_one_task(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_runs_by_protobuf() {
    run_one_task(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_goes_away_is_noticed() {
    let master = start().await;
    let mut scheduler = Scheduler::subscribe(master.addr, true).await;
    scheduler.wait(event::Type::Subscribed).await;
    assert_eq!(get(master.addr, "/frameworks").await["frameworks"].as_array().unwrap().len(), 1);
    drop(scheduler);
    // Its failover timeout is zero: it is over.
    let gone = async {
        while get(master.addr, "/frameworks").await["completed_frameworks"].as_array().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, gone).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_process_ends_is_disconnected() {
    let master = start().await;
    let mut agent = Agent::start(master.addr).await;
    agent.register().await;
    assert_eq!(get(master.addr, "/slaves").await["slaves"][0]["connected"], true);
    drop(agent);
    let gone = async {
        while get(master.addr, "/slaves").await["slaves"][0]["connected"] == true {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, gone).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_get_their_status_and_the_master_goes_on() {
    let master = start().await;
    let addr = master.addr;
    let json = format!("{POST}\r\nContent-Type: application/json");
    let protobuf = format!("{POST}\r\nContent-Type: application/x-protobuf");
    let subscribe = br#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n"}}}"#;
    let huge = vec![b' '; master::limits::MAX_CALL_BYTES + 1];
    for (head, body, expected) in [
        ("GET /api/v1/scheduler HTTP/1.1".to_owned(), &b""[..], 405),
        (POST.to_owned(), b"{}", 400),
        (format!("{POST}\r\nContent-Type: text/plain"), b"{}", 415),
        (json.clone(), b"not json", 400),
        (protobuf, b"\xff\xff\xff\xff", 400),
        (json.clone(), br#"{"type":"REVIVE"}"#, 400),
        (json.clone(), br#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u"}}}"#, 400),
        (json.clone(), br#"{"type":"REVIVE","framework_id":{"value":"x"}}"#, 400),
        (format!("{json}\r\nMesos-Stream-Id: x"), subscribe, 400),
        (format!("{json}\r\nAccept: text/html"), subscribe, 406),
        (
            format!("{json}\r\nAccept: text/html"),
            br#"{"type":"RECONCILE_OPERATIONS","framework_id":{"value":"x"},"reconcile_operations":{}}"#,
            406,
        ),
        ("GET /nothing HTTP/1.1".to_owned(), b"", 404),
        ("POST /state HTTP/1.1".to_owned(), b"", 405),
        ("GET /redirect HTTP/1.1".to_owned(), b"", 307),
        ("POST /master/teardown HTTP/1.1".to_owned(), b"frameworkId=x", 400),
        ("POST /nobody/mesos.internal.X HTTP/1.1\r\nLibprocess-From: a@127.0.0.1:1".to_owned(), b"x", 404),
        (
            "POST /master/mesos.internal.RegisterSlaveMessage HTTP/1.1\r\nLibprocess-From: a@127.0.0.1:1"
                .to_owned(),
            b"\xff",
            202,
        ),
        (json.clone(), &huge, 413),
    ] {
        let (status, ..) = http(addr, &head, body).await;
        // A peer that is cut off in mid body may see the reset before the answer.
        assert!(status == expected || expected == 413 && status == 0, "{head}: {status}, not {expected}");
    }
    assert_eq!(http(addr, "GET /health HTTP/1.1", b"").await.0, 200);
    assert_eq!(get(addr, "/version").await["version"], master::MESOS_VERSION);
    assert_eq!(get(addr, "/metrics/snapshot").await["master/messages_malformed"], 1.0);
    let (_, _, body) = http(addr, "GET /master/state?jsonp=cb HTTP/1.1", b"").await;
    assert!(body.starts_with(b"cb({") && body.ends_with(b"});"));
    let state = get(addr, "/state.json").await;
    assert_eq!(state["leader"], format!("master@{addr}"));
    assert_eq!(state["id"], master.id.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_reads_nothing_is_closed_and_holds_nothing() {
    let master = start().await;
    let mut agent = Agent::start(master.addr).await;
    let agent_id = agent.register().await;
    let mut scheduler = Scheduler::subscribe(master.addr, false).await;
    let framework = scheduler.wait(event::Type::Subscribed).await.subscribed.unwrap().framework_id.value;
    // More than the bound of its queue and the sockets' buffers; the scheduler reads none of it.
    let message = ExecutorToFrameworkMessage {
        slave_id: SlaveId { value: agent_id },
        framework_id: FrameworkId { value: framework },
        executor_id: mesos_proto::mesos::ExecutorId { value: "e".into() },
        data: vec![7; 1 << 20],
    };
    let flood = async {
        loop {
            agent.send(&message);
            tokio::time::sleep(Duration::from_millis(5)).await;
            let frameworks = get(master.addr, "/frameworks").await;
            if frameworks["frameworks"].as_array().unwrap().is_empty() {
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT * 2, flood).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_and_wrong_settings_are_clear_errors() {
    let master = start().await;
    let taken =
        Config { listen: SocketAddr::from(([127, 0, 0, 1], master.addr.port())), ..Config::default() };
    let error = run(taken.clone()).await.err().unwrap();
    assert!(matches!(error, Error::Bind(_)));
    assert!(error.to_string().contains(&master.addr.port().to_string()), "{error}");
    let error = run(Config { policy: "fifo".into(), ..taken.clone() }).await.err().unwrap();
    assert!(error.to_string().contains("'fifo'"), "{error}");
    let weights = [("ops".to_owned(), -1.0)].into();
    let error = run(Config { weights, ..taken.clone() }).await.err().unwrap();
    assert!(error.to_string().contains("'ops'"), "{error}");
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_of_a_master_that_has_stopped_is_free() {
    // Somebody else on this machine may be given a port that is free again: not each time.
    for _ in 0..5 {
        let master = start().await;
        let listen = SocketAddr::from(([127, 0, 0, 1], master.addr.port()));
        master.stop().await;
        if run(Config { listen, ..Config::default() }).await.is_ok() {
            return;
        }
    }
    panic!("five ports stayed taken");
}
