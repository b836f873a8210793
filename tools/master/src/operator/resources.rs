//! Calls about who may have how much: weights, quotas, reservations and volumes.

use super::{Outcome, Refusal, answer};
use crate::core::MasterCore;
use mesos_proto::v1::WeightInfo;
use mesos_proto::v1::master::response::{self, Type};
use mesos_proto::v1::master::{Call, Response, call};
use mesos_proto::v1::quota::QuotaStatus;

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
            call::Type::UpdateWeights => Err(Refusal::never("Weights are fixed while this master runs")),
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
        let agent = match kind {
            call::Type::ReserveResources => call.reserve_resources.map(|it| it.agent_id),
            call::Type::UnreserveResources => call.unreserve_resources.map(|it| it.agent_id),
            call::Type::CreateVolumes => call.create_volumes.map(|it| it.agent_id),
            call::Type::DestroyVolumes => call.destroy_volumes.map(|it| it.agent_id),
            call::Type::GrowVolume => call.grow_volume.and_then(|it| it.agent_id),
            _ => call.shrink_volume.and_then(|it| it.agent_id),
        };
        let agent = agent.ok_or_else(|| Refusal::missing(&kind.as_str_name().to_ascii_lowercase()))?;
        if !self.agents.contains_key(&agent.value) {
            return Err(Refusal::bad("No agent found with specified ID"));
        }
        let why = "reservations and volumes are made by frameworks here, not by operators";
        Err(Refusal::never(format!("{}: {why}", kind.as_str_name())))
    }
}
