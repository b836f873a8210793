//! `/maintenance/schedule`, `/maintenance/status`, `/machine/down`, `/machine/up`: what the operator API has too, in the
//! form that older tools know (src/master/http.cpp `Master::Http::maintenanceSchedule`, `machineDown`).

use super::{ask, busy, json_response, not_allowed, plain, refusal};
use crate::driver::{Answer, Request as Ask};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use libprocess::Body;
use mesos_proto::json::{from_json, to_json};
use mesos_proto::v1::master::{Call, call};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Answers one request; none if the path is no such endpoint.
pub(super) async fn answer(
    path: &str,
    request: &Request<Bytes>,
    core: &mpsc::Sender<Ask>,
) -> Option<Response<Body>> {
    let reads = request.method() == Method::GET || request.method() == Method::HEAD;
    let allowed = match path {
        "/maintenance/schedule" => "GET, POST",
        "/maintenance/status" => "GET",
        "/machine/down" | "/machine/up" => "POST",
        _ => return None,
    };
    let fits = if reads {
        allowed.contains("GET")
    } else {
        request.method() == Method::POST && allowed.contains("POST")
    };
    if !fits {
        return Some(not_allowed(allowed));
    }
    let call = match (path, reads) {
        ("/maintenance/schedule", true) => Ok(of(call::Type::GetMaintenanceSchedule)),
        ("/maintenance/status", _) => Ok(of(call::Type::GetMaintenanceStatus)),
        ("/maintenance/schedule", false) => {
            from_json(request.body()).map_err(|error| error.to_string()).map(|schedule| {
                let update = call::UpdateMaintenanceSchedule { schedule };
                Call {
                    update_maintenance_schedule: Some(update),
                    ..of(call::Type::UpdateMaintenanceSchedule)
                }
            })
        }
        ("/machine/down", _) => machines(request.body()).map(|start_maintenance| Call {
            start_maintenance: Some(start_maintenance),
            ..of(call::Type::StartMaintenance)
        }),
        _ => machines(request.body()).map(|stop_maintenance| Call {
            stop_maintenance: Some(stop_maintenance),
            ..of(call::Type::StopMaintenance)
        }),
    };
    let call = match call {
        Ok(call) => call,
        Err(why) => return Some(plain(StatusCode::BAD_REQUEST, why)),
    };
    let document = match ask(core, |answer| Ask::Operator { json: true, call: Box::new(call), answer }).await
    {
        Some(Answer::Document(document)) => {
            let schedule = document.get_maintenance_schedule.as_ref().map(|got| to_json(&got.schedule));
            schedule.or_else(|| Some(to_json(&document.get_maintenance_status.as_ref()?.status)))
        }
        Some(Answer::Plain { status, reason }) => return Some(refusal(status, reason)),
        _ => return Some(busy()),
    };
    Some(match document {
        Some(Ok(document)) => json_response(request.uri().query().unwrap_or(""), document),
        _ => plain(StatusCode::INTERNAL_SERVER_ERROR, "no document"),
    })
}

fn of(kind: call::Type) -> Call {
    Call { r#type: Some(kind as i32), ..Default::default() }
}

/// The body is a bare array of machines.
fn machines<M: prost::Message + prost::Name + Default>(body: &[u8]) -> Result<M, String> {
    let array: Vec<Value> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let message = json!({ "machines": array }).to_string();
    from_json(message.as_bytes()).map_err(|error| error.to_string())
}
