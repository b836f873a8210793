//! Bytes and names that a real master and agent exchange.

use mesos_proto::{internal, mesos, name, recast, resources, v1};
use prost::Message;

#[test]
fn names_are_those_of_libprocess() {
    assert_eq!(name::<internal::RegisterSlaveMessage>(), "mesos.internal.RegisterSlaveMessage");
    assert_eq!(name::<v1::scheduler::Call>(), "mesos.v1.scheduler.Call");
}

#[test]
fn a_ping_and_a_pong_are_these_bytes() {
    assert_eq!(internal::PingSlaveMessage { connected: true }.encode_to_vec(), [0x08, 1]);
    assert!(internal::PongSlaveMessage {}.encode_to_vec().is_empty());
}

#[test]
fn an_attribute_is_not_numbered_as_a_resource_is() {
    let attribute = resources::text_attribute("os", "tock").encode_to_vec();
    assert_eq!(attribute, b"\x0a\x02os\x10\x03\x2a\x06\x0a\x04tock");
    let scalar = resources::scalar("cpus", 1.0).encode_to_vec();
    assert_eq!(scalar, b"\x0a\x04cpus\x10\x00\x1a\x09\x09\x00\x00\x00\x00\x00\x00\xf0\x3f");
}

#[test]
fn a_status_is_the_same_in_both_apis() {
    let v0 = mesos::TaskStatus {
        task_id: mesos::TaskId { value: "t".into() },
        state: mesos::TaskState::TaskFailed as i32,
        slave_id: Some(mesos::SlaveId { value: "s".into() }),
        reason: Some(mesos::task_status::Reason::ContainerLimitationMemory as i32),
        ..Default::default()
    };
    let v1: v1::TaskStatus = recast(&v0).unwrap();
    assert_eq!(v1.agent_id.as_ref().unwrap().value, "s");
    assert_eq!(mesos_proto::json::to_json(&v1).unwrap()["reason"], "REASON_CONTAINER_LIMITATION_MEMORY");
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(0u8.., 0..200)) {
        let _ = internal::RunTaskMessage::decode(bytes.as_slice());
        let _ = internal::ReregisterSlaveMessage::decode(bytes.as_slice());
        let _ = v1::scheduler::Call::decode(bytes.as_slice());
        let _ = mesos_proto::json::from_json::<v1::scheduler::Call>(&bytes);
    }
}
