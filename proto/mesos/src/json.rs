//! JSON as the v1 API has it: field names as in the `.proto` files, enums by name, bytes as base64.

use prost::{Message, Name};
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions,
};
use serde_json::Value;
use std::sync::LazyLock;

static POOL: LazyLock<Option<DescriptorPool>> = LazyLock::new(|| {
    DescriptorPool::decode(include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin")).as_slice()).ok()
});

/// JSON that is not the message.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {why}")]
pub struct Error {
    name: String,
    why: String,
}

pub(crate) fn error<M: Name>(why: impl ToString) -> Error {
    Error { name: M::full_name(), why: why.to_string() }
}

pub(crate) fn descriptor<M: Name>() -> Result<MessageDescriptor, Error> {
    let pool = POOL.as_ref().ok_or_else(|| error::<M>("no descriptors"))?;
    pool.get_message_by_name(&M::full_name()).ok_or_else(|| error::<M>("unknown message"))
}

/// A message as JSON.
pub fn to_json<M: Message + Name>(message: &M) -> Result<Value, Error> {
    let mut dynamic = DynamicMessage::new(descriptor::<M>()?);
    dynamic.transcode_from(message).map_err(error::<M>)?;
    let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
    dynamic.serialize_with_options(serde_json::value::Serializer, &options).map_err(error::<M>)
}

/// Reads a message from JSON text; unknown fields are skipped as in protobuf.
pub fn from_json<M: Message + Name + Default>(text: &[u8]) -> Result<M, Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let dynamic = DynamicMessage::deserialize_with_options(descriptor::<M>()?, &mut reader, &options)
        .map_err(error::<M>)?;
    reader.end().map_err(error::<M>)?;
    dynamic.transcode_to().map_err(error::<M>)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::scheduler::{Call, call};

    #[test]
    fn a_call_reads_as_the_documentation_has_it() {
        let text = br#"{"framework_id": {"value": "f"}, "type": "ACKNOWLEDGE", "unknown": [1],
            "acknowledge": {"agent_id": {"value": "a"}, "task_id": {"value": "t"}, "uuid": "AAECAw=="}}"#;
        let call: Call = from_json(text).unwrap();
        assert_eq!(call.r#type(), call::Type::Acknowledge);
        assert_eq!(call.acknowledge.as_ref().unwrap().uuid, [0, 1, 2, 3]);
        let json = to_json(&call).unwrap();
        assert_eq!(json["acknowledge"]["uuid"], "AAECAw==");
        assert_eq!(json["type"], "ACKNOWLEDGE");
    }

    #[test]
    fn wrong_json_is_an_error_that_names_the_message() {
        let error = from_json::<Call>(br#"{"type": 1.5}"#).unwrap_err().to_string();
        assert!(error.starts_with("mesos.v1.scheduler.Call"), "{error}");
        assert!(from_json::<Call>(b"{}{}").is_err());
    }
}
