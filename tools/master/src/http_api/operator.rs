//! `/api/v1`: calls of the operator API, as JSON or protobuf (src/master/http.cpp `Master::Http::api`).

use super::{Doors, JSON, PROTOBUF, accepts, ask, documents, logging, media_type, plain};
use crate::driver::{Answer, Request as Ask};
use crate::operator::as_json;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use libprocess::{Body, full};
use mesos_proto::v1::master::{Call, Response as Document, call, response};
use mesos_proto::whole;
use prost::Message;

/// Answers one request.
pub(super) async fn call(request: Request<Bytes>, doors: &Doors) -> Response<Body> {
    if request.method() != Method::POST {
        return super::not_allowed("POST");
    }
    let headers = request.headers();
    let parsed: Result<Call, String> = match media_type(headers) {
        None => return plain(StatusCode::BAD_REQUEST, "Expecting 'Content-Type' to be present"),
        Some(JSON) => whole::from_json(request.body())
            .map_err(|error| format!("Failed to convert JSON into Call protobuf: {error}")),
        Some(PROTOBUF) => whole::from_bytes(request.body())
            .map_err(|error| format!("Failed to parse body into Call protobuf: {error}")),
        Some(_) => {
            let why = format!("Expecting 'Content-Type' of {JSON} or {PROTOBUF}");
            return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
        }
    };
    let call = match parsed {
        Ok(call) => call,
        Err(why) => return plain(StatusCode::BAD_REQUEST, why),
    };
    if is_change(call.r#type())
        && let Err(refused) = super::may_change(headers, doors)
    {
        return *refused;
    }
    // Unlike schedulers', operators' answers are JSON if both are welcome.
    let json = accepts(headers, JSON);
    if !json && !accepts(headers, PROTOBUF) {
        let why = format!("Expecting 'Accept' to allow '{PROTOBUF}' or '{JSON}'");
        return plain(StatusCode::NOT_ACCEPTABLE, why);
    }
    let answer = match own(&call, doors) {
        Some(answer) => answer,
        None => match ask(&doors.core, |answer| Ask::Operator { json, call: Box::new(call), answer }).await {
            Some(answer) => answer,
            None => return super::unavailable(),
        },
    };
    let body = match answer {
        Answer::Plain { status, reason } => return super::refusal(status, reason),
        Answer::Stream(subscription) => subscription.boxed(),
        Answer::Document(mut document) => {
            documents::measure(&mut document, doors);
            if json {
                match as_json(document.as_ref()) {
                    Ok(document) => full(document.to_string()),
                    Err(error) => return plain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
                }
            } else {
                full(document.encode_to_vec())
            }
        }
    };
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static(if json { JSON } else { PROTOBUF });
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Whether a call changes anything; a new type of call does until it is said here that it does not.
fn is_change(kind: call::Type) -> bool {
    use call::Type::{ListFiles, ReadFile, Subscribe, Unknown};
    let reads = kind.as_str_name().starts_with("GET_");
    !reads && !matches!(kind, ListFiles | ReadFile | Subscribe | Unknown)
}

/// Answers what is about this process and not about the core.
fn own(call: &Call, doors: &Doors) -> Option<Answer> {
    match call.r#type() {
        call::Type::GetLoggingLevel => {
            let get_logging_level = Some(response::GetLoggingLevel { level: logging::level(doors) });
            let r#type = Some(response::Type::GetLoggingLevel as i32);
            Some(Answer::Document(Box::new(Document { r#type, get_logging_level, ..Default::default() })))
        }
        // Without its field the core refuses it, as all others.
        call::Type::SetLoggingLevel => {
            call.set_logging_level.as_ref().map(|wanted| logging::set(wanted, doors))
        }
        _ => None,
    }
}
