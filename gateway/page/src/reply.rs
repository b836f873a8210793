//! Answers: JSON documents, and refusals as JSON too. None of them is stored by a browser or shared with another origin.

use crate::document::Document;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use libprocess::{Body, full};
use serde::Serialize;

/// Why something is not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: StatusCode,
    /// What is wrong, and what to do.
    pub why: String,
}

impl Refusal {
    /// A parameter makes no sense.
    pub fn bad(why: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, why: why.into() }
    }

    /// There is no such thing.
    pub fn not_found(why: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, why: why.into() }
    }

    /// Not now.
    pub fn busy(why: impl Into<String>) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, why: why.into() }
    }

    /// The answer that says so.
    pub fn response(&self) -> Response<Body> {
        error(self.status, &self.why)
    }
}

pub(crate) fn harden(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
}

pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// `{"error": why}`.
pub(crate) fn error(status: StatusCode, why: &str) -> Response<Body> {
    json(status, &serde_json::json!({ "error": why }))
}

/// A value as JSON, not to be stored, not to be shared with other origins.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = of_json(body.into());
    *response.status_mut() = status;
    response
}

fn of_json(body: Bytes) -> Response<Body> {
    let mut response = Response::new(full(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    harden(headers);
    response
}

pub(crate) fn document(document: &Document, head: bool) -> Response<Body> {
    let body = document.json();
    let length = HeaderValue::from(body.len());
    let mut response = of_json(if head { Bytes::new() } else { body });
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
    response
}
