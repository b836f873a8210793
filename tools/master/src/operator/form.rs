//! The JSON of documents and events: protobuf's, with the lists that Mesos writes even if nothing is in them
//! (src/master/readonly_handler.cpp, `jsonifyGetAgents` and its like), so that their readers need not ask.

use mesos_proto::json::{Error, to_json};
use prost::{Message, Name};
use serde_json::{Value, json};

/// Lists by the message that has them.
const LISTS: [(&str, &[&str]); 4] = [
    ("get_agents", &["agents", "recovered_agents"]),
    ("get_executors", &["executors"]),
    ("get_frameworks", &["frameworks", "completed_frameworks"]),
    ("get_tasks", &["tasks", "unreachable_tasks", "completed_tasks"]),
];

/// A response or an event as JSON.
pub(crate) fn as_json<M: Message + Name>(message: &M) -> Result<Value, Error> {
    let mut document = to_json(message)?;
    for state in ["/get_state", "/subscribed/get_state", ""] {
        for (name, lists) in LISTS {
            if let Some(Value::Object(part)) = document.pointer_mut(&format!("{state}/{name}")) {
                for list in lists {
                    part.entry(*list).or_insert_with(|| json!([]));
                }
            }
        }
    }
    Ok(document)
}
