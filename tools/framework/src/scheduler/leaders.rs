//! The leading master, as a driver wants to know it.

use detect::{Detector, Leader, MasterSpec};
use std::net::SocketAddrV4;

/// What the detector tells, and the last leader that it told of.
pub(super) struct Leaders {
    detector: Detector,
    leader: Leader,
}

impl Leaders {
    pub fn start(master: MasterSpec) -> Self {
        Self { detector: Detector::start(master), leader: None }
    }

    /// The leader, once there is one.
    pub async fn present(&mut self) -> SocketAddrV4 {
        loop {
            if let Some(leader) = self.leader {
                return leader;
            }
            self.leader = self.detector.changed().await;
        }
    }

    /// Comes back when another master leads. While none does, the last one may still be there.
    pub async fn changed(&mut self) {
        loop {
            let now = self.detector.changed().await;
            if now.is_some() && now != self.leader {
                self.leader = now;
                return;
            }
        }
    }
}
