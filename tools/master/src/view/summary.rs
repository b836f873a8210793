//! `/state-summary`: agents and frameworks with their tasks counted, not listed.

use super::form::tally;
use crate::core::MasterCore;
use crate::sums::Executors;
use mesos_proto::mesos::Task;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

impl MasterCore {
    pub(super) fn summary(&self) -> Value {
        // Ended tasks count where they ran as long as they are remembered.
        let mut by_agent = BTreeMap::<&str, Vec<&Task>>::new();
        for framework in self.frameworks.values() {
            for task in framework.known() {
                by_agent.entry(&task.slave_id.value).or_default().push(task);
            }
        }
        let nothing = Vec::new();
        let slaves: Vec<_> = self
            .agents
            .iter()
            .map(|(id, agent)| {
                let tasks = by_agent.get(id.as_str()).unwrap_or(&nothing);
                let frameworks: BTreeSet<_> = tasks.iter().map(|task| &task.framework_id.value).collect();
                let mut json = merged(self.agent(id, agent), tally(tasks.iter().copied()));
                json["framework_ids"] = json!(frameworks);
                json
            })
            .collect();
        let executors = self.executors();
        let none = Executors::new();
        let frameworks: Vec<_> = self
            .frameworks
            .iter()
            .map(|(id, framework)| {
                let tasks: Vec<_> = framework.known().collect();
                let agents: BTreeSet<_> = tasks.iter().map(|task| &task.slave_id.value).collect();
                let own = executors.get(id.as_str()).unwrap_or(&none);
                let summary = self.framework_summary(id, framework, own);
                let mut json = merged(summary, tally(tasks.iter().copied()));
                json["slave_ids"] = json!(agents);
                json
            })
            .collect();
        json!({
            "hostname": self.config.hostname,
            "cluster": self.config.cluster,
            "slaves": slaves,
            "frameworks": frameworks,
        })
    }
}

fn merged(mut into: Value, from: Map<String, Value>) -> Value {
    if let Some(into) = into.as_object_mut() {
        into.extend(from);
    }
    into
}
