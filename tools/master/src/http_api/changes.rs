//! What is changed by a request of the older endpoints: each is a call of the operator API in another form
//! (src/master/http.cpp, `Master::Http::reserve` and its like).

use super::{Doors, ask};
use crate::driver::{Answer, Request as Ask};
use bytes::Bytes;
use http::Method;
use libprocess::reply::{Reply, form};
use mesos_proto::v1::master::{Call, call};
use mesos_proto::v1::quota::QuotaRequest;
use mesos_proto::v1::{AgentId, FrameworkId, MachineId, Resource, WeightInfo};
use mesos_proto::{mesos, whole};
use prost::{Message, Name};
use serde_json::Value;

/// The methods of an endpoint that changes something; none if there is no such endpoint.
pub(super) fn methods(path: &str) -> Option<&'static str> {
    Some(match path {
        "/teardown" | "/reserve" | "/unreserve" | "/create-volumes" | "/destroy-volumes" => "POST",
        "/machine/down" | "/machine/up" => "POST",
        "/maintenance/schedule" => "GET, HEAD, POST",
        "/weights" => "GET, HEAD, PUT",
        "/quota" => "GET, HEAD, POST, DELETE",
        _ if path.starts_with("/quota/") => "DELETE",
        _ => return None,
    })
}

/// Whether a request is for a change.
pub(super) fn is_change(method: &Method, path: &str) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    !reads && methods(path).is_some_and(|all| all.split(", ").any(|one| one == method.as_str()))
}

/// Does what is asked for.
pub(super) async fn make(method: &Method, path: &str, body: &Bytes, doors: &Doors) -> Reply {
    let call = match call_of(method, path, body) {
        Ok(call) => Box::new(call),
        Err(why) => return Reply::bad(&why),
    };
    match ask(&doors.core, |answer| Ask::Operator { json: true, call, answer }).await {
        Some(Answer::Plain { status, reason }) => super::refused(status, &reason),
        // No change is answered with a document.
        Some(Answer::Document(_) | Answer::Stream(_)) | None => super::busy(),
    }
}

/// The call that a request is.
fn call_of(method: &Method, path: &str, body: &[u8]) -> Result<Call, String> {
    let kind = |kind: call::Type| Call { r#type: Some(kind as i32), ..Default::default() };
    let text = String::from_utf8_lossy(body);
    let fields = form(text.trim());
    let field = |name: &str| {
        let found = fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        found.ok_or_else(|| format!("Missing '{name}' query parameter in the request body"))
    };
    let agent = || field("slaveId").map(|value| AgentId { value });
    let resources = |name: &str| -> Result<Vec<Resource>, String> {
        let wrong =
            |why: String| format!("Error parsing '{name}' query parameter in the request body: {why}");
        let list: Vec<mesos::Resource> = list(field(name)?.as_bytes()).map_err(wrong)?;
        list.iter()
            .map(|resource| mesos_proto::recast(resource).map_err(|error| wrong(error.to_string())))
            .collect()
    };
    Ok(match path {
        "/teardown" => {
            let framework_id = FrameworkId { value: field("frameworkId")? };
            Call { teardown: Some(call::Teardown { framework_id }), ..kind(call::Type::Teardown) }
        }
        "/reserve" => {
            let source = if field("source").is_ok() { resources("source")? } else { Vec::new() };
            let reserve =
                call::ReserveResources { agent_id: agent()?, resources: resources("resources")?, source };
            Call { reserve_resources: Some(reserve), ..kind(call::Type::ReserveResources) }
        }
        "/unreserve" => {
            let unreserve =
                call::UnreserveResources { agent_id: agent()?, resources: resources("resources")? };
            Call { unreserve_resources: Some(unreserve), ..kind(call::Type::UnreserveResources) }
        }
        "/create-volumes" => {
            let create = call::CreateVolumes { agent_id: agent()?, volumes: resources("volumes")? };
            Call { create_volumes: Some(create), ..kind(call::Type::CreateVolumes) }
        }
        "/destroy-volumes" => {
            let destroy = call::DestroyVolumes { agent_id: agent()?, volumes: resources("volumes")? };
            Call { destroy_volumes: Some(destroy), ..kind(call::Type::DestroyVolumes) }
        }
        "/machine/down" => {
            let start_maintenance = Some(call::StartMaintenance { machines: list::<MachineId>(body)? });
            Call { start_maintenance, ..kind(call::Type::StartMaintenance) }
        }
        "/machine/up" => {
            let stop_maintenance = Some(call::StopMaintenance { machines: list::<MachineId>(body)? });
            Call { stop_maintenance, ..kind(call::Type::StopMaintenance) }
        }
        "/maintenance/schedule" => {
            let schedule = whole::from_json(body).map_err(|error| error.to_string())?;
            let update_maintenance_schedule = Some(call::UpdateMaintenanceSchedule { schedule });
            Call { update_maintenance_schedule, ..kind(call::Type::UpdateMaintenanceSchedule) }
        }
        "/weights" => {
            let update_weights = Some(call::UpdateWeights { weight_infos: list::<WeightInfo>(body)? });
            Call { update_weights, ..kind(call::Type::UpdateWeights) }
        }
        _ if *method == Method::DELETE => {
            let role = path.trim_start_matches("/quota").trim_start_matches('/').to_owned();
            Call { remove_quota: Some(call::RemoveQuota { role }), ..kind(call::Type::RemoveQuota) }
        }
        _ => {
            let quota_request: QuotaRequest = whole::from_json(body).map_err(|error| error.to_string())?;
            Call { set_quota: Some(call::SetQuota { quota_request }), ..kind(call::Type::SetQuota) }
        }
    })
}

/// A JSON array of messages.
fn list<M: Message + Name + Default>(text: &[u8]) -> Result<Vec<M>, String> {
    let values: Vec<Value> =
        serde_json::from_slice(text).map_err(|error| format!("expected a JSON array: {error}"))?;
    values.into_iter().map(|value| whole::from_value(value).map_err(|error| error.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn call(path: &str, body: &str) -> Result<Call, String> {
        call_of(&Method::POST, path, body.as_bytes())
    }

    #[test]
    fn a_form_is_a_call() {
        let volume = "%5B%7B%22name%22%3A%22disk%22%2C%22type%22%3A%22SCALAR%22%2C%22scalar%22%3A%7B%22value%22%3A1%7D%7D%5D";
        let made = call("/reserve", &format!("slaveId=a-S0&resources={volume}")).unwrap();
        assert_eq!(made.r#type(), call::Type::ReserveResources);
        let reserve = made.reserve_resources.unwrap();
        assert_eq!((reserve.agent_id.value.as_str(), reserve.resources[0].name.as_str()), ("a-S0", "disk"));
        assert_eq!(
            call("/teardown", "frameworkId=f-1\n").unwrap().teardown.unwrap().framework_id.value,
            "f-1"
        );
        let machines = call("/machine/down", r#"[{"hostname": "h", "ip": "10.0.0.5"}]"#).unwrap();
        assert_eq!(machines.start_maintenance.unwrap().machines[0].hostname(), "h");
        let weights = call("/weights", r#"[{"role": "ops", "weight": 2.5}]"#).unwrap();
        assert_eq!(weights.update_weights.unwrap().weight_infos[0].weight, 2.5);
        let removed = call_of(&Method::DELETE, "/quota/ops", b"").unwrap();
        assert_eq!(removed.remove_quota.unwrap().role, "ops");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (path, body, expected) in [
            ("/teardown", "", "'frameworkId'"),
            ("/reserve", "resources=%5B%5D", "'slaveId'"),
            ("/unreserve", "slaveId=a", "'resources'"),
            ("/create-volumes", "slaveId=a&volumes=x", "'volumes'"),
            ("/machine/up", "{}", "JSON array"),
        ] {
            let why = call(path, body).unwrap_err();
            assert!(why.contains(expected), "{path}: {why}");
        }
    }

    proptest! {
        #[test]
        fn any_body_is_survived(body in proptest::collection::vec(any::<u8>(), 0..60), at in 0usize..10) {
            let paths = ["/teardown", "/reserve", "/unreserve", "/create-volumes", "/destroy-volumes",
                "/machine/down", "/machine/up", "/maintenance/schedule", "/weights", "/quota"];
            let _ = call_of(&Method::POST, paths[at], &body);
        }
    }
}
