//! What may be launched: groups, limits, checks, executors. What may not gets an error that says why.

use crate::support::*;
use mesos_proto::internal::*;
use mesos_proto::mesos::{
    self, CheckInfo, CommandInfo, DurationInfo, ExecutorId, ExecutorInfo, FrameworkId, HealthCheck,
    KillPolicy, SlaveInfo, TaskInfo, TaskState, check_info, executor_info, health_check, slave_info, value,
};
use mesos_proto::resources::scalar;
use mesos_proto::v1::offer::{Operation, operation};
use mesos_proto::v1::scheduler::{call, event};
use mesos_proto::{recast, v1};

type Fw = (String, String);

/// An agent that takes limits, with disk; a framework and an offer of all of it.
fn able() -> (World, String, Fw, v1::Offer) {
    let mut world = World::new();
    let mut agent_capabilities = capabilities();
    let kind = slave_info::capability::Type::TaskResourceLimits as i32;
    agent_capabilities.push(slave_info::Capability { r#type: Some(kind) });
    let mut slave: SlaveInfo = slave(1, 4.0, 128.0);
    slave.resources.push(scalar("disk", 16.0));
    let version = Some("1.11.0".into());
    let message = RegisterSlaveMessage { slave, version, agent_capabilities, ..Default::default() };
    world.agent_sends(&pid(1), &message);
    let agent = world.got::<SlaveRegisteredMessage>(&pid(1)).slave_id.value;
    let fw = world.subscribe(framework());
    let offer = world.offer();
    (world, agent, fw, offer)
}

fn default_executor(fw: &str, mem: f64) -> ExecutorInfo {
    ExecutorInfo {
        executor_id: ExecutorId { value: "e".into() },
        framework_id: Some(FrameworkId { value: fw.into() }),
        r#type: Some(executor_info::Type::Default as i32),
        resources: vec![scalar("cpus", 0.1), scalar("mem", mem), scalar("disk", 1.0)],
        ..Default::default()
    }
}

impl World {
    fn launch_group(&mut self, fw: &Fw, offer: &v1::Offer, executor: &ExecutorInfo, tasks: &[TaskInfo]) {
        let tasks = tasks.iter().map(|task| recast(task).unwrap()).collect();
        let operation = Operation {
            r#type: Some(operation::Type::LaunchGroup as i32),
            launch_group: Some(operation::LaunchGroup {
                executor: recast(executor).unwrap(),
                task_group: v1::TaskGroupInfo { tasks },
            }),
            ..Default::default()
        };
        let filters = Some(v1::Filters { refuse_seconds: Some(0.0) });
        let accept = call::Accept { offer_ids: vec![offer.id.clone()], operations: vec![operation], filters };
        assert_eq!(self.framework_call(fw, call::Type::Accept, |call| call.accept = Some(accept)), 202);
    }

    /// The message of the error that a single launch ends with.
    fn error_of(&mut self, fw: &Fw, task: TaskInfo) -> String {
        self.pass(1000);
        let offer = self.offer();
        let launch = operation::Launch { task_infos: vec![recast(&task).unwrap()] };
        let operation = Operation {
            r#type: Some(operation::Type::Launch as i32),
            launch: Some(launch),
            ..Default::default()
        };
        let filters = Some(v1::Filters { refuse_seconds: Some(0.0) });
        let accept = call::Accept { offer_ids: vec![offer.id], operations: vec![operation], filters };
        assert_eq!(self.framework_call(fw, call::Type::Accept, |call| call.accept = Some(accept)), 202);
        let status = self.update();
        assert_eq!(
            (status.state(), status.reason()),
            (v1::TaskState::TaskError, v1::task_status::Reason::TaskInvalid)
        );
        status.message().to_owned()
    }
}

#[test]
fn a_group_is_launched_together_and_its_executor_is_paid_for_once() {
    let (mut world, agent, fw, offer) = able();
    let executor = default_executor(&fw.0, 32.0);
    world.launch_group(&fw, &offer, &executor, &[task("a", &agent, 0.5, 8.0), task("b", &agent, 0.5, 8.0)]);
    let run: RunTaskGroupMessage = world.got(&pid(1));
    assert!(run.launch_executor());
    let ids: Vec<_> = run.task_group.tasks.iter().map(|task| task.task_id.value.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
    let roles = run.executor.resources.iter().chain(&run.task_group.tasks[1].resources);
    assert!(roles.map(|r| r.allocation_info.as_ref().unwrap().role()).all(|role| role == "ops"));
    assert_eq!(run.task_group.tasks[0].executor.as_ref().unwrap().executor_id.value, "e");
    assert_eq!(world.states().len(), 2);
    world.pass(1000);
    let offer = world.offer();
    assert_eq!(offer.resources[0].scalar.unwrap().value, 2.9);
    // A second group under the same executor.
    world.launch_group(&fw, &offer, &executor, &[task("c", &agent, 0.5, 8.0)]);
    assert!(!world.got::<RunTaskGroupMessage>(&pid(1)).launch_executor());
    world.pass(1000);
    assert_eq!(world.offer().resources[0].scalar.unwrap().value, 2.4);
}

#[test]
fn a_group_that_may_not_be_launched_is_refused_as_a_whole() {
    let (mut world, agent, fw, offer) = able();
    let good = default_executor(&fw.0, 32.0);
    let little = default_executor(&fw.0, 31.9);
    let stranger = default_executor("another", 32.0);
    let untyped = ExecutorInfo { r#type: None, ..good.clone() };
    let commanded = ExecutorInfo { command: Some(CommandInfo::default()), ..good.clone() };
    let no_disk = ExecutorInfo { resources: good.resources[..2].to_vec(), ..good.clone() };
    let one = task("one", &agent, 0.5, 8.0);
    let own = TaskInfo { executor: Some(little.clone()), ..one.clone() };
    let limited =
        TaskInfo { limits: [("cpus".to_owned(), value::Scalar { value: 9.0 })].into(), ..one.clone() };
    let cases = [
        (&little, vec![one.clone()], "less memory"),
        (&no_disk, vec![one.clone()], "no disk"),
        (&untyped, vec![one.clone()], "'ExecutorInfo.type' must be set"),
        (&commanded, vec![one.clone()], "must not be set for 'DEFAULT'"),
        (&stranger, vec![one.clone()], "invalid FrameworkID"),
        (&good, vec![one.clone(), task("big", &agent, 9.0, 8.0)], "more than available"),
        (&good, vec![one.clone(), one.clone()], "duplicate ID"),
        (&good, vec![own], "different from executor"),
        (&good, vec![limited], "within a task group"),
    ];
    let mut offer = Some(offer);
    for (executor, tasks, why) in cases {
        let this = offer.take().unwrap_or_else(|| {
            world.pass(1000);
            world.offer()
        });
        world.launch_group(&fw, &this, executor, &tasks);
        for _ in &tasks {
            let status = world.update();
            assert_eq!(status.reason(), v1::task_status::Reason::TaskGroupInvalid);
            assert!(status.message().contains(why), "{} for {why}", status.message());
        }
    }
    assert!(world.take::<RunTaskGroupMessage>(&pid(1)).is_none());
    assert!(world.states().is_empty());
}

#[test]
fn what_is_wrong_with_a_task_is_said() {
    let (mut world, agent, fw, offer) = able();
    let filters = Some(v1::Filters { refuse_seconds: Some(0.0) });
    let decline = call::Decline { offer_ids: vec![offer.id], filters };
    world.framework_call(&fw, call::Type::Decline, |call| call.decline = Some(decline));
    let base = task("t", &agent, 0.5, 8.0);
    let limit = |name: &str, value: f64| [(name.to_owned(), value::Scalar { value })].into();
    let grace = Some(DurationInfo { nanoseconds: -1 });
    let http = |path: &str| HealthCheck {
        r#type: Some(health_check::Type::Http as i32),
        http: Some(health_check::HttpCheckInfo { path: Some(path.into()), port: 80, ..Default::default() }),
        ..Default::default()
    };
    let executor = |info: ExecutorInfo| TaskInfo { command: None, executor: Some(info), ..base.clone() };
    let custom = ExecutorInfo {
        command: Some(CommandInfo::default()),
        r#type: Some(executor_info::Type::Custom as i32),
        ..default_executor(&fw.0, 1.0)
    };
    let cases = [
        (TaskInfo { limits: limit("cpus", 0.4), ..base.clone() }, "The cpu limit must be greater"),
        (TaskInfo { limits: limit("mem", 7.0), ..base.clone() }, "The memory limit must be greater"),
        (TaskInfo { limits: limit("disk", 9.0), ..base.clone() }, "Only cpus and mem"),
        (
            TaskInfo { limits: limit("mem", 9.0), resources: vec![scalar("cpus", 1.0)], ..base.clone() },
            "a memory request must also be specified",
        ),
        (TaskInfo { kill_policy: Some(KillPolicy { grace_period: grace }), ..base.clone() }, "non-negative"),
        (TaskInfo { max_completion_time: grace, ..base.clone() }, "`max_completion_time`"),
        (TaskInfo { health_check: Some(http("no-slash")), ..base.clone() }, "must start with '/'"),
        (TaskInfo { health_check: Some(HealthCheck::default()), ..base.clone() }, "must specify 'type'"),
        (
            TaskInfo {
                health_check: Some(HealthCheck { delay_seconds: Some(-1.0), ..http("/") }),
                ..base.clone()
            },
            "'delay_seconds' to be non-negative",
        ),
        (
            TaskInfo {
                check: Some(CheckInfo { r#type: Some(check_info::Type::Tcp as i32), ..Default::default() }),
                ..base.clone()
            },
            "Expecting 'tcp'",
        ),
        (
            TaskInfo {
                command: Some(CommandInfo {
                    environment: Some(mesos::Environment {
                        variables: vec![mesos::environment::Variable {
                            name: "A".into(),
                            ..Default::default()
                        }],
                    }),
                    ..Default::default()
                }),
                ..base.clone()
            },
            "must have a value set",
        ),
        (
            executor(ExecutorInfo { command: None, r#type: None, ..custom.clone() }),
            "'ExecutorInfo.command' must be set",
        ),
        (executor(ExecutorInfo { command: None, ..default_executor(&fw.0, 1.0) }), "must be 'CUSTOM'"),
        (
            executor(ExecutorInfo { executor_id: ExecutorId { value: "a/b".into() }, ..custom.clone() }),
            "invalid ExecutorID",
        ),
        (
            TaskInfo {
                resources: vec![mesos::Resource {
                    allocation_info: Some(mesos::resource::AllocationInfo { role: Some("dev".into()) }),
                    ..scalar("cpus", 1.0)
                }],
                ..base.clone()
            },
            "allocated to role 'dev'",
        ),
    ];
    for (task, why) in cases {
        let message = world.error_of(&fw, task);
        assert!(message.contains(why), "{message} for {why}");
    }
    // What has no limit is launched.
    world.pass(1000);
    let offer = world.offer();
    let limits = limit("cpus", f64::INFINITY);
    let check = HealthCheck {
        command: Some(CommandInfo { value: Some("x".into()), ..Default::default() }),
        ..Default::default()
    };
    world.launch(&fw, &offer, vec![TaskInfo { limits, health_check: Some(check), ..base }]);
    let run: RunTaskMessage = world.got(&pid(1));
    assert_eq!(run.task.limits["cpus"].value, f64::INFINITY);
    assert_eq!(
        run.task.health_check.unwrap().r#type(),
        health_check::Type::Command,
        "as older frameworks mean it"
    );
}

#[test]
fn the_id_of_an_unreachable_task_is_not_free() {
    let (mut world, agent, fw) = running();
    world.pass(7 * PING);
    assert_eq!(world.update().state(), v1::TaskState::TaskUnreachable);
    world.events.clear();
    let second = world.register(2);
    assert_ne!(second, agent);
    let offer = world.offer();
    world.launch(&fw, &offer, vec![task("t", &second, 0.5, 8.0)]);
    assert!(world.update().message().contains("reuses the ID of an unreachable task"));
}

#[test]
fn reconciliation_tells_health_and_what_has_been_told() {
    let (mut world, agent, fw) = running();
    let message = StatusUpdateMessage {
        update: StatusUpdate {
            framework_id: FrameworkId { value: fw.0.clone() },
            slave_id: Some(mesos::SlaveId { value: agent.clone() }),
            status: mesos::TaskStatus {
                task_id: mesos::TaskId { value: "t".into() },
                state: TaskState::TaskRunning as i32,
                healthy: Some(false),
                ..Default::default()
            },
            timestamp: 2.0,
            uuid: Some(vec![2; 16]),
            // It has ended already, but the framework has not been told.
            latest_state: Some(TaskState::TaskFinished as i32),
            ..Default::default()
        },
        pid: None,
    };
    world.agent_sends(&pid(1), &message);
    world.events.clear();
    world
        .framework_call(&fw, call::Type::Reconcile, |call| call.reconcile = Some(call::Reconcile::default()));
    let status = world.update();
    assert_eq!((status.state(), status.healthy), (v1::TaskState::TaskRunning, Some(false)));
    assert_eq!(status.reason(), v1::task_status::Reason::Reconciliation);
    assert!(world.next_event(event::Type::Update).is_none());
    // A kill that names another agent than the task's is nobody's.
    let kill = call::Kill {
        task_id: v1::TaskId { value: "t".into() },
        agent_id: Some(v1::AgentId { value: "m-S9".into() }),
        kill_policy: None,
    };
    world.framework_call(&fw, call::Type::Kill, |call| call.kill = Some(kill));
    assert!(world.take::<KillTaskMessage>(&pid(1)).is_none());
}
