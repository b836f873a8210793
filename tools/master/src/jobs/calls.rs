//! What the jobs' framework says to its master: calls of the v1 scheduler API, as any other framework makes them.

use super::job::Task;
use super::spec::Spec;
use mesos_proto::v1::scheduler::{Call, call};
use mesos_proto::v1::{self, framework_info::capability};
use std::collections::BTreeSet;

/// How long a node that fits no job that waits is not offered again, unless something changes: seconds.
pub(super) const REFUSE_S: f64 = 60.0;

/// How long an answer to a planned maintenance stands: seconds.
const STAY_S: f64 = 3_600.0;

/// The framework that jobs run as.
pub(super) fn info(id: &str, user: &str, roles: &BTreeSet<String>, failover_s: f64) -> v1::FrameworkInfo {
    use capability::Type;
    let capabilities =
        [Type::MultiRole, Type::PartitionAware, Type::TaskKillingState, Type::ReservationRefinement];
    // However little a node has free, a job may fit.
    let anything = v1::OfferFilters { min_allocatable_resources: Some(Default::default()) };
    v1::FrameworkInfo {
        user: user.to_owned(),
        name: "jobs".into(),
        id: Some(v1::FrameworkId { value: id.to_owned() }),
        failover_timeout: Some(failover_s),
        checkpoint: Some(true),
        capabilities: capabilities
            .map(|kind| v1::framework_info::Capability { r#type: Some(kind as i32) })
            .into(),
        roles: roles.iter().cloned().collect(),
        offer_filters: roles.iter().map(|role| (role.clone(), anything.clone())).collect(),
        ..Default::default()
    }
}

fn call(framework: &str, kind: call::Type) -> Call {
    let id = v1::FrameworkId { value: framework.to_owned() };
    Call { framework_id: Some(id), r#type: Some(kind as i32), ..Default::default() }
}

pub(super) fn subscribe(
    framework: &str,
    framework_info: v1::FrameworkInfo,
    suppressed_roles: Vec<String>,
) -> Call {
    let subscribe = Some(call::Subscribe { framework_info, suppressed_roles, ..Default::default() });
    Call { subscribe, ..call(framework, call::Type::Subscribe) }
}

pub(super) fn update_framework(
    framework: &str,
    framework_info: v1::FrameworkInfo,
    suppressed_roles: Vec<String>,
) -> Call {
    let update_framework =
        Some(call::UpdateFramework { framework_info, suppressed_roles, ..Default::default() });
    Call { update_framework, ..call(framework, call::Type::UpdateFramework) }
}

pub(super) fn revive(framework: &str, roles: Vec<String>) -> Call {
    Call { revive: Some(call::Revive { roles }), ..call(framework, call::Type::Revive) }
}

pub(super) fn suppress(framework: &str, roles: Vec<String>) -> Call {
    Call { suppress: Some(call::Suppress { roles }), ..call(framework, call::Type::Suppress) }
}

fn filters() -> Option<v1::Filters> {
    Some(v1::Filters { refuse_seconds: Some(REFUSE_S) })
}

pub(super) fn accept(framework: &str, offer: v1::OfferId, task_infos: Vec<v1::TaskInfo>) -> Call {
    use v1::offer::{Operation, operation};
    let launch = Some(operation::Launch { task_infos });
    let operation = Operation { r#type: Some(operation::Type::Launch as i32), launch, ..Default::default() };
    let accept = call::Accept { offer_ids: vec![offer], operations: vec![operation], filters: filters() };
    Call { accept: Some(accept), ..call(framework, call::Type::Accept) }
}

pub(super) fn decline(framework: &str, offer_ids: Vec<v1::OfferId>) -> Call {
    let decline = Some(call::Decline { offer_ids, filters: filters() });
    Call { decline, ..call(framework, call::Type::Decline) }
}

/// Instances stay until their node is drained: then they are begun elsewhere.
pub(super) fn decline_inverse(framework: &str, inverse_offer_ids: Vec<v1::OfferId>) -> Call {
    let filters = Some(v1::Filters { refuse_seconds: Some(STAY_S) });
    let decline_inverse_offers = Some(call::DeclineInverseOffers { inverse_offer_ids, filters });
    Call { decline_inverse_offers, ..call(framework, call::Type::DeclineInverseOffers) }
}

pub(super) fn kill(framework: &str, task: &str, agent: Option<&str>) -> Call {
    let kill = call::Kill {
        task_id: v1::TaskId { value: task.to_owned() },
        agent_id: agent.map(|agent| v1::AgentId { value: agent.to_owned() }),
        kill_policy: None,
    };
    Call { kill: Some(kill), ..call(framework, call::Type::Kill) }
}

/// `None` if the status wants no acknowledgement.
pub(super) fn acknowledge(framework: &str, status: &v1::TaskStatus) -> Option<Call> {
    let uuid = status.uuid.clone().filter(|uuid| !uuid.is_empty())?;
    let acknowledge =
        call::Acknowledge { agent_id: status.agent_id.clone()?, task_id: status.task_id.clone(), uuid };
    Some(Call { acknowledge: Some(acknowledge), ..call(framework, call::Type::Acknowledge) })
}

pub(super) fn reconcile<'a>(framework: &str, tasks: impl Iterator<Item = &'a Task>) -> Call {
    let tasks = tasks.map(|task| call::reconcile::Task {
        task_id: v1::TaskId { value: task.id.clone() },
        agent_id: Some(v1::AgentId { value: task.agent.clone() }),
    });
    let reconcile = Some(call::Reconcile { tasks: tasks.collect() });
    Call { reconcile, ..call(framework, call::Type::Reconcile) }
}

/// A task of a job.
pub(super) fn task(spec: &Spec, id: &str, agent: &str, resources: Vec<v1::Resource>) -> v1::TaskInfo {
    let uri = |value: &String| v1::command_info::Uri { value: value.clone(), ..Default::default() };
    let variables = spec.environment.iter().map(|(name, value)| v1::environment::Variable {
        name: name.clone(),
        value: Some(value.clone()),
        r#type: None,
    });
    let labels =
        spec.labels.iter().map(|(key, value)| v1::Label { key: key.clone(), value: Some(value.clone()) });
    let duration = |span: super::span::Span| v1::DurationInfo { nanoseconds: span.nanoseconds() };
    v1::TaskInfo {
        name: spec.name.clone().unwrap_or_else(|| spec.id.clone()),
        task_id: v1::TaskId { value: id.to_owned() },
        agent_id: v1::AgentId { value: agent.to_owned() },
        resources,
        command: Some(v1::CommandInfo {
            uris: spec.image.iter().chain(&spec.uris).map(uri).collect(),
            value: spec.entry.clone(),
            shell: Some(spec.shell),
            arguments: spec.arguments.clone(),
            environment: Some(v1::Environment { variables: variables.collect() })
                .filter(|environment| !environment.variables.is_empty()),
            ..Default::default()
        }),
        labels: Some(v1::Labels { labels: labels.collect() }).filter(|labels| !labels.labels.is_empty()),
        kill_policy: spec.kill_grace.map(|grace| v1::KillPolicy { grace_period: Some(duration(grace)) }),
        max_completion_time: spec.max_completion_time.map(duration),
        ..Default::default()
    }
}
