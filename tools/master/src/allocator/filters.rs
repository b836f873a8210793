//! What a framework refused in one role: for a while it is not offered that again, nor a part of it
//! (src/master/allocator/mesos/hierarchical.cpp, `RefusedOfferFilter`).

use crate::limits::MAX_FILTERS_PER_AGENT;
use mesos_proto::pool::Pool;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Debug)]
struct Filter {
    /// Shared by all who refused the same of an agent.
    refused: Arc<Pool>,
    until_ms: u64,
}

/// Filters by the allocator's number of the agent.
#[derive(Debug, Default)]
pub(super) struct Filters {
    agents: HashMap<u64, Vec<Filter>>,
    count: usize,
    /// No filter ends before.
    earliest_ms: u64,
}

impl Filters {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn add(&mut self, agent: u64, refused: Arc<Pool>, until_ms: u64) {
        self.earliest_ms = if self.count == 0 { until_ms } else { self.earliest_ms.min(until_ms) };
        let filters = self.agents.entry(agent).or_default();
        self.count -= filters.len();
        // What the new one covers for as long adds nothing.
        filters.retain(|old| old.until_ms > until_ms || !refused.contains(&old.refused));
        if filters.len() >= MAX_FILTERS_PER_AGENT {
            let soonest = (0..filters.len()).min_by_key(|at| filters[*at].until_ms);
            soonest.map(|at| filters.swap_remove(at));
        }
        filters.push(Filter { refused, until_ms });
        self.count += filters.len();
    }

    /// Until when at least `usable` of this agent, or less, is refused. `known` saves the comparison with what is refused
    /// most: whether that has all of it.
    pub fn refuse(
        &self,
        agent: u64,
        usable: &Pool,
        known: Option<(&Arc<Pool>, bool)>,
        now_ms: u64,
    ) -> Option<u64> {
        let covers = |filter: &Filter| match known {
            Some((refused, covers)) if Arc::ptr_eq(refused, &filter.refused) => covers,
            _ => filter.refused.contains(usable),
        };
        let filters = self.agents.get(&agent).map_or(&[][..], Vec::as_slice);
        let refuses = |filter: &&Filter| filter.until_ms > now_ms && covers(filter);
        filters.iter().find(refuses).map(|filter| filter.until_ms)
    }

    /// Forgets what is over.
    pub fn expire(&mut self, now_ms: u64) {
        if self.count == 0 || now_ms < self.earliest_ms {
            return;
        }
        let (mut count, mut earliest) = (0, u64::MAX);
        self.agents.retain(|_, filters| {
            filters.retain(|filter| filter.until_ms > now_ms);
            count += filters.len();
            earliest = filters.iter().map(|filter| filter.until_ms).fold(earliest, u64::min);
            !filters.is_empty()
        });
        (self.count, self.earliest_ms) = (count, earliest);
    }

    pub fn remove_agent(&mut self, agent: u64) {
        self.count -= self.agents.remove(&agent).map_or(0, |filters| filters.len());
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesos_proto::resources::scalar;

    fn cpus(amount: f64) -> Arc<Pool> {
        Arc::new(Pool::of(&[scalar("cpus", amount)]).unwrap())
    }

    #[test]
    fn a_later_refusal_of_more_replaces_one_of_less() {
        let mut filters = Filters::default();
        filters.add(1, cpus(1.0), 100);
        filters.add(1, cpus(2.0), 100);
        assert_eq!(filters.len(), 1);
        // A shorter one leaves the longer one of less in force.
        filters.add(1, cpus(3.0), 50);
        assert_eq!(filters.len(), 2);
        assert!(filters.refuse(1, &cpus(3.0), None, 49).is_some());
        assert_eq!(filters.refuse(1, &cpus(3.0), None, 50), None);
        assert!(filters.refuse(1, &cpus(2.0), None, 99).is_some());
        assert_eq!(filters.refuse(2, &cpus(2.0), None, 0), None);
        filters.expire(50);
        assert_eq!(filters.len(), 1);
        filters.remove_agent(1);
        assert_eq!(filters.len(), 0);
    }

    #[test]
    fn as_many_as_the_limit_stay_and_the_longest_among_them() {
        let mut filters = Filters::default();
        // Each refuses less than the one before, for longer: none covers another.
        let many = MAX_FILTERS_PER_AGENT as u64 + 5;
        for number in 0..many {
            filters.add(1, cpus((many - number) as f64), 1000 + number);
        }
        assert_eq!(filters.len(), MAX_FILTERS_PER_AGENT);
        assert!(filters.refuse(1, &cpus(1.0), None, 1000 + many - 2).is_some());
        assert_eq!(filters.refuse(1, &cpus(many as f64), None, 0), None);
    }

    #[test]
    fn what_is_known_of_a_shared_refusal_is_not_looked_up_again() {
        let mut filters = Filters::default();
        let refused = cpus(1.0);
        filters.add(1, refused.clone(), 100);
        assert_eq!(filters.refuse(1, &cpus(1.0), Some((&refused, false)), 0), None);
        assert!(filters.refuse(1, &cpus(1.0), Some((&cpus(9.0), false)), 0).is_some());
    }
}
