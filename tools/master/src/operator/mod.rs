//! The operator API v1 in the core (include/mesos/v1/master/master.proto, src/master/http.cpp `Master::Http::api`):
//! which call goes where. One file for each group of calls. HTTP, media types and tokens are `http_api`'s.

mod about;
mod agents;
mod cluster;
mod form;
mod maintenance;
mod resources;
mod watch;

pub(crate) use form::as_json;

use crate::core::{MasterCore, Output};
use mesos_proto::v1::master::{Call, Response, call};

/// What a call that was not refused comes to.
pub(crate) enum Done {
    /// 200 and nothing more.
    Ok,
    /// 202: it is under way.
    Accepted,
    /// 200 and a document.
    Answer(Box<Response>),
}

/// Why a call is refused.
pub(crate) struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// What the operator reads: what is wrong and, where that is not plain from it, what to do.
    pub why: String,
}

impl Refusal {
    /// 400: the call is wrong.
    pub fn bad(why: impl Into<String>) -> Self {
        Self { status: 400, why: why.into() }
    }

    /// 400: the field that a call of this type must have is not there.
    pub fn missing(field: &str) -> Self {
        Self::bad(format!("Failed to validate master::Call: Expecting '{field}' to be present"))
    }

    /// 501: this master does not do that.
    pub fn never(why: impl Into<String>) -> Self {
        Self { status: 501, why: why.into() }
    }
}

/// What a call comes to.
pub(crate) type Outcome = Result<Done, Refusal>;

/// An answer with a document.
fn answer(response: Response) -> Outcome {
    Ok(Done::Answer(Box::new(response)))
}

impl MasterCore {
    /// Serves one call; it is answered before this returns.
    pub(crate) fn operator(&mut self, request: u64, fresh: String, call: Call) {
        self.count("operator_calls");
        if call.r#type() == call::Type::Subscribe {
            return self.watch(request, fresh);
        }
        match self.operator_outcome(call) {
            Ok(Done::Ok) => self.reply(request, 200, ""),
            Ok(Done::Accepted) => self.reply(request, 202, ""),
            Ok(Done::Answer(response)) => self.outputs.push(Output::Answer { request, response }),
            Err(Refusal { status, why }) => {
                self.count("operator_calls_refused");
                self.reply(request, status, &why);
            }
        }
    }

    fn operator_outcome(&mut self, call: Call) -> Outcome {
        use call::Type;
        if call.r#type.is_none() {
            return Err(Refusal::missing("type"));
        }
        match call.r#type() {
            Type::Unknown | Type::Subscribe => Err(Refusal::never("Unknown call")),
            Type::GetHealth
            | Type::GetFlags
            | Type::GetVersion
            | Type::GetMetrics
            | Type::GetLoggingLevel
            | Type::SetLoggingLevel
            | Type::ListFiles
            | Type::ReadFile
            | Type::GetMaster => self.about(call),
            Type::GetState
            | Type::GetAgents
            | Type::GetFrameworks
            | Type::GetExecutors
            | Type::GetOperations
            | Type::GetTasks
            | Type::GetRoles => self.cluster(call.r#type()),
            Type::GetWeights
            | Type::UpdateWeights
            | Type::GetQuota
            | Type::UpdateQuota
            | Type::SetQuota
            | Type::RemoveQuota => self.shares(call),
            Type::ReserveResources
            | Type::UnreserveResources
            | Type::CreateVolumes
            | Type::DestroyVolumes
            | Type::GrowVolume
            | Type::ShrinkVolume => self.resources(call),
            Type::Teardown => {
                let id = call.teardown.ok_or_else(|| Refusal::missing("teardown"))?.framework_id.value;
                if !self.frameworks.contains_key(&id) {
                    return Err(Refusal::bad("No framework found with specified ID"));
                }
                self.remove_framework(&id);
                Ok(Done::Ok)
            }
            Type::MarkAgentGone | Type::DrainAgent | Type::DeactivateAgent | Type::ReactivateAgent => {
                self.agent_call(call)
            }
            Type::GetMaintenanceStatus
            | Type::GetMaintenanceSchedule
            | Type::UpdateMaintenanceSchedule
            | Type::StartMaintenance
            | Type::StopMaintenance => self.maintenance_call(call),
        }
    }
}
