//! Somebody who has the node's key and listens: says what each datagram is.

use crate::Entry;
use fuzz_targets::rig::Passed;
use node_coap::{Code, Method, Request, Response};
use node_oscore::{Binding, Context, Credential, Window};
use node_proto::{Command, News, Order, Poll, Status, decode, paths};

/// What is outstanding at one end: what ties the answer to the request.
pub struct Listener {
    /// What the node sends is opened by this, and what it is sent by the other.
    gateway: Context,
    node: Context,
    /// Of the node's request, and of the gateway's.
    bindings: [Option<Binding>; 2],
}

impl Listener {
    pub fn new(credential: &Credential) -> Self {
        let context = |keys| Context::new(keys, 0, Some(Window::default()), [0; 8]);
        Self {
            gateway: context(credential.gateway_keys().unwrap()),
            node: context(credential.node_keys().unwrap()),
            bindings: [None, None],
        }
    }

    /// Says what all of these are, one after the other.
    pub fn all(&mut self, passed: &[Passed]) -> Vec<Entry> {
        passed.iter().map(|passed| Entry { what: self.one(passed), passed: passed.clone() }).collect()
    }

    fn one(&mut self, passed: &Passed) -> String {
        let datagram = &passed.datagram;
        let who = if passed.from_node { "node" } else { "gateway" };
        let token = usize::from(datagram[0] & 15);
        // What OSCORE has inside looks like a datagram without type, message id and token.
        let text = [&datagram[1..2], &datagram[4 + token..]].concat();
        let what = match (datagram[1] >> 5, datagram[0] >> 4 & 3) {
            (0, 2) if datagram.len() == 4 => "acknowledgement, empty".into(),
            (0, 3) if datagram.len() == 4 => "reset, empty".into(),
            (0, _) => {
                let outer = Request::from_plaintext(&text).unwrap();
                let context = if passed.from_node { &mut self.gateway } else { &mut self.node };
                let opened = context.open_request(&outer).unwrap();
                self.bindings[usize::from(!passed.from_node)] = Some(opened.binding);
                request(&opened.request)
            }
            _ => {
                let outer = Response::from_plaintext(&text).unwrap();
                let context = if passed.from_node { &self.gateway } else { &self.node };
                let binding = self.bindings[usize::from(passed.from_node)].as_ref().unwrap();
                response(&context.open_response(&outer, binding).unwrap())
            }
        };
        format!("{who}: {what}")
    }
}

fn request(request: &Request) -> String {
    let method = if request.method == Method::Get { "GET" } else { "POST" };
    let inside = match request.path.as_str() {
        paths::REGISTER => "register".into(),
        paths::POLL => match decode::<Poll>(&request.payload).unwrap().news {
            News::Nothing => "poll, nothing".into(),
            News::Usage(_) => "poll, usage".into(),
            News::Vitals(_) => "poll, vitals".into(),
        },
        paths::STATUS => format!("status {:?}", decode::<Status>(&request.payload).unwrap().state),
        paths::MESSAGE => "message".into(),
        paths::LOG => "log".into(),
        paths::COMMAND => order(&request.payload),
        _ => {
            let block = request.block1.or(request.block2).unwrap();
            format!("block {} of {}", block.num, block.size())
        }
    };
    let echo = if request.echo.is_empty() { "" } else { ", echo" };
    format!("{method} {}, {inside}{echo}; message of {} bytes", request.path, request.payload.len())
}

fn order(payload: &[u8]) -> String {
    match decode::<Command>(payload).unwrap().order {
        Order::Launch(_) => "launch".into(),
        Order::Kill { grace_ms, .. } => format!("kill with {grace_ms} ms"),
        Order::Message { .. } => "message".into(),
        Order::Fetch { len, .. } => format!("fetch {len} bytes"),
    }
}

fn response(response: &Response) -> String {
    let inside = match response.code {
        Code::UNAUTHORIZED if !response.echo.is_empty() => ", challenge".into(),
        Code::CREATED => ", registered".into(),
        Code::CONTENT => match response.block2 {
            Some(block) => format!(", block {} of {}", block.num, block.size()),
            None => format!(", {}", order(&response.payload)),
        },
        _ => match response.block1 {
            Some(block) => format!(", block {} of {}", block.num, block.size()),
            None => String::new(),
        },
    };
    format!("{}{inside}; message of {} bytes", response.code, response.payload.len())
}
