//! What a framework may ask of a task besides to run: messages both ways, a stop that it notices, checks, time limits.

mod support;

use framework::v1::{self, TaskState, task_status::Reason};
use support::{Follower, PLAIN, System, states};

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_both_ways_and_a_task_says_goodbye() {
    let system = System::start(0.05, 0.01, 0.1);
    let mut follower = Follower::launch_with(&system, "echo", &[], PLAIN, |task| {
        task.data = Some(b"the data".to_vec());
        let grace = v1::DurationInfo { nanoseconds: 30_000_000_000 };
        task.kill_policy = Some(v1::KillPolicy { grace_period: Some(grace) });
    })
    .await;
    follower.until_running().await;
    follower.message(b"ping").await;
    follower.until_message("ping").await;
    // More than a frame has room for, and so in blocks each way.
    let long: String = (0..64).map(|number| format!("block {number:2}")).collect();
    assert_eq!(long.len(), 512);
    follower.message(long.as_bytes()).await;
    follower.until_message(&long).await;
    follower.kill().await;
    let statuses = follower.until_the_end().await;
    assert_eq!(states(&statuses).last(), Some(&TaskState::TaskKilled));
    follower.until_message("bye").await;
    let log = system.ask("/logs?task=echo&offset=0").unwrap();
    assert_eq!(log["data"], "the data");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_not_well_is_told_and_ended() {
    let system = System::start(0.05, 0.01, 0.1);
    let mut follower = Follower::launch_with(&system, "sick", &["2500"], PLAIN, |task| {
        task.health_check = Some(v1::HealthCheck {
            r#type: Some(v1::health_check::Type::Command as i32),
            command: Some(v1::CommandInfo { value: Some("well".into()), ..Default::default() }),
            delay_seconds: Some(0.0),
            interval_seconds: Some(1.0),
            consecutive_failures: Some(2),
            grace_period_seconds: Some(0.0),
            ..Default::default()
        });
    })
    .await;
    let statuses = follower.until_the_end().await;
    let healthy: Vec<_> = statuses.iter().filter_map(|status| status.healthy).collect();
    assert_eq!(healthy, [true, false, false]);
    let last = statuses.last().unwrap();
    assert_eq!((last.state(), last.healthy), (TaskState::TaskKilled, Some(false)));
    assert_eq!(statuses[statuses.len() - 2].reason(), Reason::TaskHealthCheckStatusUpdated);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_ends_with_its_time() {
    let system = System::start(0.0, 0.0, 0.0);
    let mut follower = Follower::launch_with(&system, "spin", &[], PLAIN, |task| {
        task.max_completion_time = Some(v1::DurationInfo { nanoseconds: 1_500_000_000 });
    })
    .await;
    let statuses = follower.until_the_end().await;
    let last = statuses.last().unwrap();
    assert_eq!((last.state(), last.reason()), (TaskState::TaskFailed, Reason::MaxCompletionTimeReached));
}
