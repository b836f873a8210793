//! A gateway that does what the protocol asks and remembers what it was told.

use node_coap::{
    Assembler, Code, Endpoint, Event, Limits, Method, Params, Request, RequestId, Response, Taken,
    serve_block,
};
use node_proto::limits::MESSAGE_BODY_MAX;
use node_proto::{
    Command, Log, LongMessage, Message, Order, Poll, Register, Registered, State, Status, TaskHandle, decode,
    encode, paths,
};
use std::collections::{BTreeMap, VecDeque};

/// What was told, in the order in which it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Status(Status),
    Message(Message),
    /// A message that came in blocks: its number, and its bytes.
    Long(u32, Vec<u8>),
    Log(Log),
}

pub struct Gateway {
    pub coap: Endpoint<()>,
    pub registered: bool,
    /// The store was lost: the next registration is the first.
    pub fresh: bool,
    pub last_seq: u32,
    pub done: u32,
    pub mailbox: VecDeque<(u32, Order)>,
    pub images: BTreeMap<u16, Vec<u8>>,
    pub documents: BTreeMap<TaskHandle, Vec<u8>>,
    /// Messages of tasks of which not all blocks are here.
    pub uploads: Assembler<TaskHandle>,
    /// What a block of a message is answered with instead of being taken.
    pub refuse_blocks: Option<Response>,
    /// Blocks of messages that came, their sizes.
    pub blocks: Vec<usize>,
    /// What commands are about, and blocks of it that were served.
    pub bodies: BTreeMap<u32, Vec<u8>>,
    pub served_bodies: usize,
    /// What a status is answered with instead of being taken.
    pub refuse_statuses: Option<Code>,
    pub refused_statuses: usize,
    pub statuses: Vec<Status>,
    pub told: Vec<Told>,
    pub registrations: Vec<Register>,
    pub polls: u64,
    /// Offsets of image blocks served, and their bytes together.
    pub served: Vec<u64>,
    pub served_bytes: usize,
    /// Answers to pushed orders.
    pub push_answers: Vec<Code>,
}

impl Gateway {
    pub fn new(seed: u64) -> Self {
        Self {
            coap: Endpoint::new(Params::default(), seed),
            registered: false,
            fresh: true,
            last_seq: 0,
            done: 0,
            mailbox: VecDeque::new(),
            images: BTreeMap::new(),
            documents: BTreeMap::new(),
            uploads: Assembler::new(Limits {
                body_max: MESSAGE_BODY_MAX,
                bodies_max: 8,
                lifetime_ms: Limits::EXCHANGE_LIFETIME_MS,
                szx_max: 6,
            }),
            refuse_blocks: None,
            blocks: Vec::new(),
            bodies: BTreeMap::new(),
            served_bodies: 0,
            refuse_statuses: None,
            refused_statuses: 0,
            statuses: Vec::new(),
            told: Vec::new(),
            registrations: Vec::new(),
            polls: 0,
            served: Vec::new(),
            served_bytes: 0,
            push_answers: Vec::new(),
        }
    }

    /// Puts an order in the mailbox.
    pub fn order(&mut self, order: Order) {
        self.last_seq += 1;
        self.mailbox.push_back((self.last_seq, order));
    }

    /// Puts an order in the mailbox that says to fetch this.
    pub fn order_long(&mut self, task: TaskHandle, data: &[u8]) {
        self.order(Order::Fetch { task, len: data.len() as u16 });
        self.bodies.insert(self.last_seq, data.to_vec());
    }

    /// Sends an order at once, whether or not it was sent before.
    pub fn push(&mut self, seq: u32, order: Order, now: u64) {
        let payload = encode(&Command { seq, more: false, order }).unwrap();
        self.coap.request((), &Request::post(paths::COMMAND, &payload), now).unwrap();
    }

    pub fn states(&self, task: TaskHandle) -> Vec<State> {
        self.statuses.iter().filter(|status| status.task == task).map(|status| status.state).collect()
    }

    pub fn step(&mut self, now: u64) -> Vec<Vec<u8>> {
        self.coap.handle_timeout(now);
        while let Some(event) = self.coap.poll_event() {
            match event {
                Event::Request { id, request, .. } => self.request(id, &request, now),
                Event::Response { response, .. } => self.push_answers.push(response.code),
                Event::Failed { .. } | Event::Undelivered { .. } => {}
            }
        }
        std::iter::from_fn(|| self.coap.poll_transmit()).map(|(_, bytes)| bytes).collect()
    }

    fn request(&mut self, id: RequestId, request: &Request, now: u64) {
        let response = match (request.method, request.path.as_str()) {
            (Method::Post, paths::REGISTER) => self.register(&request.payload),
            _ if !self.registered => Response::new(Code::UNAUTHORIZED, &[]),
            (Method::Post, paths::POLL) => self.poll(&request.payload),
            (Method::Post, paths::STATUS) => self.status(decode(&request.payload).unwrap()),
            (Method::Post, paths::MESSAGE) => self.tell(Told::Message(decode(&request.payload).unwrap())),
            (Method::Post, paths::LOG) => self.tell(Told::Log(decode(&request.payload).unwrap())),
            (Method::Post, path) if path.starts_with("m/") => self.block(path, request, now),
            (Method::Get, path) => self.content(path, request),
            _ => Response::new(Code::NOT_FOUND, &[]),
        };
        let _ = self.coap.respond((), id, &response, now);
    }

    fn register(&mut self, payload: &[u8]) -> Response {
        let register: Register = decode(payload).unwrap();
        let fresh = std::mem::take(&mut self.fresh);
        if !fresh {
            self.confirm(register.seen);
        }
        self.registered = true;
        self.registrations.push(register);
        let answer = Registered { lease_s: 60, poll_s: 5, done: self.done, fresh, number: 0 };
        Response::new(Code::CHANGED, &encode(&answer).unwrap())
    }

    fn confirm(&mut self, seen: u32) {
        self.done = self.done.max(seen.min(self.last_seq));
        self.mailbox.retain(|(seq, _)| *seq > seen);
    }

    fn poll(&mut self, payload: &[u8]) -> Response {
        let poll: Poll = decode(payload).unwrap();
        self.polls += 1;
        self.confirm(poll.seen);
        match self.mailbox.front() {
            None => Response::new(Code::CHANGED, &[]),
            Some((seq, order)) => {
                let command = Command { seq: *seq, more: self.mailbox.len() > 1, order: order.clone() };
                Response::new(Code::CONTENT, &encode(&command).unwrap())
            }
        }
    }

    fn status(&mut self, status: Status) -> Response {
        if let Some(code) = self.refuse_statuses {
            self.refused_statuses += 1;
            return Response::new(code, &[]);
        }
        let known = self.statuses.iter().filter(|held| held.task == status.task).map(|held| held.seq).max();
        if known.is_none_or(|known| status.seq > known) {
            self.statuses.push(status.clone());
            self.told.push(Told::Status(status));
        }
        Response::new(Code::CHANGED, &[])
    }

    fn tell(&mut self, told: Told) -> Response {
        if !self.told.contains(&told) {
            self.told.push(told);
        }
        Response::new(Code::CHANGED, &[])
    }

    fn block(&mut self, path: &str, request: &Request, now: u64) -> Response {
        self.blocks.push(request.payload.len());
        if let Some(refusal) = &self.refuse_blocks {
            return refusal.clone();
        }
        let task: TaskHandle = path[2..].parse().unwrap();
        match self.uploads.take(task, request, now) {
            Taken::Answer(response) => response,
            Taken::Again => Response::new(Code::CHANGED, &[]),
            Taken::Whole(body) => {
                let message = LongMessage::decode(&body).unwrap();
                assert_eq!(message.task, task);
                self.tell(Told::Long(message.seq, message.data.to_vec()))
            }
        }
    }

    fn content(&mut self, path: &str, request: &Request) -> Response {
        let (kind, id) = path.split_once('/').unwrap();
        if kind == paths::BODY {
            self.served_bodies += 1;
            let body = self.bodies.get(&id.parse().unwrap());
            return body
                .map_or(Response::new(Code::NOT_FOUND, &[]), |body| serve_block(body, &[], request.block2));
        }
        let id: u16 = id.parse().unwrap();
        let content = if kind == paths::IMAGE { self.images.get(&id) } else { self.documents.get(&id) };
        let Some(content) = content else { return Response::new(Code::NOT_FOUND, &[]) };
        let response = serve_block(content, &[1], request.block2);
        if kind == paths::IMAGE {
            self.served.extend(response.block2.map(|block| block.offset()));
            self.served_bytes += response.payload.len();
        }
        response
    }
}
