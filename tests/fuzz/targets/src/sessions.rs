//! The gateway's sessions, whose nodes are strangers. Two of them have keys: what is behind the keys is to be survived
//! too.

use crate::rig::credential;
use crate::script::{Script, first, number};
use gateway::bridge::{NodeId, ToNode};
use gateway::session::{Config, Keyring, Output, Sessions};
use gateway::store::{Records, Table, Write};
use node_coap::message::DATAGRAM_MAX;
use node_coap::{Code, Endpoint, Event, Params, Request, RequestId, Response, Sort};
use node_oscore::{Binding, Context};
use node_proto::limits::VERSION;
use node_proto::{Arch, Inventory, Kind, Power, Register, Runtimes, encode, paths};
use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};

/// Commands that wait for one node at most: see the sessions' `MAILBOX_MAX`.
const MAILBOX_MAX: usize = 4 * 64;
/// Resources that there are, and one that there is not.
const PATHS: [&str; 10] = ["r", "p", "s", "m", "l", "i/1", "i/2", "d/1", "d/2", "x"];

fn address(port: u8) -> SocketAddr {
    (Ipv6Addr::LOCALHOST, 7_000 + u16::from(port)).into()
}

fn eui64(at: u8) -> [u8; 8] {
    [2, 0, 0, 0, 0, 0, 0, at]
}

/// A node as the fuzzer drives it.
struct Node {
    at: u8,
    port: u8,
    coap: Endpoint<()>,
    oscore: Option<Context>,
    sent: Option<(Request, Binding)>,
    /// The push that is not answered.
    asked: Option<(RequestId, Option<Binding>)>,
}

impl Node {
    fn new(at: u8, secure: bool) -> Self {
        let keys = secure.then(|| credential(eui64(at), &[at]).node_keys()).flatten();
        let context = |keys| {
            let mut context = Context::new(keys, 0, Some(node_oscore::Window::default()), [9; 8]);
            context.reserved(1 << 30);
            context
        };
        let coap = Endpoint::new(Params::default(), at.into());
        Self { at, port: at, coap, oscore: keys.map(context), sent: None, asked: None }
    }

    fn ask(&mut self, request: Request, now: u64) {
        self.coap.cancel(());
        let outer = match &mut self.oscore {
            None => request,
            Some(context) => {
                let Ok((outer, binding)) = context.protect_request(&request) else { return };
                self.sent = Some((request, binding));
                outer
            }
        };
        let _ = self.coap.request((), &outer, now);
    }

    fn register(&mut self, bytes: &[u8], now: u64) {
        let field = |at: usize| bytes.get(at).copied().unwrap_or_default();
        let inventory = Inventory {
            cpu_permille: 1000,
            mem_bytes: 64 << 10,
            flash_bytes: 1 << 20,
            sensors: 0,
            leds: 0,
            power: if field(0) & 1 == 0 { Power::Mains } else { Power::Battery(50) },
            arch: Arch::Host,
            runtimes: Runtimes(Runtimes::WASM),
            block_szx: 2,
            board: "test".try_into().unwrap_or_default(),
        };
        let eui64 = eui64(if field(1) == 255 { 9 } else { self.at });
        let (boot, epoch, seen) =
            (field(2).into(), field(3).into(), number(bytes.get(4..).unwrap_or_default()));
        let register = Register { version: VERSION, eui64, boot, epoch, seen, inventory };
        self.ask(Request::post(paths::REGISTER, &encode(&register).unwrap_or_default()), now);
    }

    fn take(&mut self, bytes: &[u8], now: u64) {
        let Some(mut incoming) = self.coap.read((), bytes) else { return };
        let mut binding = None;
        if let Some(context) = &mut self.oscore {
            match self.coap.sort((), &incoming) {
                Sort::Request(request) => {
                    let Ok(opened) = context.open_request(request) else { return };
                    binding = Some(opened.binding);
                    incoming = incoming.unwrapped_request(opened.request);
                }
                Sort::Response(_, response) => {
                    let Some((_, binding)) = &self.sent else { return };
                    let inner = context.open_response(response, binding);
                    incoming = incoming.unwrapped_response(inner.expect("what the gateway sends verifies"));
                }
                _ => {}
            }
        }
        self.coap.take((), incoming, now);
        while let Some(event) = self.coap.poll_event() {
            match event {
                Event::Request { id, .. } => self.asked = Some((id, binding.take())),
                Event::Response { response, .. } if !response.echo.is_empty() => {
                    let Some((request, _)) = self.sent.take().filter(|(sent, _)| sent.echo.is_empty()) else {
                        continue;
                    };
                    self.ask(Request { echo: response.echo, ..request }, now);
                }
                _ => {}
            }
        }
    }

    fn answer(&mut self, response: &Response, now: u64) {
        let Some((id, binding)) = self.asked.take() else { return };
        let outer = match (&self.oscore, binding) {
            (Some(context), Some(binding)) => context.protect_response(response, binding),
            _ => response.clone(),
        };
        let _ = self.coap.respond((), id, &outer, now);
    }
}

/// The sessions, their disk and their nodes.
struct World {
    insecure: bool,
    sessions: Sessions,
    disk: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    nodes: [Node; 2],
    now: u64,
    last: Vec<u8>,
}

fn keyring(which: u8) -> Keyring {
    let known = [1, 2].into_iter().filter(|at| which & at != 0);
    let credentials: Vec<_> = known.map(|at| credential(eui64(at), &[at])).collect();
    let revoked = if which & 4 != 0 { credentials.iter().map(|held| held.kid).collect() } else { Vec::new() };
    Keyring { credentials, revoked }
}

impl World {
    fn boot(insecure: bool, records: &Records, now: u64) -> Sessions {
        let config = Config { insecure, nodes_max: 2, ..Config::default() };
        let mut sessions = Sessions::new(config, records, 5 + now, now);
        sessions.set_keys(keyring(3), now);
        sessions
    }

    /// What passes until nothing does.
    fn settle(&mut self) {
        for _ in 0..8 {
            for node in &mut self.nodes {
                while let Some((_, bytes)) = node.coap.poll_transmit() {
                    self.sessions.handle_datagram(address(node.port), &bytes, self.now);
                    self.last = bytes;
                }
            }
            let mut came = false;
            while let Some(output) = self.sessions.poll_output() {
                match output {
                    Output::Transmit(to, bytes) => {
                        assert!(bytes.len() <= DATAGRAM_MAX);
                        came = true;
                        for node in self.nodes.iter_mut().filter(|node| address(node.port) == to) {
                            node.take(&bytes, self.now);
                        }
                    }
                    Output::Write(Write::Put(table, key, value)) => {
                        drop(self.disk.insert((table, key), value))
                    }
                    Output::Write(Write::Delete(table, key)) => drop(self.disk.remove(&(table, key))),
                    Output::Load(1) => self.sessions.add_image(1, vec![7; 200].into()),
                    Output::Load(handle) => self.sessions.no_image(handle),
                    Output::Event(id, _) => {
                        assert!(self.insecure || (id.0[..7] == eui64(0)[..7]), "a stranger")
                    }
                }
            }
            if !came {
                break;
            }
        }
        for node in &self.nodes {
            let view = self.sessions.view(NodeId(eui64(node.at)), self.now);
            assert!(view.is_none_or(|view| view.mailbox <= MAILBOX_MAX), "a mailbox grows");
        }
    }

    fn order(&mut self, node: u8, kind: u8, bytes: &[u8]) {
        let task = u16::from(first(bytes).0 % 80);
        let order = match kind % 4 {
            0 => ToNode::Launch {
                task,
                image: 1,
                image_len: 200,
                digest: [7; 32],
                kind: Kind::Wasm,
                document: bytes.to_vec(),
                cpu_permille: 10,
                mem_bytes: 1024,
                leds: 0,
                capabilities: 1,
                max_run_s: 0,
                resume: false,
            },
            1 => ToNode::Kill { task, grace_ms: number(bytes) },
            2 => ToNode::Message { task, data: bytes.to_vec() },
            _ => ToNode::Forget { task },
        };
        self.sessions.order(NodeId(eui64(node)), order, self.now);
    }
}

/// Sessions from their start on.
pub fn sessions(data: &[u8]) {
    let (how, script) = first(data);
    let insecure = how & 1 != 0;
    let nodes = [Node::new(1, !insecure), Node::new(2, !insecure)];
    let sessions = World::boot(insecure, &Records::new(), 0);
    let mut world = World { insecure, sessions, disk: BTreeMap::new(), nodes, now: 0, last: Vec::new() };
    for (step, bytes) in Script(script).take(64) {
        let now = world.now;
        let at = usize::from(step >> 7);
        let node = &mut world.nodes[at];
        let (code, rest) = first(bytes);
        match step % 12 {
            0 => {
                world.now += u64::from(number(bytes)) % 600_000;
                world.sessions.handle_timeout(world.now);
                let next = world.sessions.next_timeout();
                assert!(next.is_none_or(|next| next > world.now), "time stands still");
            }
            1 => world.sessions.handle_datagram(address(code % 8), rest, now),
            2 => match Request::from_plaintext(bytes) {
                Some(inner) => node.ask(Request { confirmable: step & 16 == 0, ..inner }, now),
                None => node.ask(Request::post(paths::POLL, bytes), now),
            },
            3 => node.ask(Request::post(PATHS[usize::from(code) % PATHS.len()], rest), now),
            4 => node.register(bytes, now),
            5 => node.answer(&Response::new(Code(code), rest), now),
            6 => {
                if let Some(response) = Response::from_plaintext(bytes) {
                    node.answer(&response, now);
                }
            }
            7 | 8 => world.order(at as u8 + 1, code, rest),
            9 => world.sessions.set_keys(keyring(code), now),
            10 => {
                let records: Records =
                    world.disk.iter().map(|((t, k), v)| (*t, k.clone(), v.clone())).collect();
                world.sessions = World::boot(insecure, &records, now);
            }
            _ => {
                node.port = code % 8;
                let last = world.last.clone();
                world.sessions.handle_datagram(address(first(rest).0 % 8), &last, now);
            }
        }
        world.settle();
    }
}
