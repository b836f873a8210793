//! Machines that are to go down, go down and come up again (src/master/maintenance.cpp, src/master/http.cpp
//! `_updateMaintenanceSchedule`, `_startMaintenance`, `_stopMaintenance`). A machine is a hostname and an address. Kept
//! over restarts; what frameworks answered to inverse offers is not. No agent of a machine that is down is taken in.

use super::MasterCore;
use super::loss::Loss;
use crate::limits::MAX_MACHINES;
use crate::operator::Refusal;
use crate::store::{Records, Table, Unreadable, delete, of_kind, put};
use libprocess::Upid;
use mesos_proto::internal::ShutdownMessage;
use mesos_proto::v1::machine_info::Mode;
use mesos_proto::v1::maintenance::{ClusterStatus, Schedule, Window, cluster_status::DrainingMachine};
use mesos_proto::v1::{MachineId, MachineInfo, Unavailability};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// The one schedule's key.
const SCHEDULE: &str = "";

/// What is said to agents of machines that are down.
pub(super) const MACHINE_DOWN: &str = "Operator initiated 'Machine DOWN'";

/// A machine's hostname in lower case, and its address.
type Key = (String, String);

/// What is planned, and the machines that are not simply up.
#[derive(Default)]
pub(crate) struct Maintenance {
    schedule: Schedule,
    machines: BTreeMap<Key, MachineInfo>,
}

impl Maintenance {
    /// Whether any machine is not simply up.
    pub fn is_planned(&self) -> bool {
        !self.machines.is_empty()
    }
}

impl MasterCore {
    pub(super) fn recover_maintenance(&mut self, records: &Records) -> Result<(), Unreadable> {
        let mut schedules = of_kind::<Schedule>(records, Table::Schedule)?;
        self.maintenance.schedule = schedules.pop().map(|(_, schedule)| schedule).unwrap_or_default();
        let machines = of_kind::<MachineInfo>(records, Table::Machine)?;
        self.maintenance.machines = machines.into_iter().map(|(_, info)| (key(&info.id), info)).collect();
        Ok(())
    }

    /// What is planned.
    pub(crate) fn maintenance_schedule(&self) -> &Schedule {
        &self.maintenance.schedule
    }

    /// Which machines are on their way down or are down.
    pub(crate) fn maintenance_status(&self) -> ClusterStatus {
        let of = |mode| self.maintenance.machines.values().filter(move |info| info.mode() == mode);
        ClusterStatus {
            draining_machines: of(Mode::Draining)
                .map(|info| {
                    let agents = self.agents_on(&BTreeSet::from([key(&info.id)])).collect::<Vec<_>>();
                    let statuses = agents.iter().flat_map(|agent| self.inverse_answers(agent)).collect();
                    DrainingMachine { id: info.id.clone(), statuses }
                })
                .collect(),
            down_machines: of(Mode::Down).map(|info| info.id.clone()).collect(),
        }
    }

    /// When an agent's machine is not to be used, if that is planned.
    pub(super) fn unavailability(&self, agent: &str) -> Option<Unavailability> {
        let machine = self.maintenance.machines.get(&self.machine_of(agent)?)?;
        machine.unavailability
    }

    /// Whether an agent's machine is in the schedule, whatever its state.
    pub(super) fn is_scheduled(&self, agent: &str) -> bool {
        self.machine_of(agent).is_some_and(|machine| self.maintenance.machines.contains_key(&machine))
    }

    /// Whether the machine that an agent says it runs on is down.
    pub(super) fn is_down(&self, hostname: &str, pid: &Upid) -> bool {
        let machine = self.maintenance.machines.get(&key_of(hostname, pid));
        machine.is_some_and(|info| info.mode() == Mode::Down)
    }

    fn machine_of(&self, agent: &str) -> Option<Key> {
        self.agents.get(agent).map(|agent| key_of(&agent.info.hostname, &agent.pid))
    }

    /// Replaces the schedule. Machines that are new in it begin to drain: frameworks are asked to leave them.
    pub(crate) fn update_maintenance(&mut self, schedule: Schedule) -> Result<(), Refusal> {
        let planned = planned(&schedule)?;
        let lost = self
            .maintenance
            .machines
            .iter()
            .find(|(key, info)| info.mode() == Mode::Down && !planned.contains_key(*key));
        if let Some((_, info)) = lost {
            let why = format!("{} is deactivated and cannot be removed from the schedule", name(&info.id));
            return Err(Refusal::bad(why));
        }
        let known: BTreeSet<Key> = self.maintenance.machines.keys().cloned().collect();
        let up: Vec<Key> = known.iter().filter(|key| !planned.contains_key(*key)).cloned().collect();
        let mut changed: BTreeSet<Key> = up.iter().cloned().collect();
        up.iter().for_each(|key| self.forget_machine(key));
        for (key, (id, unavailability)) in planned {
            let old = self.maintenance.machines.get(&key);
            let mode = old.map_or(Mode::Draining, MachineInfo::mode);
            let info = MachineInfo { id, mode: Some(mode as i32), unavailability: Some(unavailability) };
            if old != Some(&info) {
                self.keep_machine(&key, info);
                changed.insert(key);
            }
        }
        self.keep_schedule(schedule);
        let touched: Vec<_> = self.agents_on(&changed).collect();
        for agent in touched {
            self.unavailability_changed(&agent);
        }
        Ok(())
    }

    /// Machines go down: their agents are shut down and removed.
    pub(crate) fn start_maintenance(&mut self, machines: &[MachineId]) -> Result<(), Refusal> {
        let keys = self.machines_in(machines, Mode::Draining, "DRAINING mode and cannot be brought down")?;
        let agents: Vec<_> = self.agents_on(&keys).collect();
        for key in &keys {
            if let Some(mut info) = self.maintenance.machines.get(key).cloned() {
                info.set_mode(Mode::Down);
                self.keep_machine(key, info);
            }
        }
        for id in agents {
            let Some(agent) = self.agents.get(&id) else { continue };
            let pid = agent.pid.clone();
            self.send(&pid, &ShutdownMessage { message: Some(MACHINE_DOWN.into()) });
            self.remove_agent(&id, Loss::Down);
        }
        Ok(())
    }

    /// Machines are up again and in no schedule any more.
    pub(crate) fn stop_maintenance(&mut self, machines: &[MachineId]) -> Result<(), Refusal> {
        let keys = self.machines_in(machines, Mode::Down, "DOWN mode and cannot be brought up")?;
        keys.iter().for_each(|key| self.forget_machine(key));
        let mut schedule = self.maintenance.schedule.clone();
        for window in &mut schedule.windows {
            window.machine_ids.retain(|id| !keys.contains(&key(id)));
        }
        schedule.windows.retain(|window| !window.machine_ids.is_empty());
        self.keep_schedule(schedule);
        Ok(())
    }

    /// The machines that a call names, all of them in this mode.
    fn machines_in(&self, machines: &[MachineId], mode: Mode, why: &str) -> Result<BTreeSet<Key>, Refusal> {
        if machines.is_empty() {
            return Err(Refusal::bad("List of machines is empty"));
        }
        let mut keys = BTreeSet::new();
        for id in machines {
            validate(id)?;
            if !keys.insert(key(id)) {
                return Err(Refusal::bad(format!("{} appears more than once in the schedule", name(id))));
            }
        }
        for id in machines {
            match self.maintenance.machines.get(&key(id)) {
                None => {
                    return Err(Refusal::bad(format!("{} is not part of a maintenance schedule", name(id))));
                }
                Some(info) if info.mode() != mode => {
                    return Err(Refusal::bad(format!("{} is not in {why}", name(id))));
                }
                Some(_) => {}
            }
        }
        Ok(keys)
    }

    fn agents_on<'a>(&'a self, machines: &'a BTreeSet<Key>) -> impl Iterator<Item = String> + 'a {
        let agents = self.agents.iter();
        agents
            .filter(|(_, agent)| machines.contains(&key_of(&agent.info.hostname, &agent.pid)))
            .map(|(id, _)| id.clone())
    }

    /// Offers said something else of when the agent can be used.
    fn unavailability_changed(&mut self, agent: &str) {
        self.rescind_agent(agent);
        self.forget_inverse_agent(agent);
        self.dirty.insert(agent.to_owned());
    }

    fn keep_schedule(&mut self, schedule: Schedule) {
        self.keep(put(Table::Schedule, SCHEDULE, &schedule));
        self.maintenance.schedule = schedule;
    }

    fn keep_machine(&mut self, key: &Key, info: MachineInfo) {
        self.keep(put(Table::Machine, &record_key(key), &info));
        self.maintenance.machines.insert(key.clone(), info);
    }

    fn forget_machine(&mut self, key: &Key) {
        self.keep(delete(Table::Machine, &record_key(key)));
        self.maintenance.machines.remove(key);
    }
}

/// The machines of a schedule, each with its window (`validation::schedule`).
fn planned(schedule: &Schedule) -> Result<BTreeMap<Key, (MachineId, Unavailability)>, Refusal> {
    let mut planned = BTreeMap::new();
    for Window { machine_ids, unavailability } in &schedule.windows {
        if machine_ids.is_empty() {
            return Err(Refusal::bad("List of machines in the maintenance window is empty"));
        }
        if unavailability.duration.is_some_and(|duration| duration.nanoseconds < 0) {
            return Err(Refusal::bad("Unavailability 'duration' is negative"));
        }
        for id in machine_ids {
            validate(id)?;
            if planned.insert(key(id), (id.clone(), *unavailability)).is_some() {
                return Err(Refusal::bad(format!("{} appears more than once in the schedule", name(id))));
            }
        }
    }
    if planned.len() > MAX_MACHINES {
        return Err(Refusal::bad(format!(
            "more than {MAX_MACHINES} machines: plan them one after the other"
        )));
    }
    Ok(planned)
}

fn validate(id: &MachineId) -> Result<(), Refusal> {
    if id.hostname().is_empty() && id.ip().is_empty() {
        return Err(Refusal::bad("Both 'hostname' and 'ip' for a machine are empty"));
    }
    if id.hostname().len() > crate::limits::MAX_ID {
        return Err(Refusal::bad("A machine's hostname is too long"));
    }
    if !id.ip().is_empty() && id.ip().parse::<Ipv4Addr>().is_err() {
        return Err(Refusal::bad(format!("'{}' is not an IPv4 address", id.ip())));
    }
    Ok(())
}

fn key(id: &MachineId) -> Key {
    (id.hostname().to_lowercase(), id.ip().to_owned())
}

fn key_of(hostname: &str, pid: &Upid) -> Key {
    (hostname.to_lowercase(), pid.addr.ip().to_string())
}

/// No hostname has a slash in front of an address.
fn record_key((hostname, ip): &Key) -> String {
    format!("{ip}/{hostname}")
}

/// A machine as messages name it.
fn name(id: &MachineId) -> String {
    let json = mesos_proto::json::to_json(id).map(|json| json.to_string()).unwrap_or_default();
    format!("Machine '{json}'")
}
