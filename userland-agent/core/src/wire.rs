//! The agent's end of CoAP: one peer, the gateway.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use node_coap::{Block, Code, Endpoint, Event, Method, Params, Request, RequestId, Response};
use node_proto::paths;

/// There is one gateway.
const GATEWAY: () = ();

/// The answer to the request under way.
pub(crate) struct Answer {
    code: Code,
    /// Where its block begins; 0 without a block.
    pub offset: u32,
    pub payload: Vec<u8>,
}

impl Answer {
    pub fn is_success(&self) -> bool {
        self.code.is_success()
    }

    pub fn has_content(&self) -> bool {
        self.code == Code::CONTENT
    }

    pub fn is_unauthorized(&self) -> bool {
        self.code == Code::UNAUTHORIZED
    }

    /// 5.03: the gateway has not got it yet.
    pub fn is_unavailable(&self) -> bool {
        self.code == Code::UNAVAILABLE
    }

    pub fn is_not_found(&self) -> bool {
        self.code == Code::NOT_FOUND
    }

    pub fn code_text(&self) -> String {
        self.code.to_string()
    }
}

pub(crate) enum WireEvent {
    Answer(Answer),
    /// The request under way came to nothing.
    Failed,
    /// The gateway pushes an order.
    Order {
        request: RequestId,
        payload: Vec<u8>,
    },
}

pub(crate) struct Wire {
    coap: Endpoint<()>,
}

impl Wire {
    pub fn new(ack_timeout_ms: u32, min_timeout_ms: u32, seed: u64) -> Self {
        let params =
            Params { ack_timeout_ms, min_timeout_ms, queue_per_peer: 4, peers_max: 1, ..Params::default() };
        Self { coap: Endpoint::new(params, seed) }
    }

    pub fn handle(&mut self, bytes: &[u8], now: u64) {
        self.coap.handle(GATEWAY, bytes, now);
    }

    pub fn handle_timeout(&mut self, now: u64) {
        self.coap.handle_timeout(now);
    }

    pub fn next_timeout(&self) -> Option<u64> {
        self.coap.next_timeout()
    }

    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.coap.poll_transmit().map(|(_, bytes)| bytes)
    }

    pub fn post(&mut self, path: &str, payload: &[u8], now: u64) -> bool {
        self.coap.request(GATEWAY, &Request::post(path, payload), now).is_ok()
    }

    pub fn get_block(&mut self, path: &str, offset: u32, szx: u8, now: u64) -> bool {
        self.coap.request(GATEWAY, &Request::get_block(path, Block::at(offset, szx)), now).is_ok()
    }

    /// Answers an order of the gateway's.
    pub fn answer(&mut self, request: RequestId, code: Code, now: u64) {
        // If there is no room for the answer the gateway asks again.
        let _ = self.coap.respond(GATEWAY, request, &Response::new(code, &[]), now);
    }

    /// What happened. Requests other than for the command resource are answered here.
    pub fn poll_event(&mut self, now: u64) -> Option<WireEvent> {
        loop {
            match self.coap.poll_event()? {
                Event::Response { response, .. } => {
                    return Some(WireEvent::Answer(Answer {
                        code: response.code,
                        offset: response.block2.map_or(0, |block| block.offset() as u32),
                        payload: response.payload,
                    }));
                }
                Event::Failed { .. } => return Some(WireEvent::Failed),
                Event::Request { id, request, .. } => match (request.method, request.path.as_str()) {
                    (Method::Post, paths::COMMAND) => {
                        return Some(WireEvent::Order { request: id, payload: request.payload });
                    }
                    (_, paths::COMMAND) => self.answer(id, Code::METHOD_NOT_ALLOWED, now),
                    _ => self.answer(id, Code::NOT_FOUND, now),
                },
            }
        }
    }
}
