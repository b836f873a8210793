//! What arrives, starts, stops and breaks.

use crate::board::WriteFault;
use crate::gateway::Crash;
use crate::plan::Fault;
use crate::words::words;
use crate::world::{Happening, Killed, World, gateway_address, master_address};
use agent_core::StorageError;
use libprocess::{Message, Upid};
use master::core::Input;

impl World {
    pub fn happens(&mut self, happening: Happening) {
        let now = self.now;
        match happening {
            Happening::ToGateway(from, bytes) => {
                self.trace.note(now, &bytes, || format!("gateway gets {} bytes from {from}", bytes.len()));
                self.gateway.datagram(from, bytes);
            }
            Happening::ToNode(at, to, bytes) => {
                // To where it was before it restarted nobody listens.
                if self.nodes[at].address == to {
                    self.trace.note(now, &bytes, || format!("node {at} gets {} bytes", bytes.len()));
                    self.nodes[at].datagram(&bytes, now);
                    self.step_node(at);
                }
            }
            Happening::Message { to_master, opened, message } => {
                let way = if to_master { &self.to_master } else { &self.to_gateway };
                if !way.is_valid(opened) {
                    self.stats.messages_lost += 1;
                } else if to_master {
                    self.feed_core(Input::Message(message));
                } else {
                    let Message { to, name, body, .. } = &message;
                    self.trace.note(now, body, || format!("{to} gets {}", words(name, body)));
                    self.gateway.message(message);
                }
            }
            Happening::Noticed { to_master, opened } => self.noticed(to_master, opened),
            Happening::Unreachable => self.gateway_exited(),
            Happening::Relink(run) => {
                if run == self.gateway.run && self.gateway.is_up() {
                    self.link_to_master();
                }
            }
            Happening::Call { session, call } => {
                if session == self.session && self.api_up && self.master.is_some() {
                    self.call(call);
                }
            }
            Happening::Event { session, event } => {
                if session == self.session && self.api_up {
                    self.scheduler_hears(&event);
                }
            }
            Happening::Refused { session } => {
                if session == self.session && !self.scheduler.subscribed {
                    self.break_api();
                }
            }
            Happening::Closed(stream) => self.feed_core(Input::Closed { stream }),
            Happening::Subscribe => self.subscribe(),
            Happening::Fetched { run, uri } => {
                if run == self.gateway.run {
                    self.fetched(uri);
                }
            }
            Happening::NodeUp(at) => self.start_node(at),
            Happening::GatewayUp => {
                if !self.gateway.is_up() {
                    self.trace.note(now, b"up", || "gateway starts".into());
                    self.start_gateway();
                }
            }
            Happening::MasterUp => {
                if self.master.is_none() {
                    self.trace.note(now, b"master", || "master starts".into());
                    self.start_master();
                }
            }
            Happening::Detected { run, there } => {
                if run == self.gateway.run && self.gateway.is_up() {
                    self.gateway.detected(there.then(|| Upid::new("master", master_address())));
                    if there {
                        self.link_to_master();
                    }
                }
            }
            Happening::Leader(there) => {
                let run = self.gateway.run;
                self.put(0, Happening::Detected { run, there });
            }
            Happening::Fault(fault, pause) => {
                if !self.calm {
                    self.trace.note(now, &[fault as u8], || format!("fault: {fault:?}"));
                    self.stats.faults += 1;
                    self.fault(fault);
                    let after = self.rng.between(1, 2 * pause);
                    self.put(after, Happening::Fault(fault, pause));
                }
            }
        }
    }

    fn noticed(&mut self, to_master: bool, opened: u64) {
        let way = if to_master { &mut self.to_master } else { &mut self.to_gateway };
        if way.opened != opened || !way.noticed() {
            return;
        }
        match to_master {
            true => {
                let run = self.gateway.run;
                self.put(1_000, Happening::Relink(run));
            }
            false => self.gateway_exited(),
        }
    }

    fn gateway_exited(&mut self) {
        self.trace.note(self.now, b"exited", || "master notices: the gateway is not there".into());
        self.feed_core(Input::Exited(gateway_address()));
    }

    fn link_to_master(&mut self) {
        if !self.to_master.link(self.master.is_some(), self.now) {
            let run = self.gateway.run;
            self.put(1_000, Happening::Relink(run));
        }
    }

    fn subscribe(&mut self) {
        if self.api_up {
            return;
        }
        if self.master.is_none() {
            return self.put(1_000, Happening::Subscribe);
        }
        self.session += 1;
        (self.api_up, self.stream) = (true, None);
        let call = Box::new(self.scheduler.subscribe());
        let session = self.session;
        self.put(1, Happening::Call { session, call });
    }

    /// The scheduler's connection is gone. The master notices later.
    pub fn break_api(&mut self) {
        if !self.api_up {
            return;
        }
        self.api_up = false;
        self.session += 1;
        self.scheduler.lost();
        if let Some(stream) = self.stream.take() {
            let after = self.rng.scale(1, 20_000);
            self.put(after, Happening::Closed(stream));
        }
        let after = self.rng.scale(10, 5_000);
        self.put(after, Happening::Subscribe);
    }

    fn start_node(&mut self, at: usize) {
        if self.nodes[at].is_up() {
            return;
        }
        let up = self.nodes[at].boot(self.now, &mut self.rng);
        self.trace.note(self.now, &[at as u8, u8::from(up)], || format!("node {at} starts: {up}"));
        if !up {
            self.put(1_000, Happening::NodeUp(at));
        }
    }

    pub fn stop_node(&mut self, at: usize) {
        self.trace.note(self.now, &[at as u8], || format!("node {at} goes down"));
        self.stats.node_crashes += 1;
        self.nodes[at].crash(self.now);
        let after =
            if self.rng.chance(100) { self.rng.scale(60_000, 900_000) } else { self.rng.scale(100, 60_000) };
        self.put(after, Happening::NodeUp(at));
    }

    /// The gateway's process is gone, and its sockets with it.
    pub fn stop_gateway(&mut self) {
        self.trace.note(self.now, b"down", || "gateway goes down".into());
        self.stats.gateway_crashes += 1;
        self.gateway.crash();
        let arrives = self.rng.chance(500);
        self.to_master.owner_gone(arrives);
        self.break_way(false, 50);
        let after =
            if self.rng.chance(100) { self.rng.scale(60_000, 300_000) } else { self.rng.scale(100, 30_000) };
        self.put(after, Happening::GatewayUp);
    }

    fn break_way(&mut self, to_master: bool, notice_ms: u64) {
        let way = if to_master { &mut self.to_master } else { &mut self.to_gateway };
        if way.breaks() {
            let opened = way.opened;
            let after = self.rng.between(1, notice_ms);
            self.put(after, Happening::Noticed { to_master, opened });
        }
    }

    pub fn stop_master(&mut self) {
        self.stats.master_crashes += 1;
        self.master = None;
        self.master_armed = None;
        self.to_gateway.owner_gone(false);
        self.break_way(true, 50);
        self.break_api();
        let after = self.rng.scale(100, 30_000);
        self.put(after, Happening::MasterUp);
    }

    fn fault(&mut self, fault: Fault) {
        let now = self.now;
        let at = self.rng.below(self.nodes.len() as u64) as usize;
        match fault {
            Fault::NodeCrash => {
                if self.nodes[at].is_up() {
                    self.stop_node(at);
                }
            }
            Fault::NodeCrashAtWrite => {
                let kinds = [WriteFault::CrashBefore, WriteFault::CrashAfter, WriteFault::Torn];
                let (writes, kind) = (self.rng.below(12), self.rng.pick(&kinds));
                self.nodes[at].arm(writes, kind);
            }
            Fault::NodeStorage => {
                let error = self.rng.pick(&[StorageError::Full, StorageError::Failed]);
                let writes = self.rng.below(12);
                self.nodes[at].arm(writes, WriteFault::Error(error));
            }
            Fault::GatewayCrash => {
                if self.gateway.is_up() {
                    self.stop_gateway();
                }
            }
            Fault::GatewayCrashAtCommit => {
                let kinds = [Crash::Before, Crash::After, Crash::Between];
                self.gateway.armed = Some((self.rng.below(12), self.rng.pick(&kinds)));
            }
            Fault::Outage => {
                let until = now + self.rng.scale(1_000, 600_000);
                let how = self.rng.below(3);
                if how != 1 {
                    self.nodes[at].deaf_until = until;
                }
                if how != 2 {
                    self.nodes[at].mute_until = until;
                }
            }
            Fault::LinkBreak => {
                let until = if self.rng.chance(500) { now } else { now + self.rng.scale(100, 120_000) };
                let notice = self.rng.pick(&[10, 1_000, 30_000]);
                let which = self.rng.below(3);
                for to_master in [true, false] {
                    if which != u64::from(to_master) {
                        let way = if to_master { &mut self.to_master } else { &mut self.to_gateway };
                        way.cut_until = until;
                        self.break_way(to_master, notice);
                    }
                }
            }
            Fault::LinkStall => {
                let until = now + self.rng.scale(1_000, 120_000);
                let way = if self.rng.chance(500) { &mut self.to_master } else { &mut self.to_gateway };
                way.stalled_until = until;
            }
            Fault::NoLeader => {
                let after = self.rng.scale(1, 20_000);
                self.put(0, Happening::Leader(false));
                self.put(after, Happening::Leader(true));
            }
            Fault::MasterCrash => {
                if self.master.is_some() {
                    self.kept.clear();
                    self.stop_master();
                }
            }
            Fault::MasterRestart => {
                if self.master.is_some() {
                    self.stop_master();
                }
            }
            Fault::MasterRestartAtCommit => {
                let kinds = [Killed::BeforeCommit, Killed::AfterCommit];
                self.master_armed = Some(self.rng.pick(&kinds));
            }
            Fault::ApiBreak => self.break_api(),
        }
    }

    /// Everything is mended: what is down comes up, what is cut is joined, nothing breaks any more.
    pub fn heal(&mut self) {
        self.trace.note(self.now, b"heal", || "everything is mended".into());
        self.calm = true;
        self.scheduler.calm = true;
        // Without pings they look for their master after 75 s, and try at least each minute.
        self.scheduler.all_back_ms = self.now + 900_000;
        self.gateway.armed = None;
        self.master_armed = None;
        for way in [&mut self.to_master, &mut self.to_gateway] {
            (way.cut_until, way.stalled_until) = (0, 0);
        }
        for at in 0..self.nodes.len() {
            (self.nodes[at].deaf_until, self.nodes[at].mute_until) = (0, 0);
            let failing = self.nodes[at].is_failing();
            self.nodes[at].board.borrow_mut().fault = None;
            if failing && self.nodes[at].is_up() {
                self.stop_node(at);
            }
            self.put(100, Happening::NodeUp(at));
        }
        if self.checks.stalls {
            // What was undone by messages from before is put right when every agent says once more what it has.
            self.put(600_000, Happening::Leader(false));
            self.put(601_000, Happening::Leader(true));
        }
        self.put(100, Happening::GatewayUp);
        self.put(50, Happening::MasterUp);
        self.put(1_000, Happening::Subscribe);
    }
}
