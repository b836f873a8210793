//! What operators ask, answered from the cores as they are.

use super::*;
use crate::view::Looked;

impl Driver {
    pub(super) fn figures(&self) -> http::Figures {
        let (sessions, coap, refused) = self.sessions.counters();
        http::Figures {
            totals: self.agents.totals(),
            agents: self.agents.counters(),
            sessions,
            mailbox_age_ms: self.sessions.mailbox_age_ms(self.now_ms()),
            coap,
            refused,
            transport: self.transport.counters(),
            radio: self.link.counters(),
            uptime_s: self.started.elapsed().as_secs_f64(),
            commits: self.commits,
            writes: self.writes,
        }
    }

    pub(super) fn answer(&mut self, query: Query) {
        let now = self.now_ms();
        // An asker that has gone away needs no answer.
        match query {
            Query::Nodes { offset, limit, reply } => {
                drop(reply.send(http::nodes(
                    (&self.agents, &self.sessions),
                    self.battery_mah,
                    now,
                    offset,
                    limit,
                )));
            }
            Query::Figures(reply) => drop(reply.send(self.figures())),
            Query::Snapshot(who, reply) => drop(reply.send(self.agents.snapshot(&who))),
            Query::Image(image, reply) => {
                drop(reply.send(self.images.load(image).ok().map(|bytes| bytes.to_vec())));
            }
            Query::LogOf { who, framework, task, offset, reply } => {
                drop(reply.send(self.agents.log_of(&who, &framework, &task, offset)));
            }
            Query::Look(look) => look(&mut Looked {
                agents: &self.agents,
                sessions: &self.sessions,
                images: &self.images,
                seen: &mut self.seen,
                master: self.master,
                now_ms: now,
                epoch_ms: self.epoch_ms,
                battery_mah: self.battery_mah,
            }),
            Query::Retire(_) => {} // changes things: not answered here
            Query::Log { task, offset, reply } => drop(reply.send(self.agents.log(&task, offset))),
        }
    }
}
