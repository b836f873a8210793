//! The operator's page, and what any server of it needs: its files ([`assets`]), who may ask ([`Guard`]), documents
//! and how they are asked for ([`Query`], [`Document`]), and the same documents as server-sent events ([`Page::view`]).
//!
//! ```text
//!   GET /page/...   the files, for everyone: they hold no data
//!   GET /view/...   a JSON document, behind the guard; as text/event-stream once more whenever it has changed
//! ```
//!
//! What the documents say is the server's affair: it is a [`Source`]. This crate must never read a file that a request
//! names, hold more for a slow reader than two documents, or ask the source more often than once a second for
//! one query, however many watch.

pub mod assets;
mod document;
pub mod events;
mod guard;
mod query;
mod reply;
mod shared;
mod stream;
mod token;

pub use document::{Answer, Document, Piece, Seq, now_ms};
pub use guard::{Guard, own_hostname};
pub use query::{Asked, Paging, Query, encode, finds};
pub use reply::{Refusal, json};
pub use stream::STREAMS_MAX;
pub use token::{Token, TokenError};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use libprocess::Body;
use shared::Shared;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Where the documents come from.
pub trait Source: Clone + Send + Sync + 'static {
    /// Answers what is asked for; a refusal is shown to the asker.
    fn show(&self, asked: Asked) -> impl Future<Output = Result<Answer, Refusal>> + Send;
}

/// What one server needs to serve the page. Clones are the same.
#[derive(Clone)]
pub struct Page {
    guard: Arc<Guard>,
    places: Arc<Semaphore>,
    shared: Arc<Shared>,
}

impl Page {
    /// A page behind this guard.
    pub fn new(guard: Guard) -> Self {
        Self {
            guard: Arc::new(guard),
            places: Arc::new(Semaphore::new(STREAMS_MAX)),
            shared: Arc::new(Shared::default()),
        }
    }

    /// Who may ask.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Answers a GET or HEAD of the page's own files, and of `/` by a browser. `None` if it is about something else.
    pub fn file(&self, request: &Request<Bytes>) -> Option<Response<Body>> {
        assets::answer(request)
    }

    /// Answers a request below `/view/` from `source`.
    pub async fn view<S: Source>(&self, request: &Request<Bytes>, source: S) -> Response<Body> {
        let head = request.method() == Method::HEAD;
        if !head && request.method() != Method::GET {
            let mut refused = reply::error(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD here");
            refused.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        if let Err(refused) = self.guard.check(request.method(), request.headers()) {
            return *refused;
        }
        let asked = match Asked::of(request) {
            Ok(asked) => asked,
            Err(refusal) => return refusal.response(),
        };
        if asked.stream && !head {
            return stream::open(&self.places, self.shared.clone(), asked, source).await;
        }
        match self.shared.ask(&source, asked).await {
            Ok(answer) => reply::document(answer.whole(), head),
            Err(refusal) => refusal.response(),
        }
    }
}
