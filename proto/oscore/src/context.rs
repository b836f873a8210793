//! The security context of one pair: what is protected, what is taken, and with which numbers (RFC 8613 §8).

use crate::keys::{Id, Keys, Piv};
use crate::option::OscoreOption;
use crate::window::Window;
use alloc::vec::Vec;
use node_coap::{Code, Method, Request, Response};

/// Numbers that are set aside with one write to storage. As many may be skipped by a restart.
const SLACK: u64 = 256;
/// When so few are left it is time for more: what one step of an agent may need.
const MARGIN: u64 = 16;

/// Why a message was not protected or not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no OSCORE option, or it is malformed.
    Malformed,
    /// It names another sender than this context's.
    OtherPeer,
    /// Its number was taken before, or is too old to tell.
    Replayed,
    /// It does not verify, or what is inside is not CoAP.
    Forged,
    /// All 2^40 numbers are used, or those set aside are: see [`Context::reservation`].
    Exhausted,
}

/// Ties a response to its request. Used up by the response that shares the request's nonce.
#[derive(Debug, PartialEq, Eq)]
pub struct Binding {
    kid: Id,
    piv: Piv,
}

impl Binding {
    fn ids(&self) -> (Id, Piv) {
        (self.kid, self.piv)
    }
}

/// A request that was verified.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    /// What was inside.
    pub request: Request,
    /// For its response.
    pub binding: Binding,
    /// False while it is not known whether it is a repetition: it is to be answered by [`Context::challenge`] and
    /// nothing else.
    pub is_fresh: bool,
}

/// The security context of one end.
#[derive(Debug)]
pub struct Context {
    keys: Keys,
    /// Next own number.
    next: u64,
    /// Numbers below this are set aside in storage.
    saved: u64,
    /// `None` if it was lost.
    window: Option<Window>,
    echo: [u8; 8],
}

impl Context {
    /// A context whose own numbers go on from `next`: the last bound of [`Context::reservation`] that is in
    /// storage, or anything if no number was ever used. `window` is `None` if requests of the peer's may have been taken that are
    /// not remembered. `echo` is random: what a peer is challenged with.
    pub fn new(keys: Keys, next: u64, window: Option<Window>, echo: [u8; 8]) -> Self {
        Self { keys, next, saved: next, window, echo }
    }

    /// Who the other end is.
    pub fn peer(&self) -> Id {
        self.keys.recipient()
    }

    /// The next own number, and so one that the peer has never seen.
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// If the numbers set aside are running out: the bound that is to be in storage before [`Context::reserved`] is
    /// told of it.
    pub fn reservation(&self) -> Option<u64> {
        (self.next + MARGIN > self.saved).then_some(self.next + SLACK)
    }

    /// Numbers below `bound` are set aside in storage.
    pub fn reserved(&mut self, bound: u64) {
        self.saved = self.saved.max(bound);
    }

    /// Takes the peer's requests from `number` on and none before: the peer has said so in a fresh response.
    pub fn resume_from(&mut self, number: u64) {
        self.window.get_or_insert_with(|| Window::from(number));
    }

    /// True if the replay window is lost.
    pub fn is_lost(&self) -> bool {
        self.window.is_none()
    }

    fn number(&mut self) -> Result<Piv, Error> {
        let piv = Piv::new(self.next).filter(|_| self.next < self.saved).ok_or(Error::Exhausted)?;
        self.next += 1;
        Ok(piv)
    }

    /// Protects a request. The outer one keeps only whether it is confirmable and, with another method, that it
    /// observes (RFC 8613 §4.1.3.5, §4.2).
    pub fn protect_request(&mut self, request: &Request) -> Result<(Request, Binding), Error> {
        let (kid, piv) = (self.keys.sender(), self.number()?);
        let payload = self.keys.seal(kid, piv, (kid, piv), request.to_plaintext());
        let outer = Request {
            method: if request.observe.is_some() { Method::Fetch } else { Method::Post },
            observe: request.observe,
            oscore: Some(OscoreOption { piv: Some(piv), kid: Some(kid) }.write()),
            payload,
            confirmable: request.confirmable,
            ..Request::default()
        };
        Ok((outer, Binding { kid, piv }))
    }

    /// Verifies a request and remembers its number.
    #[inline(never)] // in its caller's large frame it takes more code
    pub fn open_request(&mut self, outer: &Request) -> Result<Opened, Error> {
        let option = outer.oscore.as_deref().and_then(OscoreOption::read).ok_or(Error::Malformed)?;
        let (Some(piv), Some(kid)) = (option.piv, option.kid) else { return Err(Error::Malformed) };
        if kid != self.keys.recipient() {
            return Err(Error::OtherPeer);
        }
        if self.window.is_some_and(|window| !window.admits(piv.number())) {
            return Err(Error::Replayed);
        }
        let text = self.keys.open(kid, piv, (kid, piv), &outer.payload).ok_or(Error::Forged)?;
        let request = Request::from_plaintext(&text).ok_or(Error::Forged)?;
        if self.window.is_none() && request.echo == self.echo {
            // The challenge is new since the window was lost, so this answer to it is too.
            self.window = Some(Window::from(piv.number()));
        }
        let is_fresh = self.window.is_some();
        if let Some(window) = &mut self.window {
            window.take(piv.number());
        }
        let request = Request { confirmable: outer.confirmable, ..request };
        Ok(Opened { request, binding: Binding { kid, piv }, is_fresh })
    }

    /// Protects the one response to a request, with the request's nonce and the other key.
    pub fn protect_response(&self, response: &Response, binding: Binding) -> Response {
        let payload = self.keys.seal(binding.kid, binding.piv, binding.ids(), response.to_plaintext());
        outer_response(response, Vec::new(), payload)
    }

    /// Protects a response with a number of its own: one of several to a request, or to a request that may be a
    /// repetition.
    pub fn protect_notification(
        &mut self,
        response: &Response,
        binding: &Binding,
    ) -> Result<Response, Error> {
        let (own, piv) = (self.keys.sender(), self.number()?);
        let payload = self.keys.seal(own, piv, binding.ids(), response.to_plaintext());
        let option = OscoreOption { piv: Some(piv), kid: None }.write();
        Ok(outer_response(response, option, payload))
    }

    /// What a request is answered with that may be a repetition: 4.01 with a value that the peer has to repeat
    /// (RFC 8613 Appendix B.1.2).
    #[inline(never)] // in its caller's large frame it takes more code
    pub fn challenge(&mut self, binding: &Binding) -> Result<Response, Error> {
        let response = Response { echo: self.echo.into(), ..Response::new(Code::UNAUTHORIZED, &[]) };
        self.protect_notification(&response, binding)
    }

    /// Verifies a response to a request of this end's. Several to one request are told apart by whoever observes.
    #[inline(never)] // in its caller's large frame it takes more code
    pub fn open_response(&self, outer: &Response, binding: &Binding) -> Result<Response, Error> {
        let option = outer.oscore.as_deref().and_then(OscoreOption::read).ok_or(Error::Malformed)?;
        let (nonce_of, piv) = match option.piv {
            Some(piv) => (self.keys.recipient(), piv),
            None => binding.ids(),
        };
        let text = self.keys.open(nonce_of, piv, binding.ids(), &outer.payload).ok_or(Error::Forged)?;
        Response::from_plaintext(&text).ok_or(Error::Forged)
    }
}

fn outer_response(inner: &Response, option: Vec<u8>, payload: Vec<u8>) -> Response {
    let code = if inner.observe.is_some() { Code::CONTENT } else { Code::CHANGED };
    Response { oscore: Some(option), observe: inner.observe, ..Response::new(code, &payload) }
}
