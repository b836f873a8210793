//! What allocation costs on a large cluster: `cargo bench -p master`. It prints figures and judges nothing. Times are
//! those of the processor, where the system tells them.
//! Arguments: agents, frameworks, roles (10000 100 1000 unless given).

use master::allocator::{Abilities, Allocator, Grant, Rules};
use master::policy::Drf;
use mesos_proto::pool::Pool;
use mesos_proto::resources::scalar;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Measures what this thread computes, so that what else runs on the machine matters less.
struct Watch {
    started: Instant,
    computed: Option<u64>,
}

impl Watch {
    fn start() -> Self {
        Self { started: Instant::now(), computed: Self::computed() }
    }

    /// Nanoseconds on a processor (Linux, Documentation/scheduler/sched-stats.rst).
    fn computed() -> Option<u64> {
        std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
    }

    fn elapsed(&self) -> Duration {
        let computed = Self::computed().zip(self.computed).map(|(now, then)| now - then);
        computed.map_or_else(|| self.started.elapsed(), Duration::from_nanos)
    }
}

struct Size {
    agents: usize,
    frameworks: usize,
    roles: usize,
}

impl Size {
    fn show(&self, what: &str, steps: usize, took: Duration) {
        println!(
            "{what:<44} {:>6} agents {:>4} frameworks {:>5} roles: {:>9.1} ms, {:>8.2} us each",
            self.agents,
            self.frameworks,
            self.roles,
            took.as_secs_f64() * 1e3,
            took.as_secs_f64() * 1e6 / steps as f64,
        );
    }

    fn join(&self, allocator: &mut Allocator) {
        for number in 0..self.frameworks {
            // Ten teams; a role is one framework's.
            let mine = (number..self.roles).step_by(self.frameworks);
            let roles: BTreeSet<_> = mine.map(|role| format!("team{}/role{role}", role % 10)).collect();
            let id = format!("F{number:04}");
            allocator.add_framework(&id, roles, BTreeSet::new(), Abilities::default(), BTreeMap::new());
            allocator.set_framework_active(&id, true);
        }
    }

    fn cluster(&self) -> (Allocator, Vec<String>) {
        let mut allocator = Allocator::new(Box::new(Drf), Rules::default(), 1);
        let agents: Vec<_> = (0..self.agents).map(|number| format!("S{number:06}")).collect();
        for agent in &agents {
            allocator.add_agent(agent, node(), able());
        }
        (allocator, agents)
    }
}

fn able() -> Abilities {
    Abilities { hierarchical_role: true, ..Abilities::default() }
}

fn node() -> Pool {
    Pool::of(&[scalar("cpus", 4.0), scalar("mem", 4096.0), scalar("disk", 10_000.0)]).expect("a valid list")
}

fn ids(agents: &[String]) -> impl Iterator<Item = &str> {
    agents.iter().map(String::as_str)
}

fn give_back(allocator: &mut Allocator, grant: &Grant) {
    allocator.recover(&grant.framework, &grant.role, &grant.agent, &grant.resources);
}

/// All agents are free and everybody wants them.
fn free_cluster(size: &Size) {
    let (mut allocator, agents) = size.cluster();
    size.join(&mut allocator);
    let start = Watch::start();
    let grants = allocator.allocate(ids(&agents), 0);
    size.show("all agents free, one pass", size.agents, start.elapsed());
    assert_eq!(grants.len(), size.agents);
    let start = Watch::start();
    for grant in &grants {
        give_back(&mut allocator, grant);
        let again = allocator.allocate([grant.agent.as_str()], 0);
        assert_eq!(again.len(), 1);
    }
    size.show("each given back and offered again", grants.len(), start.elapsed());
    let start = Watch::start();
    assert!(allocator.allocate(ids(&agents), 0).is_empty());
    size.show("nothing free, one pass", size.agents, start.elapsed());
}

/// Agents come one by one to frameworks that wait.
fn registrations(size: &Size) {
    let (mut allocator, _) = Size { agents: 0, ..*size }.cluster();
    size.join(&mut allocator);
    let start = Watch::start();
    for number in 0..size.agents {
        let id = format!("S{number:06}");
        allocator.add_agent(&id, node(), able());
        assert_eq!(allocator.allocate([id.as_str()], 0).len(), 1);
    }
    size.show("agents register one by one", size.agents, start.elapsed());
}

/// Everybody has declined everything for long: a pass finds no taker.
fn declined(size: &Size) {
    let (mut allocator, agents) = size.cluster();
    size.join(&mut allocator);
    loop {
        let grants = allocator.allocate(ids(&agents), 0);
        if grants.is_empty() {
            break;
        }
        for grant in grants {
            give_back(&mut allocator, &grant);
            allocator.filter(&grant.framework, &grant.role, &grant.agent, grant.resources, u64::MAX);
        }
    }
    // Somebody new might want something: everything is looked at again.
    allocator.add_framework("new", BTreeSet::new(), BTreeSet::new(), able(), BTreeMap::new());
    let start = Watch::start();
    assert!(allocator.allocate(ids(&agents), 0).is_empty());
    size.show("all declined by all, one pass", size.agents, start.elapsed());
    let start = Watch::start();
    assert!(allocator.allocate(ids(&agents), 0).is_empty());
    size.show("all declined by all, the next pass", size.agents, start.elapsed());
}

fn main() {
    let given: Vec<usize> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let [agents, frameworks, roles] = given[..] else {
        return run(&Size { agents: 10_000, frameworks: 100, roles: 1000 });
    };
    run(&Size { agents, frameworks, roles });
}

fn run(size: &Size) {
    free_cluster(size);
    registrations(size);
    // A filter for each agent in each role is much to keep: a tenth of the agents and roles.
    declined(&Size { agents: size.agents.div_ceil(10), roles: size.frameworks, ..*size });
}
