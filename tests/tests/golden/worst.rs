//! The longest messages there can be: every field at its largest, or as long as it may be, and the numbers of a node
//! and a gateway that have been at work for long. The cores do not get that far in a test: these are made by hand, of
//! what the cores make theirs of.

use crate::Entry;
use crate::listener::Listener;
use fuzz_targets::rig::{GATEWAY, NODE, Passed, credential};
use lowpan::{Eui64, Stack};
use node_coap::{Block, Code, Endpoint, Event, Params, Request, Response};
use node_oscore::{Binding, Context, Window};
use node_proto::limits::*;
use node_proto::paths::{self, COAP_PORT};
use node_proto::*;

/// 16 million nodes have identifiers of three bytes.
const KID: [u8; 3] = [0xff; 3];
/// 16 million messages of one node have numbers of three bytes.
const NODE_NUMBER: u64 = 0xff_ff00;
/// The gateway's begin with the clock: of four bytes until 2033.
const GATEWAY_NUMBER: u64 = 0xffff_ff00;

/// Both ends at work for long.
struct Ends {
    node: Context,
    gateway: Context,
    node_coap: Endpoint<()>,
    gateway_coap: Endpoint<()>,
    radios: [Stack; 2],
    passed: Vec<Passed>,
}

impl Ends {
    fn new() -> Self {
        let credential = credential(NODE, &KID);
        let context = |keys, next| {
            let mut context = Context::new(keys, next, Some(Window::default()), [0xee; 8]);
            context.reserved(u64::MAX);
            context
        };
        Self {
            node: context(credential.node_keys().unwrap(), NODE_NUMBER),
            gateway: context(credential.gateway_keys().unwrap(), GATEWAY_NUMBER),
            node_coap: Endpoint::new(Params::default(), 1),
            gateway_coap: Endpoint::new(Params::default(), 2),
            radios: [NODE, GATEWAY].map(|own| Stack::new(lowpan::Config::new(Eui64(own)))),
            passed: Vec::new(),
        }
    }

    fn pass(&mut self, from_node: bool) -> Vec<u8> {
        let coap = if from_node { &mut self.node_coap } else { &mut self.gateway_coap };
        let (_, datagram) = coap.poll_transmit().unwrap();
        let to = Eui64(if from_node { GATEWAY } else { NODE }).link_local();
        let radio = &mut self.radios[usize::from(!from_node)];
        let frames = radio.encode(to, COAP_PORT, COAP_PORT, &datagram).unwrap();
        self.passed.push(Passed { at_ms: 0, from_node, datagram: datagram.clone(), frames });
        datagram
    }

    /// One end asks, the other one answers.
    fn exchange(&mut self, from_node: bool, request: &Request, response: &Response) {
        let (asks, answers) = match from_node {
            true => (&mut self.node, &mut self.gateway),
            false => (&mut self.gateway, &mut self.node),
        };
        let (outer, _): (_, Binding) = asks.protect_request(request).unwrap();
        let opened = answers.open_request(&outer).unwrap();
        let protected = match response.echo.is_empty() {
            true => answers.protect_response(response, opened.binding),
            false => answers.challenge(&opened.binding).unwrap(),
        };
        let coap = if from_node { &mut self.node_coap } else { &mut self.gateway_coap };
        coap.request((), &outer, 0).unwrap();
        let datagram = self.pass(from_node);
        let coap = if from_node { &mut self.gateway_coap } else { &mut self.node_coap };
        coap.handle((), &datagram, 0);
        let Some(Event::Request { id, .. }) = coap.poll_event() else { panic!("no request") };
        coap.respond((), id, &protected, 0).unwrap();
        let datagram = self.pass(!from_node);
        let coap = if from_node { &mut self.node_coap } else { &mut self.gateway_coap };
        coap.handle((), &datagram, 0);
        assert!(matches!(coap.poll_event(), Some(Event::Response { .. })));
    }
}

fn post(path: &str, message: &impl serde::Serialize) -> Request {
    let payload = encode(message).unwrap();
    assert!(payload.len() <= UPLINK_MAX || path == paths::COMMAND, "{path}: {}", payload.len());
    Request::post(path, &payload)
}

fn command(order: Order) -> Vec<u8> {
    encode(&Command { seq: u32::MAX, more: true, order }).unwrap().to_vec()
}

/// An image's last block but one, as far as blocks go: what is asked for and what comes.
fn block(path: &str, tag: &[u8], last: u32) -> (Request, Response) {
    let block = Block { num: last, more: false, szx: 2 };
    let answer = Response {
        block2: Some(Block { more: true, ..block }),
        etag: tag.into(),
        ..Response::new(Code::CONTENT, &[0xbb; 64])
    };
    (Request::get_block(path, block), answer)
}

pub fn largest() -> Vec<Entry> {
    let power = Power::Battery(u8::MAX);
    let inventory = Inventory {
        cpu_permille: u16::MAX,
        mem_bytes: u32::MAX,
        flash_bytes: u32::MAX,
        sensors: u8::MAX,
        leds: u8::MAX,
        power,
        arch: Arch::Riscv32imac,
        runtimes: Runtimes(u8::MAX),
        block_szx: u8::MAX,
        board: "fourteen bytes".try_into().unwrap(),
    };
    let (boot, epoch, seen) = (u32::MAX, u16::MAX, u32::MAX);
    let register =
        post(paths::REGISTER, &Register { version: VERSION, eui64: [0xff; 8], boot, epoch, seen, inventory });
    let (lease_s, poll_s, done, fresh, number) = (u16::MAX, u16::MAX, u32::MAX, true, u64::MAX);
    let registered = encode(&Registered { lease_s, poll_s, done, fresh, number }).unwrap();
    let poll = |news| post(paths::POLL, &Poll { seen, power, next_s: u16::MAX, news });
    let usage = Usage {
        task: u16::MAX,
        cpu_ms: u32::MAX,
        granted_ms: u32::MAX,
        mem_bytes: u32::MAX,
        mem_peak_bytes: u32::MAX,
        received: u32::MAX,
        messages: u32::MAX,
        log_bytes: u32::MAX,
        radio_bytes: u32::MAX,
    };
    let vitals = Vitals {
        uptime_s: u32::MAX,
        frames_out: u32::MAX,
        bytes_out: u32::MAX,
        frames_in: u32::MAX,
        bytes_in: u32::MAX,
        listened_ms: u64::MAX,
        cpu_ms: u64::MAX,
    };
    let launch = command(Order::Launch(Launch {
        task: u16::MAX,
        image: u16::MAX,
        image_len: u32::MAX,
        digest: [0xff; 16],
        document_len: u16::MAX,
        kind: Kind::Native,
        cpu_permille: u16::MAX,
        mem_bytes: u32::MAX,
        leds: u8::MAX,
        capabilities: Capabilities(u16::MAX),
        max_run_s: u32::MAX,
        resume: true,
    }));
    let kill = command(Order::Kill { task: u16::MAX, grace_ms: u32::MAX });
    let data = heapless::Vec::from_slice(&[0xdd; MESSAGE_DATA_MAX]).unwrap();
    let down = command(Order::Message { task: u16::MAX, data: data.clone() });
    let note = "a note of thirty-two characters.".try_into().unwrap();
    let status = Status { task: u16::MAX, seq: u16::MAX, state: State::Exited(i32::MIN), note };
    let message = Message { task: u16::MAX, seq: u32::MAX, data };
    let log = heapless::Vec::from_slice(&[0xaa; LOG_DATA_MAX]).unwrap();
    let log = Log { task: u16::MAX, offset: u32::MAX, data: log };
    let (image, document) = (
        block("i/65535", &[0xff; 2], IMAGE_MAX / 64 - 1),
        block("d/65535", &[], DOCUMENT_MAX as u32 / 64 - 1),
    );

    let done = Response::new(Code::CHANGED, &[]);
    let content = |payload: &[u8]| Response::new(Code::CONTENT, payload);
    let challenge = Response { echo: vec![0xee; 8], ..Response::new(Code::UNAUTHORIZED, &[]) };
    let push = |payload: &[u8]| Request::post(paths::COMMAND, payload);
    let fetch = command(Order::Fetch { task: u16::MAX, len: u16::MAX });
    let body = block("b/4294967295", &[], MESSAGE_LONG_MAX as u32 / 64 - 1);
    let part = |num, more| {
        let block1 = Some(Block { num, more, szx: MESSAGE_BLOCK_SZX });
        let size1 = (num == 0).then_some(MESSAGE_BODY_MAX as u32);
        Request {
            block1,
            size1,
            tag: vec![0xff],
            ..Request::post("m/65535", &[0xdd; 16 << MESSAGE_BLOCK_SZX])
        }
    };
    let goes_on = Response { block1: part(0, true).block1, ..Response::new(Code::CONTINUE, &[]) };
    let mut ends = Ends::new();
    for (from_node, request, response) in [
        (true, register.clone(), challenge.clone()),
        (true, Request { echo: vec![0xee; 8], ..register }, Response::new(Code::CREATED, &registered)),
        (true, poll(News::Nothing), done.clone()),
        (true, poll(News::Usage(usage)), content(&launch)),
        (true, poll(News::Vitals(vitals)), content(&down)),
        (true, poll(News::Nothing), content(&kill)),
        (true, post(paths::STATUS, &status), done.clone()),
        (true, post(paths::MESSAGE, &message), done.clone()),
        (true, post(paths::LOG, &log), done.clone()),
        (true, document.0, document.1),
        (true, image.0, image.1),
        (false, push(&launch), done.clone()),
        (false, push(&kill), done.clone()),
        (false, push(&down), challenge),
        (true, part(0, true), goes_on),
        (true, part(16, false), done.clone()),
        (true, poll(News::Nothing), content(&fetch)),
        (false, push(&fetch), done),
        (true, body.0, body.1),
    ] {
        ends.exchange(from_node, &request, &response);
    }
    Listener::new(&credential(NODE, &KID)).all(&ends.passed)
}
