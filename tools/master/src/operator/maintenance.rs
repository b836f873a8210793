//! Calls about machines: what is planned, what goes down and comes up (src/master/http.cpp `_updateMaintenanceSchedule`).

use super::{Done, Outcome, Refusal, answer};
use crate::core::MasterCore;
use mesos_proto::v1::master::response::{GetMaintenanceSchedule, GetMaintenanceStatus, Type};
use mesos_proto::v1::master::{Call, Response, call};

impl MasterCore {
    pub(super) fn maintenance_call(&mut self, call: Call) -> Outcome {
        match call.r#type() {
            call::Type::GetMaintenanceStatus => answer(Response {
                r#type: Some(Type::GetMaintenanceStatus as i32),
                get_maintenance_status: Some(GetMaintenanceStatus { status: self.maintenance_status() }),
                ..Default::default()
            }),
            call::Type::GetMaintenanceSchedule => answer(Response {
                r#type: Some(Type::GetMaintenanceSchedule as i32),
                get_maintenance_schedule: Some(GetMaintenanceSchedule {
                    schedule: self.maintenance_schedule().clone(),
                }),
                ..Default::default()
            }),
            call::Type::UpdateMaintenanceSchedule => {
                let update = call.update_maintenance_schedule;
                let update = update.ok_or_else(|| Refusal::missing("update_maintenance_schedule"))?;
                self.update_maintenance(update.schedule).map(|()| Done::Ok)
            }
            call::Type::StartMaintenance => {
                let start = call.start_maintenance.ok_or_else(|| Refusal::missing("start_maintenance"))?;
                self.start_maintenance(&start.machines).map(|()| Done::Ok)
            }
            _ => {
                let stop = call.stop_maintenance.ok_or_else(|| Refusal::missing("stop_maintenance"))?;
                self.stop_maintenance(&stop.machines).map(|()| Done::Ok)
            }
        }
    }
}
