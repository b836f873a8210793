//! What nodes ask: registration, polls, statuses, logs and blocks.

use super::*;

impl Sessions {
    pub(super) fn malformed(&mut self) -> Response {
        self.counters.malformed += 1;
        Response::new(Code::BAD_REQUEST, b"malformed")
    }

    /// `from` is whose key the request was protected with; without keys a node is who it says it is.
    pub(super) fn register(
        &mut self,
        peer: SocketAddr,
        from: Option<NodeId>,
        payload: &[u8],
        now_ms: u64,
    ) -> Response {
        if payload.first().is_some_and(|version| *version != VERSION) {
            return Response::new(Code::NOT_ACCEPTABLE, b"version");
        }
        let Ok(register) = decode::<Register>(payload) else { return self.malformed() };
        let id = NodeId(register.eui64);
        if !self.config.insecure && from != Some(id) {
            tracing::warn!(node = %id, "registers with another node's key");
            return self.malformed();
        }
        let fresh = !self.nodes.contains_key(&id);
        if fresh && self.nodes.len() >= self.config.nodes_max {
            return Response::new(Code::UNAVAILABLE, b"too many nodes");
        }
        if let Some(node) = self.nodes.get(&id)
            && register.epoch == node.epoch
            && register.boot < node.boot
        {
            // The network has kept it for long: the node has started anew since and may be somewhere else.
            self.counters.repeated += 1;
            return Response::new(Code::CONFLICT, b"an older start");
        }
        let power = register.inventory.power;
        let node = self.nodes.entry(id).or_insert_with(|| {
            // Numbers go on from what the node has seen, so that it does not take a new command for an old one.
            let (last_seq, done) = (register.seen, register.seen);
            let (boot, epoch) = (register.boot, register.epoch);
            Box::new(Node::new(SessionRecord { last_seq, done, boot, epoch, power }, now_ms))
        });
        let forgot = register.epoch != node.epoch;
        if forgot || register.boot != node.boot {
            node.uploads.clear(); // the tasks that sent them have ended
        }
        (node.boot, node.epoch) = (register.boot, register.epoch);
        node.last_seq = node.last_seq.max(register.seen);
        node.power = power;
        node.next_s = self.config.poll_s(power);
        self.moved(id, peer);
        self.seen(id, register.seen);
        let Some(node) = self.nodes.get_mut(&id) else { return self.malformed() };
        let registered = Registered {
            lease_s: (self.config.lease_ms(node.next_s) / 1000).try_into().unwrap_or(u16::MAX),
            poll_s: node.next_s,
            done: node.done,
            fresh,
            number: self.guard.next_number(id),
        };
        let save = node.save(id);
        self.outputs.push_back(save);
        self.outputs.push_back(Output::Event(id, FromNode::Online(register)));
        if forgot {
            tracing::warn!(node = %id, "the node has lost its storage");
            self.outputs.push_back(Output::Event(id, FromNode::Forgot));
            self.lost_launches(id);
        }
        if let Some(node) = self.nodes.get_mut(&id) {
            node.online = true;
        }
        self.heard(id, now_ms);
        reply(Code::CREATED, &registered)
    }

    /// A node that lost its storage after it took a launch and before it said anything of the task will never say
    /// anything: it is said in its place.
    pub(super) fn lost_launches(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let waits = |task: TaskHandle| {
            let mut orders = node.mailbox.iter().map(|command| &command.order);
            orders.any(|order| matches!(order, Order::Launch(launch) if launch.task == task))
        };
        for (task, intake) in &mut node.intake {
            if intake.next_status > 1 || waits(*task) {
                continue;
            }
            intake.next_status = Intake::ENDED;
            let save = Write::Put(Table::Intake, node::task_key(id, *task), node::record(intake));
            self.outputs.push_back(Output::Write(save));
            let state = node_proto::State::Failed(node_proto::Failure::Restarted);
            let note = "the node lost its storage".to_owned();
            self.outputs.push_back(Output::Event(id, FromNode::Status { task: *task, seq: 1, state, note }));
        }
    }

    /// Renews the lease; a node that had lapsed is alive again.
    pub(super) fn heard(&mut self, id: NodeId, now_ms: u64) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let until = now_ms + self.config.lease_ms(node.next_s);
        self.leases.remove(&(node.lease_until_ms, id));
        self.leases.insert((until, id));
        node.lease_until_ms = until;
        node.heard_ms = Some(now_ms);
        if !node.online {
            node.online = true;
            let alive = FromNode::Alive { power: node.power, news: News::Nothing };
            self.outputs.push_back(Output::Event(id, alive));
        }
    }

    pub(super) fn poll(&mut self, id: NodeId, payload: &[u8], now_ms: u64) -> Response {
        let Ok(poll) = decode::<Poll>(payload) else { return self.malformed() };
        self.seen(id, poll.seen);
        if let Some(node) = self.nodes.get_mut(&id) {
            if let News::Vitals(vitals) = &poll.news {
                node.link.report(vitals, &node.traffic);
            }
            let sleeps = |power| matches!(power, Power::Battery(_));
            let changed = sleeps(poll.power) != sleeps(node.power);
            node.power = poll.power;
            node.next_s = poll.next_s.clamp(1, self.config.poll_s(poll.power).max(1));
            if changed && sleeps(poll.power) && node.pushing {
                // It will not hear what is being sent again: the command rides on this poll's answer.
                node.pushing = false;
                self.pushes.retain(|_, push| push.node != id);
                if let Some(peer) = node.peer {
                    self.coap.cancel(peer);
                }
            }
            if changed {
                let save = node.save(id);
                self.outputs.push_back(save);
            }
        }
        self.heard(id, now_ms);
        let alive = FromNode::Alive { power: poll.power, news: poll.news };
        self.outputs.push_back(Output::Event(id, alive));
        match self.nodes.get(&id).and_then(|node| node.next_command()) {
            Some(command) => reply(Code::CONTENT, &command),
            None => Response::new(Code::CHANGED, &[]),
        }
    }

    pub(super) fn status(&mut self, id: NodeId, payload: &[u8]) -> Response {
        let Ok(status) = decode::<Status>(payload) else { return self.malformed() };
        let task = self.nodes.get_mut(&id).and_then(|node| {
            let intake = node.intake.get_mut(&status.task)?;
            Some((intake, &mut node.uploads))
        });
        let Some((intake, uploads)) = task else { return Response::new(Code::NOT_FOUND, &[]) };
        // A node whose storage fails may restart from an older record of a task, and number its end like a status that
        // was taken: the end counts all the same, once.
        let ends = status.state.is_terminal() && intake.next_status != Intake::ENDED;
        if intake.next_status == Intake::ENDED && !status.state.is_terminal() {
            // Or it may run what has ended here: nobody would ever stop that.
            return Response::new(Code::NOT_FOUND, &[]);
        }
        if status.seq < intake.next_status && !ends {
            self.counters.repeated += 1;
            return Response::new(Code::CHANGED, &[]);
        }
        if status.seq > intake.next_status {
            return Response::new(Code::CONFLICT, &[]);
        }
        intake.next_status = if ends { Intake::ENDED } else { intake.next_status.saturating_add(1) };
        if status.state == State::Running {
            // It starts, perhaps again after a restart of the node: what it sends is numbered from the beginning.
            (intake.next_message, intake.log_offset) = (1, 0);
            uploads.forget(&status.task);
        }
        let save = Write::Put(Table::Intake, node::task_key(id, status.task), node::record(intake));
        self.write(save);
        let event = FromNode::Status {
            task: status.task,
            seq: status.seq,
            state: status.state,
            note: status.note.as_str().to_owned(),
        };
        self.outputs.push_back(Output::Event(id, event));
        Response::new(Code::CHANGED, &[])
    }

    pub(super) fn log(&mut self, id: NodeId, payload: &[u8]) -> Response {
        let Ok(log) = decode::<Log>(payload) else { return self.malformed() };
        let Some(intake) = self.nodes.get_mut(&id).and_then(|node| node.intake.get_mut(&log.task)) else {
            return Response::new(Code::NOT_FOUND, &[]);
        };
        let end = log.offset.saturating_add(log.data.len() as u32);
        let data = match intake.log_offset.checked_sub(log.offset) {
            Some(overlap) => {
                self.counters.repeated += u64::from(overlap > 0);
                log.data.get(overlap as usize..).unwrap_or_default().to_vec()
            }
            None => {
                let lost = log.offset - intake.log_offset;
                let mut data = format!("[{lost} bytes of log are lost]\n").into_bytes();
                data.extend_from_slice(&log.data);
                data
            }
        };
        intake.log_offset = intake.log_offset.max(end);
        if !data.is_empty() {
            self.outputs.push_back(Output::Event(id, FromNode::Log { task: log.task, data }));
        }
        Response::new(Code::CHANGED, &[])
    }

    pub(super) fn image(&mut self, id: NodeId, handle: &str, block: Option<Block>) -> Response {
        let Ok(handle) = handle.parse::<ImageHandle>() else { return Response::new(Code::NOT_FOUND, &[]) };
        let bytes = match self.images.seek(handle) {
            Sought::Found(bytes) => bytes,
            Sought::Gone => return Response::new(Code::NOT_FOUND, &[]),
            Sought::Asked { first } => {
                if first {
                    self.outputs.push_back(Output::Load(handle));
                }
                return Response::new(Code::UNAVAILABLE, b"loading");
            }
        };
        let response = serve_block(&bytes, &handle.to_be_bytes(), block);
        if let (Some(node), Some(block)) = (self.nodes.get_mut(&id), response.block2) {
            let upto = block.offset() as u32 + response.payload.len() as u32;
            let served = node.served.entry(handle).or_default();
            *served = (*served).max(upto);
        }
        response
    }

    pub(super) fn document(&self, id: NodeId, task: &str, block: Option<Block>) -> Response {
        let document = task.parse::<TaskHandle>().ok();
        match document.and_then(|task| self.nodes.get(&id)?.documents.get(&task)) {
            Some(bytes) => serve_block(bytes, &[], block),
            None => Response::new(Code::NOT_FOUND, &[]),
        }
    }
}

fn reply<T: serde::Serialize>(code: Code, message: &T) -> Response {
    match encode(message) {
        Ok(payload) => Response::new(code, &payload),
        Err(_) => Response::new(Code::UNAVAILABLE, b"too long"),
    }
}
