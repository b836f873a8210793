//! Inverse offers: frameworks that hold something of an agent which is to be unavailable are asked to give it back, and
//! say whether they will (src/master/allocator/mesos/hierarchical.cpp `generateInverseOffers`, `updateInverseOffer`;
//! src/master/master.cpp `inverseOffer`, `acceptInverseOffers`). One is out at a time for each agent and framework; what
//! was answered is for the operator alone to act on.

use super::MasterCore;
use crate::state::{Link, Pair};
use mesos_proto::v1;
use mesos_proto::v1::allocator::{InverseOfferStatus, inverse_offer_status::Status};
use mesos_proto::v1::scheduler::{Event, event};
use std::collections::{BTreeMap, BTreeSet};

/// What is asked and was answered, by (agent, framework).
#[derive(Default)]
pub(crate) struct Inverse {
    offers: BTreeMap<String, Pair>,
    out: BTreeMap<Pair, String>,
    answers: BTreeMap<Pair, Answer>,
    /// Not to be asked again before.
    filters: BTreeMap<Pair, u64>,
}

struct Answer {
    accepted: bool,
    at_ms: u64,
}

/// Everything of an agent in a map by (agent, framework).
fn of_agent<'a, T>(map: &'a BTreeMap<Pair, T>, agent: &'a str) -> impl Iterator<Item = (&'a Pair, &'a T)> {
    let from = (agent.to_owned(), String::new());
    map.range(from..).take_while(move |((other, _), _)| other == agent)
}

impl Inverse {
    fn take(&mut self, id: &str) -> Option<Pair> {
        let pair = self.offers.remove(id)?;
        self.out.remove(&pair);
        Some(pair)
    }
}

impl MasterCore {
    /// Asks whoever holds something of these agents, if they are to be unavailable, unless it is asked already or has
    /// answered not long ago.
    pub(super) fn offer_inverse(&mut self, agents: &BTreeSet<String>) {
        if !self.maintenance.is_planned() {
            return;
        }
        let mut events: BTreeMap<String, Vec<v1::InverseOffer>> = BTreeMap::new();
        for id in agents {
            let Some(unavailability) = self.unavailability(id) else { continue };
            let Some(agent) = self.agents.get(id).filter(|agent| agent.active()) else { continue };
            let url = super::offers::url(agent);
            let offered = agent.offers.iter().filter_map(|offer| self.offers.get(offer));
            let mut holders: BTreeSet<String> = offered.map(|offer| offer.framework.clone()).collect();
            holders.extend(
                agent.tasks.iter().chain(agent.executors.keys()).map(|(framework, _)| framework.clone()),
            );
            for framework in holders {
                let pair = (id.clone(), framework.clone());
                let waits = self.inverse.filters.get(&pair).is_some_and(|until| *until > self.now_ms);
                if waits || self.inverse.out.contains_key(&pair) || !self.takes_inverse(&framework) {
                    continue;
                }
                let offer_id = self.new_offer_id();
                self.inverse.offers.insert(offer_id.clone(), pair.clone());
                self.inverse.out.insert(pair, offer_id.clone());
                self.count("inverse_offers");
                events.entry(framework.clone()).or_default().push(v1::InverseOffer {
                    id: v1::OfferId { value: offer_id },
                    url: Some(url.clone()),
                    framework_id: v1::FrameworkId { value: framework },
                    agent_id: Some(v1::AgentId { value: id.clone() }),
                    unavailability,
                    resources: Vec::new(),
                });
            }
        }
        for (framework, inverse_offers) in events {
            let event = Event {
                r#type: Some(event::Type::InverseOffers as i32),
                inverse_offers: Some(event::InverseOffers { inverse_offers }),
                ..Default::default()
            };
            self.event(&framework, event);
        }
    }

    /// Drivers have no message for it.
    fn takes_inverse(&self, framework: &str) -> bool {
        let framework = self.frameworks.get(framework).filter(|framework| framework.active);
        framework.is_some_and(|framework| matches!(framework.scheduler(), Some(Link::Http(_))))
    }

    /// Takes a framework's answer.
    pub(super) fn answer_inverse(
        &mut self,
        framework: &str,
        ids: Vec<v1::OfferId>,
        accepted: bool,
        filters: Option<&v1::Filters>,
    ) {
        let until_ms = self.filter_until(filters);
        for id in ids {
            let own = self.inverse.offers.get(&id.value).filter(|(_, owner)| owner == framework);
            let Some(pair) = own.cloned() else {
                self.count("offers_unknown");
                continue;
            };
            self.inverse.take(&id.value);
            tracing::info!(agent = pair.0, framework, accepted, "inverse offer answered");
            self.count(if accepted { "inverse_offers_accepted" } else { "inverse_offers_declined" });
            self.inverse.answers.insert(pair.clone(), Answer { accepted, at_ms: self.now_ms });
            self.inverse.filters.insert(pair, until_ms);
        }
    }

    /// Withdraws what an agent's holders were asked.
    pub(super) fn rescind_inverse_agent(&mut self, agent: &str) {
        let ids: Vec<_> = of_agent(&self.inverse.out, agent).map(|(_, id)| id.clone()).collect();
        ids.iter().for_each(|id| self.rescind_inverse(id, true));
    }

    /// Withdraws what a framework was asked.
    pub(super) fn rescind_inverse_framework(&mut self, framework: &str, tell: bool) {
        let own = self.inverse.offers.iter().filter(|(_, (_, owner))| owner == framework);
        let ids: Vec<_> = own.map(|(id, _)| id.clone()).collect();
        ids.iter().for_each(|id| self.rescind_inverse(id, tell));
    }

    fn rescind_inverse(&mut self, id: &str, tell: bool) {
        let Some((_, framework)) = self.inverse.take(id).filter(|_| tell) else { return };
        let inverse_offer_id = v1::OfferId { value: id.to_owned() };
        let event = Event {
            r#type: Some(event::Type::RescindInverseOffer as i32),
            rescind_inverse_offer: Some(event::RescindInverseOffer { inverse_offer_id }),
            ..Default::default()
        };
        self.event(&framework, event);
    }

    /// What was answered of an agent says nothing any more: it is gone, or something else is planned.
    pub(super) fn forget_inverse_agent(&mut self, agent: &str) {
        self.inverse.answers.retain(|(other, _), _| other != agent);
        self.inverse.filters.retain(|(other, _), _| other != agent);
    }

    /// A framework is gone.
    pub(super) fn forget_inverse_framework(&mut self, framework: &str) {
        self.inverse.answers.retain(|(_, other), _| other != framework);
        self.inverse.filters.retain(|(_, other), _| other != framework);
    }

    /// What frameworks answered of an agent.
    pub(crate) fn inverse_answers(&self, agent: &str) -> Vec<InverseOfferStatus> {
        let answers = of_agent(&self.inverse.answers, agent);
        let status = |((_, framework), answer): (&Pair, &Answer)| InverseOfferStatus {
            status: if answer.accepted { Status::Accept } else { Status::Decline } as i32,
            framework_id: v1::FrameworkId { value: framework.clone() },
            timestamp: v1::TimeInfo { nanoseconds: super::loss::time(answer.at_ms).nanoseconds },
        };
        answers.map(status).collect()
    }
}
