//! What the sessions say of the nodes.

use super::*;
use node_proto::News;

impl Agents {
    /// Takes an event of a node's session.
    pub fn from_node(&mut self, id: NodeId, event: FromNode, now_ms: u64) {
        match event {
            FromNode::Online(register) => self.online(id, register, now_ms),
            FromNode::Alive { power, news } => {
                if let Some(agent) = self.nodes.get_mut(&id) {
                    let was_live = std::mem::replace(&mut agent.live, true);
                    agent.power = power;
                    match news {
                        News::Nothing => {}
                        News::Usage(usage) => {
                            if let Some(task) = agent.tasks.get_mut(&usage.task) {
                                task.report(usage);
                            }
                        }
                        News::Vitals(vitals) => agent.vitals = Some(vitals),
                    }
                    if std::mem::take(&mut agent.lapsed) {
                        self.notices.add(Notice::Back(id));
                    }
                    if !was_live {
                        self.lease_checks(id, now_ms);
                    }
                    self.start_registration_if_away(id, now_ms);
                }
            }
            FromNode::Lapsed => {
                if let Some(agent) = self.nodes.get_mut(&id) {
                    tracing::info!(node = %id, "lease lapsed: pings are no longer answered");
                    (agent.live, agent.lapsed) = (false, true);
                    self.notices.add(Notice::Lapsed(id));
                    self.lease_checks(id, now_ms);
                }
            }
            FromNode::Forgot => {
                self.notices.add(Notice::Forgot(id));
                self.node_forgot(id, now_ms);
            }
            FromNode::Status { task, state, note, .. } => self.node_status(id, task, state, &note, now_ms),
            FromNode::Message { task, data } => self.executor_message(id, task, data),
            FromNode::Log { task, data } => {
                if let Some(agent) = self.nodes.get_mut(&id)
                    && let Some(held) = agent.tasks.get(&task)
                {
                    let key = (held.framework_id().to_owned(), held.task_id().to_owned());
                    LogRing::append(&mut agent.logs, key, &data, LOGS_MAX);
                }
            }
        }
        self.rearm(id);
    }

    fn online(&mut self, id: NodeId, register: Register, now_ms: u64) {
        match self.nodes.get_mut(&id) {
            None => {
                let actor = self.next_actor;
                tracing::info!(node = %id, actor, "new node");
                let record = AgentRecord {
                    actor,
                    slave_id: None,
                    next_task: 1,
                    register,
                    drain: None,
                    shut_down_at_boot: None,
                };
                self.insert(id, record);
                self.save_agent(id);
                self.notices.add(Notice::New(id));
            }
            Some(agent) => {
                if agent.record.register.inventory != register.inventory {
                    // The master has to hear what the node is now.
                    agent.registration = Registration::Away;
                    agent.total = Total::of(&self.config, id, &register.inventory);
                }
                if agent.record.register != register {
                    agent.record.register = register;
                    self.save_agent(id);
                }
            }
        }
        if let Some(agent) = self.nodes.get_mut(&id) {
            agent.live = true;
            if std::mem::take(&mut agent.lapsed) {
                self.notices.add(Notice::Back(id));
            }
            agent.power = agent.record.register.inventory.power;
        }
        self.lease_checks(id, now_ms);
        self.start_registration_if_away(id, now_ms);
    }

    fn executor_message(&mut self, id: NodeId, task: TaskHandle, data: Vec<u8>) {
        let Some(agent) = self.nodes.get(&id) else { return };
        let (Some(task), Some(slave_id)) = (agent.tasks.get(&task), &agent.record.slave_id) else { return };
        let framework = task.framework_id().to_owned();
        let message = internal::ExecutorToFrameworkMessage {
            slave_id: mesos::SlaveId { value: slave_id.clone() },
            framework_id: mesos::FrameworkId { value: framework.clone() },
            executor_id: mesos::ExecutorId { value: task.executor_id().to_owned() },
            data,
        };
        // A v0 scheduler is reached directly; a v1 one has no actor and is reached through the master.
        let pid = agent.frameworks.get(&framework).and_then(|held| held.pid.as_deref()?.parse::<Upid>().ok());
        match pid {
            Some(to) => self.send_to(id, to, &message),
            None => self.send(id, &message),
        }
    }
}
