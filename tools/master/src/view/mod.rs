//! What operators see: `/state` and its parts as Mesos names them (src/master/readonly_handler.cpp,
//! src/common/http.cpp), one file for each document. Reads the core, never changes it.

mod agents;
mod form;
mod frameworks;
mod metrics;
mod roles;
mod state;
mod summary;
mod tasks;

pub(crate) use form::attribute;
pub use tasks::TaskQuery;

use crate::core::MasterCore;
use serde_json::Value;

/// A document about the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// `/state`
    State,
    /// `/state-summary`
    Summary,
    /// `/slaves`
    Slaves,
    /// `/slaves?slave_id=`: that one, if it is known.
    Slave(String),
    /// `/frameworks`
    Frameworks,
    /// `/frameworks?framework_id=`: that one, if it is known.
    Framework(String),
    /// `/tasks`
    Tasks(TaskQuery),
    /// `/roles`
    Roles,
    /// `/weights`
    Weights,
    /// `/flags`
    Flags,
    /// `/metrics/snapshot`
    Metrics,
}

impl MasterCore {
    /// A document as JSON.
    pub fn view(&self, view: View) -> Value {
        match view {
            View::State => self.state(),
            View::Summary => self.summary(),
            View::Slaves => self.slaves(None),
            View::Slave(id) => self.slaves(Some(&id)),
            View::Frameworks => self.frameworks_document(None),
            View::Framework(id) => self.frameworks_document(Some(&id)),
            View::Tasks(query) => self.tasks(&query),
            View::Roles => self.roles(),
            View::Weights => self.weights(),
            View::Flags => serde_json::json!({ "flags": self.flags() }),
            View::Metrics => self.metrics(),
        }
    }
}
