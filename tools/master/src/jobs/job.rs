//! One accepted job: its runs, their instances, and what became of them. Records and small rules; what causes a change
//! is decided elsewhere.

use super::spec::{Policy, Spec};
use crate::limits::MAX_JOB_HISTORY;
use mesos_proto::resources::Scalars;
use mesos_proto::v1::TaskState;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Where an instance is: the number of its run, and its own within it.
pub(super) type At = (u64, u32);

/// How a task, a run or a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum End {
    Finished,
    Failed,
    Killed,
}

impl End {
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Killed => "killed",
        }
    }
}

/// A task that was written down to be launched, and has not ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Task {
    pub id: String,
    pub agent: String,
    pub hostname: String,
    /// What it counts as, for each constraint of the job that counts.
    pub groups: Vec<String>,
    /// The last state heard of.
    pub state: i32,
    pub launched_ms: u64,
    pub running_ms: Option<u64>,
    /// Since when nobody knows whether it runs.
    pub unsure_ms: Option<u64>,
    /// Something was heard of it since this process started.
    #[serde(skip)]
    pub heard: bool,
    /// When its end was last asked for.
    #[serde(skip)]
    pub kill_sent_ms: Option<u64>,
}

/// What an instance does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Phase {
    /// It waits for an offer.
    Due,
    /// It is to be launched again, but not yet.
    Backoff { until_ms: u64 },
    /// It was launched.
    Launched(Task),
    /// It is over.
    Done(End),
}

/// An instance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Slot {
    pub phase: Phase,
    /// Tasks launched for it.
    pub launches: u32,
    /// Of those, how many failed.
    pub failures: u32,
    /// Failures since it last ran for long.
    pub streak: u32,
}

impl Slot {
    pub fn new() -> Self {
        Self { phase: Phase::Due, launches: 0, failures: 0, streak: 0 }
    }
}

/// A run: once for most jobs, again and again for a periodic one.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub head: RunHead,
    pub slots: Vec<Slot>,
}

/// What is kept of a run besides its instances.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct RunHead {
    pub number: u64,
    pub started_ms: u64,
    /// An operator asked for it.
    pub manual: bool,
}

impl Run {
    /// How it ended, if it has.
    pub fn end(&self) -> Option<End> {
        let mut worst = End::Finished;
        for slot in &self.slots {
            match slot.phase {
                Phase::Done(End::Finished) => {}
                Phase::Done(End::Killed) => worst = End::Killed,
                Phase::Done(End::Failed) if worst == End::Finished => worst = End::Failed,
                Phase::Done(End::Failed) => {}
                _ => return None,
            }
        }
        Some(worst)
    }
}

/// An ended task, as it is remembered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PastTask {
    pub task_id: String,
    pub run: u64,
    pub instance: u32,
    pub agent_id: String,
    pub hostname: String,
    pub state: String,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub launched_ms: u64,
    pub ended_ms: u64,
}

/// An ended run, as it is remembered.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct PastRun {
    #[serde(flatten)]
    pub head: RunHead,
    pub ended_ms: u64,
    pub end: End,
}

/// How many runs ended how.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Counts {
    pub finished: u64,
    pub failed: u64,
    pub killed: u64,
    /// Not begun because the one before had not ended.
    pub skipped: u64,
}

/// What is kept of a job besides its instances.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    pub spec: Spec,
    /// Jobs are numbered in the order they were accepted.
    pub sequence: u64,
    pub created_ms: u64,
    pub runs: Vec<RunHead>,
    pub next_run: u64,
    /// When a periodic job is due again.
    pub next_ms: Option<u64>,
    pub counts: Counts,
    pub past_tasks: VecDeque<PastTask>,
    pub past_runs: VecDeque<PastRun>,
    /// An operator ended it.
    pub killed: bool,
    /// It is forgotten as soon as it has ended.
    pub purge: bool,
    pub ended_ms: Option<u64>,
}

/// A job.
pub(super) struct Job {
    pub kept: Kept,
    pub runs: BTreeMap<u64, Run>,
    pub needs: Scalars,
    /// [`Spec::wish`].
    pub wish: Option<String>,
    /// Instances that wait for an offer.
    pub due: BTreeSet<At>,
    /// Instances that wait for a time.
    pub backoffs: BTreeSet<(u64, At)>,
    /// Offers were looked at since something is due.
    pub looked: bool,
    /// Its own record, and those of instances, that are to be written.
    pub changed: bool,
    pub changed_slots: BTreeSet<At>,
    /// As in the indices of all jobs.
    pub wake_ms: Option<u64>,
    pub waits: bool,
}

impl Job {
    pub fn new(spec: Spec, sequence: u64, now_ms: u64) -> Self {
        let next_ms = match &spec.schedule {
            Some(schedule) => schedule.first_ms(now_ms),
            None => Some(now_ms),
        };
        Self::of(Kept {
            spec,
            sequence,
            created_ms: now_ms,
            runs: Vec::new(),
            next_run: 1,
            next_ms,
            counts: Counts::default(),
            past_tasks: VecDeque::new(),
            past_runs: VecDeque::new(),
            killed: false,
            purge: false,
            ended_ms: None,
        })
    }

    /// A job as it was kept, its instances not begun.
    pub fn of(kept: Kept) -> Self {
        let instances = kept.spec.instances;
        let runs = kept.runs.iter().map(|head| {
            let slots = (0..instances).map(|_| Slot::new()).collect();
            (head.number, Run { head: *head, slots })
        });
        let mut job = Self {
            runs: runs.collect(),
            needs: kept.spec.needs(),
            wish: kept.spec.wish(),
            kept,
            due: BTreeSet::new(),
            backoffs: BTreeSet::new(),
            looked: false,
            changed: false,
            changed_slots: BTreeSet::new(),
            wake_ms: None,
            waits: false,
        };
        job.index();
        job
    }

    /// Finds again which instances wait, after they were read.
    pub fn index(&mut self) {
        self.due.clear();
        self.backoffs.clear();
        for (number, run) in &self.runs {
            for (at, slot) in (0u32..).zip(&run.slots) {
                match slot.phase {
                    Phase::Due => drop(self.due.insert((*number, at))),
                    Phase::Backoff { until_ms } => drop(self.backoffs.insert((until_ms, (*number, at)))),
                    _ => {}
                }
            }
        }
    }

    pub fn periodic(&self) -> bool {
        self.kept.spec.schedule.is_some()
    }

    pub fn slot(&self, (run, instance): At) -> Option<&Slot> {
        self.runs.get(&run)?.slots.get(usize::try_from(instance).ok()?)
    }

    pub fn slot_mut(&mut self, (run, instance): At) -> Option<&mut Slot> {
        self.runs.get_mut(&run)?.slots.get_mut(usize::try_from(instance).ok()?)
    }

    pub fn task(&self, at: At) -> Option<&Task> {
        match &self.slot(at)?.phase {
            Phase::Launched(task) => Some(task),
            _ => None,
        }
    }

    pub fn task_mut(&mut self, at: At) -> Option<&mut Task> {
        match &mut self.slot_mut(at)?.phase {
            Phase::Launched(task) => Some(task),
            _ => None,
        }
    }

    /// All tasks that may run.
    pub fn tasks(&self) -> impl Iterator<Item = (At, &Task)> {
        self.runs.iter().flat_map(|(run, held)| {
            (0u32..).zip(&held.slots).filter_map(|(instance, slot)| match &slot.phase {
                Phase::Launched(task) => Some(((*run, instance), task)),
                _ => None,
            })
        })
    }

    /// Moves an instance on. Nothing else changes phases.
    pub fn set(&mut self, at: At, phase: Phase) {
        let Some(slot) = self.slot_mut(at) else { return };
        let old = std::mem::replace(&mut slot.phase, phase.clone());
        match old {
            Phase::Due => drop(self.due.remove(&at)),
            Phase::Backoff { until_ms } => drop(self.backoffs.remove(&(until_ms, at))),
            _ => {}
        }
        match phase {
            Phase::Due => {
                self.looked = false;
                self.due.insert(at);
            }
            Phase::Backoff { until_ms } => drop(self.backoffs.insert((until_ms, at))),
            _ => {}
        }
        self.changed_slots.insert(at);
    }

    /// Begins a run. True if there is one more.
    pub fn begin(&mut self, manual: bool, now_ms: u64) -> u64 {
        let head = RunHead { number: self.kept.next_run, started_ms: now_ms, manual };
        self.kept.next_run += 1;
        self.kept.runs.push(head);
        let slots: Vec<Slot> = (0..self.kept.spec.instances).map(|_| Slot::new()).collect();
        self.due.extend((0..self.kept.spec.instances).map(|instance| (head.number, instance)));
        self.runs.insert(head.number, Run { head, slots });
        self.looked = false;
        self.changed = true;
        head.number
    }

    pub fn remember_task(&mut self, past: PastTask) {
        self.kept.past_tasks.push_back(past);
        while self.kept.past_tasks.len() > MAX_JOB_HISTORY {
            self.kept.past_tasks.pop_front();
        }
        self.changed = true;
    }

    pub fn remember_run(&mut self, head: RunHead, end: End, now_ms: u64) {
        self.kept.past_runs.push_back(PastRun { head, ended_ms: now_ms, end });
        while self.kept.past_runs.len() > MAX_JOB_HISTORY {
            self.kept.past_runs.pop_front();
        }
        let counts = &mut self.kept.counts;
        match end {
            End::Finished => counts.finished += 1,
            End::Failed => counts.failed += 1,
            End::Killed => counts.killed += 1,
        }
        self.changed = true;
    }

    /// When something of it is to be done next.
    pub fn next_wakeup_ms(&self) -> Option<u64> {
        if let Some(ended) = self.kept.ended_ms {
            return Some(ended.saturating_add(self.kept.spec.ttl.ms()));
        }
        let backoff = self.backoffs.first().map(|(until, _)| *until);
        backoff.into_iter().chain(self.kept.next_ms).min()
    }

    /// What an instance does after its task ended: `chance`, from 0 to 1, shortens a wait.
    pub fn after(&mut self, at: At, ended: &Ended, now_ms: u64, chance: f64) -> Phase {
        let (restart, backoff, killed) = (self.kept.spec.restart, self.kept.spec.backoff, self.kept.killed);
        let Some(slot) = self.slot_mut(at) else { return Phase::Done(End::Failed) };
        if ended.ran_ms.is_some_and(|ran| ran >= backoff.max.ms()) {
            slot.streak = 0;
        }
        let finished = ended.state == TaskState::TaskFinished;
        if killed {
            return Phase::Done(if finished { End::Finished } else { End::Killed });
        }
        if finished && restart.policy != Policy::Always {
            return Phase::Done(End::Finished);
        }
        if finished {
            slot.streak = 0;
            return Phase::Backoff { until_ms: now_ms + backoff.wait_ms(1, chance) };
        }
        slot.streak = slot.streak.saturating_add(1);
        let again = Phase::Backoff { until_ms: now_ms + backoff.wait_ms(slot.streak, chance) };
        if ended.never_ran {
            return again;
        }
        if ended.moved_away && restart.policy != Policy::Never {
            return again;
        }
        slot.failures = slot.failures.saturating_add(1);
        let may = match restart.policy {
            Policy::Never => false,
            Policy::OnFailure => slot.failures <= restart.retries,
            Policy::Always => true,
        };
        // What the master refuses it refuses again.
        if may && ended.state != TaskState::TaskError { again } else { Phase::Done(End::Failed) }
    }
}

/// What matters of a task's end for what comes after it.
pub(super) struct Ended {
    pub state: TaskState,
    /// How long it ran.
    pub ran_ms: Option<u64>,
    /// It was certainly not begun.
    pub never_ran: bool,
    /// It was ended because its node is drained.
    pub moved_away: bool,
}
