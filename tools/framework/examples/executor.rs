//! An executor in fifty lines: runs each task's program with its arguments. An agent starts it with an environment that says
//! who it is and where the agent is.

use framework::v1::{KillPolicy, TaskId, TaskInfo, TaskState};
use framework::{Environment, Executor, ExecutorDriver, ExecutorHandle, Format, Outcome};
use std::collections::HashMap;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

/// For each task what kills it when it is dropped.
#[derive(Default)]
struct Programs(HashMap<String, oneshot::Sender<()>>);

impl Executor for Programs {
    // An error is TASK_FAILED with its text. What takes long goes on beside: kills have to be heard meanwhile.
    async fn launch(&mut self, handle: &ExecutorHandle, task: TaskInfo) -> Outcome {
        let command = task.command.unwrap_or_default();
        let program = command.value.ok_or("the task has no program")?;
        // The first argument is what the program is called.
        let child =
            Command::new(program).args(command.arguments.iter().skip(1)).kill_on_drop(true).spawn()?;
        let (kill, killed) = oneshot::channel();
        self.0.insert(task.task_id.value.clone(), kill);
        handle.report(&task.task_id, TaskState::TaskRunning, "")?;
        tokio::spawn(follow(child, killed, task.task_id, handle.clone()));
        Ok(())
    }

    async fn kill(&mut self, _: &ExecutorHandle, task: TaskId, _: Option<KillPolicy>) -> Outcome {
        self.0.remove(&task.value);
        Ok(())
    }

    // The driver waits for the end of each task, and for the scheduler to know of it.
    async fn shutdown(&mut self, _: &ExecutorHandle) -> Outcome {
        self.0.clear();
        Ok(())
    }
}

/// Tells of the task's end.
async fn follow(mut child: Child, killed: oneshot::Receiver<()>, task: TaskId, handle: ExecutorHandle) {
    let (state, why) = tokio::select! {
        ended = child.wait() => match ended {
            Ok(status) if status.success() => (TaskState::TaskFinished, status.to_string()),
            Ok(status) => (TaskState::TaskFailed, status.to_string()),
            Err(error) => (TaskState::TaskFailed, error.to_string()),
        },
        _ = killed => match child.kill().await {
            Ok(()) => (TaskState::TaskKilled, "killed on request".to_owned()),
            Err(error) => (TaskState::TaskFailed, error.to_string()),
        },
    };
    if let Err(error) = handle.report(&task, state, &why) {
        eprintln!("{}: {error}", task.value);
    }
}

#[tokio::main]
async fn main() -> Result<(), framework::Error> {
    // Protobuf, the default, is smaller; JSON can be read on the wire.
    let driver = ExecutorDriver::new(Environment::of_process()?, Programs::default()).format(Format::Json);
    let end = driver.run().await?;
    println!("{end:?}");
    Ok(())
}
