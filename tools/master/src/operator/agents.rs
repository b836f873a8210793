//! Calls about single agents: drained, deactivated, marked gone (src/master/http.cpp `_drainAgent`, `_markAgentGone`).

use super::{Done, Outcome, Refusal};
use crate::core::MasterCore;
use mesos_proto::mesos::{DrainConfig, DurationInfo};
use mesos_proto::v1::master::{Call, call};

const NANOSECONDS: i64 = 1_000_000_000;

impl MasterCore {
    pub(super) fn agent_call(&mut self, call: Call) -> Outcome {
        match call.r#type() {
            call::Type::MarkAgentGone => {
                let id =
                    call.mark_agent_gone.ok_or_else(|| Refusal::missing("mark_agent_gone"))?.agent_id.value;
                if !self.mark_gone(&id) {
                    return Err(Refusal { status: 404, why: format!("Agent '{id}' not found") });
                }
            }
            call::Type::DrainAgent => {
                let drain = call.drain_agent.ok_or_else(|| Refusal::missing("drain_agent"))?;
                let longest = drain.max_grace_period.map(|longest| {
                    let nanoseconds = longest.seconds().saturating_mul(NANOSECONDS);
                    nanoseconds.saturating_add(i64::from(longest.nanos()))
                });
                if longest.is_some_and(|longest| longest < 0) {
                    return Err(Refusal::bad("'max_grace_period' is negative"));
                }
                let config = DrainConfig {
                    max_grace_period: longest.map(|nanoseconds| DurationInfo { nanoseconds }),
                    mark_gone: drain.mark_gone,
                };
                self.drain_agent(&drain.agent_id.value, config)?;
            }
            call::Type::DeactivateAgent => {
                let field = call.deactivate_agent.ok_or_else(|| Refusal::missing("deactivate_agent"))?;
                self.deactivate_agent(&field.agent_id.value)?;
            }
            _ => {
                let field = call.reactivate_agent.ok_or_else(|| Refusal::missing("reactivate_agent"))?;
                self.reactivate_agent(&field.agent_id.value)?;
            }
        }
        Ok(Done::Ok)
    }
}
