//! A scheduler in a hundred lines: runs an image so many times, wherever there is room, and tries again what fails.
//!
//! ```text
//! cargo run -p framework --example scheduler -- 127.0.0.1:5050 tools/task-sdk/images/hello.wasm 3
//! ```

use framework::v1::framework_info::{Capability, capability::Type};
use framework::v1::{
    CommandInfo, FrameworkId, FrameworkInfo, MasterInfo, Offer, TaskId, TaskInfo, TaskState,
};
use framework::v1::{TaskStatus, command_info::Uri};
use framework::{End, Handle, MasterSpec, Outcome, Resources, Scheduler, SchedulerDriver, is_terminal};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

/// Whose resources it uses.
const ROLE: &str = "batch";
/// How often one task is tried.
const ATTEMPTS_MAX: u32 = 3;

/// What is to be done. It changes in callbacks alone, so that nothing has to be locked.
struct Batch {
    image: String,
    /// What one task needs.
    needs: Resources,
    /// Runs that wait for an offer, and how often each was tried.
    waiting: Vec<(usize, u32)>,
    /// Launched tasks: which run and which attempt each is.
    launched: BTreeMap<String, (usize, u32)>,
    failed: usize,
}

impl Batch {
    fn task(&mut self, offer: &Offer, granted: &Resources) -> Option<TaskInfo> {
        let (run, attempt) = self.waiting.pop()?;
        let id = format!("run-{run}-{attempt}"); // an id is used once
        self.launched.insert(id.clone(), (run, attempt));
        Some(TaskInfo {
            name: format!("run {run}"),
            task_id: TaskId { value: id },
            agent_id: offer.agent_id.clone(),
            resources: granted.to_list(),
            command: Some(CommandInfo {
                uris: vec![Uri { value: self.image.clone(), ..Default::default() }],
                shell: Some(false),
                ..Default::default()
            }),
            ..Default::default()
        })
    }
}

impl Scheduler for Batch {
    async fn registered(&mut self, _: &Handle, id: &FrameworkId, _: Option<&MasterInfo>) -> Outcome {
        println!("framework {}", id.value);
        Ok(())
    }

    // Take of each offer what fits; what fits nothing is declined, or nobody else could have it.
    async fn resource_offers(&mut self, handle: &Handle, offers: Vec<Offer>) -> Outcome {
        for offer in offers {
            let mut left = Resources::offered(&offer)?;
            let mut tasks = Vec::new();
            while !self.waiting.is_empty()
                && let Some(granted) = left.take(&self.needs, ROLE)
            {
                tasks.extend(self.task(&offer, &granted));
            }
            match tasks.is_empty() {
                true => handle.decline(&[offer], Some(Duration::from_secs(1))).await?,
                false => handle.launch(&offer, tasks).await?,
            }
        }
        Ok(())
    }

    // Once this returns Ok the driver acknowledges the status; otherwise it comes again.
    async fn status_update(&mut self, handle: &Handle, status: TaskStatus) -> Outcome {
        let task = &status.task_id.value;
        println!("{task}: {} {}", status.state().as_str_name(), status.message());
        if !is_terminal(status.state()) {
            return Ok(());
        }
        let Some((run, attempt)) = self.launched.remove(task) else { return Ok(()) }; // told before
        match status.state() {
            TaskState::TaskFinished => {}
            _ if attempt < ATTEMPTS_MAX => {
                self.waiting.push((run, attempt + 1));
                handle.revive(&[]).await?; // what was declined may do now
            }
            _ => self.failed += 1,
        }
        if self.waiting.is_empty() && self.launched.is_empty() {
            println!("{} failed", self.failed);
            match self.failed {
                0 => handle.stop(false).await?, // the framework ends too
                _ => handle.abort(),
            }
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [master, image, count] = args.as_slice() else {
        return Err("usage: scheduler MASTER IMAGE COUNT".into());
    };
    let master: MasterSpec = master.parse()?; // HOST:PORT, a list of them, zk://..., file://...
    let batch = Batch {
        image: std::path::absolute(image)?.display().to_string(),
        needs: "cpus:0.1;mem:0.016".parse()?,
        waiting: (0..count.parse()?).map(|run| (run, 1)).collect(),
        launched: BTreeMap::new(),
        failed: 0,
    };
    let info = FrameworkInfo {
        user: "batch".into(),
        name: "batch".into(),
        roles: vec![ROLE.into()],
        capabilities: vec![Capability { r#type: Some(Type::MultiRole as i32) }],
        ..Default::default()
    };
    let end = SchedulerDriver::new(master, info, batch).run().await?;
    Ok(if end == End::TornDown { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
