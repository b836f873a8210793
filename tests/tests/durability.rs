//! The gateway stopped at every commit of a task's life, before it and after it: afterwards the task has run once, each
//! of its updates came once, and the agent is the same.

mod support;

use framework::v1::{TaskState::*, task_status::Reason};
use std::net::UdpSocket;
use support::restarting::{Restarting, every_commit, free_tcp_port};
use support::{Follower, PLAIN, states};

/// One life; true if the gateway was stopped in it.
async fn life(stop_at: String) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let master = support::Process::start_with("master --listen 127.0.0.1:0");
    let at = master.address.unwrap();
    let (listen, udp) = (free_tcp_port(), UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let state = dir.path().join("gateway");
    let key = dir.path().join("node.key");
    support::commission("020000000000000a", &state.join("nodes.keys"), &key);
    let args = format!(
        "gateway --master {at} --listen {listen} --udp {udp} --state {} --poll-mains 1 --ack-timeout 1000",
        state.display()
    );
    let args = args.split(' ').map(str::to_owned).collect();
    let gateway = tokio::task::spawn_blocking({
        let stop_at = stop_at.clone();
        move || Restarting::start(args, stop_at)
    });
    let gateway = gateway.await.unwrap();
    let node = dir.path().join("node");
    let _node = support::Process::start_with(&format!(
        "node --gateway {udp} --state {} --key {} --board test,cpu=1,mem=128K,flash=256K --block-szx 6 --ack-timeout 1000",
        node.display(),
        key.display()
    ));
    let mut chatty = Follower::launch_at(at, "chatty", &["1"], PLAIN, |_| {}).await;
    let mut statuses = chatty.until_the_end().await;
    // Stopped while it registered, the agent loses its first id or its offers, and the master says so itself of what was
    // launched on them: nothing of that has reached the gateway. A framework launches again.
    for _ in 0..3 {
        let reason = statuses[0].reason();
        if !matches!(states(&statuses)[..], [TaskGone | TaskDropped]) {
            break;
        }
        assert!(
            matches!(reason, Reason::AgentRemoved | Reason::InvalidOffers | Reason::Reconciliation),
            "{stop_at}: {statuses:?}"
        );
        chatty.client.teardown().await.unwrap(); // it may hold an offer that it will not look at
        chatty = Follower::launch_at(at, "chatty", &["1"], PLAIN, |_| {}).await;
        statuses = chatty.until_the_end().await;
    }
    assert_eq!(states(&statuses), [TaskStarting, TaskRunning, TaskFinished], "{stop_at}: {statuses:?}");
    assert!(statuses.iter().all(|status| status.agent_id.as_ref() == Some(&chatty.agent)), "{stop_at}");
    // A message may be lost with the gateway, but a task that ran twice would have sent two.
    assert!(chatty.messages.len() <= 1, "{stop_at}: {:?}", chatty.messages);
    if gateway.restarts() == 0 {
        assert_eq!(chatty.messages, ["message 0"]);
    }
    gateway.restarts() > 0
}

async fn every(stage: &'static str) {
    let runtime = tokio::runtime::Handle::current();
    let live = move |stop_at| runtime.block_on(life(stop_at));
    tokio::task::block_in_place(|| every_commit("gateway", stage, 8, live));
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_before_any_commit_nothing_is_lost() {
    every("before").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_after_any_commit_nothing_is_lost() {
    every("after").await;
}
