//! The gateway stopped at every commit of a task's life, before it and after it: afterwards the task has run once, each
//! of its updates came once, and the agent is the same.

mod support;

use framework::v1::{TaskState::*, task_status::Reason};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Follower, PLAIN, micro, states};

/// Lives at once.
const AT_ONCE: usize = 6;
/// More commits than a life can have.
const COMMITS_MAX: u64 = 200;

/// A gateway that is started again when it stops, from then on without a place to stop at.
struct Gateway {
    child: Arc<Mutex<Option<Child>>>,
    starts: Arc<Mutex<u32>>,
    watcher: Option<std::thread::JoinHandle<()>>,
}

impl Gateway {
    fn start(args: Vec<String>, stop_at: String) -> Self {
        let (child, starts) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(0)));
        let spawn = move |stop_at: &str| {
            let mut child = micro()
                .args(&args)
                .env("MICRO_TEST_STOP_AT", stop_at)
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            child
        };
        *child.lock().unwrap() = Some(spawn(&stop_at));
        let (held, count) = (child.clone(), starts.clone());
        let watcher = std::thread::spawn(move || {
            loop {
                match held.lock().unwrap().as_mut() {
                    None => return,
                    Some(child) => {
                        if child.try_wait().unwrap().is_some() {
                            *count.lock().unwrap() += 1;
                            *child = spawn("");
                        }
                    }
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self { child, starts, watcher: Some(watcher) }
    }

    fn restarts(&self) -> u32 {
        *self.starts.lock().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            let _ = child.kill(); // it may have ended
            let _ = child.wait();
        }
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}

fn free_tcp_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

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
        move || Gateway::start(args, stop_at)
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

async fn every(stage: &str) {
    let mut stopped = 0;
    for first in (1..COMMITS_MAX).step_by(AT_ONCE) {
        let lives = (first..first + AT_ONCE as u64)
            .map(|number| tokio::spawn(life(format!("gateway {stage} {number}"))));
        let mut whole = 0;
        for life in lives.collect::<Vec<_>>() {
            match life.await.unwrap() {
                true => stopped += 1,
                false => whole += 1,
            }
        }
        if whole == AT_ONCE {
            assert!(stopped >= 8, "a life has more commits than {stopped}");
            println!("stopped {stage} {stopped} commits");
            return;
        }
    }
    panic!("a life never ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_before_any_commit_nothing_is_lost() {
    every("before").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_after_any_commit_nothing_is_lost() {
    every("after").await;
}
