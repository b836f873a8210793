//! What a node tells of itself to whoever may read: resources for ordinary CoAP clients, some of which can be observed
//! (RFC 6690, RFC 7641). Reading changes nothing.

use super::*;
use crate::wire::Asked;
use alloc::string::String;
use core::fmt::Write;
use node_coap::{Block, Method, Request, Response, serve_block};

/// Observations at once; one more is answered like a read.
pub(super) const OBSERVERS_MAX: usize = 4;
/// Content-Format application/link-format (RFC 6690 §7.3).
const LINK_FORMAT: u16 = 40;
/// Content-Format application/json (RFC 7252 §12.3).
const JSON: u16 = 50;

/// What can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    Core,
    Node,
    Tasks,
    Usage,
}

impl Resource {
    const ALL: [Self; 4] = [Self::Core, Self::Node, Self::Tasks, Self::Usage];

    fn path(self) -> &'static str {
        match self {
            Self::Core => ".well-known/core",
            Self::Node => "node",
            Self::Tasks => "tasks",
            Self::Usage => "usage",
        }
    }

    /// Least time between two notifications, milliseconds; `None` if it cannot be observed.
    fn pause_ms(self) -> Option<u64> {
        match self {
            Self::Core | Self::Node => None,
            Self::Tasks => Some(1_000),
            Self::Usage => Some(10_000),
        }
    }
}

/// Somebody who is told of changes.
#[derive(Debug)]
pub(super) struct Observer {
    pub asked: Asked,
    resource: Resource,
    szx: u8,
    /// Grows with each notification.
    number: u32,
    told: u32,
    next_ms: u64,
}

impl<O: Os> Agent<O> {
    #[inline(never)] // seldom called, and its frame is large
    pub(super) fn read_by(&mut self, mut asked: Asked, request: &Request, now: u64) {
        let Some(resource) = Resource::ALL.into_iter().find(|one| one.path() == request.path) else {
            return self.wire.answer_code(asked, Code::NOT_FOUND, now);
        };
        if request.method != Method::Get {
            return self.wire.answer_code(asked, Code::METHOD_NOT_ALLOWED, now);
        }
        if request.block1.is_some() {
            // A critical option where it has no meaning (RFC 7252 §5.4.1): a GET has no body.
            return self.wire.answer_code(asked, Code::BAD_OPTION, now);
        }
        // One frame each, whatever the reader would take.
        let most = self.os.inventory().block_szx.min(6);
        let block = request.block2.unwrap_or(Block { num: 0, more: false, szx: most });
        let szx = block.szx.min(most);
        let block = Block { num: block.num << (block.szx - szx), more: false, szx };
        let (text, told) = self.text_of(resource);
        let mut response = serve(resource, &text, told, block);
        if request.observe == Some(1) || request.observe == Some(0) {
            // The same token again renews an observation or ends it.
            self.observers.retain(|held| !held.asked.same_token(&asked));
        }
        match resource.pause_ms().filter(|_| request.observe == Some(0)) {
            Some(pause_ms) if !self.observers.is_full() => {
                response.observe = Some(1);
                self.wire.answer(&mut asked, &response, now);
                let observer = Observer { asked, resource, szx, number: 1, told, next_ms: now + pause_ms };
                let _ = self.observers.push(observer); // there is room
            }
            _ => self.wire.answer(&mut asked, &response, now),
        }
    }

    /// Tells observers what has changed.
    #[inline(never)] // seldom called, and its frame is large
    pub(super) fn notify(&mut self, now: u64) {
        for at in 0..self.observers.len() {
            let Observer { resource, told, next_ms, szx, .. } = self.observers[at];
            let Some(pause_ms) = resource.pause_ms().filter(|_| next_ms <= now) else { continue };
            let (text, hash) = self.text_of(resource);
            let observer = &mut self.observers[at];
            observer.next_ms = now + pause_ms;
            if hash == told {
                continue;
            }
            observer.told = hash;
            observer.number = (observer.number + 1) & 0xff_ffff;
            let mut response = serve(resource, &text, hash, Block { num: 0, more: false, szx });
            response.observe = Some(observer.number);
            self.wire.answer(&mut observer.asked, &response, now);
        }
    }

    pub(super) fn next_notification(&self) -> u64 {
        self.observers.iter().map(|held| held.next_ms).min().unwrap_or(u64::MAX)
    }

    /// What a resource says now, and a number that is another one when it says something else.
    fn text_of(&mut self, resource: Resource) -> (String, u32) {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = match resource {
            Resource::Core => Resource::ALL.into_iter().skip(1).try_for_each(|one| {
                let comma = if text.is_empty() { "" } else { "," };
                let observable = if one.pause_ms().is_some() { ";obs" } else { "" };
                write!(text, "{comma}</{}>;ct={JSON}{observable}", one.path())
            }),
            Resource::Node => self.write_node(&mut text),
            Resource::Tasks => self.write_tasks(&mut text),
            Resource::Usage => self.write_usage(&mut text),
        };
        // FNV-1a.
        let hash = text
            .bytes()
            .fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        (text, hash)
    }

    fn write_node(&self, text: &mut String) -> core::fmt::Result {
        let has = self.os.inventory();
        text.write_str("{\"eui64\":\"")?;
        hex(text, &self.os.eui64())?;
        write!(
            text,
            "\",\"board\":\"{}\",\"cpu\":{},\"mem\":{},\"flash\":{},\"sensors\":{},\"leds\":{},",
            has.board, has.cpu_permille, has.mem_bytes, has.flash_bytes, has.sensors, has.leds
        )?;
        if let Power::Battery(percent) = self.os.power() {
            write!(text, "\"battery\":{percent},")?;
        }
        let registered = matches!(self.link, Link::Up { .. });
        write!(text, "\"boot\":{},\"registered\":{registered},\"tasks\":{}}}", self.boot, self.tasks.len())
    }

    fn write_tasks(&self, text: &mut String) -> core::fmt::Result {
        text.write_char('[')?;
        for (at, task) in self.tasks.iter().enumerate() {
            let launch = &task.kept.launch;
            let state = match task.kept.phase {
                Phase::Fetching => "fetching",
                Phase::Running => "running",
                Phase::Ended => "ended",
            };
            let comma = if at > 0 { "," } else { "" };
            write!(text, "{comma}{{\"task\":{},\"state\":\"{state}\",", launch.task)?;
            write!(text, "\"cpu\":{},\"mem\":{},\"image\":\"", launch.cpu_permille, launch.mem_bytes)?;
            hex(text, &launch.digest)?;
            text.write_str("\"}")?;
        }
        text.write_char(']')
    }

    fn write_usage(&mut self, text: &mut String) -> core::fmt::Result {
        text.write_char('[')?;
        for at in 0..self.tasks.len() {
            let usage = Self::usage_of(&mut self.os, &self.tasks[at]);
            let comma = if at > 0 { "," } else { "" };
            write!(text, "{comma}{{\"task\":{},\"cpu_ms\":{},", usage.task, usage.cpu_ms)?;
            write!(text, "\"granted_ms\":{},\"mem\":{}}}", usage.granted_ms, usage.mem_bytes)?;
        }
        text.write_char(']')
    }
}

fn serve(resource: Resource, text: &str, hash: u32, block: Block) -> Response {
    let mut response = serve_block(text.as_bytes(), &hash.to_be_bytes(), Some(block));
    if response.code == Code::CONTENT {
        response.format = Some(if resource == Resource::Core { LINK_FORMAT } else { JSON });
    }
    if block.num == 0 && response.block2.is_some_and(|block| !block.more) {
        response.block2 = None; // all of it
    }
    response
}

fn hex(text: &mut String, bytes: &[u8]) -> core::fmt::Result {
    bytes.iter().try_for_each(|byte| write!(text, "{byte:02x}"))
}
