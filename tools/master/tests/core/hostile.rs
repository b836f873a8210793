//! Whatever comes in whatever order: nothing panics, nobody is disturbed, the books balance.

use crate::support::*;
use libprocess::Message as Libprocess;
use master::core::Input;
use master::view::{TaskQuery, View};
use mesos_proto::mesos::{self, ExecutorId, FrameworkId, TaskState};
use mesos_proto::recast;
use mesos_proto::resources::scalar;
use mesos_proto::v1;
use mesos_proto::v1::master as api;
use mesos_proto::v1::scheduler::call;
use proptest::prelude::*;
use prost::Message;
use serde_json::Value;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever bytes come as whatever message, to whomever: no panic, and the agent that was there is still there.
    #[test]
    fn hostile_messages_disturb_nobody(
        inputs in proptest::collection::vec((0usize..28, proptest::collection::vec(any::<u8>(), 0..80), any::<bool>()), 1..30)
    ) {
        let (mut world, agent, _) = running();
        let names = ["RegisterSlaveMessage", "ReregisterSlaveMessage", "UnregisterSlaveMessage",
            "UpdateSlaveMessage", "StatusUpdateMessage", "ExitedExecutorMessage", "ExecutorToFrameworkMessage",
            "PongSlaveMessage", "Nonsense", "", "RunTaskMessage", "ShutdownMessage", "RegisterFrameworkMessage",
            "ReregisterFrameworkMessage", "UnregisterFrameworkMessage", "DeactivateFrameworkMessage",
            "ResourceRequestMessage", "LaunchTasksMessage", "ReviveOffersMessage", "KillTaskMessage",
            "StatusUpdateAcknowledgementMessage", "FrameworkToExecutorMessage", "ReconcileTasksMessage",
            "UpdateOperationStatusMessage", "AuthenticateMessage", "ReconcileOperationsMessage",
            "ApplyOperationMessage", "mesos.scheduler.Call"];
        for (name, body, observer) in inputs {
            let to = if observer { "slave-observer(1)" } else { "master" };
            world.input(Input::Message(Libprocess {
                from: Some(pid(66)),
                to: to.into(),
                name: match names[name] {
                    call if call.starts_with("mesos.") => call.into(),
                    name => format!("mesos.internal.{name}"),
                },
                body: body.into(),
            }));
        }
        let slaves = world.core.view(View::Slaves);
        prop_assert!(slaves["slaves"].as_array().unwrap().iter().any(|s| s["id"] == agent.as_str()));
        prop_assert_eq!(world.states(), [("t".to_owned(), "TASK_RUNNING".to_owned())]);
    }
}

/// Something that can happen; the numbers pick among what there is.
#[derive(Clone, Debug)]
enum Step {
    Register(u32),
    Reregister(u32, bool),
    Exited,
    Subscribe,
    Failover(usize),
    Close(usize),
    Teardown(usize),
    Launch(usize, u8, bool),
    Decline(usize),
    Revive(usize),
    Status(usize, u8),
    Acknowledge(usize),
    Pass(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1u32..4).prop_map(Step::Register),
        (1u32..4, any::<bool>()).prop_map(|(number, tasks)| Step::Reregister(number, tasks)),
        Just(Step::Exited),
        Just(Step::Subscribe),
        any::<usize>().prop_map(Step::Failover),
        any::<usize>().prop_map(Step::Close),
        any::<usize>().prop_map(Step::Teardown),
        (any::<usize>(), 1u8..25, any::<bool>()).prop_map(|(pick, cpus, own)| Step::Launch(pick, cpus, own)),
        (any::<usize>(), 1u8..25, any::<bool>()).prop_map(|(pick, cpus, own)| Step::Launch(pick, cpus, own)),
        any::<usize>().prop_map(Step::Decline),
        any::<usize>().prop_map(Step::Revive),
        (any::<usize>(), 0u8..6).prop_map(|(pick, state)| Step::Status(pick, state)),
        (any::<usize>(), 0u8..6).prop_map(|(pick, state)| Step::Status(pick, state)),
        any::<usize>().prop_map(Step::Acknowledge),
        (1u64..40_000).prop_map(Step::Pass),
    ]
}

/// What the frameworks and agents of a random run remember, stale or not.
#[derive(Default)]
struct Memory {
    frameworks: Vec<(String, String)>,
    offers: Vec<((String, String), v1::Offer)>,
    /// Agent number, agent, framework, task.
    tasks: Vec<(u32, String, (String, String), String)>,
    uuids: Vec<((String, String), String, String, u8)>,
    agents: std::collections::BTreeMap<u32, String>,
    /// An agent has claimed tasks that need not be what was launched: it may hold more than it has.
    claimed: bool,
}

fn pick<T: Clone>(from: &[T], at: usize) -> Option<T> {
    from.get(at.checked_rem(from.len())?).cloned()
}

fn take_step(world: &mut World, memory: &mut Memory, step: Step, count: usize) {
    match step {
        Step::Register(number) => {
            let id = world.register(number);
            memory.agents.insert(number, id);
        }
        Step::Reregister(number, with_tasks) => {
            let Some(agent) = memory.agents.get(&number).cloned() else { return };
            let mut tasks: Vec<_> = memory.tasks.iter().filter(|t| with_tasks && t.1 == agent).collect();
            tasks.truncate(2);
            memory.claimed |= !tasks.is_empty();
            let tasks = tasks.iter().map(|t| known(&t.3, &t.2.0, &agent, TaskState::TaskRunning)).collect();
            reregister(world, number, &agent, tasks, vec![]);
        }
        Step::Exited => world.input(Input::Exited(pid(1).addr)),
        Step::Subscribe => {
            let fw = world.subscribe(framework());
            memory.frameworks.push(fw);
        }
        Step::Failover(at) => {
            let Some(fw) = pick(&memory.frameworks, at) else { return };
            let known = world.core.view(View::Frameworks)["frameworks"].clone();
            if known.as_array().unwrap().iter().any(|f| f["id"] == fw.0.as_str()) {
                let mut info = framework();
                info.id = Some(FrameworkId { value: fw.0 });
                let fw = world.subscribe(info);
                memory.frameworks.push(fw);
            }
        }
        Step::Close(at) => {
            let Some(fw) = pick(&memory.frameworks, at) else { return };
            world.input(Input::Closed { stream: fw.1 });
        }
        Step::Teardown(at) => {
            let Some(fw) = pick(&memory.frameworks, at) else { return };
            world.framework_call(&fw, call::Type::Teardown, |_| {});
        }
        Step::Launch(at, cpus, own) => {
            let Some((fw, offer)) = pick(&memory.offers, at) else { return };
            let (agent, id) = (offer.agent_id.value.clone(), format!("t{}", count / 2));
            let mut wanted = task(&id, &agent, f64::from(cpus) / 10.0, 1.0);
            if own {
                wanted.command = None;
                wanted.executor = Some(mesos::ExecutorInfo {
                    executor_id: ExecutorId { value: format!("e{}", count % 3) },
                    command: Some(mesos::CommandInfo::default()),
                    resources: vec![scalar("cpus", 0.1)],
                    ..Default::default()
                });
            }
            let operation = v1::offer::Operation {
                r#type: Some(v1::offer::operation::Type::Launch as i32),
                launch: Some(v1::offer::operation::Launch { task_infos: vec![recast(&wanted).unwrap()] }),
                ..Default::default()
            };
            let offer_ids = vec![offer.id.clone()];
            let accept = call::Accept { offer_ids, operations: vec![operation], filters: None };
            world.framework_call(&fw, call::Type::Accept, |call| call.accept = Some(accept));
            let number = memory.agents.iter().find(|(_, id)| **id == agent).map(|(number, _)| *number);
            memory.tasks.push((number.unwrap_or(1), agent, fw, id));
        }
        Step::Decline(at) => {
            let Some((fw, offer)) = pick(&memory.offers, at) else { return };
            let decline = call::Decline { offer_ids: vec![offer.id], filters: None };
            world.framework_call(&fw, call::Type::Decline, |call| call.decline = Some(decline));
        }
        Step::Revive(at) => {
            let Some(fw) = pick(&memory.frameworks, at) else { return };
            world.framework_call(&fw, call::Type::Revive, |_| {});
        }
        Step::Status(at, state) => {
            let Some((number, agent, fw, task)) = pick(&memory.tasks, at) else { return };
            let state = TaskState::try_from(i32::from(state)).unwrap();
            let uuid = (count % 250) as u8;
            world.status(number, &agent, &fw.0, &task, state, uuid);
            memory.uuids.push((fw, agent, task, uuid));
        }
        Step::Acknowledge(at) => {
            let Some((fw, agent, task, uuid)) = pick(&memory.uuids, at) else { return };
            let acknowledge = call::Acknowledge {
                agent_id: v1::AgentId { value: agent },
                task_id: v1::TaskId { value: task },
                uuid: vec![uuid; 16],
            };
            world.framework_call(&fw, call::Type::Acknowledge, |c| c.acknowledge = Some(acknowledge));
        }
        Step::Pass(ms) => world.pass(ms),
    }
    for (stream, event) in std::mem::take(&mut world.events) {
        for offer in event.offers.into_iter().flat_map(|offers| offers.offers) {
            memory.offers.push(((offer.framework_id.value.clone(), stream.clone()), offer));
        }
    }
    world.sent.clear();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// In whatever order agents, frameworks and tasks come and go: what is used, offered and free is exactly what
    /// there is, and no agent gives more than it has.
    #[test]
    fn the_books_balance(steps in proptest::collection::vec(any_step(), 1..80)) {
        let mut world = World::new();
        let mut memory = Memory::default();
        for (count, step) in steps.into_iter().enumerate() {
            take_step(&mut world, &mut memory, step, count);
            let milli = |value: &serde_json::Value| (value.as_f64().unwrap_or(0.0) * 1000.0).round() as i64;
            let (mut sum, mut used) = (0, 0);
            for agent in world.core.view(View::Slaves)["slaves"].as_array().unwrap() {
                let held = milli(&agent["used_resources"]["cpus"]) + milli(&agent["offered_resources"]["cpus"]);
                prop_assert!(memory.claimed || held <= milli(&agent["resources"]["cpus"]), "{agent}");
                prop_assert!(agent["connected"] == true || milli(&agent["offered_resources"]["cpus"]) == 0);
                sum += held;
                used += milli(&agent["used_resources"]["cpus"]);
            }
            let metrics = world.core.view(View::Metrics);
            prop_assert_eq!(sum, milli(&metrics["allocator/mesos/resources/cpus/offered_or_allocated"]));
            prop_assert_eq!(used, milli(&metrics["master/cpus_used"]));
        }
    }

    /// However it came about, every document tells of the same cluster, and both forms of one say the same.
    #[test]
    fn every_document_tells_the_same(steps in proptest::collection::vec(any_step(), 1..80)) {
        let mut world = World::new();
        let mut memory = Memory::default();
        for (count, step) in steps.into_iter().enumerate() {
            take_step(&mut world, &mut memory, step, count);
        }
        let every = TaskQuery { limit: usize::MAX, ..TaskQuery::default() };
        let [state, summary, slaves, frameworks, tasks, roles] = [
            View::State,
            View::Summary,
            View::Slaves,
            View::Frameworks,
            View::Tasks(every),
            View::Roles,
        ]
        .map(|view| world.core.view(view));
        let list = |document: &Value, name: &str| document[name].as_array().expect(name).clone();
        let cpus = |all: &[Value], what: &str| -> i64 {
            all.iter().map(|one| (one[what]["cpus"].as_f64().unwrap_or(0.0) * 1000.0).round() as i64).sum()
        };
        for name in ["slaves", "frameworks"] {
            prop_assert_eq!(list(&state, name).len(), list(&summary, name).len());
        }
        let (agents, owners) = (list(&slaves, "slaves"), list(&frameworks, "frameworks"));
        prop_assert_eq!(agents.len(), list(&state, "slaves").len());
        prop_assert_eq!(cpus(&agents, "used_resources"), cpus(&owners, "used_resources"));
        prop_assert_eq!(cpus(&agents, "offered_resources"), cpus(&owners, "offered_resources"));
        prop_assert_eq!(cpus(&agents, "used_resources"), cpus(&list(&roles, "roles"), "allocated"));
        let ended = list(&frameworks, "completed_frameworks");
        let lists = ["tasks", "unreachable_tasks", "completed_tasks"];
        let count = |name: &str| owners.iter().chain(&ended).map(|one| list(one, name).len()).sum::<usize>();
        prop_assert_eq!(list(&tasks, "tasks").len(), lists.map(count).iter().sum::<usize>());

        let document = world.document(api::call::Type::GetState);
        let text = mesos_proto::json::to_json(&document).unwrap().to_string();
        let by_json: api::Response = mesos_proto::json::from_json(text.as_bytes()).unwrap();
        prop_assert_eq!(&by_json, &document);
        prop_assert_eq!(api::Response::decode(document.encode_to_vec().as_slice()).unwrap(), by_json);
        let shown = document.get_state.unwrap();
        let all = shown.get_tasks.unwrap();
        let in_all = [&all.tasks, &all.unreachable_tasks, &all.completed_tasks].map(Vec::len);
        prop_assert_eq!(in_all, lists.map(count));
        prop_assert_eq!(shown.get_agents.unwrap().agents.len(), agents.len());
    }
}
