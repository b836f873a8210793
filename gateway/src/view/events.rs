//! What the gateway's events are about.

use crate::bridge::NodeId;
use page::events::cut;
use serde::{Serialize, Serializer};

pub(crate) const NODE: &str = "node";
pub(crate) const TASK: &str = "task";
pub(crate) const MASTER: &str = "master";
pub(crate) const SECURITY: &str = "security";
pub(crate) const IMAGE: &str = "image";
pub(super) const KINDS: [&str; 5] = [NODE, TASK, MASTER, SECURITY, IMAGE];

pub(crate) type Events = page::events::Events<About>;

/// What an event is about.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct About {
    #[serde(serialize_with = "named")]
    pub node: Option<NodeId>,
    task_id: Option<Box<str>>,
    framework_id: Option<Box<str>>,
}

fn named<S: Serializer>(node: &Option<NodeId>, serializer: S) -> Result<S::Ok, S::Error> {
    match node {
        Some(node) => serializer.collect_str(node),
        None => serializer.serialize_none(),
    }
}

impl About {
    pub fn node(node: NodeId) -> Self {
        Self { node: Some(node), ..Self::default() }
    }

    pub fn task(node: NodeId, framework_id: &str, task_id: &str) -> Self {
        Self { node: Some(node), task_id: Some(cut(task_id)), framework_id: Some(cut(framework_id)) }
    }
}
