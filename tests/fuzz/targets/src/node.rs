//! A whole node, whose gateway and whose visitors are strangers. The gateway has the node's key all the same: what is
//! behind the key is to be survived too.

use crate::rig::{MemoryOs, NODE, System, credential};
use crate::script::{Script, first, number};
use agent_core::{Agent, Config, Event as TaskEvent, Link, Peer};
use node_coap::message::DATAGRAM_MAX;
use node_coap::{Block, Code, Endpoint, Event, Method, Params, Request, RequestId, Response};
use node_coap::{Sort, serve_block};
use node_oscore::{Binding, Context, Error, Window};
use node_proto::limits::TASKS_MAX;
use node_proto::{
    Capabilities, Command, Failure, Kind, Launch, Order, Power, Registered, TaskHandle, encode, paths,
};
use sha2::Digest as _;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Handle of the one image that there is.
const IMAGE: u16 = 3;
/// How long the image is, bytes: more than one block.
const IMAGE_LEN: usize = 150;

/// How long the messages are that the node is told to fetch, bytes, if it is told the truth.
const BODY_LEN: usize = 200;

/// The gateway as the fuzzer drives it.
struct Gateway {
    coap: Endpoint<()>,
    oscore: Option<Context>,
    asked: Option<(RequestId, Request, Option<Binding>)>,
    /// What the node is to find behind `/d/N`.
    documents: BTreeMap<TaskHandle, Vec<u8>>,
    seq: u32,
    last: Vec<u8>,
}

impl Gateway {
    fn new(secure: bool) -> Self {
        let keys = secure.then(|| credential(NODE, &[1]).gateway_keys()).flatten();
        let context = |keys| {
            let mut context = Context::new(keys, 100, Some(Window::default()), [9; 8]);
            context.reserved(1 << 30);
            context
        };
        Self {
            coap: Endpoint::new(Params::default(), 3),
            oscore: keys.map(context),
            asked: None,
            documents: BTreeMap::new(),
            seq: 0,
            last: Vec::new(),
        }
    }

    /// Takes a datagram of the node's.
    fn take(&mut self, bytes: &[u8], now: u64) {
        let Some(mut incoming) = self.coap.read((), bytes) else { return };
        let mut binding = None;
        if let (Some(context), Sort::Request(request)) = (&mut self.oscore, self.coap.sort((), &incoming)) {
            let opened = match context.open_request(request) {
                Ok(opened) => opened,
                Err(Error::Replayed) => return, // sent again after so long that its message id was forgotten
                Err(error) => panic!("what the node sends is well protected: {error:?}"),
            };
            binding = Some(opened.binding);
            incoming = incoming.unwrapped_request(opened.request);
        }
        self.coap.take((), incoming, now);
        while let Some(event) = self.coap.poll_event() {
            if let Event::Request { id, request, .. } = event {
                self.asked = Some((id, request, binding.take()));
            }
        }
    }

    /// Sends the node a request.
    fn ask(&mut self, request: &Request, now: u64) {
        self.coap.cancel(());
        let outer = match &mut self.oscore {
            None => request.clone(),
            Some(context) => match context.protect_request(request) {
                Ok((outer, _)) => outer,
                Err(_) => return,
            },
        };
        let _ = self.coap.request((), &outer, now);
    }

    /// Answers what the node asked last.
    fn answer(&mut self, response: &Response, now: u64) {
        let Some((id, _, binding)) = self.asked.take() else { return };
        let outer = match (&self.oscore, binding) {
            (Some(context), Some(binding)) => context.protect_response(response, binding),
            _ => response.clone(),
        };
        let _ = self.coap.respond((), id, &outer, now);
    }

    /// What a gateway that is as it should be would answer.
    fn true_answer(&self) -> Option<Response> {
        let (_, request, _) = self.asked.as_ref()?;
        let (name, rest) = request.path.split_once('/').unwrap_or((&request.path, ""));
        let registered = Registered { lease_s: 60, poll_s: 5, done: self.seq, fresh: false, number: 100 };
        let handle = rest.parse::<u16>().unwrap_or_default();
        Some(match (request.method, name) {
            (Method::Post, paths::REGISTER) => {
                Response::new(Code::CREATED, &encode(&registered).unwrap_or_default())
            }
            (Method::Get, paths::IMAGE) if handle == IMAGE => serve_block(&image(), &[1], request.block2),
            (Method::Get, paths::DOCUMENT) => match self.documents.get(&handle) {
                Some(document) => serve_block(document, &[], request.block2),
                None => Response::new(Code::NOT_FOUND, &[]),
            },
            (Method::Get, paths::BODY) => serve_block(&[7; BODY_LEN], &[], request.block2),
            (Method::Get, _) => Response::new(Code::NOT_FOUND, &[]),
            (Method::Post, paths::MESSAGE) if request.block1.is_some_and(|block| block.more) => {
                Response { block1: request.block1, ..Response::new(Code::CONTINUE, &[]) }
            }
            _ => Response::new(Code::CHANGED, &[]),
        })
    }

    /// An order to run the image, as far as `bytes` do not say otherwise.
    fn launch(&mut self, bytes: &[u8]) -> Request {
        let field = |at: usize| bytes.get(at).copied().unwrap_or_default();
        let task = TaskHandle::from(field(0) % 12);
        let document = bytes.get(4..).unwrap_or_default().to_vec();
        let mut digest = [0; 16];
        digest.copy_from_slice(&sha2::Sha256::digest(image())[..16]);
        digest[15] ^= u8::from(field(1) == 255);
        let launch = Launch {
            task,
            image: if field(1) == 254 { 9 } else { IMAGE },
            image_len: IMAGE_LEN as u32 + u32::from(field(2) == 255),
            digest,
            document_len: document.len() as u16,
            kind: if field(2) == 254 { Kind::Native } else { Kind::Wasm },
            cpu_permille: 100,
            mem_bytes: u32::from(field(3)) << 8,
            leds: field(3) % 3,
            capabilities: Capabilities(0x7f),
            max_run_s: u32::from(field(2) % 4),
            resume: false,
        };
        self.documents.insert(task, document);
        self.order(Order::Launch(launch))
    }

    fn order(&mut self, order: Order) -> Request {
        self.seq = self.seq.saturating_add(1);
        let command = Command { seq: self.seq, more: false, order };
        Request::post(paths::COMMAND, &encode(&command).unwrap_or_default())
    }
}

fn image() -> Vec<u8> {
    (0..IMAGE_LEN).map(|at| at as u8).collect()
}

fn boot(system: &Rc<RefCell<System>>, how: u8, seed: u64) -> Agent<MemoryOs> {
    system.borrow_mut().power_cycle();
    let credential = (how & 1 == 0).then(|| credential(NODE, &[1]));
    let publishers = (how & 4 != 0).then_some([7; 32]).into_iter().collect();
    let config = Config { credential, publishers, ..Config::default() };
    Agent::new(MemoryOs(system.clone()), config, seed).expect("storage does not fail")
}

/// What passes between the two until nothing does.
fn settle(node: &mut Agent<MemoryOs>, gateway: &mut Gateway) {
    for _ in 0..8 {
        let now = node.os().0.borrow().now;
        let due = node.step();
        assert!(node.tasks() <= TASKS_MAX);
        let sent = std::mem::take(&mut node.os().0.borrow_mut().sent);
        for (peer, bytes) in &sent {
            assert!(bytes.len() <= DATAGRAM_MAX);
            if *peer == Peer::Gateway {
                gateway.take(bytes, now);
            }
        }
        let mut came = false;
        while let Some((_, bytes)) = gateway.coap.poll_transmit() {
            came = true;
            node.datagram(Peer::Gateway, &bytes);
            gateway.last = bytes;
        }
        if !came && sent.is_empty() && due > now {
            return;
        }
    }
}

/// A node from its start on.
pub fn node(data: &[u8]) {
    let (how, script) = first(data);
    let power = if how & 2 == 0 { Power::Mains } else { Power::Battery(50) };
    let mut system = System::new(NODE, power);
    system.script = vec![
        (100, TaskEvent::Message(vec![1; 48])),
        (200, TaskEvent::Log(vec![2; 48])),
        (250, TaskEvent::Message((0..100).collect())),
        (300, TaskEvent::Health(false)),
        (400, TaskEvent::Checked(7)),
        (3_000, TaskEvent::Failed(Failure::Trap, "it came to an unreachable, and says so at length".into())),
    ];
    let system = Rc::new(RefCell::new(system));
    let mut node = boot(&system, how, 11);
    let mut gateway = Gateway::new(how & 1 == 0);
    for (step, bytes) in Script(script).take(64) {
        let now = system.borrow().now;
        let (code, payload) = first(bytes);
        match step % 12 {
            0 => system.borrow_mut().now += u64::from(number(bytes)) % 3_600_000,
            1 => node.datagram(Peer::Gateway, bytes),
            2 => node.datagram(Peer::Visitor((step >> 4) % Peer::VISITORS_MAX), bytes),
            3 => match Request::from_plaintext(bytes) {
                Some(inner) => gateway.ask(&Request { confirmable: step & 16 == 0, ..inner }, now),
                None => {
                    gateway.ask(&Request { block2: Some(Block::at(0, 2)), ..Request::post("c", bytes) }, now)
                }
            },
            4 => gateway.ask(&Request::post(paths::COMMAND, bytes), now),
            5 => gateway.answer(&Response::new(Code(code), payload), now),
            6 => {
                if let Some(response) = Response::from_plaintext(bytes) {
                    gateway.answer(&response, now);
                }
            }
            7 => {
                if let Some(response) = gateway.true_answer() {
                    gateway.answer(&response, now);
                }
            }
            8 => node.datagram(Peer::Gateway, &gateway.last.clone()),
            9 => {
                let launch = gateway.launch(bytes);
                gateway.ask(&launch, now);
            }
            10 => {
                let grace_ms = number(payload) % 10_000;
                let kill = gateway.order(Order::Kill { task: TaskHandle::from(code % 12), grace_ms });
                gateway.ask(&kill, now);
            }
            _ => {
                node = boot(&system, how, 11 + now);
                gateway.asked = None;
            }
        }
        settle(&mut node, &mut gateway);
    }
    comes_back(&mut node, &mut gateway);
}

/// Whatever was said to it: a gateway that is as it should be has the node registered within the hour.
fn comes_back(node: &mut Agent<MemoryOs>, gateway: &mut Gateway) {
    let system = node.os().0.clone();
    let end = system.borrow().now + 3_600_000;
    loop {
        settle(node, gateway);
        let now = system.borrow().now;
        if let Some(response) = gateway.true_answer() {
            gateway.answer(&response, now);
            settle(node, gateway);
        }
        if matches!(node.link(), Link::Up { .. }) {
            return;
        }
        assert!(now < end, "the node does not come back");
        let due = node.step();
        gateway.coap.handle_timeout(now);
        system.borrow_mut().now = due.clamp(now + 1, now + 60_000);
    }
}
