//! The node: what is opened at its start, and its one loop.

use crate::capsule::Capsule;
use crate::clock::Clock;
use crate::link::{Link, UdpLink};
use crate::os::{CapsuleRegion, TockOs};
use crate::radio;
use crate::random;
use crate::storage::{PROVISION_LEN, Region};
use crate::thread::ThreadLink;
use crate::udp::Udp;
use agent_core::provision::{Network, Provision, ProvisionError};
use agent_core::{Agent, Config, StorageError};
use alloc::boxed::Box;
use libtock_platform::{ErrorCode, Syscalls};
use node_proto::limits::TASKS_MAX;
use node_proto::paths::COAP_PORT;

/// Longest wait while tasks run, should the kernel's word that they have said something be lost, milliseconds.
const TASKS_MS: u64 = 1_000;
/// Pause before what a task did not take is offered again, milliseconds.
const AGAIN_MS: u64 = 20;
/// Longest wait at all, milliseconds.
const PATIENCE_MS: u64 = 60_000;
/// Datagrams handled before the agent does what else is due.
const DATAGRAMS_AT_ONCE: usize = 4;

/// Why a node does not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeError {
    /// The alarm, without which nothing can be waited for.
    Clock(ErrorCode),
    /// The executor capsule: this app is not the node's agent, or the capsule is another version.
    Capsule,
    /// The blob at the beginning of the agent's storage.
    Provision(ProvisionError),
    /// The way to the gateway.
    Link(ErrorCode),
    /// The records.
    Storage(StorageError),
}

/// A node.
pub struct Node<S: Syscalls + 'static> {
    /// On the heap: the stack would have to hold it several times while it is moved.
    agent: Box<Agent<TockOs<S>>>,
    clock: &'static Clock<S>,
    capsule: Capsule<S>,
}

impl<S: Syscalls + 'static> Node<S> {
    /// Starts a node on what its storage remembers.
    #[inline(never)]
    pub fn start() -> Result<Self, NodeError> {
        let clock = Clock::<S>::open().map_err(NodeError::Clock)?;
        let capsule = Capsule::open(clock).map_err(|_| NodeError::Capsule)?;
        let node = capsule.capacity().map_err(|_| NodeError::Capsule)?;
        let provision = provision(CapsuleRegion::new(capsule, &node))?;
        let link = link(clock, &provision).map_err(NodeError::Link)?;
        // Without it the node still works, but what it draws at its first start is what another may draw too.
        let seed = random::number(clock).unwrap_or(0) ^ node.eui64 ^ clock.now_ms();
        let os = TockOs::open(clock, capsule, node, &provision, link).map_err(NodeError::Storage)?;
        let config = Config {
            publishers: provision.publishers,
            credential: provision.credential,
            poll_max_s: provision.poll_max_s,
            ..Config::default()
        };
        let agent = boxed(os, config, seed)?;
        Ok(Self { agent, clock, capsule })
    }

    /// One turn: does what is due, takes what came, waits for what comes next.
    pub fn turn(&mut self) {
        self.capsule.take_news();
        let agent_wake = self.agent.step();
        let now_ms = self.clock.now_ms();
        let os = self.agent.os_mut();
        let link_wake = os.link.tend(now_ms);
        let offer_again = os.slots.tend();
        for _ in 0..DATAGRAMS_AT_ONCE {
            let Some((from, datagram)) = self.agent.os_mut().link.receive() else { break };
            self.agent.datagram(from, &datagram);
            // The answer to it is the next step's.
            if !self.agent.os().link.is_waiting() {
                return;
            }
        }
        let patience = match self.agent.tasks() {
            _ if offer_again => AGAIN_MS,
            0 => PATIENCE_MS,
            _ => TASKS_MS,
        };
        let wake = agent_wake.min(link_wake).min(now_ms + patience);
        // What was said while the agent worked does not wait.
        self.clock.take_upcalls();
        if !self.capsule.has_news() && !self.agent.os().link.is_waiting() {
            self.clock.rest(wake);
        }
    }

    /// Turns for ever.
    pub fn run(&mut self) -> ! {
        loop {
            self.turn();
        }
    }

    /// Milliseconds that the node has waited.
    pub fn rested_ms(&self) -> u64 {
        self.clock.waited_ms()
    }

    /// The agent, for those who look at it.
    pub fn agent(&self) -> &Agent<TockOs<S>> {
        &self.agent
    }
}

/// The agent, with nothing on the stack but what makes it.
#[inline(never)]
fn boxed<S: Syscalls + 'static>(
    os: TockOs<S>,
    config: Config,
    seed: u64,
) -> Result<Box<Agent<TockOs<S>>>, NodeError> {
    Ok(Box::new(Agent::new(os, config, seed).map_err(NodeError::Storage)?))
}

/// What the node was provisioned with.
#[inline(never)]
fn provision(mut region: impl Region) -> Result<Provision, NodeError> {
    let mut blob = [0; PROVISION_LEN];
    region.read(0, &mut blob).map_err(NodeError::Storage)?;
    Provision::decode(&blob).map_err(NodeError::Provision)
}

/// The link that the node was provisioned for.
#[inline(never)]
fn link<S: Syscalls + 'static>(
    clock: &'static Clock<S>,
    provision: &Provision,
) -> Result<Box<dyn Link>, ErrorCode> {
    let (pan, channel) = match provision.network {
        Network::Lowpan { pan, channel } | Network::Thread { pan, channel, .. } => (pan, channel),
    };
    radio::configure::<S>(pan, channel);
    let udp = UdpLink::new(Udp::bind(clock, COAP_PORT)?, provision.gateway);
    Ok(match provision.network {
        Network::Lowpan { .. } => Box::new(udp),
        Network::Thread { key, key_sequence, .. } => {
            Box::new(ThreadLink::new(udp, clock, &key, key_sequence)?)
        }
    })
}

const _: () = assert!(TASKS_MAX <= u16::BITS as usize, "a bit for each task's slot");
