//! Processes killed at the worst moments, frames lost, doubled and reordered: no update is lost or doubled, no task
//! runs twice.

mod support;

use framework::v1::{self, TaskState::*, task_status::Reason};
use std::time::Duration;
use support::{Follower, PLAIN, System, WITH_SENSOR, states};

/// No document of these tasks is longer, bytes.
const DOCUMENT: u64 = 16;

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_killed_in_mid_transfer_goes_on_with_it() {
    let mut system = System::start(0.05, 0.0, 0.0);
    let mut sense = Follower::launch(&system, "sense", &["2", "10"], WITH_SENSOR).await;
    let agent = sense.status().await;
    sense.client.acknowledge(&agent).await.unwrap();
    assert_eq!(agent.state(), TaskStarting);
    let got = system.in_mid_transfer("sense").await;
    system.kill_gateway();
    system.start_gateway();
    let statuses = sense.until_the_end().await;
    let known: Vec<_> = states(&statuses).into_iter().filter(|state| *state != TaskStarting).collect();
    assert_eq!(known, [TaskRunning, TaskFinished], "killed after {got} bytes");
    assert_eq!(statuses.last().unwrap().agent_id, agent.agent_id, "the agent id is the same");
    assert_eq!(sense.messages.len(), 1, "{:?}: it ran once", sense.messages);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_not_acknowledged_when_the_gateway_is_killed_comes_again_with_its_uuid() {
    let mut system = System::start(0.05, 0.0, 0.0);
    let mut spin = Follower::launch(&system, "spin", &[], PLAIN).await;
    let first = spin.status().await;
    assert_eq!(first.state(), TaskStarting);
    // Give the next update time to be stored behind the one that nobody acknowledges.
    tokio::time::sleep(Duration::from_secs(2)).await;
    system.kill_gateway();
    system.start_gateway();
    let again = spin.status().await;
    assert_eq!((again.uuid.clone(), again.state()), (first.uuid, TaskStarting));
    spin.client.acknowledge(&again).await.unwrap();
    // The first one may come more than once; the next is behind it.
    let mut running = spin.status().await;
    while running.uuid == again.uuid {
        running = spin.status().await;
    }
    assert_eq!(running.state(), TaskRunning);
    spin.client.acknowledge(&running).await.unwrap();
    spin.client.kill("spin").await.unwrap();
    assert_eq!(states(&spin.until_the_end().await), [TaskKilled]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_restarted_in_mid_transfer_resumes_where_it_was() {
    let mut system = System::start(0.05, 0.0, 0.0);
    let mut sense = Follower::launch(&system, "sense", &["2", "10"], WITH_SENSOR).await;
    let before = system.in_mid_transfer("sense").await;
    system.kill_node();
    system.start_node();
    let mut after = None;
    let end = async {
        let statuses = sense.until_the_end().await;
        (statuses, sense.messages.clone())
    };
    let watch = async {
        // The first report of the restarted node that differs shows where it went on.
        while after.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let node = system.node();
            let again = node.as_ref().is_some_and(|node| node["boot"] == 2);
            after = system.received("sense").filter(|(got, _)| again && *got > 0).map(|(got, _)| got);
            if again && system.received("sense").is_none() {
                break; // it is through already
            }
        }
    };
    let ((statuses, messages), ()) = tokio::join!(end, watch);
    assert_eq!(states(&statuses), [TaskStarting, TaskRunning, TaskFinished]);
    assert_eq!(messages.len(), 1, "{messages:?}: it ran once");
    // The image is kept, the few bytes of the document are fetched again.
    assert!(after.is_none_or(|after| after + DOCUMENT >= before), "{after:?} after {before}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_cut_off_by_its_node_is_reported_once_and_not_run_again() {
    let mut system = System::start(0.0, 0.0, 0.0);
    let mut spin = Follower::launch(&system, "spin", &[], PLAIN).await;
    for expected in [TaskStarting, TaskRunning] {
        let status = spin.status().await;
        assert_eq!(status.state(), expected);
        spin.client.acknowledge(&status).await.unwrap();
    }
    system.kill_node();
    system.start_node();
    let statuses = spin.until_the_end().await;
    assert_eq!(states(&statuses), [TaskFailed]);
    assert_eq!(statuses[0].reason(), Reason::ExecutorTerminated);
    assert!(statuses[0].message().contains("restarted"), "{:?}", statuses[0].message);
}

/// With the label it goes on, with what it kept by key.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_may_resume_goes_on_with_its_values_after_its_node_was_killed() {
    let mut system = System::start(0.0, 0.0, 0.0);
    let mut count = Follower::launch_with(&system, "count", &["6"], PLAIN, |task| {
        let label = |key: &str, value: &str| v1::Label { key: key.into(), value: Some(value.into()) };
        let labels = vec![label("resume", "true"), label("capabilities", "log,message,sleep,kv")];
        task.labels = Some(v1::Labels { labels });
        task.health_check = Some(v1::HealthCheck {
            r#type: Some(v1::health_check::Type::Command as i32),
            command: Some(v1::CommandInfo { value: Some("well".into()), ..Default::default() }),
            interval_seconds: Some(1.0),
            delay_seconds: Some(1.0),
            ..Default::default()
        });
    })
    .await;
    for expected in [TaskStarting, TaskRunning] {
        let status = count.status().await;
        assert_eq!(status.state(), expected, "{status:?}");
        count.client.acknowledge(&status).await.unwrap();
    }
    // Its check counts once a second: there is something to lose by then.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    system.kill_node();
    system.start_node();
    let statuses = count.until_the_end().await;
    let mut said = states(&statuses);
    said.dedup(); // its health is told as a state too
    assert_eq!(said, [TaskRunning, TaskFinished]);
    assert_eq!(count.messages, ["runs=6"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_percent_loss_and_duplicates_and_reordering_change_nothing_but_the_time() {
    let system = System::start(0.2, 0.1, 0.3);
    let mut chatty = Follower::launch(&system, "chatty", &["12"], PLAIN).await;
    let statuses = chatty.until_the_end().await;
    assert_eq!(states(&statuses), [TaskStarting, TaskRunning, TaskFinished]);
    let expected: Vec<String> = (0..12).map(|n| format!("message {n}")).collect();
    assert_eq!(chatty.messages, expected, "each message once and in order");
}
