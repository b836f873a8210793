//! What the tests share: a scheduler that tells what it is told, a peer that answers as it is told, and a cluster.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod cluster;
pub mod peer;

use framework::v1::{
    AgentId, ExecutorId, FrameworkId, FrameworkInfo, InverseOffer, MasterInfo, Offer, OfferId,
    OperationStatus, TaskStatus, framework_info,
};
use framework::{End, Error, Handle, Outcome, Scheduler, SchedulerDriver};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Longer than anything here takes: only so that a broken test ends.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A callback and what came with it.
#[derive(Debug, PartialEq)]
pub enum Said {
    Registered(String),
    Reregistered(String),
    Offers(Vec<Offer>),
    Rescinded(OfferId),
    InverseOffers(Vec<InverseOffer>),
    InverseRescinded(OfferId),
    Status(TaskStatus),
    Operation(OperationStatus),
    Message(AgentId, ExecutorId, Vec<u8>),
    AgentLost(AgentId),
    ExecutorLost(Option<AgentId>, ExecutorId, Option<i32>),
    Silence(Duration),
    Disconnected,
    Error(String),
}

/// Tells the test of each callback.
pub struct Recorder {
    said: mpsc::UnboundedSender<Said>,
    /// Statuses that it does not take before it takes any.
    pub refuses: usize,
}

impl Recorder {
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Said>) {
        let (said, heard) = mpsc::unbounded_channel();
        (Self { said, refuses: 0 }, heard)
    }

    fn say(&self, said: Said) -> Outcome {
        Ok(self.said.send(said)?)
    }
}

impl Scheduler for Recorder {
    async fn registered(&mut self, _: &Handle, id: &FrameworkId, _: Option<&MasterInfo>) -> Outcome {
        self.say(Said::Registered(id.value.clone()))
    }
    async fn reregistered(&mut self, _: &Handle, id: &FrameworkId, _: Option<&MasterInfo>) -> Outcome {
        self.say(Said::Reregistered(id.value.clone()))
    }
    async fn resource_offers(&mut self, _: &Handle, offers: Vec<Offer>) -> Outcome {
        let hated = offers.iter().any(|offer| offer.hostname == "hated");
        self.say(Said::Offers(offers))?;
        if hated { Err("not that one".into()) } else { Ok(()) }
    }
    async fn offer_rescinded(&mut self, _: &Handle, offer: OfferId) -> Outcome {
        self.say(Said::Rescinded(offer))
    }
    async fn inverse_offers(&mut self, _: &Handle, offers: Vec<InverseOffer>) -> Outcome {
        self.say(Said::InverseOffers(offers))
    }
    async fn inverse_offer_rescinded(&mut self, _: &Handle, offer: OfferId) -> Outcome {
        self.say(Said::InverseRescinded(offer))
    }
    async fn status_update(&mut self, _: &Handle, status: TaskStatus) -> Outcome {
        self.say(Said::Status(status))?;
        if self.refuses > 0 {
            self.refuses -= 1;
            return Err("not now".into());
        }
        Ok(())
    }
    async fn operation_status(&mut self, _: &Handle, status: OperationStatus) -> Outcome {
        self.say(Said::Operation(status))
    }
    async fn framework_message(&mut self, _: &Handle, a: AgentId, e: ExecutorId, data: Vec<u8>) -> Outcome {
        self.say(Said::Message(a, e, data))
    }
    async fn agent_lost(&mut self, _: &Handle, agent: AgentId) -> Outcome {
        self.say(Said::AgentLost(agent))
    }
    async fn executor_lost(
        &mut self,
        _: &Handle,
        agent: Option<AgentId>,
        executor: ExecutorId,
        status: Option<i32>,
    ) -> Outcome {
        self.say(Said::ExecutorLost(agent, executor, status))
    }
    async fn heartbeat_missed(&mut self, _: &Handle, silence: Duration) -> Outcome {
        self.say(Said::Silence(silence))
    }
    async fn disconnected(&mut self, _: &Handle) -> Outcome {
        self.say(Said::Disconnected)
    }
    async fn error(&mut self, _: &Handle, message: String) -> Outcome {
        self.say(Said::Error(message))
    }
}

/// A driver at work.
pub struct Running {
    pub handle: Handle,
    pub heard: mpsc::UnboundedReceiver<Said>,
    pub driver: JoinHandle<Result<End, Error>>,
}

impl Running {
    /// Starts a driver with a recorder that does not take the first `refuses` statuses.
    pub fn start(
        info: FrameworkInfo,
        master: framework::MasterSpec,
        refuses: usize,
        with: impl FnOnce(SchedulerDriver<Recorder>) -> SchedulerDriver<Recorder>,
    ) -> Self {
        let (recorder, heard) = Recorder::new();
        let backoff =
            framework::Backoff { least: Duration::from_millis(50), most: Duration::from_millis(200) };
        let driver = SchedulerDriver::new(master, info, Recorder { refuses, ..recorder }).backoff(backoff);
        let driver = with(driver);
        Self { handle: driver.handle(), heard, driver: tokio::spawn(driver.run()) }
    }

    pub async fn next(&mut self) -> Said {
        in_time(self.heard.recv()).await.expect("the driver has ended")
    }

    /// Waits for a callback; what comes before it is dropped.
    pub async fn until<T>(&mut self, wanted: impl Fn(&Said) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(&self.next().await) {
                return found;
            }
        }
    }

    pub async fn end(self) -> Result<End, Error> {
        in_time(self.driver).await.unwrap()
    }
}

pub async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("nothing happens")
}

pub fn info() -> FrameworkInfo {
    use framework_info::capability::Type;
    let capability = |kind: Type| framework_info::Capability { r#type: Some(kind as i32) };
    FrameworkInfo {
        user: "test".into(),
        name: "test".into(),
        roles: vec!["test".into()],
        checkpoint: Some(true),
        failover_timeout: Some(3600.0),
        capabilities: [Type::MultiRole, Type::PartitionAware].map(capability).into(),
        ..Default::default()
    }
}
