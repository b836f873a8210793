//! `/metrics/snapshot`, with the names of Mesos' master (src/master/metrics.cpp, docs/monitoring.md). What is counted is
//! there from the start, with zero; how many names there are does not depend on how many agents, frameworks or
//! tasks there are.

use super::form::seconds;
use crate::core::MasterCore;
use crate::limits::MAX_METERED_RESOURCES;
use mesos_proto::mesos::TaskState;
use serde_json::{Map, Value};

/// Mesos' counters that this master counts; others of its own come on top.
const COUNTERS: [&str; 51] = [
    "invalid_executor_to_framework_messages",
    "invalid_framework_to_executor_messages",
    "invalid_operation_status_update_acknowledgements",
    "invalid_operation_status_updates",
    "invalid_status_update_acknowledgements",
    "invalid_status_updates",
    "messages_authenticate",
    "messages_deactivate_framework",
    "messages_decline_offers",
    "messages_executor_to_framework",
    "messages_exited_executor",
    "messages_framework_to_executor",
    "messages_kill_task",
    "messages_launch_tasks",
    "messages_operation_status_update",
    "messages_operation_status_update_acknowledgement",
    "messages_reconcile_operations",
    "messages_reconcile_tasks",
    "messages_register_framework",
    "messages_register_slave",
    "messages_reregister_framework",
    "messages_reregister_slave",
    "messages_resource_request",
    "messages_revive_offers",
    "messages_status_update",
    "messages_status_update_acknowledgement",
    "messages_suppress_offers",
    "messages_unregister_framework",
    "messages_unregister_slave",
    "messages_update_slave",
    "recovery_slave_removals",
    "slave_registrations",
    "slave_removals",
    "slave_removals/reason_registered",
    "slave_removals/reason_unhealthy",
    "slave_removals/reason_unregistered",
    "slave_reregistrations",
    "slave_unreachable_completed",
    "tasks_dropped",
    "tasks_error",
    "tasks_failed",
    "tasks_finished",
    "tasks_gone",
    "tasks_gone_by_operator",
    "tasks_killed",
    "tasks_lost",
    "valid_executor_to_framework_messages",
    "valid_operation_status_update_acknowledgements",
    "valid_operation_status_updates",
    "valid_status_update_acknowledgements",
    "valid_status_updates",
];

/// Messages that came to nothing, whatever for.
const DROPPED: [&str; 5] = [
    "messages_for_nobody",
    "messages_from_wrong_sender",
    "messages_malformed",
    "messages_unknown",
    "messages_without_sender",
];

impl MasterCore {
    pub(super) fn metrics(&self) -> Value {
        let mut metrics = Map::new();
        let mut put = |name: &str, value: f64| metrics.insert(format!("master/{name}"), value.into());
        let count = |n: usize| n as f64;
        for name in COUNTERS {
            put(name, 0.0);
        }
        for (name, number) in &self.counters {
            put(name, *number as f64);
        }
        for ((state, source, reason), number) in &self.ends {
            let name = format!("{}/{}/{}", state.as_str_name(), source.as_str_name(), reason.as_str_name());
            put(&name.to_ascii_lowercase(), *number as f64);
        }
        put("dropped_messages", DROPPED.iter().map(|name| self.counter(name) as f64).sum());
        put("uptime_secs", seconds(self.now_ms.saturating_sub(self.started_ms)));
        put("elected", 1.0);
        let connected = self.agents.values().filter(|agent| agent.connected).count();
        let active = self.agents.values().filter(|agent| agent.active()).count();
        put("slaves_connected", count(connected));
        put("slaves_disconnected", count(self.agents.len() - connected));
        put("slaves_active", count(active));
        put("slaves_inactive", count(self.agents.len() - active));
        put("slaves_unreachable", count(self.unreachable.len()));
        let connected = self.frameworks.values().filter(|framework| framework.connected).count();
        let active = self.frameworks.values().filter(|framework| framework.active).count();
        put("frameworks_connected", count(connected));
        put("frameworks_disconnected", count(self.frameworks.len() - connected));
        put("frameworks_active", count(active));
        put("frameworks_inactive", count(self.frameworks.len() - active));
        put("outstanding_offers", count(self.offers.len()));
        put("operator_event_stream_subscribers", count(self.watchers.len()));
        for (name, state) in [
            ("tasks_staging", TaskState::TaskStaging),
            ("tasks_starting", TaskState::TaskStarting),
            ("tasks_running", TaskState::TaskRunning),
            ("tasks_killing", TaskState::TaskKilling),
        ] {
            let tasks = self.frameworks.values().flat_map(|framework| framework.tasks.values());
            put(name, count(tasks.filter(|record| record.task.state() == state).count()));
        }
        put("tasks_unreachable", count(self.frameworks.values().map(|own| own.unreachable.len()).sum()));
        metrics.insert("allocator/mesos/allocation_runs".into(), (self.allocation_runs as f64).into());
        self.resource_metrics(&mut metrics);
        Value::Object(metrics)
    }

    fn resource_metrics(&self, metrics: &mut Map<String, Value>) {
        let (all, used) = self.cluster_sums();
        let (all, used) = (all.quantities(), used.quantities());
        let mut taken = mesos_proto::pool::Pool::default();
        self.agents.keys().filter_map(|id| self.allocator.used(id)).for_each(|pool| taken.add(pool));
        let taken = taken.quantities();
        // Agents choose what their resources are called.
        let own = all.iter().map(|(name, _)| name).filter(|name| !STANDARD.contains(name));
        for name in STANDARD.into_iter().chain(own.take(MAX_METERED_RESOURCES)) {
            let share = if all.milli(name) > 0 { used.get(name) / all.get(name) } else { 0.0 };
            for (suffix, value) in [("total", all.get(name)), ("used", used.get(name)), ("percent", share)] {
                metrics.insert(format!("master/{name}_{suffix}"), value.into());
                // Nothing here is revocable.
                metrics.insert(format!("master/{name}_revocable_{suffix}"), 0.0.into());
            }
            let mut put = |suffix, value: f64| {
                metrics.insert(format!("allocator/mesos/resources/{name}/{suffix}"), value.into())
            };
            put("total", all.get(name));
            put("offered_or_allocated", taken.get(name));
        }
    }
}

/// The resources that every cluster has figures of.
const STANDARD: [&str; 4] = ["cpus", "disk", "gpus", "mem"];
