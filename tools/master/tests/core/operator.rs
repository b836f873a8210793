//! Operators' calls against the core: what they read, what they change, and what those who watch are told.

use crate::support::*;
use master::core::Input;
use master::view::View;
use mesos_proto::internal::{CheckpointResourcesMessage, ShutdownFrameworkMessage, UnregisterSlaveMessage};
use mesos_proto::mesos::{FrameworkId, SlaveId, TaskState};
use mesos_proto::recast;
use mesos_proto::resources::scalar;
use mesos_proto::v1::scheduler::{call, event};
use mesos_proto::v1::{self, master as api};

impl World {
    /// The call's status and, of one that is answered with a document, the document.
    pub fn operator(&mut self, kind: api::call::Type, fill: impl FnOnce(&mut api::Call)) -> (u16, String) {
        self.requests += 1;
        let (request, fresh) = (self.requests, format!("stream-{}", self.requests));
        let mut call = api::Call { r#type: Some(kind as i32), ..Default::default() };
        fill(&mut call);
        self.input(Input::Operator { request, fresh, call: Box::new(call) });
        let reply = self.replies.iter().find(|(number, ..)| *number == request);
        reply.map_or((200, String::new()), |(_, status, why)| (*status, why.clone()))
    }

    pub fn document(&mut self, kind: api::call::Type) -> api::Response {
        self.documents.clear();
        assert_eq!(self.operator(kind, |_| {}), (200, String::new()), "{kind:?}");
        self.documents.pop().expect("a document")
    }

    fn told(&mut self) -> Vec<api::event::Type> {
        self.told.drain(..).map(|(_, event)| event.r#type()).collect()
    }
}

fn amount(resources: &[v1::Resource], name: &str) -> f64 {
    resources.iter().filter(|r| r.name == name).map(|r| r.scalar.unwrap_or_default().value).sum()
}

#[test]
fn what_is_read_agrees_with_what_happened() {
    let (mut world, agent, fw) = running();
    // What is left is offered again when the filter of the launch has ended.
    world.pass(10_000);
    let state = world.document(api::call::Type::GetState).get_state.unwrap();
    let shown = &state.get_agents.as_ref().unwrap().agents[0];
    assert_eq!(shown.agent_info.id.as_ref().unwrap().value, agent);
    assert!(shown.active);
    assert_eq!(shown.pid.as_deref(), Some("slave(1)@10.0.0.5:5051"));
    assert_eq!(amount(&shown.total_resources, "cpus"), 2.0);
    assert_eq!(amount(&shown.allocated_resources, "cpus"), 1.0);
    assert_eq!(amount(&shown.offered_resources, "cpus"), 1.0);
    let role = |r: &v1::Resource| r.allocation_info.as_ref().unwrap().role.clone().unwrap();
    assert!(shown.allocated_resources.iter().all(|r| role(r) == "ops" && r.role() == "*"));
    let tasks = state.get_tasks.as_ref().unwrap();
    assert_eq!(tasks.tasks.len(), 1);
    assert_eq!(tasks.tasks[0].state(), v1::TaskState::TaskRunning);
    let framework = &state.get_frameworks.as_ref().unwrap().frameworks[0];
    assert_eq!(framework.framework_info.id.as_ref().unwrap().value, fw.0);
    assert!(framework.active && framework.connected && !framework.recovered);
    assert_eq!(amount(&framework.allocated_resources, "mem"), 32.0);
    assert_eq!(framework.offers[0].agent_id.value, agent);
    let roles = world.document(api::call::Type::GetRoles).get_roles.unwrap().roles;
    assert_eq!((roles[0].name.as_str(), roles[0].weight), ("ops", 1.0));
    assert_eq!(amount(&roles[0].resources, "cpus"), 2.0);

    world.status(1, &agent, &fw.0, "t", TaskState::TaskFinished, 2);
    let tasks = world.document(api::call::Type::GetTasks).get_tasks.unwrap();
    assert_eq!((tasks.tasks.len(), tasks.completed_tasks.len()), (0, 1));
}

#[test]
fn a_task_on_an_unreachable_agent_is_shown_once() {
    let (mut world, ..) = running();
    world.pass(PING * 10);
    let tasks = world.document(api::call::Type::GetTasks).get_tasks.unwrap();
    assert_eq!((tasks.tasks.len(), tasks.completed_tasks.len()), (0, 0));
    assert_eq!(tasks.unreachable_tasks[0].name, "t");
    assert_eq!(tasks.unreachable_tasks[0].state(), v1::TaskState::TaskUnreachable);
}

#[test]
fn a_watcher_is_told_the_state_and_then_what_changes() {
    use api::event::Type;
    let mut world = World::new();
    let agent = world.register(1);
    assert!(world.told.is_empty(), "nobody watches");
    assert_eq!(world.operator(api::call::Type::Subscribe, |_| {}), (200, String::new()));
    let (streams, first) = world.told.remove(0);
    assert_eq!(streams, ["stream-1"]);
    let subscribed = first.subscribed.unwrap();
    assert_eq!(subscribed.heartbeat_interval_seconds, Some(15.0));
    assert_eq!(subscribed.get_state.unwrap().get_agents.unwrap().agents.len(), 1);
    assert_eq!(world.told(), [Type::Heartbeat]);

    let fw = world.subscribe(framework());
    let offer = world.offer();
    world.launch(&fw, &offer, vec![task("t", &agent, 1.0, 32.0)]);
    world.status(1, &agent, &fw.0, "t", TaskState::TaskRunning, 1);
    // Sent again, it is no news.
    world.status(1, &agent, &fw.0, "t", TaskState::TaskRunning, 1);
    assert_eq!(world.told(), [Type::FrameworkAdded, Type::TaskAdded, Type::TaskUpdated]);
    let mut info = framework();
    info.id = Some(FrameworkId { value: fw.0.clone() });
    let fw = world.subscribe(info);
    world.register(2);
    assert_eq!(world.told(), [Type::FrameworkUpdated, Type::AgentAdded]);

    let gone = UnregisterSlaveMessage { slave_id: SlaveId { value: agent } };
    world.agent_sends(&pid(1), &gone);
    let updated = world.told.remove(0).1.task_updated.unwrap();
    assert_eq!(updated.state(), v1::TaskState::TaskGone);
    assert_eq!(world.told(), [Type::AgentRemoved]);
    assert_eq!(world.framework_call(&fw, call::Type::Teardown, |_| {}), 202);
    assert_eq!(world.told(), [Type::FrameworkRemoved]);

    world.pass(15_000);
    assert_eq!(world.told(), [Type::Heartbeat]);
    world.input(Input::Closed { stream: "stream-1".into() });
    world.pass(60_000);
    assert!(world.told.is_empty(), "the stream is closed");
}

#[test]
fn the_oldest_of_too_many_watchers_is_closed() {
    let mut world = World::new();
    for _ in 0..=master::limits::MAX_WATCHERS {
        world.operator(api::call::Type::Subscribe, |_| {});
    }
    assert_eq!(world.closed, ["stream-1"]);
}

#[test]
fn a_call_without_its_field_or_of_no_type_is_refused() {
    use api::call::Type;
    let mut world = World::new();
    for kind in [Type::GetMetrics, Type::SetLoggingLevel, Type::ListFiles, Type::ReadFile, Type::Teardown] {
        let (status, why) = world.operator(kind, |_| {});
        let field = kind.as_str_name().to_lowercase();
        assert_eq!(status, 400, "{kind:?}");
        assert_eq!(why, format!("Failed to validate master::Call: Expecting '{field}' to be present"));
    }
    let (status, why) = world.operator(Type::GetState, |call| call.r#type = None);
    assert_eq!((status, why.contains("'type'")), (400, true));
    assert_eq!(world.operator(Type::Unknown, |_| {}).0, 501);
    assert_eq!(world.operator(Type::UpdateQuota, |_| {}).0, 501);
}

#[test]
fn an_operator_ends_a_framework() {
    let (mut world, _, fw) = running();
    let teardown = |id: &str| {
        let framework_id = v1::FrameworkId { value: id.to_owned() };
        move |call: &mut api::Call| call.teardown = Some(api::call::Teardown { framework_id })
    };
    assert_eq!(world.operator(api::call::Type::Teardown, teardown("nobody")).0, 400);
    assert_eq!(world.operator(api::call::Type::Teardown, teardown(&fw.0)).0, 200);
    world.got::<ShutdownFrameworkMessage>(&pid(1));
    let frameworks = world.document(api::call::Type::GetFrameworks).get_frameworks.unwrap();
    assert!(frameworks.frameworks.is_empty());
    let done = &frameworks.completed_frameworks[0].framework_info;
    assert_eq!((done.name.as_str(), done.roles.as_slice()), ("test", &["ops".to_owned()][..]));
    let tasks = world.document(api::call::Type::GetTasks).get_tasks.unwrap();
    assert_eq!(tasks.completed_tasks[0].state(), v1::TaskState::TaskKilled);
    let shown = world.core.view(View::Frameworks)["completed_frameworks"][0].clone();
    assert_eq!(shown["completed_tasks"][0]["statuses"][1]["reason"], "REASON_FRAMEWORK_REMOVED");
    assert_eq!(shown["roles"], serde_json::json!(["ops"]));
}

fn reserved(name: &str, amount: f64, role: &str) -> v1::Resource {
    use v1::resource::{ReservationInfo, reservation_info::Type};
    let reservation =
        ReservationInfo { role: Some(role.into()), r#type: Some(Type::Dynamic as i32), ..Default::default() };
    v1::Resource { reservations: vec![reservation], ..recast(&scalar(name, amount)).unwrap() }
}

fn reserve(agent: &str, resources: Vec<v1::Resource>) -> impl FnOnce(&mut api::Call) {
    let agent_id = v1::AgentId { value: agent.to_owned() };
    let reserve = api::call::ReserveResources { agent_id, resources, source: Vec::new() };
    move |call| call.reserve_resources = Some(reserve)
}

#[test]
fn an_operator_reserves_what_is_offered_but_not_what_is_used() {
    use api::call::Type;
    let (mut world, agent, fw) = running();
    world.pass(10_000);
    let offer = world.offer();
    let before = world.core.view(View::Slaves)["slaves"][0]["used_resources"].clone();
    assert_eq!(world.operator(Type::ReserveResources, reserve("x", Vec::new())).0, 400);
    let nobodys = recast(&scalar("cpus", 0.5)).unwrap();
    assert_eq!(world.operator(Type::ReserveResources, reserve(&agent, vec![nobodys])).0, 400);
    let (status, why) =
        world.operator(Type::ReserveResources, reserve(&agent, vec![reserved("cpus", 1.5, "lab")]));
    assert!(status == 409 && why.contains("cpus"), "a task uses 1 of 2: {why}");
    assert!(world.next_event(event::Type::Rescind).is_none(), "nothing is withdrawn in vain");

    let wanted = vec![reserved("cpus", 0.5, "lab")];
    assert_eq!(world.operator(Type::ReserveResources, reserve(&agent, wanted.clone())).0, 202);
    let rescinded = world.next_event(event::Type::Rescind).unwrap().rescind.unwrap();
    assert_eq!(rescinded.offer_id, offer.id);
    let told: CheckpointResourcesMessage = world.got(&pid(1));
    assert_eq!(told.resources[0].reservations[0].role(), "lab");
    let slave = world.core.view(View::Slaves)["slaves"][0].clone();
    assert_eq!(slave["reserved_resources"]["lab"]["cpus"], 0.5);
    assert_eq!(slave["used_resources"], before);
    // What is left is offered again, without what is another role's now.
    assert_eq!(world.offer().resources.iter().find(|r| r.name == "cpus").unwrap().scalar.unwrap().value, 0.5);

    let unreserve = |call: &mut api::Call| {
        let agent_id = v1::AgentId { value: agent.clone() };
        call.unreserve_resources =
            Some(api::call::UnreserveResources { agent_id, resources: wanted.clone() });
    };
    assert_eq!(world.operator(Type::UnreserveResources, unreserve).0, 202);
    assert_eq!(world.operator(Type::UnreserveResources, unreserve).0, 409, "there is no such reservation");
    let slave = world.core.view(View::Slaves)["slaves"][0].clone();
    assert_eq!(slave["reserved_resources"], serde_json::json!({}));
    let used = &world.core.view(View::Metrics)["allocator/mesos/resources/cpus/offered_or_allocated"];
    assert_eq!(*used, 2.0, "all of it is in use or offered");
    assert_eq!(world.framework_call(&fw, call::Type::Teardown, |_| {}), 202);
    let used = &world.core.view(View::Metrics)["allocator/mesos/resources/cpus/offered_or_allocated"];
    assert_eq!(*used, 0.0);
}

#[test]
fn messages_calls_and_ends_are_counted_by_mesos_names() {
    let (mut world, agent, fw) = running();
    world.status(1, &agent, &fw.0, "t", TaskState::TaskFailed, 2);
    world.framework_call(&fw, call::Type::Revive, |_| {});
    world.agent_sends(&pid(7), &UnregisterSlaveMessage { slave_id: SlaveId { value: agent.clone() } });
    let metrics = world.core.view(View::Metrics);
    for (name, expected) in [
        ("messages_register_slave", 1.0),
        ("messages_register_framework", 1.0),
        ("messages_launch_tasks", 1.0),
        ("messages_status_update", 2.0),
        ("valid_status_updates", 2.0),
        ("messages_status_update_acknowledgement", 1.0),
        ("valid_status_update_acknowledgements", 1.0),
        ("messages_revive_offers", 1.0),
        ("messages_unregister_slave", 1.0),
        ("dropped_messages", 1.0),
        ("slave_removals", 0.0),
        ("tasks_failed", 1.0),
        ("tasks_running", 0.0),
    ] {
        assert_eq!(metrics[format!("master/{name}")], expected, "{name}");
    }
    world.pass(PING * 10);
    let metrics = world.core.view(View::Metrics);
    assert_eq!(metrics["master/slave_removals/reason_unhealthy"], 1.0);
    assert_eq!(metrics["master/slaves_unreachable"], 1.0);

    let (mut world, agent, _) = running();
    world.agent_sends(&pid(1), &UnregisterSlaveMessage { slave_id: SlaveId { value: agent } });
    let metrics = world.core.view(View::Metrics);
    assert_eq!(metrics["master/slave_removals/reason_unregistered"], 1.0);
    assert_eq!(metrics["master/task_gone/source_master/reason_slave_removed"], 1.0);
}
