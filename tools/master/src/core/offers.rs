//! Offers: made from what the allocator grants, declined, rescinded (src/master/master.cpp `offer`, `decline`,
//! `rescindOffer`).

use super::MasterCore;
use crate::limits::{DEFAULT_REFUSE_SECONDS, MAX_DURATION_MS, MAX_OFFERS_PER_EVENT};
use crate::state::{Agent, OfferRecord};
use mesos_proto::mesos::framework_info;
use mesos_proto::pool::Pool;
use mesos_proto::recast;
use mesos_proto::resources::milli;
use mesos_proto::v1;
use mesos_proto::v1::scheduler::{Event, call, event};
use std::collections::BTreeMap;

impl MasterCore {
    /// Offers what is free of the agents that changed.
    pub(super) fn allocate_dirty(&mut self) {
        if self.dirty.is_empty() {
            return;
        }
        self.allocation_runs += 1;
        let dirty = std::mem::take(&mut self.dirty);
        let grants = self.allocator.allocate(dirty.iter().map(String::as_str), self.now_ms);
        let mut offers: BTreeMap<String, Vec<v1::Offer>> = BTreeMap::new();
        for grant in grants {
            let id = self.new_offer_id();
            let record = OfferRecord {
                framework: grant.framework.clone(),
                role: grant.role,
                agent: grant.agent,
                resources: grant.resources,
            };
            let Some(offer) = self.offer(&id, &record) else {
                self.allocator.recover(&record.framework, &record.role, &record.agent, &record.resources);
                continue;
            };
            if let Some(agent) = self.agents.get_mut(&record.agent) {
                agent.offers.insert(id.clone());
            }
            if let Some(framework) = self.frameworks.get_mut(&record.framework) {
                framework.offers.insert(id.clone());
            }
            self.count("offers");
            offers.entry(grant.framework).or_default().push(offer);
            self.offers.insert(id, record);
        }
        for (framework, mut offers) in offers {
            while !offers.is_empty() {
                let rest = offers.split_off(offers.len().min(MAX_OFFERS_PER_EVENT));
                let event = Event {
                    r#type: Some(event::Type::Offers as i32),
                    offers: Some(event::Offers { offers }),
                    ..Default::default()
                };
                self.event(&framework, event);
                offers = rest;
            }
        }
        self.offer_inverse(&dirty);
    }

    fn offer(&self, id: &str, record: &OfferRecord) -> Option<v1::Offer> {
        use framework_info::capability::Type;
        let agent = self.agents.get(&record.agent)?;
        let framework = self.frameworks.get(&record.framework)?;
        // Clients that know one role only are not shown for which it is (MULTI_ROLE).
        let role = framework.has(Type::MultiRole).then_some(record.role.as_str());
        let resources = record.resources.to_resources(role, framework.has(Type::ReservationRefinement));
        let executors = agent.executors.keys().filter(|(framework, _)| *framework == record.framework);
        let executor_ids = executors.map(|(_, id)| v1::ExecutorId { value: id.clone() }).collect();
        Some(v1::Offer {
            id: v1::OfferId { value: id.to_owned() },
            framework_id: v1::FrameworkId { value: record.framework.clone() },
            agent_id: v1::AgentId { value: record.agent.clone() },
            hostname: agent.info.hostname.clone(),
            resources: resources.iter().filter_map(|resource| recast(resource).ok()).collect(),
            attributes: agent.info.attributes.iter().filter_map(|attribute| recast(attribute).ok()).collect(),
            executor_ids,
            url: Some(url(agent)),
            allocation_info: Some(v1::resource::AllocationInfo { role: Some(record.role.clone()) }),
            domain: agent.info.domain.as_ref().and_then(|domain| recast(domain).ok()),
            unavailability: self.unavailability(&record.agent),
        })
    }

    /// Takes an offer off the books; its resources are the caller's to hold or recover.
    pub(super) fn take_offer(&mut self, id: &str) -> Option<OfferRecord> {
        let record = self.offers.remove(id)?;
        if let Some(agent) = self.agents.get_mut(&record.agent) {
            agent.offers.remove(id);
        }
        if let Some(framework) = self.frameworks.get_mut(&record.framework) {
            framework.offers.remove(id);
        }
        Some(record)
    }

    pub(super) fn rescind(&mut self, id: &str, tell: bool) {
        let Some(record) = self.take_offer(id) else { return };
        self.allocator.recover(&record.framework, &record.role, &record.agent, &record.resources);
        self.dirty.insert(record.agent);
        if tell {
            let offer_id = v1::OfferId { value: id.to_owned() };
            let event = Event {
                r#type: Some(event::Type::Rescind as i32),
                rescind: Some(event::Rescind { offer_id }),
                ..Default::default()
            };
            self.event(&record.framework, event);
            self.count("offers_rescinded");
        }
    }

    /// Withdraws all offers of an agent.
    pub(super) fn rescind_agent(&mut self, id: &str) {
        let offers = self.agents.get(id).map(|agent| agent.offers.clone()).unwrap_or_default();
        offers.iter().for_each(|offer| self.rescind(offer, true));
        self.rescind_inverse_agent(id);
    }

    /// Withdraws all offers of a framework.
    pub(super) fn rescind_framework(&mut self, id: &str, tell: bool) {
        let offers = self.frameworks.get(id).map(|framework| framework.offers.clone()).unwrap_or_default();
        offers.iter().for_each(|offer| self.rescind(offer, tell));
        self.rescind_inverse_framework(id, tell);
    }

    pub(super) fn filter_until(&self, filters: Option<&v1::Filters>) -> u64 {
        let seconds = filters.and_then(|filters| filters.refuse_seconds);
        self.now_ms + refuse_ms(seconds, self.config.allocation_ms)
    }

    pub(super) fn give_back(
        &mut self,
        framework: &str,
        role: &str,
        agent: &str,
        resources: Pool,
        until: u64,
    ) {
        self.allocator.recover(framework, role, agent, &resources);
        self.allocator.filter(framework, role, agent, resources, until);
        self.dirty.insert(agent.to_owned());
    }

    pub(super) fn decline(&mut self, framework: &str, decline: call::Decline) {
        let until = self.filter_until(decline.filters.as_ref());
        for offer in decline.offer_ids {
            if self.offers.get(&offer.value).is_none_or(|record| record.framework != framework) {
                self.count("offers_unknown");
                continue;
            }
            let Some(record) = self.take_offer(&offer.value) else { continue };
            self.give_back(framework, &record.role, &record.agent, record.resources, until);
        }
    }
}

/// Where an agent answers HTTP.
pub(super) fn url(agent: &Agent) -> v1::Url {
    v1::Url {
        scheme: "http".into(),
        address: v1::Address {
            hostname: Some(agent.info.hostname.clone()),
            ip: Some(agent.pid.addr.ip().to_string()),
            port: i32::from(agent.pid.addr.port()),
        },
        path: Some(format!("/{}", agent.pid.id)),
    }
}

/// An amount of seconds as a filter takes it: 5 s for what is negative or no number, at most a year.
fn refuse_ms(seconds: Option<f64>, least_ms: u64) -> u64 {
    let seconds = seconds.filter(|seconds| *seconds >= 0.0).unwrap_or(DEFAULT_REFUSE_SECONDS);
    let wanted = u64::try_from(milli(seconds.min(MAX_DURATION_MS as f64 / 1000.0))).unwrap_or(0);
    wanted.clamp(least_ms, MAX_DURATION_MS)
}
