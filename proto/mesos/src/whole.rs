//! Reading messages of which nothing may be missing. A field that is required in the `.proto` file and not there is read
//! as empty by everything else here; whoever acts on what it reads has to know (protobuf's `IsInitialized`).

use crate::json::{Error, descriptor, error};
use prost::{Message, Name};
use prost_reflect::{Cardinality, DeserializeOptions, DynamicMessage, ReflectMessage, Value};

/// Missing fields that an error names.
const NAMED_MAX: usize = 8;

/// Reads a message from its bytes.
pub fn from_bytes<M: Message + Name + Default>(bytes: &[u8]) -> Result<M, Error> {
    whole(DynamicMessage::decode(descriptor::<M>()?, bytes).map_err(error::<M>)?)
}

/// Reads a message from JSON text; unknown fields are skipped as in protobuf.
pub fn from_json<M: Message + Name + Default>(text: &[u8]) -> Result<M, Error> {
    from_value(serde_json::from_slice(text).map_err(error::<M>)?)
}

/// Reads a message from parsed JSON; unknown fields are skipped as in protobuf.
pub fn from_value<M: Message + Name + Default>(value: serde_json::Value) -> Result<M, Error> {
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    whole(DynamicMessage::deserialize_with_options(descriptor::<M>()?, value, &options).map_err(error::<M>)?)
}

fn whole<M: Message + Name + Default>(message: DynamicMessage) -> Result<M, Error> {
    let mut missing = Vec::new();
    find_missing(&message, "", &mut missing);
    if missing.is_empty() {
        return message.transcode_to().map_err(error::<M>);
    }
    Err(error::<M>(format!("missing required fields: {}", missing.join(", "))))
}

fn find_missing(message: &DynamicMessage, above: &str, missing: &mut Vec<String>) {
    for field in message.descriptor().fields() {
        if missing.len() >= NAMED_MAX {
            return;
        }
        if field.cardinality() == Cardinality::Required && !message.has_field(&field) {
            missing.push(format!("{above}{}", field.name()));
        }
    }
    for (field, value) in message.fields() {
        let within = |at: String| format!("{above}{}{at}.", field.name());
        match value {
            Value::Message(inner) => find_missing(inner, &within(String::new()), missing),
            Value::List(list) => {
                for (at, inner) in
                    list.iter().enumerate().filter_map(|(at, one)| Some((at, one.as_message()?)))
                {
                    find_missing(inner, &within(format!("[{at}]")), missing);
                }
            }
            Value::Map(map) => {
                map.values().filter_map(Value::as_message).for_each(|inner| {
                    find_missing(inner, &within(String::new()), missing);
                });
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::master::{Call, call};

    #[test]
    fn what_is_missing_is_named_in_either_form() {
        let whole = br#"{"type": "MARK_AGENT_GONE", "mark_agent_gone": {"agent_id": {"value": "a"}}}"#;
        let call: Call = from_json(whole).unwrap();
        assert_eq!(call.r#type(), call::Type::MarkAgentGone);
        assert_eq!(from_bytes::<Call>(&call.encode_to_vec()).unwrap(), call);
        for (text, expected) in [
            (r#"{"type": "MARK_AGENT_GONE", "mark_agent_gone": {}}"#, "mark_agent_gone.agent_id"),
            (r#"{"mark_agent_gone": {"agent_id": {}}}"#, "mark_agent_gone.agent_id.value"),
            (r#"{"update_weights": {"weight_infos": [{"weight": 1}, {}]}}"#, "weight_infos[1].weight"),
            (r#"{"update_quota": {"quota_configs": [{"limits": {"cpus": {}}}]}}"#, "limits.value"),
        ] {
            let why = from_json::<Call>(text.as_bytes()).unwrap_err().to_string();
            assert!(why.contains("missing required fields: ") && why.contains(expected), "{text}: {why}");
        }
        // Field 17, a message with nothing in it.
        let why = from_bytes::<Call>(&[0x8a, 0x01, 0]).unwrap_err().to_string();
        assert!(why.ends_with("missing required fields: mark_agent_gone.agent_id"), "{why}");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_whole_message_or_an_error(bytes in proptest::collection::vec(0u8.., 0..200)) {
            let _ = from_bytes::<Call>(&bytes);
            let _ = from_json::<Call>(&bytes);
        }
    }
}
