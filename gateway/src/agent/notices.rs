//! What happens to agents, told to people: kept until the driver takes it.

use crate::bridge::NodeId;
use mesos_proto::mesos::TaskState;
use std::collections::VecDeque;

/// Notices that wait to be taken; of more the oldest are forgotten.
const WAITING_MAX: usize = 1_024;

/// Something worth telling people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A node registered for the first time.
    New(NodeId),
    /// A node is heard again.
    Back(NodeId),
    /// A node has been silent for its whole lease.
    Lapsed(NodeId),
    /// A node has lost its storage.
    Forgot(NodeId),
    /// The master took the node's agent in.
    Registered {
        /// Whose.
        node: NodeId,
        /// Its id there.
        slave_id: String,
        /// For the first time.
        new: bool,
    },
    /// An image was not taken, for want of a publisher who is trusted for the task.
    ImageRefused {
        /// For which node.
        node: NodeId,
        /// What is wrong.
        why: String,
    },
    /// A task has another state.
    Task {
        /// Where it is.
        node: NodeId,
        /// Whose.
        framework_id: String,
        /// Which.
        task_id: String,
        /// The new state.
        state: TaskState,
        /// What is said of it.
        message: String,
    },
}

#[derive(Debug, Default)]
pub(super) struct Notices(VecDeque<Notice>);

impl Notices {
    pub fn add(&mut self, notice: Notice) {
        if self.0.len() >= WAITING_MAX {
            self.0.pop_front();
        }
        self.0.push_back(notice);
    }

    pub fn next(&mut self) -> Option<Notice> {
        self.0.pop_front()
    }
}
