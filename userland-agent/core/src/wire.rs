//! The agent's end of CoAP: the gateway, and visitors who read what the node tells of itself.
//!
//! With a credential everything is protected (OSCORE): what is not, or does not verify, is counted and dropped before
//! anything is remembered of it.

use crate::os::Peer;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use node_coap::{
    Block, Code, Endpoint, Event, Incoming, Method, Next, Params, Request, RequestId, Response, Sort, Upload,
};
use node_oscore::{Binding, Context};
use node_proto::limits::MESSAGE_MAX;
use node_proto::paths;

/// The answer to the request under way.
pub(crate) struct Answer {
    code: Code,
    /// Where its block begins; 0 without a block.
    pub offset: u32,
    block1: Option<Block>,
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

    /// What it means for a body of `len` bytes that is sent in blocks.
    pub fn to_upload(&self, upload: &mut Upload, len: usize) -> Next {
        upload.answered(len, self.code, self.block1)
    }

    pub fn code_text(&self) -> String {
        self.code.to_string()
    }
}

/// A request to answer.
#[derive(Debug)]
pub(crate) struct Asked {
    pub peer: Peer,
    id: RequestId,
    /// What ties the answer to it, if it came protected.
    binding: Option<Binding>,
    /// The first answer is out: those that follow are notifications.
    answered: bool,
}

impl Asked {
    /// True if the request is the one that `id` names.
    pub fn is(&self, peer: Peer, id: RequestId) -> bool {
        self.peer == peer && self.id == id
    }

    pub fn same_token(&self, other: &Self) -> bool {
        self.peer == other.peer && self.id.has_token_of(&other.id)
    }
}

pub(crate) enum WireEvent {
    Answer(Answer),
    /// The request under way came to nothing.
    Failed,
    /// The gateway pushes an order.
    Order {
        asked: Asked,
        payload: Vec<u8>,
    },
    /// Somebody reads, or asks for something else that only the gateway may.
    Read {
        asked: Asked,
        request: Request,
    },
    /// A notification was rejected or not acknowledged.
    Unwanted {
        peer: Peer,
        id: RequestId,
    },
}

/// What was dropped because it is not protected as it should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Messages without protection.
    pub unprotected: u32,
    /// Requests that were taken before.
    pub replayed: u32,
    /// Messages that do not verify.
    pub forged: u32,
}

pub(crate) struct Wire {
    coap: Endpoint<Peer>,
    oscore: Option<Context>,
    /// The request to the gateway under way, as it was before it was protected.
    sent: Option<(Request, Option<Binding>)>,
    /// The binding of the request that was taken last.
    taken: Option<Binding>,
    pub refused: Refused,
}

impl Wire {
    pub fn new(ack_timeout_ms: u32, min_timeout_ms: u32, oscore: Option<Context>, seed: u64) -> Self {
        let params = Params {
            ack_timeout_ms,
            min_timeout_ms,
            queue_per_peer: 4,
            peers_max: 1 + usize::from(Peer::VISITORS_MAX),
            ..Params::default()
        };
        let coap = Endpoint::new(params, seed);
        Self { coap, oscore, sent: None, taken: None, refused: Refused::default() }
    }

    /// The bound of own OSCORE numbers that has to be in storage before the next message goes out.
    pub fn reservation(&self) -> Option<u64> {
        self.oscore.as_ref()?.reservation()
    }

    pub fn reserved(&mut self, bound: u64) {
        if let Some(context) = &mut self.oscore {
            context.reserved(bound);
        }
    }

    /// The gateway says from which of its numbers on its requests are new.
    pub fn resume_from(&mut self, number: u64) {
        if let Some(context) = &mut self.oscore {
            context.resume_from(number);
        }
    }

    pub fn handle(&mut self, peer: Peer, bytes: &[u8], now: u64) {
        let Some(incoming) = self.coap.read(peer, bytes) else { return };
        if let Some(incoming) = self.opened(peer, incoming, now) {
            self.coap.take(peer, incoming, now);
        }
    }

    /// What is inside a message, if it may be taken.
    fn opened(&mut self, peer: Peer, incoming: Incoming, now: u64) -> Option<Incoming> {
        self.taken = None;
        let Some(context) = &mut self.oscore else { return Some(incoming) };
        match self.coap.sort(peer, &incoming) {
            Sort::Other => Some(incoming),
            Sort::Refused => {
                self.refused.unprotected = self.refused.unprotected.saturating_add(1);
                None
            }
            Sort::Request(request) => match context.open_request(request) {
                Ok(opened) if opened.is_fresh => {
                    self.taken = Some(opened.binding);
                    Some(incoming.unwrapped_request(opened.request))
                }
                Ok(opened) => {
                    let challenge = context.challenge(&opened.binding).ok()?;
                    self.coap.take(peer, incoming, now);
                    if let Some(Event::Request { id, .. }) = self.coap.poll_event() {
                        let _ = self.coap.respond(peer, id, &challenge, now); // it asks again
                    }
                    None
                }
                Err(error) => {
                    self.refused.count(error);
                    None
                }
            },
            Sort::Response(_, response) => {
                let binding = self.sent.as_ref().and_then(|(_, binding)| binding.as_ref())?;
                let inner = match context.open_response(response, binding) {
                    Ok(inner) => inner,
                    Err(error) => {
                        self.refused.count(error);
                        return None; // the true one may still come
                    }
                };
                Some(incoming.unwrapped_response(inner))
            }
        }
    }

    pub fn handle_timeout(&mut self, now: u64) {
        self.coap.handle_timeout(now);
    }

    pub fn next_timeout(&self) -> Option<u64> {
        self.coap.next_timeout()
    }

    pub fn poll_transmit(&mut self) -> Option<(Peer, Vec<u8>)> {
        self.coap.poll_transmit()
    }

    pub fn post(&mut self, path: &str, payload: &[u8], now: u64) -> bool {
        self.request(Request::post(path, payload), now)
    }

    pub fn get_block(&mut self, path: &str, offset: u32, szx: u8, now: u64) -> bool {
        self.request(Request::get_block(path, Block::at(offset, szx)), now)
    }

    pub fn request(&mut self, request: Request, now: u64) -> bool {
        let protected = match &mut self.oscore {
            None => None,
            Some(context) => match context.protect_request(&request) {
                Ok(protected) => Some(protected),
                Err(_) => return false,
            },
        };
        let (outer, binding) = match protected {
            None => (None, None),
            Some((outer, binding)) => (Some(outer), Some(binding)),
        };
        let sent = self.coap.request(Peer::Gateway, outer.as_ref().unwrap_or(&request), now).is_ok();
        self.sent = Some((request, binding));
        sent
    }

    /// Answers a request, or tells an observer what has changed since.
    pub fn answer(&mut self, asked: &mut Asked, response: &Response, now: u64) {
        let protected = match (&mut self.oscore, asked.answered) {
            (None, _) => Some(response.clone()),
            (Some(context), true) => asked
                .binding
                .as_ref()
                .and_then(|binding| context.protect_notification(response, binding).ok()),
            (Some(context), false) if response.observe.is_some() => {
                // There will be more: the request's nonce is not for any of them.
                asked
                    .binding
                    .as_ref()
                    .and_then(|binding| context.protect_notification(response, binding).ok())
            }
            (Some(context), false) => {
                asked.binding.take().map(|binding| context.protect_response(response, binding))
            }
        };
        asked.answered = true;
        if let Some(response) = protected {
            // If there is no room for the answer it is asked for again.
            let _ = self.coap.respond(asked.peer, asked.id, &response, now);
        }
    }

    /// Answers with a code alone.
    pub fn answer_code(&mut self, mut asked: Asked, code: Code, now: u64) {
        self.answer(&mut asked, &Response::new(code, &[]), now);
    }

    /// What happened.
    pub fn poll_event(&mut self, now: u64) -> Option<WireEvent> {
        loop {
            match self.coap.poll_event()? {
                Event::Response { response, .. } => {
                    let (request, _) = self.sent.take()?;
                    if response.code == Code::UNAUTHORIZED
                        && !response.echo.is_empty()
                        && request.echo.is_empty()
                    {
                        // The gateway has forgotten which requests it took, and wants to see that this one is new.
                        if self.request(Request { echo: response.echo, ..request }, now) {
                            continue;
                        }
                        return Some(WireEvent::Failed);
                    }
                    return Some(WireEvent::Answer(Answer {
                        code: response.code,
                        offset: response.block2.map_or(0, |block| block.offset() as u32),
                        block1: response.block1,
                        payload: response.payload,
                    }));
                }
                Event::Failed { .. } => return Some(WireEvent::Failed),
                Event::Undelivered { peer, id } => return Some(WireEvent::Unwanted { peer, id }),
                Event::Request { peer, id, request } => {
                    let mut asked = Asked { peer, id, binding: self.taken.take(), answered: false };
                    match (peer, request.method, request.path.as_str()) {
                        (Peer::Gateway, Method::Post, paths::COMMAND) if request.is_whole() => {
                            return Some(WireEvent::Order { asked, payload: request.payload });
                        }
                        (Peer::Gateway, Method::Post, paths::COMMAND) => {
                            self.answer(&mut asked, &Response::too_large(MESSAGE_MAX), now);
                        }
                        (_, method, paths::COMMAND) if method != Method::Get => {
                            self.answer_code(asked, Code::METHOD_NOT_ALLOWED, now);
                        }
                        _ => return Some(WireEvent::Read { asked, request }),
                    }
                }
            }
        }
    }
}

impl Refused {
    fn count(&mut self, error: node_oscore::Error) {
        let counter = match error {
            node_oscore::Error::Malformed | node_oscore::Error::OtherPeer => &mut self.unprotected,
            node_oscore::Error::Replayed => &mut self.replayed,
            node_oscore::Error::Forged | node_oscore::Error::Exhausted => &mut self.forged,
        };
        *counter = counter.saturating_add(1);
    }
}
