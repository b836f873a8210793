//! Calls about who may have how much: weights, quotas, reservations and volumes.

use super::{Done, Outcome, Refusal, answer};
use crate::core::MasterCore;
use mesos_proto::v1::master::response::{self, Type};
use mesos_proto::v1::master::{Call, Response, call};
use mesos_proto::v1::offer::operation;
use mesos_proto::v1::quota::QuotaStatus;
use mesos_proto::v1::{AgentId, WeightInfo};
use mesos_proto::{mesos, recast, v1};
use prost::DecodeError;

impl MasterCore {
    pub(super) fn shares(&mut self, call: Call) -> Outcome {
        let of = |kind: Type| Response { r#type: Some(kind as i32), ..Default::default() };
        match call.r#type() {
            call::Type::GetWeights => {
                let weights = self.allocator.weights().iter();
                let weight_infos = weights
                    .map(|(role, weight)| WeightInfo { weight: *weight, role: Some(role.clone()) })
                    .collect();
                let get_weights = Some(response::GetWeights { weight_infos });
                answer(Response { get_weights, ..of(Type::GetWeights) })
            }
            call::Type::UpdateWeights => {
                let update = call.update_weights.ok_or_else(|| Refusal::missing("update_weights"))?;
                self.update_weights(update.weight_infos).map(|()| Done::Ok)
            }
            call::Type::GetQuota => {
                let get_quota = Some(response::GetQuota { status: QuotaStatus::default() });
                answer(Response { get_quota, ..of(Type::GetQuota) })
            }
            _ => Err(Refusal::never(
                "This master has no quotas: it shares by weight, or by priority with --policy priority",
            )),
        }
    }

    pub(super) fn resources(&mut self, call: Call) -> Outcome {
        let kind = call.r#type();
        let (agent, operation) = operation_of(call)
            .ok_or_else(|| Refusal::missing(&kind.as_str_name().to_ascii_lowercase()))?
            .map_err(|error| Refusal::bad(error.to_string()))?;
        let done = self.operate_as_operator(&agent.value, operation);
        done.map(|()| Done::Accepted).map_err(|(status, why)| Refusal { status, why })
    }
}

/// The agent and the operation that a call names; none if the field for it is not there.
fn operation_of(call: Call) -> Option<Result<(AgentId, mesos::offer::Operation), DecodeError>> {
    use operation::Type;
    let of = |kind: Type| v1::offer::Operation { r#type: Some(kind as i32), ..Default::default() };
    let (agent, operation) = match call.r#type() {
        call::Type::ReserveResources => {
            let call::ReserveResources { agent_id, resources, source } = call.reserve_resources?;
            let reserve = Some(operation::Reserve { resources, source });
            (agent_id, v1::offer::Operation { reserve, ..of(Type::Reserve) })
        }
        call::Type::UnreserveResources => {
            let call::UnreserveResources { agent_id, resources } = call.unreserve_resources?;
            let unreserve = Some(operation::Unreserve { resources });
            (agent_id, v1::offer::Operation { unreserve, ..of(Type::Unreserve) })
        }
        call::Type::CreateVolumes => {
            let call::CreateVolumes { agent_id, volumes } = call.create_volumes?;
            let create = Some(operation::Create { volumes });
            (agent_id, v1::offer::Operation { create, ..of(Type::Create) })
        }
        call::Type::DestroyVolumes => {
            let call::DestroyVolumes { agent_id, volumes } = call.destroy_volumes?;
            let destroy = Some(operation::Destroy { volumes });
            (agent_id, v1::offer::Operation { destroy, ..of(Type::Destroy) })
        }
        call::Type::GrowVolume => {
            let call::GrowVolume { agent_id, volume, addition } = call.grow_volume?;
            let grow_volume = Some(operation::GrowVolume { volume, addition });
            (agent_id.unwrap_or_default(), v1::offer::Operation { grow_volume, ..of(Type::GrowVolume) })
        }
        _ => {
            let call::ShrinkVolume { agent_id, volume, subtract } = call.shrink_volume?;
            let shrink_volume = Some(operation::ShrinkVolume { volume, subtract });
            (agent_id.unwrap_or_default(), v1::offer::Operation { shrink_volume, ..of(Type::ShrinkVolume) })
        }
    };
    Some(recast(&operation).map(|operation| (agent, operation)))
}
