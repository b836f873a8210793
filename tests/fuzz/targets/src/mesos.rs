//! What comes by TCP: HTTP of libprocess, Mesos messages to the virtual agents, the scheduler API, images.

use crate::rig::NODE;
use crate::script::{Script, first, number};
use framework::recordio::{Decoder, RECORD_MAX};
use gateway::agent::{Agents, Config, Image, Output};
use gateway::bridge::{FromNode, NodeId};
use gateway::images::{Fetcher, Trust, demanded, parse_key, parse_manifest};
use gateway::store::{Records, Write};
use libprocess::{Event, Message as WireMessage, Upid};
use mesos_proto::internal::*;
use mesos_proto::v1::executor::Event as ExecutorEvent;
use mesos_proto::v1::scheduler::{Call, Event as SchedulerEvent};
use mesos_proto::{cram, json};
use node_proto::limits::{IMAGE_MAX, VERSION};
use node_proto::{Arch, Inventory, Kind, Manifest, News, Power, Register, Runtimes, State};
use prost::{Message, Name};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

/// Largest body taken in these targets, bytes.
const BODY_MAX: usize = 2_000;

/// Bytes of a connection to the port that masters and browsers connect to.
pub fn libprocess(data: &[u8]) {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime without sockets")
    });
    let received = runtime.block_on(async {
        let (events, mut received) = mpsc::channel(16);
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let http: libprocess::HttpHandler = Arc::new(|request| {
            let bytes = request.into_body();
            Box::pin(async move { http::Response::new(libprocess::full(bytes)) })
        });
        let config = libprocess::Config {
            listen: ([127, 0, 0, 1], 0).into(),
            advertise: None,
            is_hosted: Arc::new(|actor| actor != "nobody"),
            http,
            max_body: BODY_MAX,
            tls: None,
        };
        let talk = async {
            let _ = client.write_all(data).await; // it may have hung up
            let _ = client.shutdown().await;
            let mut answers = Vec::new();
            let _ = client.read_to_end(&mut answers).await;
        };
        let listen = async {
            let mut all = Vec::new();
            while let Some(event) = received.recv().await {
                all.push(event);
            }
            all
        };
        tokio::join!(libprocess::serve_stream(server, config, events), talk, listen).2
    });
    for event in received {
        let Event::Message(message) = event else { continue };
        assert!(message.body.len() <= BODY_MAX && !message.to.is_empty() && message.to != "nobody");
        if let Some(from) = message.from {
            assert_eq!(from.to_string().parse().ok(), Some(from));
        }
    }
}

/// The scheduler API from both ends: calls as a master reads them, the stream of events as a framework does.
pub fn api(data: &[u8]) {
    let (how, rest) = first(data);
    let piece = usize::from(how).max(1);
    let (whole, pieces) = (records(rest, rest.len().max(1)), records(rest, piece));
    assert_eq!(whole, pieces, "how a stream is cut makes no difference");
    for record in &whole {
        both_ways::<SchedulerEvent>(record);
        both_ways::<ExecutorEvent>(record);
    }
    both_ways::<Call>(rest);
    if let Ok(text) = std::str::from_utf8(rest) {
        let _ = cram::Credential::parse(text);
        let _ = cram::parse_list(text);
    }
}

fn records(stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let mut decoder = Decoder::default();
    let mut records = Vec::new();
    for piece in stream.chunks(piece) {
        decoder.push(piece);
        while let Ok(Some(record)) = decoder.next_record() {
            assert!(record.len() <= RECORD_MAX);
            records.push(record);
        }
    }
    records
}

/// What was read as JSON or protobuf can be written as the other.
fn both_ways<M: Message + Name + Default>(bytes: &[u8]) {
    for message in [json::from_json::<M>(bytes).ok(), M::decode(bytes).ok()].into_iter().flatten() {
        let again = M::decode(message.encode_to_vec().as_slice());
        assert!(again.is_ok(), "what was made cannot be read");
        let _ = json::to_json(&message);
    }
}

/// What says what an image is and who signed it.
pub fn images(data: &[u8]) {
    static FETCHER: OnceLock<Option<Fetcher>> = OnceLock::new();
    let manifest = parse_manifest(data);
    let about = manifest.as_deref().and_then(|sealed| Manifest::peek(sealed).ok());
    let image = Image {
        handle: 1,
        len: about.map_or(100, |about| about.size),
        digest: about.map_or([7; 32], |about| about.digest),
        kind: about.map_or(Kind::Wasm, |about| about.kind),
        manifest: None,
    };
    if let Some(trust) = Trust::in_key("ours", &KEY) {
        for sealed in [manifest.as_deref(), Some(data), None] {
            assert!(trust.check(&image, sealed, "*").is_err(), "nobody has signed it");
        }
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(key) = parse_key(text) {
        assert!(Trust::in_key("other", &key).is_some());
    }
    let demanded = demanded(text);
    let dir = std::env::temp_dir().join("mesos-micro-fuzz-images");
    let fetcher = FETCHER.get_or_init(|| Fetcher::new(&dir).ok()).as_ref();
    // Nothing but what needs neither files nor the network.
    let uri = if text.starts_with("data:") { text.to_owned() } else { format!("data:{text}") };
    if let Some(Ok(fetched)) = fetcher.map(|fetcher| fetcher.fetch(&uri)) {
        assert!(fetched.bytes.len() <= IMAGE_MAX as usize);
        assert!(demanded.is_none_or(|demanded| demanded == fetched.digest));
    }
}

/// A publisher's key: RFC 8032 §7.1, test 1.
const KEY: [u8; 32] = [
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e,
    0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];

/// What a master may send, by the number that a step has for it.
pub fn orders() -> [String; 20] {
    [
        SlaveRegisteredMessage::full_name(),
        SlaveReregisteredMessage::full_name(),
        PingSlaveMessage::full_name(),
        RunTaskMessage::full_name(),
        RunTaskGroupMessage::full_name(),
        KillTaskMessage::full_name(),
        StatusUpdateAcknowledgementMessage::full_name(),
        ShutdownFrameworkMessage::full_name(),
        ShutdownExecutorMessage::full_name(),
        UpdateFrameworkMessage::full_name(),
        DrainSlaveMessage::full_name(),
        CheckpointResourcesMessage::full_name(),
        ApplyOperationMessage::full_name(),
        AcknowledgeOperationStatusMessage::full_name(),
        ReconcileOperationsMessage::full_name(),
        ShutdownMessage::full_name(),
        FrameworkToExecutorMessage::full_name(),
        "mesos.internal.AuthenticationMechanismsMessage".into(),
        "mesos.internal.AuthenticationStepMessage".into(),
        "mesos.internal.NoSuchMessage".into(),
    ]
}

/// The virtual agents: messages of a master, and what a node tells.
pub fn agents(data: &[u8]) {
    let (how, script) = first(data);
    let credential = cram::Credential { principal: "agent".into(), secret: b"secret".to_vec() };
    let config = Config {
        version: "1.11.0".into(),
        domain: "micro".into(),
        port: 5051,
        epoch_ms: 0,
        credential: (how & 1 != 0).then_some(credential),
        offers: Default::default(),
        trust: Default::default(),
    };
    let (master, own) = ("master@10.0.0.1:5050".parse::<Upid>().ok(), "10.0.0.5:5051".parse());
    let Ok(own) = own else { return };
    let boot = |records: &Records, now| {
        let mut agents = Agents::new(config.clone(), own, records, 7, now);
        agents.master_detected(master.clone(), now);
        agents
    };
    let (mut now, mut disk, mut actor) = (0, BTreeMap::new(), "slave(1)".to_owned());
    let mut agents = boot(&Records::new(), now);
    let node = NodeId(NODE);
    let names = orders();
    agents.from_node(node, FromNode::Online(online()), now);
    for (step, bytes) in Script(script).take(64) {
        let (task, rest) = first(bytes);
        let task = u16::from(task);
        match step % 32 {
            at @ 0..20 => {
                let (to, name) = (actor.clone(), names[usize::from(at)].clone());
                let body = bytes.to_vec().into();
                agents.from_master(&WireMessage { from: master.clone(), to, name, body }, now);
            }
            20 => now += u64::from(number(bytes)) % 600_000,
            21 => agents.from_node(node, FromNode::Online(online()), now),
            22 => agents.from_node(node, FromNode::Lapsed, now),
            23 => agents.from_node(node, FromNode::Forgot, now),
            24 => agents.from_node(node, FromNode::Message { task, data: rest.to_vec() }, now),
            25 => agents.from_node(node, FromNode::Log { task, data: rest.to_vec() }, now),
            26 => {
                if let Ok(state) = node_proto::decode::<State>(rest) {
                    let note = String::from_utf8_lossy(rest).into_owned();
                    agents.from_node(node, FromNode::Status { task, seq: 1, state, note }, now);
                }
            }
            27 => {
                if let Ok(news) = node_proto::decode::<News>(rest) {
                    agents.from_node(node, FromNode::Alive { power: Power::Mains, news }, now);
                }
            }
            28 => agents.undeliverable(node, task, now),
            29 => agents.master_detected(if task == 0 { None } else { master.clone() }, now),
            30 => {
                let image = Image { handle: 1, len: 100, digest: [7; 32], kind: Kind::Wasm, manifest: None };
                agents.image("data:x", if task == 0 { Err("no such image".into()) } else { Ok(image) }, now);
            }
            _ => {
                let records: Records = disk
                    .iter()
                    .map(|(key, value): (&(_, Vec<u8>), &Vec<u8>)| (key.0, key.1.clone(), value.clone()))
                    .collect();
                agents = boot(&records, now);
            }
        }
        agents.handle_timeout(now);
        while let Some(output) = agents.poll_output() {
            match output {
                Output::Write(Write::Put(table, key, value)) => drop(disk.insert((table, key), value)),
                Output::Write(Write::Delete(table, key)) => drop(disk.remove(&(table, key))),
                Output::Send { from, .. } if from.starts_with("slave(") => actor = from,
                Output::Fetch(_) | Output::Send { .. } | Output::ToNode(..) => {}
            }
        }
    }
}

fn online() -> Register {
    let inventory = Inventory {
        cpu_permille: 1000,
        mem_bytes: 64 << 10,
        flash_bytes: 1 << 20,
        sensors: 1,
        leds: 1,
        power: Power::Mains,
        arch: Arch::Host,
        runtimes: Runtimes(Runtimes::WASM),
        block_szx: 2,
        board: "test".try_into().unwrap_or_default(),
    };
    Register { version: VERSION, eui64: NODE, boot: 1, epoch: 1, seen: 0, inventory }
}
