//! The way to a framework's scheduler: an HTTP stream of events, or a libprocess actor that gets messages. Here it
//! comes and goes, and here events go out (src/master/framework.cpp; src/master/master.cpp `exited`).

use super::{MasterCore, Output, Timer, validation};
use crate::state::{Framework, Link};
use libprocess::Upid;
use mesos_proto::internal::{
    FrameworkErrorMessage, FrameworkRegisteredMessage, FrameworkReregisteredMessage,
};
use mesos_proto::mesos::FrameworkId;
use mesos_proto::recast;
use mesos_proto::v1::scheduler::{Event, event};
use std::net::SocketAddrV4;

impl MasterCore {
    /// Sends an event to a framework. False if its scheduler is not there.
    pub(super) fn event(&mut self, framework: &str, event: Event) -> bool {
        let Some(link) = self.frameworks.get(framework).and_then(Framework::scheduler).cloned() else {
            return false;
        };
        match link {
            Link::Http(stream) => self.outputs.push(Output::Event { stream, event: Box::new(event) }),
            Link::Driver(pid) => self.tell_driver(&pid, framework, event),
        }
        true
    }

    /// Gives a framework a new connection; the one it had is told so and ends.
    pub(super) fn connect(&mut self, id: &str, link: Link) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        let old = framework.link.replace(link.clone());
        let was_connected = std::mem::replace(&mut framework.connected, true);
        framework.active = true;
        framework.failover_ms = None;
        if let Some(old) = old.filter(|old| *old != link) {
            self.forget_link(&old, id);
            if was_connected {
                self.dismiss(&old, "Framework failed over");
            }
        }
        match link {
            Link::Http(stream) => self.by_stream.insert(stream, id.to_owned()),
            Link::Driver(pid) => {
                self.outputs.push(Output::Link(pid.addr));
                self.by_driver.insert(pid, id.to_owned())
            }
        };
    }

    /// Answers a subscription. A driver hears whether it is the first of its id's or the same as before.
    pub(super) fn say_registered(&mut self, id: &str, first: bool) {
        let framework_id = FrameworkId { value: id.to_owned() };
        let master_info = self.master_info();
        match self.frameworks.get(id).and_then(Framework::scheduler).cloned() {
            Some(Link::Http(_)) => {
                let subscribed = event::Subscribed {
                    framework_id: mesos_proto::v1::FrameworkId { value: id.to_owned() },
                    heartbeat_interval_seconds: Some(self.config.heartbeat_ms as f64 / 1000.0),
                    master_info: recast(&master_info).ok(),
                };
                let event = Event {
                    r#type: Some(event::Type::Subscribed as i32),
                    subscribed: Some(subscribed),
                    ..Default::default()
                };
                self.event(id, event);
            }
            Some(Link::Driver(pid)) if first => {
                self.send(&pid, &FrameworkRegisteredMessage { framework_id, master_info });
            }
            Some(Link::Driver(pid)) => {
                self.send(&pid, &FrameworkReregisteredMessage { framework_id, master_info });
            }
            None => {}
        }
    }

    /// A framework is no longer found by this link. Another may have come to be.
    pub(super) fn forget_link(&mut self, link: &Link, id: &str) {
        match link {
            Link::Http(stream) => {
                self.by_stream.remove(stream);
            }
            Link::Driver(pid) => self.by_driver.retain(|known, owner| known != pid || owner != id),
        }
    }

    /// Says an error and ends a stream. A driver stops by itself when it hears one.
    pub(super) fn dismiss(&mut self, link: &Link, why: &str) {
        match link {
            Link::Http(stream) => {
                let event = Event {
                    r#type: Some(event::Type::Error as i32),
                    error: Some(event::Error { message: why.to_owned() }),
                    ..Default::default()
                };
                self.outputs.push(Output::Event { stream: stream.clone(), event: Box::new(event) });
                self.outputs.push(Output::Close { stream: stream.clone() });
            }
            Link::Driver(pid) => self.send(pid, &FrameworkErrorMessage { message: why.to_owned() }),
        }
    }

    pub(super) fn heartbeat_later(&mut self, stream: String) {
        self.timers.insert((self.now_ms + self.config.heartbeat_ms.max(1), Timer::Heartbeat(stream)));
    }

    pub(super) fn heartbeat(&mut self, stream: String) {
        if !self.by_stream.contains_key(&stream) {
            return;
        }
        let event = Event { r#type: Some(event::Type::Heartbeat as i32), ..Default::default() };
        self.outputs.push(Output::Event { stream: stream.clone(), event: Box::new(event) });
        self.heartbeat_later(stream);
    }

    pub(super) fn stream_closed(&mut self, stream: &str) {
        if let Some(id) = self.by_stream.remove(stream) {
            self.lose_scheduler(&id);
        }
    }

    /// The connection to an address is gone, and the drivers there.
    pub(super) fn drivers_exited(&mut self, address: SocketAddrV4) {
        let here = |(pid, _): &(&Upid, &String)| pid.addr == address;
        let gone: Vec<_> =
            self.by_driver.iter().filter(here).map(|(pid, id)| (pid.clone(), id.clone())).collect();
        for (pid, id) in gone {
            self.authenticated.remove(&pid);
            if self.frameworks.get(&id).is_some_and(|framework| framework.connected) {
                self.lose_scheduler(&id);
            }
        }
    }

    fn lose_scheduler(&mut self, id: &str) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        framework.connected = false;
        framework.active = false;
        tracing::info!(framework = id, "framework disconnected");
        self.allocator.set_framework_active(id, false);
        self.rescind_framework(id, false);
        self.await_failover(id);
    }

    /// A framework that is not there is removed unless it comes back in its time. One that was here before a restart has
    /// at least as long as agents have: it did not go by its own doing.
    pub(super) fn await_failover(&mut self, id: &str) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        let least = if framework.recovered() { self.config.agent_reregister_timeout_ms } else { 0 };
        let due = self.now_ms + validation::failover_ms(&framework.info).max(least);
        framework.failover_ms = Some(due);
        self.timers.insert((due, Timer::Failover(id.to_owned())));
    }
}
