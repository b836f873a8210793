//! The scheduler's driver with the embedded master, a gateway and a node.

mod support;

use framework::v1::task_status::Reason;
use framework::v1::{ExecutorId, Offer, TaskId, TaskState, TaskStatus};
use framework::{Acknowledge, End, Error, FileStore, FrameworkIdStore, Resources, operation};
use std::time::Duration;
use support::cluster::{Cluster, task};
use support::{Running, Said, info};

async fn offer(running: &mut Running) -> Offer {
    running
        .until(|said| match said {
            Said::Offers(offers) => offers.first().cloned(),
            _ => None,
        })
        .await
}

async fn status(running: &mut Running, wanted: impl Fn(&TaskStatus) -> bool) -> TaskStatus {
    running
        .until(|said| match said {
            Said::Status(status) if wanted(status) => Some(status.clone()),
            _ => None,
        })
        .await
}

async fn id(running: &mut Running) -> String {
    match running.next().await {
        Said::Registered(id) => id,
        other => panic!("not registered but {other:?}"),
    }
}

fn named(id: &str) -> TaskId {
    TaskId { value: id.into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_runs_to_its_end_and_a_teardown_forgets_the_framework() {
    let cluster = Cluster::start().await;
    let store = FileStore::new(cluster.dir.path().join("framework.id"));
    let mut running = Running::start(info(), cluster.spec(), 0, |driver| driver.store(store.clone()));
    let framework = id(&mut running).await;
    assert_eq!(store.load().unwrap().as_deref(), Some(framework.as_str()));
    let offered = offer(&mut running).await;
    running.handle.launch(&offered, vec![task(&offered, "echo", "echo")]).await.unwrap();
    status(&mut running, |status| status.state() == TaskState::TaskRunning).await;
    let executor = ExecutorId { value: "echo".into() };
    running.handle.message(&offered.agent_id, &executor, b"hello").await.unwrap();
    let said = running.until(|said| match said {
        Said::Message(_, _, data) => Some(data.clone()),
        _ => None,
    });
    assert_eq!(said.await, b"hello");
    running.handle.kill(&named("echo"), Some(&offered.agent_id), None).await.unwrap();
    let end = status(&mut running, |status| framework::is_terminal(status.state())).await;
    assert_eq!(end.state(), TaskState::TaskKilled);
    running.handle.stop(false).await.unwrap();
    assert_eq!(running.end().await.unwrap(), End::TornDown);
    assert_eq!(store.load().unwrap(), None);

    // Whoever kept the id is told that it is of no more use.
    store.save(&framework).unwrap();
    let late = Running::start(info(), cluster.spec(), 0, |driver| driver.store(store));
    assert!(matches!(late.end().await, Err(Error::Removed { id, .. }) if id == framework));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_process_is_told_what_the_last_one_did_not_acknowledge() {
    let cluster = Cluster::start().await;
    let store = FileStore::new(cluster.dir.path().join("framework.id"));
    let explicit = |driver: framework::SchedulerDriver<_>| {
        driver.store(store.clone()).acknowledge(Acknowledge::Explicit).format(framework::Format::Json)
    };
    let mut first = Running::start(info(), cluster.spec(), 0, explicit);
    let framework = id(&mut first).await;
    let offered = offer(&mut first).await;
    first.handle.launch(&offered, vec![task(&offered, "echo", "echo")]).await.unwrap();
    let pending = status(&mut first, |status| status.uuid.is_some()).await;
    first.handle.stop(true).await.unwrap();
    assert_eq!(first.end().await.unwrap(), End::Stopped);

    let mut next = Running::start(info(), cluster.spec(), 0, explicit);
    assert_eq!(next.next().await, Said::Reregistered(framework));
    let again = status(&mut next, |status| status.uuid.is_some()).await;
    assert_eq!((again.uuid(), again.state()), (pending.uuid(), pending.state()));
    next.handle.acknowledge(&again).await.unwrap();
    let mut running = again;
    while running.state() != TaskState::TaskRunning {
        running = status(&mut next, |status| status.uuid.is_some()).await;
        next.handle.acknowledge(&running).await.unwrap();
    }

    // Explicit and implicit reconciliation: the master answers from what it knows, for which there is nothing to acknowledge.
    let unknown = (named("never"), None);
    next.handle.reconcile(&[(named("echo"), Some(offered.agent_id.clone())), unknown]).await.unwrap();
    let reconciled = |task: &'static str| {
        move |status: &TaskStatus| {
            status.task_id.value == task
                && status.uuid.is_none()
                && status.reason == Some(Reason::Reconciliation as i32)
        }
    };
    assert_eq!(status(&mut next, reconciled("echo")).await.state(), TaskState::TaskRunning);
    let never = status(&mut next, reconciled("never")).await;
    assert_eq!(never.state(), TaskState::TaskUnknown);
    next.handle.reconcile(&[]).await.unwrap();
    status(&mut next, reconciled("echo")).await;
    next.handle.stop(false).await.unwrap();
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_restarts_finds_its_framework_again() {
    let mut cluster = Cluster::start().await;
    let mut running = Running::start(info(), cluster.spec(), 0, |driver| driver);
    let framework = id(&mut running).await;
    let offered = offer(&mut running).await;
    running.handle.launch(&offered, vec![task(&offered, "echo", "echo")]).await.unwrap();
    status(&mut running, |status| status.state() == TaskState::TaskRunning).await;

    cluster.stop_master().await;
    running.until(|said| (*said == Said::Disconnected).then_some(())).await;
    assert!(!running.handle.is_connected());
    assert!(matches!(running.handle.revive(&[]).await, Err(Error::Disconnected)));
    cluster.start_master().await;
    running.until(|said| (*said == Said::Reregistered(framework.clone())).then_some(())).await;

    // The agent comes back too, and with it the task.
    loop {
        running.handle.reconcile(&[(named("echo"), Some(offered.agent_id.clone()))]).await.unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(1), running.heard.recv()).await;
        if matches!(&answer, Ok(Some(Said::Status(status))) if status.state() == TaskState::TaskRunning) {
            break;
        }
        assert!(!matches!(answer, Ok(None)), "the driver has ended");
    }
    running.handle.kill(&named("echo"), Some(&offered.agent_id), None).await.unwrap();
    status(&mut running, |status| status.state() == TaskState::TaskKilled).await;
    running.handle.stop(false).await.unwrap();
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_that_takes_the_framework_over_ends_this_one() {
    let cluster = Cluster::start().await;
    let mut first = Running::start(info(), cluster.spec(), 0, |driver| driver);
    let framework = id(&mut first).await;
    let mut taken = info();
    taken.id = Some(framework::v1::FrameworkId { value: framework.clone() });
    let mut second = Running::start(taken, cluster.spec(), 0, |driver| driver);
    assert_eq!(second.next().await, Said::Reregistered(framework));
    first.until(|said| matches!(said, Said::Error(why) if why.contains("failed over")).then_some(())).await;
    assert!(matches!(first.end().await, Err(Error::Ended(_))));
    offer(&mut second).await;
    second.handle.stop(false).await.unwrap();
    assert_eq!(second.end().await.unwrap(), End::TornDown);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_reserved_comes_back_in_the_next_offer_until_it_is_given_back() {
    use framework::v1::framework_info::{Capability, capability::Type};
    let cluster = Cluster::start().await;
    let mut refined = info();
    refined.principal = Some("works".into());
    refined.capabilities.push(Capability { r#type: Some(Type::ReservationRefinement as i32) });
    let mut running = Running::start(refined.clone(), cluster.spec(), 0, |driver| driver);
    id(&mut running).await;
    let plain = offer(&mut running).await;
    let wanted = Resources::offered(&plain).unwrap().find(&"cpus:0.25".parse().unwrap(), "test").unwrap();
    let reserved = wanted.reserved_as("test", Some("works"));
    running.handle.reserve(&plain, reserved.to_list()).await.unwrap();
    let with = offer(&mut running).await;
    let held = Resources::offered(&with).unwrap();
    assert_eq!(held.reserved_for("test"), reserved, "{held}");

    let give_back = operation::unreserve(reserved.to_list());
    running.handle.accept(&[with], vec![give_back], Some(Duration::ZERO)).await.unwrap();
    let without = offer(&mut running).await;
    assert!(Resources::offered(&without).unwrap().reserved_for("test").is_empty());
    running.handle.decline(&[without], None).await.unwrap();

    // It works for others from now on.
    let mut changed = refined;
    changed.roles = vec!["other".into()];
    running.handle.update_framework(changed, &[], None).await.unwrap();
    let other = offer(&mut running).await;
    assert_eq!(other.allocation_info.unwrap().role(), "other");
    running.handle.request(Vec::new()).await.unwrap();
    running.handle.stop(false).await.unwrap();
    assert_eq!(running.end().await.unwrap(), End::TornDown);
    cluster.end().await;
}
