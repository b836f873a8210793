//! Messages between gateway and master as a line of a trace.

use mesos_proto::internal::*;
use mesos_proto::mesos::TaskState;
use prost::{Message, Name};

fn state(number: i32) -> &'static str {
    TaskState::try_from(number).map_or("?", |state| state.as_str_name())
}

/// The short name of a message, and what matters of it.
pub(crate) fn words(name: &str, body: &[u8]) -> String {
    let short = name.strip_prefix("mesos.internal.").unwrap_or(name);
    let more = match short {
        RunTaskMessage::NAME => RunTaskMessage::decode(body).map(|run| run.task.task_id.value),
        KillTaskMessage::NAME => KillTaskMessage::decode(body).map(|kill| kill.task_id.value),
        StatusUpdateMessage::NAME => StatusUpdateMessage::decode(body).map(|message| {
            let status = message.update.status;
            format!("{} {}", status.task_id.value, state(status.state))
        }),
        StatusUpdateAcknowledgementMessage::NAME => {
            StatusUpdateAcknowledgementMessage::decode(body).map(|ack| ack.task_id.value)
        }
        ReregisterSlaveMessage::NAME => ReregisterSlaveMessage::decode(body).map(|message| {
            let tasks = message.tasks.iter();
            tasks.map(|task| format!("{} {} ", task.task_id.value, state(task.state))).collect()
        }),
        SlaveReregisteredMessage::NAME => SlaveReregisteredMessage::decode(body).map(|message| {
            let asked = message.reconciliations.iter().flat_map(|asked| &asked.statuses);
            asked.map(|status| format!("{}? ", status.task_id.value)).collect()
        }),
        _ => Ok(String::new()),
    };
    format!("{short} {}", more.unwrap_or_else(|error| error.to_string()))
}
