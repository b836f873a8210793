//! A process that does not stay dead.

use super::micro;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Lives at once.
const AT_ONCE: u64 = 4;
/// More commits than a life can have.
const COMMITS_MAX: u64 = 200;

/// Lives one life for each commit that `part` makes in it, and stops it there: `life` gets the place, and says whether it was
/// come to. A life has at least so many commits.
pub fn every_commit(
    part: &str,
    stage: &str,
    least: usize,
    life: impl Fn(String) -> bool + Clone + Send + 'static,
) {
    let mut stopped = 0;
    for first in (1..COMMITS_MAX).step_by(AT_ONCE as usize) {
        let lives = (first..first + AT_ONCE).map(|number| {
            let (life, stop_at) = (life.clone(), format!("{part} {stage} {number}"));
            std::thread::spawn(move || life(stop_at))
        });
        let lives: Vec<_> = lives.collect();
        let hit = lives.into_iter().map(|life| life.join().unwrap()).filter(|hit| *hit).count();
        stopped += hit;
        if hit == 0 {
            assert!(stopped >= least, "a life has more commits than {stopped}");
            println!("stopped {stage} {stopped} commits");
            return;
        }
    }
    panic!("a life never ends");
}

/// A part of the system that is started again when it stops, from then on without a place to stop at.
pub struct Restarting {
    child: Arc<Mutex<Option<Child>>>,
    starts: Arc<Mutex<u32>>,
    watcher: Option<std::thread::JoinHandle<()>>,
}

impl Restarting {
    /// Starts `micro` with these words and waits for its first line. It stops where `stop_at` says.
    pub fn start(args: Vec<String>, stop_at: String) -> Self {
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

    /// Kills it as `kill -9` does; it comes back.
    pub fn kill(&self) {
        let before = self.restarts();
        if let Some(child) = self.child.lock().unwrap().as_mut() {
            child.kill().unwrap();
        }
        while self.restarts() == before {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How often it has come back.
    pub fn restarts(&self) -> u32 {
        *self.starts.lock().unwrap()
    }
}

impl Drop for Restarting {
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

/// A TCP port that nobody has.
pub fn free_tcp_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
