//! What time brings: waits that are over, runs that are due, ended jobs that are forgotten.

use super::Jobs;
use super::job::{End, Job, Phase};
use crate::jobs::Overlap;
use crate::limits::MAX_RUNS_AT_ONCE;

impl Jobs {
    /// Does what is due.
    pub(super) fn wake(&mut self) {
        while let Some((_, id)) = self.wakes.first().filter(|(at, _)| *at <= self.now_ms).cloned() {
            self.wake_job(&id);
        }
    }

    fn wake_job(&mut self, id: &str) {
        let now = self.now_ms;
        let Some(job) = self.jobs.get_mut(id) else { return };
        if job.kept.ended_ms.is_some_and(|ended| now >= ended.saturating_add(job.kept.spec.ttl.ms())) {
            return self.forget(id);
        }
        let mut more = false;
        while let Some((_, at)) = job.backoffs.first().filter(|(until, _)| *until <= now).copied() {
            job.set(at, Phase::Due);
            more = true;
        }
        let role = job.kept.spec.role.clone();
        if let Some(due) = job.kept.next_ms.filter(|due| *due <= now) {
            job.kept.next_ms = job.kept.spec.schedule.as_ref().and_then(|schedule| schedule.after(due, now));
            job.changed = true;
            match job.may_run() {
                true => {
                    let number = job.begin(false, now);
                    more = true;
                    self.tell(id, false, format!("run {number} begins"));
                }
                false => {
                    job.kept.counts.skipped += 1;
                    self.tell(id, true, "a run is left out: the one before has not ended");
                }
            }
        }
        if more {
            self.look_again(&role);
        }
        self.touch(id);
    }

    /// Ends runs whose instances have all ended, and then the job if nothing is to follow.
    pub(super) fn conclude(&mut self, id: &str) {
        let now = self.now_ms;
        let Some(job) = self.jobs.get_mut(id) else { return };
        let over: Vec<_> = job.runs.values().filter_map(|run| Some((run.head, run.end()?))).collect();
        let mut said = Vec::new();
        for (head, end) in over {
            if job.kept.ended_ms.is_some() {
                break;
            }
            job.remember_run(head, end, now);
            said.push((end, head.number));
            if job.periodic() {
                job.kept.runs.retain(|kept| kept.number != head.number);
                let slots = job.runs.remove(&head.number).map_or(0, |run| run.slots.len());
                let slots = (0u32..).take(slots).map(|instance| (head.number, instance));
                for at in slots {
                    job.changed_slots.remove(&at);
                    self.writes.push(super::records::delete_slot(id, at));
                }
            } else {
                job.kept.ended_ms = Some(now);
            }
        }
        let no_more = job.kept.killed || job.kept.next_ms.is_none();
        if job.periodic() && no_more && job.runs.is_empty() && job.kept.ended_ms.is_none() {
            (job.kept.ended_ms, job.changed) = (Some(now), true);
        }
        let (ended, purge) = (job.kept.ended_ms.is_some(), job.kept.purge);
        self.touch(id);
        for (end, number) in said {
            self.tell(id, end == End::Failed, format!("run {number} {}", end.name()));
        }
        if ended && purge {
            self.forget(id);
        }
    }
}

impl Job {
    /// Whether one more run may begin.
    pub(super) fn may_run(&self) -> bool {
        let overlap = self.kept.spec.schedule.as_ref().map_or(Overlap::Skip, |schedule| schedule.overlap);
        let most = if overlap == Overlap::Allow { MAX_RUNS_AT_ONCE } else { 1 };
        self.runs.len() < most
    }
}
