//! `/jobs`: jobs of the master itself. Every answer is JSON; a refusal is `{"error": ...}` and says what to do.
//!
//! | | |
//! |---|---|
//! | `POST /jobs` | accepts a job: 201 and the job, its place in `Location`; 400 what is wrong with which field; 409 the id is taken |
//! | `GET /jobs` | jobs, newest first; `state=`, `q=` text in id or name, `offset=`, `limit=` up to 1,000 |
//! | `GET /jobs/ID` | one, with its instances, its history and why it waits |
//! | `DELETE /jobs/ID` | ends it: 202 while tasks are ending, else 200; `purge=true` forgets it too |
//! | `POST /jobs/ID/run` | runs a periodic one now: 202; 409 if a run is under way |

use super::ask;
use crate::driver::Request as Ask;
use crate::jobs::{Reply, Request as JobRequest};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use libprocess::reply::Asked;
use libprocess::{Body, percent_decode};
use serde_json::json;
use tokio::sync::mpsc;

/// Answers one request; `rest` is the path behind `/jobs`.
pub(super) async fn answer(rest: &str, request: Request<Bytes>, core: &mpsc::Sender<Ask>) -> Response<Body> {
    let asked = match understand(rest, &request) {
        Ok(asked) => asked,
        Err(Refused { status, why, allow }) => {
            let mut response = page::json(status, &json!({ "error": why }));
            if let Some(allow) = allow {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
            }
            return response;
        }
    };
    match ask(core, |answer| Ask::Jobs { request: asked, answer }).await {
        Some(Reply { status, body, location }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response = page::json(status, &body);
            if let Some(location) = location.and_then(|location| HeaderValue::try_from(location).ok()) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            response
        }
        None => {
            let why = "the master is busy or stopping: ask again in a moment";
            page::json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": why }))
        }
    }
}

/// A request that is none.
struct Refused {
    status: StatusCode,
    why: String,
    allow: Option<&'static str>,
}

fn understand(rest: &str, request: &Request<Bytes>) -> Result<JobRequest, Refused> {
    let not_allowed = |allow: &'static str| Refused {
        status: StatusCode::METHOD_NOT_ALLOWED,
        why: format!("expected {allow}"),
        allow: Some(allow),
    };
    let refused = |status, why: String| Refused { status, why, allow: None };
    let query = Asked::of(request);
    let number = |name: &str| match query.value(name).map(str::parse) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_)) => Err(refused(StatusCode::BAD_REQUEST, format!("{name}: expected a number"))),
    };
    let text = |name: &str| query.value(name).filter(|text| !text.is_empty()).map(str::to_owned);
    // What is no encoding is no id either, and is asked for as it is.
    let decoded = |id: &str| percent_decode(id).unwrap_or_else(|| id.to_owned());
    let method = request.method();
    let reads = method == Method::GET || method == Method::HEAD;
    let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
    match parts[..] {
        [] if reads => Ok(JobRequest::List {
            state: text("state"),
            text: text("q"),
            offset: number("offset")?.unwrap_or(0),
            limit: number("limit")?,
        }),
        [] if method == Method::POST => Ok(JobRequest::Create(request.body().to_vec())),
        [] => Err(not_allowed("GET, HEAD, POST")),
        [id] if reads => Ok(JobRequest::Show(decoded(id))),
        [id] if method == Method::DELETE => {
            let purge = match query.value("purge") {
                None | Some("false") => false,
                Some("" | "true") => true,
                Some(_) => {
                    return Err(refused(StatusCode::BAD_REQUEST, "purge: expected true or false".into()));
                }
            };
            Ok(JobRequest::Kill { id: decoded(id), purge })
        }
        [_] => Err(not_allowed("GET, HEAD, DELETE")),
        [id, "run"] if method == Method::POST => Ok(JobRequest::Run(decoded(id))),
        [_, "run"] => Err(not_allowed("POST")),
        _ => Err(refused(StatusCode::NOT_FOUND, "there is /jobs, /jobs/ID and /jobs/ID/run".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: Method, path: &str) -> Result<JobRequest, u16> {
        let request = Request::builder().method(method).uri(path).body(Bytes::from_static(b"{}")).unwrap();
        let rest = request.uri().path().strip_prefix("/jobs").unwrap();
        understand(rest, &request).map_err(|refused| refused.status.as_u16())
    }

    #[test]
    fn paths_and_methods_are_what_is_asked() {
        let list = |state: Option<&str>, text: Option<&str>, offset, limit| JobRequest::List {
            state: state.map(str::to_owned),
            text: text.map(str::to_owned),
            offset,
            limit,
        };
        for (method, path, wanted) in [
            (Method::GET, "/jobs", Ok(list(None, None, 0, None))),
            (
                Method::GET,
                "/jobs?state=failed&q=a%20b+c&offset=3&limit=5",
                Ok(list(Some("failed"), Some("a b c"), 3, Some(5))),
            ),
            (Method::GET, "/jobs?limit=x", Err(400)),
            (Method::POST, "/jobs", Ok(JobRequest::Create(b"{}".to_vec()))),
            (Method::PUT, "/jobs", Err(405)),
            (Method::GET, "/jobs/a.b", Ok(JobRequest::Show("a.b".into()))),
            (Method::DELETE, "/jobs/a", Ok(JobRequest::Kill { id: "a".into(), purge: false })),
            (Method::DELETE, "/jobs/a?purge=true", Ok(JobRequest::Kill { id: "a".into(), purge: true })),
            (Method::DELETE, "/jobs/a?purge=perhaps", Err(400)),
            (Method::POST, "/jobs/a", Err(405)),
            (Method::POST, "/jobs/a/run", Ok(JobRequest::Run("a".into()))),
            (Method::GET, "/jobs/a/run", Err(405)),
            (Method::GET, "/jobs/a/b/c", Err(404)),
        ] {
            assert_eq!(asked(method.clone(), path), wanted, "{method} {path}");
        }
    }
}
