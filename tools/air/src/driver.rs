//! The medium as a thread with a UDP socket.

use crate::frame::Frame;
use crate::medium::{Event, Medium};
use crate::pcap::Capture;
use crate::roster::Roster;
use crate::scene::Scene;
use crate::stats::Stats;
use lowpan::Eui64;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest wait for a frame, so that stopping is noticed.
const PATIENCE: Duration = Duration::from_millis(50);

/// Settings of a medium.
#[derive(Clone, Debug)]
pub struct AirConfig {
    /// Where radios send to.
    pub listen: SocketAddr,
    /// What surrounds the radios; its clock begins with [`Air::start`].
    pub scene: Scene,
    /// What decides the fate of frames.
    pub seed: u64,
    /// Where to write what was on the air, heard or not.
    pub pcap: Option<PathBuf>,
}

/// The medium cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AirError {
    /// The port.
    #[error("medium: cannot listen at {0}: {1}")]
    Bind(SocketAddr, io::Error),
    /// The capture.
    #[error("capture {0}: {1}")]
    Capture(PathBuf, io::Error),
}

/// A running medium; dropping it stops it.
pub struct Air {
    /// Where radios send to.
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    medium: Arc<Mutex<Medium>>,
    thread: Option<JoinHandle<()>>,
}

impl Air {
    /// Starts a medium.
    pub fn start(config: AirConfig) -> Result<Self, AirError> {
        let bind = |error| AirError::Bind(config.listen, error);
        let socket = UdpSocket::bind(config.listen).map_err(bind)?;
        let address = socket.local_addr().map_err(bind)?;
        let capture = match &config.pcap {
            None => None,
            Some(path) => {
                Some(Capture::create(path).map_err(|error| AirError::Capture(path.clone(), error))?)
            }
        };
        let stop = Arc::new(AtomicBool::new(false));
        let medium = Arc::new(Mutex::new(Medium::new(config.scene, config.seed)));
        let worker = Worker {
            socket,
            medium: medium.clone(),
            capture,
            roster: Roster::default(),
            started: Instant::now(),
            stop: stop.clone(),
        };
        let thread = std::thread::spawn(move || worker.work());
        Ok(Self { address, stop, medium, thread: Some(thread) })
    }

    /// What was carried so far.
    pub fn stats(&self) -> Stats {
        lock(&self.medium).stats()
    }

    /// What each radio sent and heard so far, under the EUI-64 that it showed first, if it has sent anything.
    pub fn radios(&self) -> Vec<(Option<Eui64>, Stats)> {
        lock(&self.medium).radios().map(|(_, name, stats)| (name, stats)).collect()
    }
}

impl Drop for Air {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it has no result
        }
    }
}

struct Worker {
    socket: UdpSocket,
    medium: Arc<Mutex<Medium>>,
    capture: Option<Capture>,
    roster: Roster,
    started: Instant,
    stop: Arc<AtomicBool>,
}

impl Worker {
    fn now_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    fn work(mut self) {
        let mut buffer = [0; 2048];
        let medium = self.medium.clone();
        while !self.stop.load(Relaxed) {
            let wait = match lock(&medium).next_us() {
                Some(at_us) => Duration::from_micros(at_us.saturating_sub(self.now_us())).min(PATIENCE),
                None => PATIENCE,
            };
            if !wait.is_zero() {
                // A time-out of zero means to wait for ever.
                let _ = self.socket.set_read_timeout(Some(wait.max(Duration::from_micros(10))));
                match self.socket.recv_from(&mut buffer) {
                    Ok((len, from)) => self.received(&mut lock(&medium), &buffer[..len], from),
                    Err(error) if is_timeout(&error) => {}
                    Err(error) => tracing::debug!(%error, "medium: cannot receive"),
                }
            }
            self.carry(&mut lock(&medium));
        }
        if let Some(Err(error)) = self.capture.as_mut().map(Capture::flush) {
            tracing::warn!(%error, "the capture is incomplete");
        }
    }

    fn received(&mut self, medium: &mut Medium, datagram: &[u8], address: SocketAddr) {
        let Some(frame) = Frame::read(datagram) else { return medium.refuse() };
        if let Some(radio) = self.roster.sender(medium, address, &frame)
            && !frame.mac().is_empty()
        {
            medium.send(radio, frame, self.now_us());
        }
    }

    /// Does what has become due.
    fn carry(&mut self, medium: &mut Medium) {
        let now_us = self.now_us();
        while let Some(event) = medium.poll(now_us) {
            match event {
                Event::OnAir { frame, .. } => {
                    if let Some(Err(error)) = self.capture.as_mut().map(|capture| capture.frame(frame.mac()))
                    {
                        tracing::warn!(%error, "the capture ends here");
                        self.capture = None;
                    }
                }
                Event::Heard { to, frame, .. } => {
                    if let Some(address) = self.roster.address(to) {
                        let _ = self.socket.send_to(frame.datagram(), address); // a radio that is off hears nothing
                    }
                }
            }
        }
    }
}

fn lock(medium: &Mutex<Medium>) -> MutexGuard<'_, Medium> {
    medium.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Conditions;
    use lowpan::ether;

    #[test]
    fn radios_hear_each_other_and_junk_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let pcap = dir.path().join("air.pcap");
        let config = AirConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            scene: Conditions::PERFECT.into(),
            seed: 1,
            pcap: Some(pcap.clone()),
        };
        let air = Air::start(config).unwrap();
        let radio = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(air.address).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            socket.send(&ether::wrap(&[])).unwrap();
            socket
        };
        let (a, b) = (radio(), radio());
        a.send(b"junk").unwrap();
        a.send(&[0; 1500]).unwrap();
        a.send(&ether::wrap(b"frame")).unwrap();
        let mut buffer = [0; 200];
        let len = b.recv(&mut buffer).unwrap();
        assert_eq!(ether::unwrap(&buffer[..len]), Some(&b"frame"[..]));
        while air.stats().delivered == 0 {
            std::thread::yield_now();
        }
        assert_eq!((air.stats().frames, air.stats().refused), (1, 2));
        drop(air);
        assert_eq!(std::fs::metadata(pcap).unwrap().len(), 24 + 16 + 5);
    }

    #[test]
    fn a_capture_that_cannot_be_made_is_named() {
        let config = AirConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            scene: Conditions::PERFECT.into(),
            seed: 1,
            pcap: Some("/nonexistent/x.pcap".into()),
        };
        assert!(Air::start(config).err().unwrap().to_string().contains("/nonexistent/x.pcap"));
    }
}
