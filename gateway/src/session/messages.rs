//! Messages between tasks and their frameworks: of one frame, or longer and in blocks.

use super::*;
use node_coap::Taken;
use node_proto::LongMessage;

impl Sessions {
    pub(super) fn message(&mut self, id: NodeId, payload: &[u8]) -> Response {
        let Ok(message) = decode::<Message>(payload) else { return self.malformed() };
        self.said(id, message.task, message.seq, &message.data)
    }

    /// A message of a task's that comes in blocks.
    pub(super) fn long_message(
        &mut self,
        id: NodeId,
        task: &str,
        request: &Request,
        now_ms: u64,
    ) -> Response {
        let known = self.nodes.get_mut(&id).and_then(|node| {
            let task = task.parse::<TaskHandle>().ok().filter(|task| node.intake.contains_key(task))?;
            Some((task, &mut node.uploads))
        });
        let Some((task, uploads)) = known else { return Response::new(Code::NOT_FOUND, &[]) };
        let response = match uploads.take(task, request, now_ms) {
            Taken::Answer(response) => return response,
            Taken::Again => {
                self.counters.repeated += 1;
                Response::new(Code::CHANGED, &[])
            }
            Taken::Whole(body) => match LongMessage::decode(&body) {
                Ok(message) if message.task == task => self.said(id, task, message.seq, message.data),
                _ => self.malformed(),
            },
        };
        if !response.code.is_success()
            && let Some(node) = self.nodes.get_mut(&id)
        {
            node.uploads.forget(&task);
        }
        Response { block1: request.block1, ..response }
    }

    /// Passes a message on, once.
    fn said(&mut self, id: NodeId, task: TaskHandle, seq: u32, data: &[u8]) -> Response {
        let Some(intake) = self.nodes.get_mut(&id).and_then(|node| node.intake.get_mut(&task)) else {
            return Response::new(Code::NOT_FOUND, &[]);
        };
        if seq < intake.next_message {
            self.counters.repeated += 1;
            return Response::new(Code::CHANGED, &[]);
        }
        intake.next_message = seq.saturating_add(1);
        let save = Write::Put(Table::Intake, node::task_key(id, task), node::record(intake));
        self.write(save);
        self.outputs.push_back(Output::Event(id, FromNode::Message { task, data: data.to_vec() }));
        Response::new(Code::CHANGED, &[])
    }

    /// What a command in the mailbox is about.
    pub(super) fn body(&self, id: NodeId, command: &str, block: Option<Block>) -> Response {
        let seq = command.parse::<u32>().ok();
        let mut waiting = self.nodes.get(&id).into_iter().flat_map(|node| &node.mailbox);
        match waiting.find(|command| Some(command.seq) == seq && !command.body.is_empty()) {
            Some(command) => serve_block(&command.body, &[], block),
            None => Response::new(Code::NOT_FOUND, &[]),
        }
    }
}
