//! What a node is in Mesos' words.

use super::Config;
use crate::bridge::NodeId;
use mesos_proto::mesos;
use mesos_proto::resources::{scalar, text_attribute};
use node_proto::{Arch, Inventory, Power, Runtimes};
use sha2::{Digest, Sha256};

/// Capabilities of a virtual agent: all that an agent of version 1.11 states (src/slave/constants.cpp,
/// `AGENT_CAPABILITIES`). A node has no volumes to resize; an operation that wants to is refused with a status.
/// Limits above a task's request hold by themselves: a grant is the request, for a node gives nothing twice.
pub fn capabilities() -> Vec<mesos::slave_info::Capability> {
    use mesos::slave_info::capability::Type;
    let all = [
        Type::MultiRole,
        Type::HierarchicalRole,
        Type::ReservationRefinement,
        Type::ResourceProvider,
        Type::ResizeVolume,
        Type::AgentOperationFeedback,
        Type::AgentDraining,
        Type::TaskResourceLimits,
    ];
    all.map(|kind| mesos::slave_info::Capability { r#type: Some(kind as i32) }).into()
}

/// Megabytes with three decimals, rounded down: never more than there is.
fn megabytes(bytes: u32) -> f64 {
    (u64::from(bytes) * 1000 / (1 << 20)) as f64 / 1000.0
}

/// Bytes of an amount in thousandths of a megabyte.
pub(crate) fn bytes_of_milli_mb(milli: i64) -> u32 {
    u32::try_from(i128::from(milli) * (1 << 20) / 1000).unwrap_or(u32::MAX)
}

/// The container that a real agent would run an executor in: a UUID that is the same whenever it is asked for.
pub fn container_id(slave_id: &str, framework_id: &str, executor_id: &str) -> String {
    let digest = Sha256::digest([slave_id, "\0", framework_id, "\0", executor_id].concat());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

pub(super) fn slave_info(
    config: &Config,
    id: NodeId,
    inventory: &Inventory,
    slave_id: Option<&str>,
) -> mesos::SlaveInfo {
    let amounts = [
        ("cpus", f64::from(inventory.cpu_permille) / 1000.0),
        ("mem", megabytes(inventory.mem_bytes)),
        ("disk", megabytes(inventory.flash_bytes)),
        ("sensors", f64::from(inventory.sensors)),
        ("leds", f64::from(inventory.leds)),
    ];
    let runtimes = [(Runtimes::WASM, "wasm"), (Runtimes::NATIVE, "native")];
    let runtimes: Vec<&str> = runtimes
        .into_iter()
        .filter(|(bit, _)| inventory.runtimes.0 & bit != 0)
        .map(|(_, name)| name)
        .collect();
    let (arch, os) = match inventory.arch {
        Arch::Host => (std::env::consts::ARCH, "posix"),
        Arch::Thumbv7em => ("thumbv7em", "tock"),
        Arch::Riscv32imac => ("riscv32imac", "tock"),
    };
    let power = match inventory.power {
        Power::Mains => "mains",
        Power::Battery(_) => "battery",
    };
    let eui64 = id.to_string();
    let mut attributes = vec![
        text_attribute("eui64", &eui64),
        text_attribute("board", &inventory.board),
        text_attribute("arch", arch),
        text_attribute("os", os),
        text_attribute("runtimes", &runtimes.join(",")),
        text_attribute("power", power),
    ];
    for (there, name) in [(inventory.sensors, "temp-sensor"), (inventory.leds, "leds")] {
        if there > 0 {
            attributes.push(text_attribute("on", name));
        }
    }
    let has = amounts.into_iter().filter(|(_, amount)| *amount >= 0.001);
    let (resources, attributes) =
        config.offers.apply(&eui64, has.map(|(name, amount)| scalar(name, amount)).collect(), attributes);
    mesos::SlaveInfo {
        hostname: config.offers.hostname(&eui64).unwrap_or_else(|| format!("{eui64}.{}", config.domain)),
        resources,
        attributes,
        id: slave_id.map(|value| mesos::SlaveId { value: value.to_owned() }),
        checkpoint: Some(true),
        port: Some(i32::from(config.port)),
        domain: None,
    }
}
