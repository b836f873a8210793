//! Schedulers that speak libprocess: the older driver's messages, and `mesos.scheduler.Call`.

use crate::support::*;
use libprocess::{Message as Libprocess, Upid};
use master::core::Input;
use mesos_proto::internal::*;
use mesos_proto::mesos::{
    ExecutorId, Filters, FrameworkId, FrameworkInfo, OfferId, TaskId, TaskState, TaskStatus,
};
use mesos_proto::v1::scheduler::{Call, call};
use mesos_proto::{recast, scheduler, v1};
use prost::Message;

fn driver(number: u32) -> Upid {
    format!("scheduler({number})@10.0.0.7:7000").parse().unwrap()
}

fn with_id(id: &str) -> FrameworkInfo {
    FrameworkInfo { id: Some(FrameworkId { value: id.into() }), ..framework() }
}

impl World {
    fn registers(&mut self, number: u32) -> String {
        self.agent_sends(&driver(number), &RegisterFrameworkMessage { framework: framework() });
        let registered: FrameworkRegisteredMessage = self.got(&driver(number));
        assert_eq!(registered.master_info.pid(), "master@10.0.0.1:5050");
        registered.framework_id.value
    }

    fn reregisters(&mut self, number: u32, id: &str, failover: bool) {
        let message = ReregisterFrameworkMessage { framework: with_id(id), failover };
        self.agent_sends(&driver(number), &message);
    }

    fn calls(&mut self, number: u32, id: &str, kind: call::Type, fill: impl FnOnce(&mut Call)) {
        let framework_id = Some(v1::FrameworkId { value: id.into() });
        let mut call = Call { framework_id, r#type: Some(kind as i32), ..Default::default() };
        fill(&mut call);
        self.input(Input::Message(Libprocess {
            from: Some(driver(number)),
            to: "master".into(),
            name: "mesos.scheduler.Call".into(),
            body: call.encode_to_vec().into(),
        }));
    }
}

#[test]
fn a_task_from_registration_to_its_end_in_the_older_messages() {
    let mut world = World::new();
    let agent = world.register(1);
    let id = world.registers(1);
    let framework_id = FrameworkId { value: id.clone() };
    let offers: ResourceOffersMessage = world.got(&driver(1));
    assert_eq!(offers.pids, [pid(1).to_string()]);
    let launch = LaunchTasksMessage {
        framework_id: framework_id.clone(),
        tasks: vec![task("t", &agent, 1.0, 32.0)],
        filters: Filters::default(),
        offer_ids: vec![offers.offers[0].id.clone()],
    };
    world.agent_sends(&driver(1), &launch);
    let run: RunTaskMessage = world.got(&pid(1));
    assert_eq!(run.pid(), driver(1).to_string(), "executors may answer without the master");

    world.status(1, &agent, &id, "t", TaskState::TaskRunning, 1);
    let update: StatusUpdateMessage = world.got(&driver(1));
    assert_eq!(update.pid(), pid(1).to_string());
    assert_eq!((update.update.status.state(), update.update.uuid()), (TaskState::TaskRunning, &[1; 16][..]));
    let acknowledgement = StatusUpdateAcknowledgementMessage {
        slave_id: update.update.slave_id.unwrap(),
        framework_id: framework_id.clone(),
        task_id: TaskId { value: "t".into() },
        uuid: vec![1; 16],
    };
    world.agent_sends(&driver(1), &acknowledgement);
    assert_eq!(world.got::<StatusUpdateAcknowledgementMessage>(&pid(1)), acknowledgement);

    let reconcile = |ids: &[&str]| ReconcileTasksMessage {
        framework_id: framework_id.clone(),
        statuses: ids
            .iter()
            .map(|id| TaskStatus { task_id: TaskId { value: (*id).into() }, ..Default::default() })
            .collect(),
        framework: None,
    };
    for (asked, state) in [(vec![], TaskState::TaskRunning), (vec!["nothing"], TaskState::TaskUnknown)] {
        world.agent_sends(&driver(1), &reconcile(&asked));
        let update: StatusUpdateMessage = world.got(&driver(1));
        assert_eq!(update.update.status.state(), state);
        assert_eq!(update.pid(), "@0.0.0.0:0", "nobody wants an acknowledgement");
    }

    let down = FrameworkToExecutorMessage {
        slave_id: acknowledgement.slave_id.clone(),
        framework_id: framework_id.clone(),
        executor_id: ExecutorId { value: "t".into() },
        data: b"down".to_vec(),
    };
    world.agent_sends(&driver(1), &down);
    assert_eq!(world.got::<FrameworkToExecutorMessage>(&pid(1)).data, b"down");
    let up = ExecutorToFrameworkMessage {
        slave_id: acknowledgement.slave_id.clone(),
        framework_id: framework_id.clone(),
        executor_id: ExecutorId { value: "t".into() },
        data: b"up".to_vec(),
    };
    world.agent_sends(&pid(1), &up);
    assert_eq!(world.got::<ExecutorToFrameworkMessage>(&driver(1)).data, b"up");

    let kill = KillTaskMessage {
        framework_id: framework_id.clone(),
        task_id: TaskId { value: "t".into() },
        ..Default::default()
    };
    world.agent_sends(&driver(1), &kill);
    world.got::<KillTaskMessage>(&pid(1));
    world.agent_sends(&driver(1), &UnregisterFrameworkMessage { framework_id });
    world.got::<ShutdownFrameworkMessage>(&pid(1));
    assert_eq!(world.states(), [("t".into(), "TASK_KILLED".into())]);
}

#[test]
fn a_launch_of_nothing_declines_and_revive_ends_the_filter() {
    let mut world = World::new();
    world.register(1);
    let id = world.registers(1);
    let framework_id = FrameworkId { value: id.clone() };
    let decline = |world: &mut World| {
        let offers: ResourceOffersMessage = world.got(&driver(1));
        let launch = LaunchTasksMessage {
            framework_id: framework_id.clone(),
            tasks: Vec::new(),
            filters: Filters { refuse_seconds: Some(600.0) },
            offer_ids: vec![offers.offers[0].id.clone()],
        };
        world.agent_sends(&driver(1), &launch);
    };
    decline(&mut world);
    world.pass(10_000);
    assert!(world.take::<ResourceOffersMessage>(&driver(1)).is_none());
    let revive = ReviveOffersMessage { framework_id: framework_id.clone(), roles: Vec::new() };
    world.agent_sends(&driver(1), &revive);
    decline(&mut world);
    // Newer drivers say the same by calls.
    world.calls(1, &id, call::Type::Suppress, |_| {});
    world.calls(1, &id, call::Type::Revive, |_| {});
    let offers: ResourceOffersMessage = world.got(&driver(1));
    let offer_ids = vec![v1::OfferId { value: offers.offers[0].id.value.clone() }];
    world.calls(1, &id, call::Type::Decline, |call| {
        call.decline = Some(call::Decline { offer_ids, filters: None });
    });
    world.pass(6000);
    world.got::<ResourceOffersMessage>(&driver(1));
}

#[test]
fn an_agent_that_goes_withdraws_its_offers_and_is_lost() {
    let mut world = World::new();
    let agent = world.register(1);
    world.registers(1);
    let offers: ResourceOffersMessage = world.got(&driver(1));
    world.input(Input::Exited(pid(1).addr));
    let rescinded: RescindResourceOfferMessage = world.got(&driver(1));
    assert_eq!(rescinded.offer_id, OfferId { value: offers.offers[0].id.value.clone() });
    world.pass(7 * PING);
    assert_eq!(world.got::<LostSlaveMessage>(&driver(1)).slave_id.value, agent);
}

#[test]
fn only_the_registered_actor_is_heard() {
    let mut world = World::new();
    world.register(1);
    let id = world.registers(1);
    let framework_id = FrameworkId { value: id.clone() };
    world.agent_sends(&driver(2), &UnregisterFrameworkMessage { framework_id: framework_id.clone() });
    world.calls(2, &id, call::Type::Teardown, |_| {});
    assert_eq!(world.core.counter("messages_from_wrong_sender"), 2);
    // Nor over HTTP.
    assert_eq!(world.framework_call(&(id.clone(), "stream".into()), call::Type::Revive, |_| {}), 403);
    // Registering again gives the same id.
    assert_eq!(world.registers(1), id);
    let again = RegisterFrameworkMessage { framework: with_id(&id) };
    world.agent_sends(&driver(1), &again);
    let error: FrameworkErrorMessage = world.got(&driver(1));
    assert_eq!(error.message, "Registering with 'id' already set");
    // One that stops wanting offers gets none.
    world.agent_sends(&driver(1), &DeactivateFrameworkMessage { framework_id });
    world.got::<RescindResourceOfferMessage>(&driver(1));
    world.sent.clear();
    world.pass(20_000);
    assert!(world.take::<ResourceOffersMessage>(&driver(1)).is_none());
}

#[test]
fn failover_needs_to_be_said() {
    let mut world = World::new();
    world.register(1);
    let id = world.registers(1);
    world.got::<ResourceOffersMessage>(&driver(1));
    world.reregisters(2, &id, false);
    assert_eq!(world.got::<FrameworkErrorMessage>(&driver(2)).message, "Framework failed over");
    world.reregisters(2, &id, true);
    assert_eq!(world.got::<FrameworkErrorMessage>(&driver(1)).message, "Framework failed over");
    world.got::<FrameworkRegisteredMessage>(&driver(2));
    world.got::<ResourceOffersMessage>(&driver(2));
    // The same actor again: its offers are withdrawn first.
    world.reregisters(2, &id, false);
    world.got::<RescindResourceOfferMessage>(&driver(2));
    assert_eq!(world.got::<FrameworkReregisteredMessage>(&driver(2)).framework_id.value, id);
    // The driver that was replaced is nobody any more.
    world.calls(1, &id, call::Type::Revive, |_| {});
    assert_eq!(world.core.counter("messages_from_wrong_sender"), 1);
    // A scheduler over HTTP may take over from a driver, and the other way round.
    let fw = world.subscribe(with_id(&id));
    assert_eq!(fw.0, id);
    assert_eq!(world.got::<FrameworkErrorMessage>(&driver(2)).message, "Framework failed over");
    world.reregisters(2, &id, true);
    assert_eq!(world.closed, [fw.1]);
    world.got::<FrameworkRegisteredMessage>(&driver(2));
}

#[test]
fn a_driver_whose_connection_breaks_has_its_failover_timeout() {
    let mut world = World::new();
    let agent = world.register(1);
    let id = world.registers(1);
    world.input(Input::Exited(driver(1).addr));
    world.sent.clear();
    world.pass(30_000);
    assert!(world.take::<ResourceOffersMessage>(&driver(1)).is_none());
    world.calls(1, &id, call::Type::Revive, |_| {});
    assert_eq!(world.got::<FrameworkErrorMessage>(&driver(1)).message, "Framework disconnected");
    world.reregisters(1, &id, false);
    world.got::<FrameworkReregisteredMessage>(&driver(1));
    world.pass(40_000);
    assert_eq!(world.registers(1), id);
    world.input(Input::Exited(driver(1).addr));
    world.pass(61_000);
    world.reregisters(1, &id, true);
    assert_eq!(world.got::<FrameworkErrorMessage>(&driver(1)).message, "Framework has been removed");
    assert!(!agent.is_empty());
}

#[test]
fn a_call_subscribes_with_its_own_numbering() {
    let mut world = World::new();
    world.register(1);
    let call = scheduler::Call {
        r#type: Some(call::Type::Subscribe as i32),
        subscribe: Some(scheduler::call::Subscribe {
            framework_info: framework(),
            force: Some(true),
            suppressed_roles: vec!["ops".into()],
            offer_constraints: None,
        }),
        ..Default::default()
    };
    world.agent_sends(&driver(1), &call);
    let id = world.got::<FrameworkRegisteredMessage>(&driver(1)).framework_id.value;
    world.pass(2000);
    assert!(world.take::<ResourceOffersMessage>(&driver(1)).is_none(), "its role is suppressed");
    world.calls(1, &id, call::Type::Revive, |_| {});
    world.got::<ResourceOffersMessage>(&driver(1));
    // What it may not change it is told by an error.
    let info = FrameworkInfo { checkpoint: Some(false), ..with_id(&id) };
    let update = Some(call::UpdateFramework { framework_info: recast(&info).unwrap(), ..Default::default() });
    world.calls(1, &id, call::Type::UpdateFramework, |call| call.update_framework = update);
    let error: FrameworkErrorMessage = world.got(&driver(1));
    assert!(error.message.contains("'FrameworkInfo.checkpoint' is unsupported"), "{}", error.message);
}
