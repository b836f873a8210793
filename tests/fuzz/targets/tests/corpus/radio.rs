//! Seeds of what comes by radio: the traffic of a node and a gateway that do what they should.

use crate::Seed;
use agent_core::Event;
use fuzz_targets::rig::{NODE, Pair, Passed, System};
use fuzz_targets::script::step;
use gateway::bridge::ToNode;
use lowpan::{Eui64, Stack, ether};
use node_coap::{Block, Code};
use node_coap::{Endpoint, Params, Request, Response, Upload};
use node_proto::*;
use sha2::Digest as _;
use std::fs;
use std::path::Path;

/// What kind of step, and its bytes.
type Step<'a> = (u8, &'a [u8]);

/// Bytes of the image that is launched.
const IMAGE: [u8; 150] = [7; 150];

/// Registration, a launch with document and image, output, a message, a kill.
pub fn traffic() -> Vec<Passed> {
    let mut system = System::new(NODE, Power::Mains);
    system.script = vec![(100, Event::Log(b"a line\n".to_vec())), (200, Event::Message(b"21500".to_vec()))];
    let mut pair = Pair::new(system, &[1], 1_800_000_000_000, 1).unwrap();
    pair.gateway.add_image(1, IMAGE.as_slice().into());
    pair.run(3_000);
    let document = Document { entry: "run", args: &[b'a'; 80], env: b"K=V\0", ..Document::default() };
    assert!(pair.order(ToNode::Launch {
        task: 2,
        image: 1,
        image_len: IMAGE.len() as u32,
        digest: sha2::Sha256::digest(IMAGE).into(),
        kind: Kind::Wasm,
        document: postcard::to_allocvec(&document).unwrap(),
        cpu_permille: 100,
        mem_bytes: 1024,
        leds: 1,
        capabilities: 1,
        max_run_s: 0,
        resume: false,
    }));
    pair.run(5_000);
    assert!(pair.order(ToNode::Message { task: 2, data: b"hello".to_vec() }));
    pair.run(2_000);
    assert!(pair.order(ToNode::Kill { task: 2, grace_ms: 500 }));
    pair.run(5_000);
    pair.passed
}

/// A message of task 2 in blocks, the second of them twice.
fn blocks(path: &str) -> Vec<Request> {
    let body = LongMessage { task: 2, seq: 1, data: &[7; 80] }.encode().unwrap();
    let mut upload = Upload::new(1);
    let mut block = || {
        let block = upload.request(path, &body, &[1]);
        upload.answered(body.len(), Code::CONTINUE, block.block1);
        block
    };
    let (first, second, third) = (block(), block(), block());
    vec![first, second.clone(), second, third]
}

fn script(steps: &[Step<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    steps.iter().for_each(|(kind, content)| step(&mut bytes, *kind, content));
    bytes
}

fn how(how: u8, steps: &[Step<'_>]) -> Vec<u8> {
    [&[how], script(steps).as_slice()].concat()
}

/// One request as an unprotected datagram.
fn datagram(request: &Request) -> Vec<u8> {
    let mut coap: Endpoint<()> = Endpoint::new(Params::default(), 5);
    coap.request((), request, 0).unwrap();
    coap.poll_transmit().unwrap().1
}

pub fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut add = |target, name: &str, bytes| seeds.push((target, name.to_owned(), bytes));
    let traffic = traffic();
    for (at, passed) in traffic.chunks(12).enumerate() {
        let frames = passed.iter().flat_map(|passed| &passed.frames);
        let steps: Vec<Step<'_>> = frames.map(|frame| (0, frame.as_slice())).collect();
        add("lowpan", &format!("traffic-{at}"), script(&steps));
        let steps: Vec<Step<'_>> = passed.iter().map(|passed| (0, passed.datagram.as_slice())).collect();
        add("coap", &format!("traffic-{at}"), script(&steps));
    }
    let mut radio = Stack::new(lowpan::Config::new(Eui64(NODE)));
    let frames = radio.encode(Eui64(fuzz_targets::rig::GATEWAY).link_local(), 5683, 5683, &[9; 300]).unwrap();
    let inside: Vec<Step<'_>> = frames.iter().map(|frame| (3, &frame[21..])).collect();
    add("lowpan", "fragments", script(&inside));
    add("lowpan", "medium", script(&[(1, &ether::wrap(&frames[0])), (2, &[0, 16]), (1, &ether::wrap(&[]))]));
    let get = datagram(&Request { observe: Some(0), ..Request::get_block("tasks", Block::at(0, 2)) });
    add(
        "coap",
        "exchange",
        script(&[(4, b"x"), (0, &get), (5, b"21500"), (3, &[0, 16]), (0, &get), (6, b"")]),
    );

    let blocks: Vec<Vec<u8>> = blocks("m/2").iter().map(datagram).collect();
    let steps: Vec<Step<'_>> = blocks.iter().map(|block| (0, block.as_slice())).collect();
    add("coap", "blocks", script(&steps));

    let line = fuzz_targets::rig::credential(NODE, &[1, 2]).to_line();
    add("oscore", "credential", line.into_bytes());
    let poll = encode(&Poll { seen: 3, power: Power::Mains, next_s: 5, news: News::Nothing }).unwrap();
    let poll = Request::post(paths::POLL, &poll);
    let plain = poll.to_plaintext();
    let block = Request::get_block("i/1", Block::at(64, 2)).to_plaintext();
    let again: &[u8] = &[4, 1];
    let option: &[u8] = &[3, 0x0a, 0x12, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7];
    add(
        "oscore",
        "requests",
        script(&[(1, &plain), (1, &block), (2, b""), (3, again), (0, option), (4, option)]),
    );

    for (name, bytes) in messages() {
        add("messages", name, bytes);
    }
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tools/task-sdk/images");
    for entry in fs::read_dir(images).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "wasm") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let with_check = if name == "sick" { 2 } else { 0 };
            add("wasm", &name, [&[with_check], fs::read(&path).unwrap().as_slice()].concat());
        }
    }
    for (name, bytes) in nodes() {
        add("node", name, bytes);
    }
    for (name, bytes) in gateways() {
        add("sessions", name, bytes);
    }
    seeds
}

fn launch() -> Launch {
    Launch {
        task: 2,
        image: 3,
        image_len: 150,
        digest: [7; 16],
        document_len: 80,
        kind: Kind::Wasm,
        cpu_permille: 100,
        mem_bytes: 4096,
        leds: 1,
        capabilities: Capabilities(0x7f),
        max_run_s: 60,
        resume: false,
    }
}

fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let inventory = System::new(NODE, Power::Battery(97)).inventory;
    let register =
        Register { version: limits::VERSION, eui64: NODE, boot: 300, epoch: 40_000, seen: 1_000, inventory };
    let poll = |news| encode(&Poll { seen: 1_000, power: Power::Battery(97), next_s: 60, news }).unwrap();
    let command = |order| encode(&Command { seq: 1_000, more: true, order }).unwrap();
    let data = |bytes: &[u8]| heapless::Vec::from_slice(bytes).unwrap();
    let status =
        |state| encode(&Status { task: 2, seq: 3, state, note: "a note".try_into().unwrap() }).unwrap();
    let check = Check { entry: "check", delay_s: 1, interval_s: 2, timeout_s: 3, grace_s: 4, failures: 5 };
    let document = Document {
        entry: "main",
        args: b"one\0two\0",
        env: b"K=V\0",
        data: b"data",
        check: Some(check),
        manifest: &[9; 99],
    };
    vec![
        ("register", encode(&register).unwrap().to_vec()),
        ("poll-idle", poll(News::Nothing).to_vec()),
        ("poll-usage", poll(News::Usage(Usage { task: 2, cpu_ms: 70_000, ..Usage::default() })).to_vec()),
        ("poll-vitals", poll(News::Vitals(Vitals { uptime_s: 70_000, ..Vitals::default() })).to_vec()),
        ("launch", command(Order::Launch(launch())).to_vec()),
        ("kill", command(Order::Kill { task: 2, grace_ms: 3_000 }).to_vec()),
        ("message-down", command(Order::Message { task: 2, data: data(b"hello") }).to_vec()),
        ("status", status(State::Exited(-1)).to_vec()),
        ("status-failed", status(State::Failed(Failure::Unhealthy)).to_vec()),
        ("message", encode(&Message { task: 2, seq: 1, data: data(b"21500") }).unwrap().to_vec()),
        ("log", encode(&Log { task: 2, offset: 300, data: data(b"a line\n") }).unwrap().to_vec()),
        ("document", postcard::to_allocvec(&document).unwrap()),
        ("fetch", command(Order::Fetch { task: 2, len: 200 }).to_vec()),
        ("message-long", LongMessage { task: 2, seq: 1, data: &[7; 100] }.encode().unwrap().to_vec()),
    ]
}

/// Scripts of [`fuzz_targets::node`].
fn nodes() -> Vec<(&'static str, Vec<u8>)> {
    let document =
        postcard::to_allocvec(&Document { entry: "run", args: &[b'a'; 80], ..Document::default() }).unwrap();
    let fields = [&[2, 0, 0, 16], document.as_slice()].concat();
    let (answer, second): (Step<'_>, Step<'_>) = ((7, b""), (0, &[0xe8, 3]));
    let mut life = vec![answer, answer, second, (9, fields.as_slice())];
    life.extend([answer, second].repeat(12));
    life.extend([(10, &[2, 0xf4, 1][..]), answer, second, answer, (11, b""), answer, second, answer]);
    let read = |path: &str, observe| Request { observe, ..Request::get_block(path, Block::at(0, 2)) };
    let (node, tasks) = (read("node", None), read("tasks", Some(0)));
    let (core, usage) = (read(".well-known/core", None), read("usage", Some(0)));
    let fetch = encode(&Command { seq: 9, more: false, order: Order::Fetch { task: 2, len: 200 } }).unwrap();
    let mut long = vec![answer, answer, second, (9, fields.as_slice())];
    long.extend([answer, second].repeat(8));
    long.push((4, &fetch));
    long.extend([answer, second].repeat(16));
    let (kill, garbage) = (messages()[5].1.clone(), [0xff; 20]);
    let inside = |request: &Request| request.to_plaintext();
    let answered = Response::new(Code::CONTENT, &kill).to_plaintext();
    let not_found = [Code::NOT_FOUND.0];
    vec![
        ("life", how(0, &life)),
        ("life-on-battery", how(2, &life)),
        ("life-in-the-laboratory", how(1, &life)),
        ("unsigned", how(4, &life)),
        (
            "read",
            how(
                0,
                &[
                    answer,
                    (3, &inside(&node)),
                    (3, &inside(&tasks)),
                    (9, &fields),
                    (0, &[0, 64]),
                    (3, &inside(&core)),
                ],
            ),
        ),
        (
            "visited",
            how(
                1,
                &[
                    answer,
                    (2, &datagram(&tasks)),
                    (9, &fields),
                    (0, &[0, 64]),
                    (18, &datagram(&usage)),
                    (2, &get(&core)),
                ],
            ),
        ),
        ("long", how(1, &long)),
        ("pushed", how(0, &[answer, (4, &kill), (4, &garbage), (8, b""), (6, &answered), (1, &garbage)])),
        (
            "refused",
            how(0, &[answer, (9, &fields), second, (5, &not_found), second, (5, &not_found), answer]),
        ),
    ]
}

fn get(request: &Request) -> Vec<u8> {
    datagram(&Request { confirmable: false, ..request.clone() })
}

/// Scripts of [`fuzz_targets::sessions`].
fn gateways() -> Vec<(&'static str, Vec<u8>)> {
    let message = |name: &str| messages().into_iter().find(|(held, _)| *held == name).unwrap().1;
    let (register, other): (Step<'_>, Step<'_>) = ((4, &[0, 0, 1, 1]), (0x84, &[1, 0, 1, 1, 9]));
    let post = |at: u8, name: &str| [&[at], message(name).as_slice()].concat();
    let (poll, usage) = (post(1, "poll-idle"), post(1, "poll-usage"));
    let (status, up, log) = (post(2, "status"), post(3, "message"), post(4, "log"));
    let launch = [&[0, 2], [5; 100].as_slice()].concat();
    let block = |path: &str, offset| Request::get_block(path, Block::at(offset, 2)).to_plaintext();
    let (image, document) = (block("i/1", 64), block("d/2", 0));
    let taken: Step<'_> = (5, &[Code::CHANGED.0]);
    let life = [
        register,
        (7, launch.as_slice()),
        taken,
        (2, &document),
        (2, &image),
        (3, &status),
        (3, &up),
        (3, &log),
        (3, &usage),
        (7, &[2, 2, 9, 9]),
        taken,
        (7, &[1, 2, 0, 1]),
        (0, &[0, 16]),
        taken,
        (10, b""),
        (3, &poll),
        (7, &[3, 2]),
    ];
    let (down, parts) = ([&[2, 2], [9; 200].as_slice()].concat(), blocks("m/2"));
    let parts: Vec<Vec<u8>> = parts.iter().map(Request::to_plaintext).collect();
    let mut long = vec![register, (7, launch.as_slice()), taken];
    long.extend(parts.iter().map(|part| (2, part.as_slice())));
    let body = [block("b/2", 0), block("b/2", 64)];
    long.extend([
        (7, down.as_slice()),
        taken,
        (2, &body[0]),
        (10, b""),
        register,
        taken,
        (2, &body[1]),
        (3, &poll),
    ]);
    let stranger = [&[3], datagram(&Request::post("r", &message("register"))).as_slice()].concat();
    let ours = traffic().into_iter().filter(|passed| passed.from_node);
    let datagrams: Vec<Vec<u8>> =
        ours.take(10).map(|passed| [&[3], passed.datagram.as_slice()].concat()).collect();
    let strangers: Vec<Step<'_>> =
        datagrams.iter().map(|bytes| (1, bytes.as_slice())).chain([(1, stranger.as_slice())]).collect();
    vec![
        ("life", how(0, &life)),
        ("life-in-the-laboratory", how(1, &life)),
        (
            "battery",
            how(0, &[other, (0x87, &launch), (0x83, &poll), (0x83, &poll), (0, &[0, 0, 9]), (0x83, &poll)]),
        ),
        ("long", how(1, &long)),
        ("keys", how(0, &[register, (9, &[6]), (3, &poll), (9, &[3]), register, (11, &[5, 6]), (3, &poll)])),
        ("strangers", how(0, &strangers)),
        ("moves", how(0, &[register, other, (11, &[2, 3]), (3, &poll), (0x8b, &[2, 2]), (0x83, &poll)])),
    ]
}
