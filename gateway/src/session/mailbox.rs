//! Commands: put into a node's mailbox, pushed to a node that listens, kept until it has acted on them.

use super::*;
use node_proto::limits::MESSAGE_LONG_MAX;

impl Sessions {
    /// Puts an order into a node's mailbox. False if the node is unknown or the mailbox is full.
    pub fn order(&mut self, id: NodeId, order: ToNode, now_ms: u64) -> bool {
        let Some(node) = self.nodes.get_mut(&id) else { return false };
        let mut body: Box<[u8]> = Box::default();
        let order = match order {
            ToNode::Forget { task } => {
                node.intake.remove(&task);
                node.documents.remove(&task);
                node.uploads.forget(&task);
                let key = node::task_key(id, task);
                self.write(Write::Delete(Table::Intake, key.clone()));
                self.write(Write::Delete(Table::Document, key));
                return true;
            }
            // The same kill once more adds nothing; another finds room behind whatever waits.
            ToNode::Kill { task, grace_ms } if node.has_kill(task, grace_ms) => return true,
            // Numbers run out only for a node that claims to have seen nearly all of them.
            order if !node.has_room(&order) || node.last_seq == u32::MAX => {
                tracing::warn!(node = %id, ?order, "mailbox is full");
                self.counters.mailbox_full += 1;
                return false;
            }
            ToNode::Launch { task, document, .. } if node.intake.len() >= INTAKE_MAX => {
                tracing::warn!(node = %id, task, bytes = document.len(), "too many tasks are not finished");
                self.counters.mailbox_full += 1;
                return false;
            }
            ToNode::Launch {
                task,
                image,
                image_len,
                digest,
                kind,
                document,
                cpu_permille,
                mem_bytes,
                leds,
                capabilities,
                max_run_s,
                resume,
            } => {
                let mut half = [0; 16];
                half.copy_from_slice(&digest[..16]);
                let document_len = document.len() as u16;
                node.intake.insert(task, Intake::default());
                node.documents.insert(task, document.as_slice().into());
                let key = node::task_key(id, task);
                self.outputs.push_back(Output::Write(Write::Put(
                    Table::Intake,
                    key.clone(),
                    node::record(&Intake::default()),
                )));
                self.outputs.push_back(Output::Write(Write::Put(Table::Document, key, document)));
                Order::Launch(node_proto::Launch {
                    task,
                    image,
                    image_len,
                    digest: half,
                    document_len,
                    kind,
                    cpu_permille,
                    mem_bytes,
                    leds,
                    capabilities: node_proto::Capabilities(capabilities),
                    max_run_s,
                    resume,
                })
            }
            ToNode::Kill { task, grace_ms } => Order::Kill { task, grace_ms },
            ToNode::Message { task, data } => match heapless::Vec::from_slice(&data) {
                Ok(data) => Order::Message { task, data },
                Err(_) if data.len() > MESSAGE_LONG_MAX => return false,
                Err(_) => {
                    let len = data.len() as u16;
                    body = data.into();
                    Order::Fetch { task, len }
                }
            },
        };
        node.last_seq += 1;
        let seq = node.last_seq;
        let key = node::command_key(id, seq);
        let command = Command { seq, order, body, told: false, since_ms: now_ms };
        self.outputs.push_back(Output::Write(Write::Put(Table::Command, key, command.record())));
        self.outputs.push_back(node.save(id));
        node.mailbox.push_back(command);
        self.push(id, now_ms);
        self.flush();
        true
    }

    /// Forgets the commands that the node has acted on.
    pub(super) fn seen(&mut self, id: NodeId, seen: u32) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let mut changed = false;
        while let Some(front) = node.mailbox.front().filter(|command| command.seq <= seen) {
            self.outputs
                .push_back(Output::Write(Write::Delete(Table::Command, node::command_key(id, front.seq))));
            node.mailbox.pop_front();
            changed = true;
        }
        if seen > node.done && seen <= node.last_seq {
            node.done = seen;
            changed = true;
        }
        if changed {
            self.outputs.push_back(node.save(id));
        }
    }

    /// Pushes the oldest command to a node that listens, one at a time.
    pub(super) fn push(&mut self, id: NodeId, now_ms: u64) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let (Power::Mains, true, false, Some(peer)) = (node.power, node.online, node.pushing, node.peer)
        else {
            return;
        };
        if node.mailbox.front().is_some_and(|command| command.told) {
            return; // it fetches what the command is about, and says so when it has it
        }
        let Some(command) = node.next_command() else { return };
        let Ok(payload) = encode(&command) else { return };
        let mut request = Request::post(paths::COMMAND, &payload);
        let mut binding = None;
        if !self.config.insecure {
            let Some((outer, bound)) = self.guard.protect_request(id, &request, &mut self.outputs) else {
                return;
            };
            (request, binding) = (outer, Some(bound));
        }
        if let Ok(exchange) = self.coap.request(peer, &request, now_ms)
            && let Some(node) = self.nodes.get_mut(&id)
        {
            node.pushing = true;
            self.pushes.insert(exchange, Push { node: id, seq: command.seq, binding });
        }
    }

    pub(super) fn pushed(&mut self, id: NodeId, seq: u32, code: Code, now_ms: u64) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.pushing = false;
        if code.is_success() {
            match node.mailbox.front_mut().filter(|command| command.seq == seq && !command.body.is_empty()) {
                Some(command) => command.told = true,
                None => self.seen(id, seq),
            }
            self.heard(id, now_ms);
            self.push(id, now_ms);
        } else {
            tracing::warn!(node = %id, seq, %code, "the node refuses a command; it stays for the next poll");
        }
    }
}
