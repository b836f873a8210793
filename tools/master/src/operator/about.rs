//! Calls about the master itself.

use super::{Outcome, Refusal, answer};
use crate::core::MasterCore;
use crate::view::View;
use crate::{MESOS_VERSION, build};
use mesos_proto::recast;
use mesos_proto::v1::master::response::{self, Type};
use mesos_proto::v1::master::{Call, Response, call};
use mesos_proto::v1::{Flag, Metric, VersionInfo};

impl MasterCore {
    pub(super) fn about(&mut self, call: Call) -> Outcome {
        let of = |kind: Type| Response { r#type: Some(kind as i32), ..Default::default() };
        match call.r#type() {
            call::Type::GetHealth => answer(Response {
                get_health: Some(response::GetHealth { healthy: true }),
                ..of(Type::GetHealth)
            }),
            call::Type::GetFlags => {
                let flags = self.flags().into_iter();
                let flags = flags.map(|(name, value)| Flag { name: name.into(), value: Some(value) });
                let get_flags = Some(response::GetFlags { flags: flags.collect() });
                answer(Response { get_flags, ..of(Type::GetFlags) })
            }
            call::Type::GetVersion => {
                let version_info = VersionInfo {
                    version: MESOS_VERSION.into(),
                    build_date: Some(build::DATE.into()),
                    build_time: build::TIME.parse().ok(),
                    build_user: Some(build::USER.into()),
                    ..Default::default()
                };
                let get_version = Some(response::GetVersion { version_info });
                answer(Response { get_version, ..of(Type::GetVersion) })
            }
            call::Type::GetMetrics => {
                // What is asked for with a timeout is there at once.
                call.get_metrics.ok_or_else(|| Refusal::missing("get_metrics"))?;
                let shown = self.view(View::Metrics);
                let metrics = shown.as_object().into_iter().flatten();
                let metrics =
                    metrics.map(|(name, value)| Metric { name: name.clone(), value: value.as_f64() });
                let get_metrics = Some(response::GetMetrics { metrics: metrics.collect() });
                answer(Response { get_metrics, ..of(Type::GetMetrics) })
            }
            call::Type::GetMaster => {
                let started = self.started_ms as f64 / 1000.0;
                let get_master = Some(response::GetMaster {
                    master_info: recast(&self.master_info()).ok(),
                    start_time: Some(started),
                    elected_time: Some(started),
                });
                answer(Response { get_master, ..of(Type::GetMaster) })
            }
            call::Type::GetLoggingLevel | call::Type::SetLoggingLevel => {
                if call.r#type() == call::Type::SetLoggingLevel && call.set_logging_level.is_none() {
                    return Err(Refusal::missing("set_logging_level"));
                }
                // A core has no log: whoever runs it answers these.
                Err(Refusal::never("This master's log is not to be asked here"))
            }
            call::Type::ListFiles => {
                call.list_files.ok_or_else(|| Refusal::missing("list_files"))?;
                // A master has no files to show but its log, which goes to the standard error output.
                let list_files = Some(response::ListFiles { file_infos: Vec::new() });
                answer(Response { list_files, ..of(Type::ListFiles) })
            }
            _ => {
                call.read_file.ok_or_else(|| Refusal::missing("read_file"))?;
                Err(Refusal { status: 404, why: "No such file: this master keeps none to read".into() })
            }
        }
    }
}
