//! What an executor is asked and told; [`ExecutorDriver`] does the rest.

mod driver;
mod environment;
mod handle;
mod ledger;

pub use driver::{ExecutorDriver, ExecutorEnd};
pub use environment::Environment;
pub use handle::ExecutorHandle;
pub use ledger::is_terminal;

use crate::Outcome;
use crate::v1::executor::event::Subscribed;
use crate::v1::{KillPolicy, TaskId, TaskInfo, TaskState};

/// A framework's executor: runs tasks on an agent's behalf. Each callback but two has a sensible default; an
/// implementation writes `async fn` for those that it wants.
///
/// They are called one after the other. What takes long belongs on a task of its own, with a clone of the handle: while a
/// callback runs nothing else is heard, no kill either.
#[expect(unused_variables, reason = "the arguments of the defaults are named for who reads them")]
pub trait Executor: Send + 'static {
    /// The agent knows this executor now: who it is, whose, and where.
    fn subscribed(
        &mut self,
        handle: &ExecutorHandle,
        subscribed: Subscribed,
    ) -> impl Future<Output = Outcome> + Send {
        async { Ok(()) }
    }

    /// The agent is there again. Updates and tasks that it may have missed have been said again.
    fn resubscribed(
        &mut self,
        handle: &ExecutorHandle,
        subscribed: Subscribed,
    ) -> impl Future<Output = Outcome> + Send {
        async { Ok(()) }
    }

    /// Run this task, and tell with [`ExecutorHandle::update`] what becomes of it. An error is TASK_FAILED with its text,
    /// unless an end was told already.
    fn launch(&mut self, handle: &ExecutorHandle, task: TaskInfo) -> impl Future<Output = Outcome> + Send;

    /// Run these tasks, all or none. Launches one after the other, unless told otherwise; the first error fails them all.
    fn launch_group(
        &mut self,
        handle: &ExecutorHandle,
        tasks: Vec<TaskInfo>,
    ) -> impl Future<Output = Outcome> + Send {
        async move {
            for task in tasks {
                self.launch(handle, task).await?;
            }
            Ok(())
        }
    }

    /// End this task, within the policy's grace period if there is one, and tell of its end with an update.
    fn kill(
        &mut self,
        handle: &ExecutorHandle,
        task: TaskId,
        policy: Option<KillPolicy>,
    ) -> impl Future<Output = Outcome> + Send;

    /// The scheduler has acknowledged an update. The driver forgets it by itself.
    fn acknowledged(
        &mut self,
        handle: &ExecutorHandle,
        task: TaskId,
        uuid: Vec<u8>,
    ) -> impl Future<Output = Outcome> + Send {
        async { Ok(()) }
    }

    /// Bytes from the scheduler. Not reliable: what is lost on the way is lost.
    fn message(&mut self, handle: &ExecutorHandle, data: Vec<u8>) -> impl Future<Output = Outcome> + Send {
        async { Ok(()) }
    }

    /// End all tasks; the driver ends once the end of each was told and acknowledged, or the grace period is over. Says of
    /// each that was not told to have ended that it was killed, unless told otherwise. Called also when the agent is lost
    /// for good.
    fn shutdown(&mut self, handle: &ExecutorHandle) -> impl Future<Output = Outcome> + Send {
        async {
            for task in handle.running() {
                handle.report(&task, TaskState::TaskKilled, "the executor shuts down")?;
            }
            Ok(())
        }
    }

    /// The agent refuses the executor. The driver ends after this.
    fn error(&mut self, handle: &ExecutorHandle, message: String) -> impl Future<Output = Outcome> + Send {
        async { Ok(()) }
    }

    /// The agent is away, such as for a restart. Tasks go on; updates wait.
    fn disconnected(&mut self, handle: &ExecutorHandle) -> impl Future<Output = Outcome> + Send {
        async { Ok(()) }
    }
}
