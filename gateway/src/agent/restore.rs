//! What becomes of all agents at once: from the records, to nothing, or for good.

use super::*;

impl Agents {
    /// Takes in one record; `None` if it makes no sense.
    pub(super) fn restore(
        &mut self,
        table: Table,
        key: &[u8],
        value: &[u8],
        progress: &mut HashMap<&[u8], Progress>,
        now_ms: u64,
    ) -> Option<()> {
        use Table::*;
        if !matches!(table, Framework | Task | Executor | Reserved | Operation) {
            return Some(());
        }
        let (id, rest) = key.split_at_checked(8)?;
        let id = NodeId(id.try_into().ok()?);
        let agent = self.nodes.get_mut(&id)?;
        match table {
            Framework => {
                let name = std::str::from_utf8(rest).ok()?.to_owned();
                agent.frameworks.insert(name, postcard::from_bytes(value).ok()?);
            }
            Task => {
                let handle = TaskHandle::from_be_bytes(rest.try_into().ok()?);
                let record: TaskRecord = postcard::from_bytes(value).ok()?;
                let task = task::Task::new(record, progress.remove(key)?, now_ms);
                if let Some(uri) = task.waits_for() {
                    self.outputs.push_back(Output::Fetch(uri.to_owned()));
                    self.waiting.entry(uri.to_owned()).or_default().insert((id, handle));
                }
                agent.tasks.insert(handle, task);
            }
            Executor => drop(agent.executors.insert(executors::read_key(rest)?, value.to_vec())),
            Reserved => {
                let resources: Vec<Vec<u8>> = postcard::from_bytes(value).ok()?;
                let resources: Vec<mesos::Resource> = resources
                    .iter()
                    .filter_map(|bytes| mesos::Resource::decode(bytes.as_slice()).ok())
                    .collect();
                agent.reserved = reservations::Reserved::of(&resources);
            }
            Operation => {
                let operation = operations::Operation::new(value.to_vec(), now_ms);
                agent.operations.insert(rest.to_vec(), operation);
            }
            _ => {}
        }
        Some(())
    }

    /// Gives up all agent ids, with their tasks: for a gateway that the master is to know at a new address.
    pub fn start_anew(&mut self) {
        self.node_ids().into_iter().for_each(|id| self.give_up_identity(id));
    }

    /// Images of tasks that have not ended: they have to stay.
    pub fn images_needed(&self) -> BTreeSet<ImageHandle> {
        let tasks = self.nodes.values().flat_map(|agent| agent.tasks.values());
        tasks.filter(|task| !task.has_ended()).filter_map(|task| task.progress.image).collect()
    }

    /// True if a master knows any of the agents by an id.
    pub fn has_identities(&self) -> bool {
        self.nodes.values().any(|agent| agent.record.slave_id.is_some())
    }

    /// Tells the master that all agents go for good, and ends their tasks (src/slave/slave.cpp, `signaled`).
    pub fn unregister_all(&mut self) {
        self.retired = true;
        for id in self.node_ids() {
            if let Some(value) = self.nodes.get(&id).and_then(|agent| agent.record.slave_id.clone()) {
                self.send(id, &internal::UnregisterSlaveMessage { slave_id: mesos::SlaveId { value } });
            }
            self.give_up_identity(id);
            if let Some(agent) = self.nodes.get_mut(&id) {
                agent.registration = Registration::Away;
            }
            self.rearm(id);
        }
    }
}
