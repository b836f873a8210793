//! The medium as a thread with a UDP socket.

use crate::medium::{Conditions, Medium, RadioId, Stats};
use crate::pcap::Capture;
use lowpan::{FCS_LEN, ether};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Frames on their way at once; more are lost, as in a crowded channel.
const IN_FLIGHT_MAX: usize = 65_536;
/// Longest wait for a frame, so that stopping is noticed.
const PATIENCE: Duration = Duration::from_millis(50);

/// Settings of a medium.
#[derive(Clone, Debug)]
pub struct AirConfig {
    /// Where radios send to.
    pub listen: SocketAddr,
    /// How bad it is.
    pub conditions: Conditions,
    /// What decides the fate of frames.
    pub seed: u64,
    /// Where to write what was sent, lost or not.
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
    stats: Arc<Mutex<Stats>>,
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
        let (stop, stats) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Stats::default())));
        let worker = Worker {
            socket,
            medium: Medium::new(config.conditions, config.seed),
            capture,
            radios: Vec::new(),
            by_address: HashMap::new(),
            in_flight: BTreeMap::new(),
            order: 0,
            started: Instant::now(),
            stop: stop.clone(),
            stats: stats.clone(),
        };
        let thread = std::thread::spawn(move || worker.work());
        Ok(Self { address, stop, stats, thread: Some(thread) })
    }

    /// What was carried so far.
    pub fn stats(&self) -> Stats {
        *self.stats.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
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

/// The receiver, and the datagram for it.
type Arriving = (RadioId, Arc<[u8]>);

struct Worker {
    socket: UdpSocket,
    medium: Medium,
    capture: Option<Capture>,
    radios: Vec<SocketAddr>,
    by_address: HashMap<SocketAddr, RadioId>,
    /// By time of arrival, in microseconds, and order of sending.
    in_flight: BTreeMap<(u64, u64), Arriving>,
    order: u64,
    started: Instant,
    stop: Arc<AtomicBool>,
    stats: Arc<Mutex<Stats>>,
}

impl Worker {
    fn now_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    fn work(mut self) {
        let mut buffer = [0; 2048];
        while !self.stop.load(Relaxed) {
            let wait = match self.in_flight.first_key_value() {
                Some(((at, _), _)) => Duration::from_micros(at.saturating_sub(self.now_us())).min(PATIENCE),
                None => PATIENCE,
            };
            if !wait.is_zero() {
                // A time-out of zero means to wait for ever.
                let _ = self.socket.set_read_timeout(Some(wait.max(Duration::from_micros(10))));
                match self.socket.recv_from(&mut buffer) {
                    Ok((len, from)) => self.received(&buffer[..len], from),
                    Err(error) if is_timeout(&error) => {}
                    Err(error) => tracing::debug!(%error, "medium: cannot receive"),
                }
            }
            self.deliver();
            *self.stats.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = self.medium.stats();
        }
        if let Some(Err(error)) = self.capture.as_mut().map(Capture::flush) {
            tracing::warn!(%error, "the capture is incomplete");
        }
    }

    fn received(&mut self, datagram: &[u8], from: SocketAddr) {
        let Some(frame) = ether::unwrap(datagram) else { return self.medium.refuse() };
        let radio = match self.by_address.get(&from) {
            Some(radio) => *radio,
            None => {
                let Some(radio) = self.medium.attach() else { return };
                self.by_address.insert(from, radio);
                self.radios.push(from);
                radio
            }
        };
        if frame.is_empty() {
            return;
        }
        if let Some(Err(error)) = self.capture.as_mut().map(|capture| capture.frame(frame)) {
            tracing::warn!(%error, "the capture ends here");
            self.capture = None;
        }
        let bytes: Arc<[u8]> = datagram.into();
        for delivery in self.medium.transmit(radio, frame.len() + FCS_LEN, self.now_us()) {
            if self.in_flight.len() >= IN_FLIGHT_MAX {
                self.medium.refuse();
                continue;
            }
            self.order += 1;
            self.in_flight.insert((delivery.at_us, self.order), (delivery.to, bytes.clone()));
        }
    }

    fn deliver(&mut self) {
        let now_us = self.now_us();
        while let Some(entry) = self.in_flight.first_entry().filter(|entry| entry.key().0 <= now_us) {
            let (to, bytes) = entry.remove();
            if let Some(address) = self.radios.get(to.0) {
                let _ = self.socket.send_to(&bytes, address); // a radio that is off hears nothing
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn radios_hear_each_other_and_junk_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let pcap = dir.path().join("air.pcap");
        let config = AirConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            conditions: Conditions::PERFECT,
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
            conditions: Conditions::PERFECT,
            seed: 1,
            pcap: Some("/nonexistent/x.pcap".into()),
        };
        assert!(Air::start(config).err().unwrap().to_string().contains("/nonexistent/x.pcap"));
    }
}
