//! Seeds of what comes by TCP.

use crate::Seed;
use fuzz_targets::script::step;
use libprocess::Upid;
use libprocess::wire::encode;
use mesos_proto::internal::*;
use mesos_proto::mesos::{self, CommandInfo, FrameworkId, FrameworkInfo, SlaveId, TaskId, TaskInfo};
use mesos_proto::resources::scalar;
use mesos_proto::v1::scheduler::{Call, Event};
use mesos_proto::{json, recast};
use node_proto::{Arch, Kind, Manifest};
use prost::{Message, Name};

fn slave() -> SlaveId {
    SlaveId { value: "S0".into() }
}

fn framework() -> FrameworkId {
    FrameworkId { value: "F".into() }
}

fn run() -> RunTaskMessage {
    let uri = mesos::command_info::Uri { value: "data:x".into(), ..Default::default() };
    let task = TaskInfo {
        name: "blink".into(),
        task_id: TaskId { value: "blink".into() },
        slave_id: slave(),
        resources: vec![scalar("cpus", 0.1), scalar("mem", 0.01)],
        command: Some(CommandInfo { uris: vec![uri], ..Default::default() }),
        ..Default::default()
    };
    let framework =
        FrameworkInfo { id: Some(framework()), name: "f".into(), user: "u".into(), ..Default::default() };
    RunTaskMessage { framework, task, ..Default::default() }
}

/// Orders of a master by the numbers that [`fuzz_targets::agents`] has for them.
fn orders() -> Vec<(u8, Vec<u8>)> {
    let framework_id = framework();
    let registered = SlaveRegisteredMessage { slave_id: slave(), connection: None };
    let task_id = TaskId { value: "blink".into() };
    let kill = KillTaskMessage {
        framework_id: framework_id.clone(),
        task_id: task_id.clone(),
        ..Default::default()
    };
    let acknowledged = StatusUpdateAcknowledgementMessage {
        slave_id: slave(),
        framework_id: framework_id.clone(),
        task_id,
        uuid: vec![7; 16],
    };
    vec![
        (0, registered.encode_to_vec()),
        (2, PingSlaveMessage { connected: true }.encode_to_vec()),
        (3, run().encode_to_vec()),
        (5, kill.encode_to_vec()),
        (6, acknowledged.encode_to_vec()),
        (7, ShutdownFrameworkMessage { framework_id }.encode_to_vec()),
        (15, ShutdownMessage { message: Some("go".into()) }.encode_to_vec()),
    ]
}

pub fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut add = |target, name: &str, bytes| seeds.push((target, name.to_owned(), bytes));

    let (from, to): (Upid, Upid) =
        ("master@10.0.0.1:5050".parse().unwrap(), "slave(7)@10.0.0.5:5051".parse().unwrap());
    let ping = PingSlaveMessage { connected: true }.encode_to_vec();
    let message = encode(&from, &to, &PingSlaveMessage::full_name(), &ping);
    let empty = encode(&from, &to, &PongSlaveMessage::full_name(), b"");
    add("libprocess", "messages", [message.as_slice(), &empty, &message].concat());
    let get = b"GET /slave(7)/state?jsonp=f HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n";
    let old = b"GET /metrics/snapshot HTTP/1.0\r\n\r\n";
    add("libprocess", "http", [&get[..], &old[..]].concat());
    let long =
        b"POST /a/b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nLibprocess-From: a@1.2.3.4:5\r\n\r\nhello";
    let nobody = b"POST /nobody/b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nUser-Agent: libprocess/a@1.2.3.4:5\r\nExpect: 100-continue\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    add("libprocess", "bodies", [&long[..], &nobody[..]].concat());

    let steps = |steps: &[(u8, Vec<u8>)]| {
        let mut bytes = vec![0];
        steps.iter().for_each(|(kind, body)| step(&mut bytes, *kind, body));
        bytes
    };
    let status = |state| (26, [&[1], node_proto::encode(&state).unwrap().as_slice()].concat());
    let (pause, image) = ((20, vec![0, 0, 1]), (30, vec![1]));
    let (run, kill) = ((3, run().encode_to_vec()), orders()[3].clone());
    let life = [
        pause.clone(),
        orders()[0].clone(),
        run.clone(),
        image,
        status(node_proto::State::Running),
        kill,
        status(node_proto::State::Killed),
        orders()[4].clone(),
        pause.clone(),
        (31, vec![]),
        pause,
        orders()[5].clone(),
    ];
    add("agents", "life", steps(&life));
    add("agents", "orders", steps(&orders()));
    let proof = [(17, b"\n\x08CRAM-MD5".to_vec()), (18, b"\n\x09challenge".to_vec()), (20, vec![0, 0, 1])];
    add("agents", "authentication", [&[1], &steps(&proof)[1..]].concat());

    let subscribe =
        br#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n","roles":["*"]}}}"#;
    let call: Call = json::from_json(subscribe).unwrap();
    add("api", "call-json", [&[3], &subscribe[..]].concat());
    add("api", "call-protobuf", [&[3], call.encode_to_vec().as_slice()].concat());
    let accept = br#"{"framework_id":{"value":"F"},"type":"ACCEPT","accept":{"offer_ids":[{"value":"O"}],"operations":[{"type":"LAUNCH","launch":{"task_infos":[]}}],"filters":{"refuse_seconds":5.5}}}"#;
    add("api", "accept", [&[3], &accept[..]].concat());
    let event: Event = recast(&call).unwrap_or_default();
    let heartbeat = br#"{"type":"HEARTBEAT"}"#;
    let mut stream = format!("{}\n", heartbeat.len()).into_bytes();
    stream.extend_from_slice(heartbeat);
    stream.extend_from_slice(format!("{}\n", event.encoded_len()).as_bytes());
    stream.extend_from_slice(&event.encode_to_vec());
    add("api", "stream", [&[5], stream.as_slice()].concat());
    add("api", "credentials", br#"?{"credentials":[{"principal":"a","secret":"b"}]}"#.to_vec());

    let about = Manifest {
        name: "pump",
        sequence: 7,
        publisher: [0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7],
        digest: [7; 32],
        size: 1_000,
        kind: Kind::Wasm,
        arch: Some(Arch::Thumbv7em),
        board: "nrf52840dk",
    };
    let sealed = about.seal(&[9; 64]).unwrap();
    add("images", "manifest", sealed.to_vec());
    let digits: String = sealed.iter().map(|byte| format!("{byte:02x}")).collect();
    add("images", "manifest-hex", digits.into_bytes());
    add(
        "images",
        "key",
        b"ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a".to_vec(),
    );
    add("images", "data", b"data:application/wasm,%00asm%01%00%00%00#sha256=00".to_vec());
    let digest = "93a44bbb96c751218e4c00d479e4c14358122a389acca16205b1e4d0dc5f9476";
    add("images", "data-base64", format!("data:;base64,AGFzbQEAAAA=#sha256={digest}").into_bytes());
    seeds
}
