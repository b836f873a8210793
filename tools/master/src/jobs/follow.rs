//! What becomes of tasks: their statuses, and what follows an end.

use super::job::{Ended, PastTask};
use super::subscription::AGAIN_MS;
use super::{Jobs, calls};
use crate::state::is_terminal;
use mesos_proto::mesos;
use mesos_proto::v1::{TaskState, TaskStatus, task_status::Reason};

/// A task of which the master knows not even its agent is given up after so long, in milliseconds.
const UNKNOWN_MS: u64 = 3_600_000;
/// Bytes kept of a status' message.
const MAX_MESSAGE: usize = 512;

impl Jobs {
    /// Takes a status. It is acknowledged in the same step, after what it changes is written.
    pub(super) fn update(&mut self, status: &TaskStatus) {
        let framework = self.all.framework.clone();
        let (id, state) = (&status.task_id.value, status.state());
        let over = mesos::TaskState::try_from(state as i32).is_ok_and(is_terminal);
        let known = self.tasks.get(id).cloned();
        if let Some(acknowledge) = calls::acknowledge(&framework, status) {
            self.calls.push(acknowledge);
        }
        let Some((job, at)) = known else {
            // Of a job that was forgotten, or launched before something was lost: nobody wants it.
            let alive = !over && !matches!(state, TaskState::TaskUnknown | TaskState::TaskUnreachable);
            if alive {
                tracing::warn!(task = id, "a task that belongs to no job is killed");
                let agent = status.agent_id.as_ref().map(|agent| agent.value.as_str());
                self.calls.push(calls::kill(&framework, id, agent));
            }
            return;
        };
        if over {
            return self.ended(&job, at, status);
        }
        let now = self.now_ms;
        let Some(held) = self.jobs.get_mut(&job) else { return };
        let killed = held.kept.killed;
        let Some(task) = held.task_mut(at) else { return };
        task.heard = true;
        let before = (task.state, task.running_ms, task.unsure_ms);
        let unsure = matches!(state, TaskState::TaskUnreachable | TaskState::TaskUnknown);
        if unsure {
            let since = *task.unsure_ms.get_or_insert(now);
            if state == TaskState::TaskUnknown && now >= since + UNKNOWN_MS {
                return self.lost(id, TaskState::TaskGone, "nobody has known of its node for an hour");
            }
        } else {
            task.unsure_ms = None;
            task.state = state as i32;
        }
        if state == TaskState::TaskRunning {
            task.running_ms.get_or_insert(now);
        }
        let unsent = killed && !unsure && task.kill_sent_ms.is_none();
        if (task.state, task.running_ms, task.unsure_ms) != before {
            held.changed_slots.insert(at);
        }
        self.touch(&job);
        if unsure || killed {
            // A kill from before a restart may not have gone out.
            self.ask_soon(if unsent { 0 } else { AGAIN_MS });
        }
    }

    /// Ends a task that no status will come of.
    pub(super) fn lost(&mut self, task: &str, state: TaskState, why: &str) {
        let Some((job, at)) = self.tasks.get(task).cloned() else { return };
        let status = TaskStatus {
            task_id: mesos_proto::v1::TaskId { value: task.to_owned() },
            state: state as i32,
            message: Some(why.to_owned()),
            ..Default::default()
        };
        self.ended(&job, at, &status);
    }

    fn ended(&mut self, id: &str, at: super::At, status: &TaskStatus) {
        self.tasks.remove(&status.task_id.value);
        let now = self.now_ms;
        let chance = self.chance(&status.task_id.value);
        let Some(job) = self.jobs.get_mut(id) else { return };
        let Some(task) = job.task(at).cloned() else { return };
        let (state, reason) = (status.state(), status.reason.is_some().then(|| status.reason()));
        let lost = matches!(state, TaskState::TaskGone | TaskState::TaskGoneByOperator | TaskState::TaskLost);
        // An agent that was told of a launch tells what became of it until it is acknowledged: of one that it knows
        // nothing of it was not told.
        let unsent =
            lost && task.state == TaskState::TaskStaging as i32 && reason == Some(Reason::Reconciliation);
        let ended = Ended {
            state,
            ran_ms: task.running_ms.map(|since| now.saturating_sub(since)),
            never_ran: state == TaskState::TaskDropped || unsent || reason == Some(Reason::InvalidOffers),
            moved_away: reason == Some(Reason::AgentDraining),
        };
        let next = job.after(at, &ended, now, chance);
        let message = status.message.as_deref().filter(|message| !message.is_empty());
        let message = message.map(|message| message.chars().take(MAX_MESSAGE).collect::<String>());
        let what = match (reason, &message) {
            (Some(reason), Some(message)) => format!(" ({}): {message}", reason.as_str_name()),
            (Some(reason), None) => format!(" ({})", reason.as_str_name()),
            (None, Some(message)) => format!(": {message}"),
            (None, None) => String::new(),
        };
        job.remember_task(PastTask {
            task_id: task.id.clone(),
            run: at.0,
            instance: at.1,
            agent_id: task.agent,
            hostname: task.hostname.clone(),
            state: state.as_str_name().into(),
            reason: reason.map(|reason| reason.as_str_name().into()),
            message,
            launched_ms: task.launched_ms,
            ended_ms: now,
        });
        job.set(at, next);
        let (role, siblings) = (job.kept.spec.role.clone(), job.wish.is_none());
        let trouble = !matches!(state, TaskState::TaskFinished | TaskState::TaskKilled);
        self.tell(id, trouble, format!("{} on {}: {}{what}", task.id, task.hostname, state.as_str_name()));
        if siblings {
            // Where others are refused because of where it ran, one may run now. What it held is offered in any case.
            self.look_again(&role);
        }
        self.touch(id);
        self.conclude(id);
    }

    /// A number from 0 to 1 that is the same whenever it is asked for.
    fn chance(&self, of: &str) -> f64 {
        let mut z = of.bytes().fold(self.config.seed, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(5)
        });
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}
