//! `/api/v1`: calls of the operator API, as JSON or protobuf (src/master/http.cpp `Master::Http::api`).

use super::{JSON, PROTOBUF, accepts, ask, media_type, plain};
use crate::driver::{Answer, Request as Ask};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use libprocess::{Body, full};
use mesos_proto::v1::master::Call;
use prost::Message;
use tokio::sync::mpsc;

/// Answers one request.
pub(super) async fn call(request: Request<Bytes>, core: mpsc::Sender<Ask>) -> Response<Body> {
    if request.method() != Method::POST {
        return super::not_allowed("POST");
    }
    let headers = request.headers();
    let parsed: Result<Call, String> = match media_type(headers) {
        None => return plain(StatusCode::BAD_REQUEST, "Expecting 'Content-Type' to be present"),
        Some(JSON) => mesos_proto::json::from_json(request.body())
            .map_err(|error| format!("Failed to convert JSON into Call protobuf: {error}")),
        Some(PROTOBUF) => Call::decode(request.body().as_ref())
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
    // Unlike schedulers', operators' answers are JSON if both are welcome.
    let json = accepts(headers, JSON);
    if !json && !accepts(headers, PROTOBUF) {
        let why = format!("Expecting 'Accept' to allow '{PROTOBUF}' or '{JSON}'");
        return plain(StatusCode::NOT_ACCEPTABLE, why);
    }
    let kind = HeaderValue::from_static(if json { JSON } else { PROTOBUF });
    let mut response = match ask(&core, |answer| Ask::Operator { json, call: Box::new(call), answer }).await {
        Some(Answer::Stream(subscription)) => Response::new(subscription.boxed()),
        Some(Answer::Document(document)) if json => match mesos_proto::json::to_json(document.as_ref()) {
            Ok(document) => Response::new(full(document.to_string())),
            Err(error) => return plain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        },
        Some(Answer::Document(document)) => Response::new(full(document.encode_to_vec())),
        Some(Answer::Plain { status, reason }) => return super::refusal(status, reason),
        None => return super::busy(),
    };
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
