//! Ordinary requests as they are asked and replies as they go out: parameters, JSONP, compression, ranges
//! (3rdparty/libprocess/src/encoder.hpp, `http::OK` with a JSONP callback). What is replied is others' affair.

use crate::{Body, full, percent_decode};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use serde_json::Value;
use std::io::Write;

/// Parameters looked at.
const PARAMETERS_MAX: usize = 64;
/// Shorter bodies are not worth compressing.
const GZIP_MIN: usize = 512;
/// What lets pages of other origins read a reply.
const OPEN: [(header::HeaderName, &str); 3] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, OPTIONS"),
    (header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type, accept, range"),
];
/// Characters of a JSONP callback.
const CALLBACK_MAX: usize = 128;

/// What of a request decides the form of its reply.
#[derive(Debug, Default)]
pub struct Asked {
    parameters: Vec<(String, String)>,
    /// The host that was called, without its port.
    pub host: Option<String>,
    gzip: bool,
    range: Option<String>,
}

impl Asked {
    /// Reads a request's parameters and headers; what cannot be decoded is left out.
    pub fn of(request: &Request<Bytes>) -> Self {
        let text = |name: header::HeaderName| request.headers().get(name)?.to_str().ok();
        let accepted = text(header::ACCEPT_ENCODING).unwrap_or_default();
        Self {
            parameters: form(request.uri().query().unwrap_or_default()),
            host: text(header::HOST).map(|host| match host.rsplit_once(':') {
                Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name.to_owned(),
                _ => host.to_owned(),
            }),
            gzip: accepted.split(',').any(|coding| {
                let (name, quality) = coding.trim().split_once(';').unwrap_or((coding.trim(), ""));
                name.eq_ignore_ascii_case("gzip") && !matches!(quality.trim(), "q=0" | "q=0.0")
            }),
            range: text(header::RANGE).map(str::to_owned),
        }
    }

    /// A parameter of the query.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is a number; an error if it is something else.
    pub fn number(&self, name: &str, default: usize) -> Result<usize, std::num::ParseIntError> {
        self.value(name).map_or(Ok(default), str::parse)
    }
}

/// Names and values of a query or a form, `a=1&b=2`; what cannot be decoded is left out.
pub fn form(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').take(PARAMETERS_MAX).filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((percent_decode(name)?, percent_decode(&value.replace('+', " "))?))
    });
    pairs.collect()
}

/// A reply before its form is settled.
pub struct Reply {
    status: StatusCode,
    kind: &'static str,
    body: Vec<u8>,
    allow: Option<&'static str>,
    download: Option<String>,
    open: bool,
}

impl Reply {
    fn new(status: StatusCode, kind: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, kind, body: body.into(), allow: None, download: None, open: false }
    }

    /// 200 and a document.
    pub fn json(value: Value) -> Self {
        Self::new(StatusCode::OK, "application/json", value.to_string())
    }

    /// Words, with an end of line if there are any.
    pub fn text(status: StatusCode, text: &str) -> Self {
        let end = if text.is_empty() { "" } else { "\n" };
        Self::new(status, "text/plain; charset=utf-8", format!("{text}{end}"))
    }

    /// 200 and figures in Prometheus' text form.
    pub fn prometheus(text: String) -> Self {
        Self::new(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
    }

    /// A file, of which a range may be asked.
    pub fn download(name: &str, bytes: Vec<u8>) -> Self {
        let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
        Self { download: Some(name), ..Self::new(StatusCode::OK, "application/octet-stream", bytes) }
    }

    /// A status and nothing more.
    pub fn empty(status: StatusCode) -> Self {
        Self::new(status, "text/plain; charset=utf-8", Vec::new())
    }

    /// 400 and why.
    pub fn bad(why: &str) -> Self {
        Self::text(StatusCode::BAD_REQUEST, why)
    }

    /// 404 and why.
    pub fn not_found(why: &str) -> Self {
        Self::text(StatusCode::NOT_FOUND, why)
    }

    /// 405: the methods that there are.
    pub fn not_allowed(allow: &'static str) -> Self {
        let text = format!("only {allow} here");
        Self { allow: Some(allow), ..Self::text(StatusCode::METHOD_NOT_ALLOWED, &text) }
    }

    /// 503 and why.
    pub fn unavailable(why: &str) -> Self {
        Self::text(StatusCode::SERVICE_UNAVAILABLE, why)
    }

    /// Lets pages of other origins read it: an agent's figures are shown by a page that its master served.
    pub fn for_other_origins(mut self) -> Self {
        self.open = true;
        self
    }

    /// The response. JSON becomes JSONP if a callback was asked for; a name that is no name of a function is refused,
    /// for it would run in the page that asked.
    pub fn finish(mut self, asked: &Asked, head: bool) -> Response<Body> {
        if let Some(callback) = asked.value("jsonp").filter(|_| self.kind == "application/json") {
            if !is_callback(callback) {
                self = Self::bad("jsonp: expected the name of a function");
            } else {
                self.kind = "text/javascript";
                let text = String::from_utf8_lossy(&self.body);
                // Two characters end a line in scripts and not in JSON.
                let text = text.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
                self.body = format!("{callback}({text});").into_bytes();
            }
        }
        let mut response = Response::new(());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        if self.open {
            for (name, value) in OPEN {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(name) = &self.download {
            headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
                headers.insert(header::CONTENT_DISPOSITION, value);
            }
            let whole = self.body.len();
            match asked.range.as_deref().map(|range| parse_range(range, whole)) {
                Some(Some((from, to))) => {
                    self.status = StatusCode::PARTIAL_CONTENT;
                    self.body = self.body[from..=to].to_vec();
                    if let Ok(value) = HeaderValue::from_str(&format!("bytes {from}-{to}/{whole}")) {
                        headers.insert(header::CONTENT_RANGE, value);
                    }
                }
                Some(None) => {
                    self.status = StatusCode::RANGE_NOT_SATISFIABLE;
                    self.body.clear();
                    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{whole}")) {
                        headers.insert(header::CONTENT_RANGE, value);
                    }
                }
                None => {}
            }
        } else if asked.gzip && self.body.len() >= GZIP_MIN {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            if encoder.write_all(&self.body).is_ok()
                && let Ok(compressed) = encoder.finish()
            {
                self.body = compressed;
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        }
        if head {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.body.len()));
            self.body.clear();
        }
        *response.status_mut() = self.status;
        response.map(|()| full(self.body))
    }
}

fn is_callback(name: &str) -> bool {
    let word = |word: &str| {
        let mut bytes = word.bytes();
        bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || b"_$".contains(&byte))
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_$".contains(&byte))
    };
    name.len() <= CALLBACK_MAX && name.split('.').all(word)
}

/// The one range of `bytes=A-B`, `bytes=A-` or `bytes=-N`; `None` if it is none or not there (RFC 9110 §14.1.2).
fn parse_range(text: &str, whole: usize) -> Option<(usize, usize)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let end = whole.checked_sub(1)?;
    let (from, to) = match (first.trim(), last.trim()) {
        ("", count) => (whole.saturating_sub(count.parse().ok().filter(|count| *count > 0)?), end),
        (from, "") => (from.parse().ok()?, end),
        (from, to) => (from.parse().ok()?, to.parse::<usize>().ok()?.min(end)),
    };
    (from <= to && from < whole).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_range_is_cut_to_what_there_is() {
        for (text, expected) in [
            ("bytes=0-3", Some((0, 3))),
            ("bytes=8-99", Some((8, 9))),
            ("bytes=4-", Some((4, 9))),
            ("bytes=-3", Some((7, 9))),
            ("bytes=-99", Some((0, 9))),
            ("bytes=10-", None),
            ("bytes=3-2", None),
            ("bytes=-0", None),
            ("bytes=x", None),
            ("lines=0-1", None),
        ] {
            assert_eq!(parse_range(text, 10), expected, "{text}");
        }
        assert_eq!(parse_range("bytes=0-", 0), None);
    }

    #[test]
    fn a_callback_is_a_name() {
        for name in ["angular.callbacks._0", "$", "a_1"] {
            assert!(is_callback(name), "{name}");
        }
        for name in ["", "a b", "a(", "1a", "a..b", "alert(1)//", "<script>"] {
            assert!(!is_callback(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_request_is_survived(query in "[ -~]{0,40}", range in "[ -~]{0,20}", whole in 0usize..40) {
            let _ = parse_range(&range, whole);
            if let Ok(uri) = format!("/x?{}", query.replace(' ', "%20")).parse::<http::Uri>() {
                let request = Request::builder().uri(uri).body(Bytes::new()).unwrap();
                let asked = Asked::of(&request);
                let _ = Reply::json(serde_json::json!({})).finish(&asked, false);
            }
        }
    }
}
