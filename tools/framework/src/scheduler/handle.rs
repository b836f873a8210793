//! The scheduler's calls, from anywhere and at any time.

use super::driver::End;
use crate::calls;
use crate::client::Client;
use crate::error::Error;
use crate::operation;
use crate::v1::offer::Operation;
use crate::v1::scheduler::{Call, OfferConstraints, call};
use crate::v1::{
    AgentId, ExecutorId, ExecutorInfo, FrameworkInfo, InverseOffer, Offer, OperationStatus, Request,
    Resource, TaskId, TaskInfo, TaskStatus,
};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;

/// Where a driver is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// A TEARDOWN is on its way: the stream's end is no reason to subscribe again.
    TearingDown,
    Ending(End),
}

/// What a subscription is made with.
#[derive(Clone, Debug, Default)]
pub(super) struct Profile {
    pub info: FrameworkInfo,
    pub suppressed: BTreeSet<String>,
    pub constraints: Option<OfferConstraints>,
}

impl Profile {
    /// The roles that a call with `roles` is about: all if it names none.
    fn meant(&self, roles: &[String]) -> Vec<String> {
        match (roles, self.info.roles.as_slice()) {
            ([], []) => self.info.role.clone().into_iter().collect(),
            ([], own) => own.to_vec(),
            (named, _) => named.to_vec(),
        }
    }
}

#[derive(Debug)]
struct Shared {
    /// The subscription, while there is one.
    client: watch::Sender<Option<Client>>,
    phase: watch::Sender<Phase>,
    profile: Mutex<Profile>,
}

/// Makes a scheduler's calls. Clones are the same handle.
///
/// A call comes back when the master has taken it, which does not say that it has acted on it: what comes of it is told
/// by events. Calls go out one after the other, in the order in which they are begun, so a caller waits while others'
/// are under way. Without a subscription they are [`Error::Disconnected`] at once.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

impl Handle {
    pub(super) fn new(profile: Profile) -> Self {
        Self(Arc::new(Shared {
            client: watch::Sender::new(None),
            phase: watch::Sender::new(Phase::Running),
            profile: Mutex::new(profile),
        }))
    }

    pub(super) fn profile(&self) -> MutexGuard<'_, Profile> {
        self.0.profile.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn set_client(&self, client: Option<Client>) {
        self.0.client.send_replace(client);
    }

    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.0.phase.subscribe()
    }

    fn turn(&self, from: Phase, to: Phase) {
        self.0.phase.send_if_modified(|phase| {
            let turns = *phase == from;
            if turns {
                *phase = to;
            }
            turns
        });
    }

    /// The end of all of it, once; what came first stays.
    pub(super) fn end(&self, end: End) {
        self.turn(Phase::Running, Phase::Ending(end));
        self.turn(Phase::TearingDown, Phase::Ending(end));
    }

    /// The framework's id, once it has one.
    pub fn framework_id(&self) -> Option<String> {
        self.profile().info.id.as_ref().map(|id| id.value.clone())
    }

    /// True while there is a subscription.
    pub fn is_connected(&self) -> bool {
        self.0.client.borrow().is_some()
    }

    /// Comes back when there is a subscription, or with an error when there never will be.
    pub async fn connected(&self) -> Result<(), Error> {
        let (mut client, mut phase) = (self.0.client.subscribe(), self.0.phase.subscribe());
        tokio::select! {
            biased;
            // The senders live as long as this does.
            _ = phase.wait_for(|phase| matches!(phase, Phase::Ending(_))) => Err(Error::Stopped),
            _ = client.wait_for(Option::is_some) => Ok(()),
        }
    }

    /// Makes any call; the framework's id is filled in.
    pub async fn call(&self, call: Call) -> Result<(), Error> {
        if matches!(*self.0.phase.borrow(), Phase::Ending(_)) {
            return Err(Error::Stopped);
        }
        let client = self.0.client.borrow().clone().ok_or(Error::Disconnected)?;
        let done = client.call(call).await;
        // What an old subscription was told says nothing about the present one.
        match &done {
            Err(Error::Refused { .. }) if !self.is_current(&client) => Err(Error::Disconnected),
            _ => done,
        }
    }

    fn is_current(&self, client: &Client) -> bool {
        self.0.client.borrow().as_ref().is_some_and(|now| now.is(client))
    }

    /// Does all of `operations` with the resources of these offers, which are one agent's. What is left is not offered
    /// again for `refuse`; for the master's 5 s if `None`.
    pub async fn accept(
        &self,
        offers: &[Offer],
        operations: Vec<Operation>,
        refuse: Option<Duration>,
    ) -> Result<(), Error> {
        let ids = offers.iter().map(|offer| offer.id.clone()).collect();
        self.call(calls::accept(ids, operations, refuse)).await
    }

    async fn accept_one(&self, offer: &Offer, operation: Operation) -> Result<(), Error> {
        self.accept(std::slice::from_ref(offer), vec![operation], Some(Duration::ZERO)).await
    }

    /// Launches tasks; what they leave of the offer may be offered again at once.
    pub async fn launch(&self, offer: &Offer, tasks: Vec<TaskInfo>) -> Result<(), Error> {
        self.accept_one(offer, operation::launch(tasks)).await
    }

    /// Launches tasks under one executor, all of them or none.
    pub async fn launch_group(
        &self,
        offer: &Offer,
        executor: ExecutorInfo,
        tasks: Vec<TaskInfo>,
    ) -> Result<(), Error> {
        self.accept_one(offer, operation::launch_group(executor, tasks)).await
    }

    /// Reserves resources of the offer, which state whom for: [`Resources::reserved_as`](crate::Resources::reserved_as).
    pub async fn reserve(&self, offer: &Offer, resources: Vec<Resource>) -> Result<(), Error> {
        self.accept_one(offer, operation::reserve(resources)).await
    }

    /// Gives reserved resources of the offer back.
    pub async fn unreserve(&self, offer: &Offer, resources: Vec<Resource>) -> Result<(), Error> {
        self.accept_one(offer, operation::unreserve(resources)).await
    }

    /// Makes persistent volumes of reserved disk of the offer.
    pub async fn create(&self, offer: &Offer, volumes: Vec<Resource>) -> Result<(), Error> {
        self.accept_one(offer, operation::create(volumes)).await
    }

    /// Removes persistent volumes of the offer and what is in them.
    pub async fn destroy(&self, offer: &Offer, volumes: Vec<Resource>) -> Result<(), Error> {
        self.accept_one(offer, operation::destroy(volumes)).await
    }

    /// Declines offers for `refuse`; for the master's 5 s if `None`.
    pub async fn decline(&self, offers: &[Offer], refuse: Option<Duration>) -> Result<(), Error> {
        if offers.is_empty() {
            return Ok(());
        }
        self.call(calls::decline(offers.iter().map(|offer| offer.id.clone()).collect(), refuse)).await
    }

    /// Agrees to give resources back in time.
    pub async fn accept_inverse_offers(&self, offers: &[InverseOffer]) -> Result<(), Error> {
        self.call(calls::accept_inverse_offers(offers.iter().map(|offer| offer.id.clone()).collect())).await
    }

    /// Does not agree; asked again after `refuse`.
    pub async fn decline_inverse_offers(
        &self,
        offers: &[InverseOffer],
        refuse: Option<Duration>,
    ) -> Result<(), Error> {
        let ids = offers.iter().map(|offer| offer.id.clone()).collect();
        self.call(calls::decline_inverse_offers(ids, refuse)).await
    }

    /// Asks for a task's end; an update tells of it. `grace` is how long the task may take instead of what its kill policy
    /// says. The agent is worth saying: a master that has just started may not know where the task is.
    pub async fn kill(
        &self,
        task: &TaskId,
        agent: Option<&AgentId>,
        grace: Option<Duration>,
    ) -> Result<(), Error> {
        self.call(calls::kill(task.clone(), agent.cloned(), grace)).await
    }

    /// Ends an executor and its tasks.
    pub async fn shutdown_executor(&self, agent: &AgentId, executor: &ExecutorId) -> Result<(), Error> {
        self.call(calls::shutdown(executor.clone(), agent.clone())).await
    }

    /// Acknowledges a task's status, for drivers that leave it to the scheduler. One without a UUID needs none.
    pub async fn acknowledge(&self, status: &TaskStatus) -> Result<(), Error> {
        match calls::acknowledge(status) {
            Some(call) => self.call(call).await,
            None => Ok(()),
        }
    }

    /// Acknowledges an operation's status. One without a UUID needs none.
    pub async fn acknowledge_operation(&self, status: &OperationStatus) -> Result<(), Error> {
        match calls::acknowledge_operation(status) {
            Some(call) => self.call(call).await,
            None => Ok(()),
        }
    }

    /// Asks for the state of these tasks, on these agents if that is known; of all that the master knows if there are
    /// none. Updates answer, without UUID.
    pub async fn reconcile(&self, tasks: &[(TaskId, Option<AgentId>)]) -> Result<(), Error> {
        let tasks = tasks.iter().cloned();
        let tasks = tasks.map(|(task_id, agent_id)| call::reconcile::Task { task_id, agent_id }).collect();
        self.call(calls::reconcile(tasks)).await
    }

    /// The same of operations.
    pub async fn reconcile_operations(
        &self,
        operations: Vec<call::reconcile_operations::Operation>,
    ) -> Result<(), Error> {
        self.call(calls::reconcile_operations(operations)).await
    }

    /// Sends bytes to an executor; a command task's has the task's id. Not reliable: what is lost is lost.
    pub async fn message(&self, agent: &AgentId, executor: &ExecutorId, data: &[u8]) -> Result<(), Error> {
        self.call(calls::message(agent.clone(), executor.clone(), data.to_vec())).await
    }

    /// Wants offers for these roles, for all if there are none, also of what was declined.
    pub async fn revive(&self, roles: &[String]) -> Result<(), Error> {
        self.call(calls::revive(roles.to_vec())).await?;
        let mut profile = self.profile();
        let meant = profile.meant(roles);
        profile.suppressed.retain(|role| !meant.contains(role));
        Ok(())
    }

    /// Wants no offers for these roles, for all if there are none, until it revives; also at the next master.
    pub async fn suppress(&self, roles: &[String]) -> Result<(), Error> {
        self.call(calls::suppress(roles.to_vec())).await?;
        let mut profile = self.profile();
        let meant = profile.meant(roles);
        profile.suppressed.extend(meant);
        Ok(())
    }

    /// Says what it would like to be offered. Mesos' own allocator pays no heed.
    pub async fn request(&self, requests: Vec<Request>) -> Result<(), Error> {
        self.call(calls::request(requests)).await
    }

    /// Changes what the framework is, such as its roles, which of them want no offers, and from which agents the others
    /// want them; also at the next master. The id stays what it is.
    pub async fn update_framework(
        &self,
        mut info: FrameworkInfo,
        suppressed_roles: &[String],
        constraints: Option<OfferConstraints>,
    ) -> Result<(), Error> {
        info.id = self.profile().info.id.clone();
        let suppressed = suppressed_roles.to_vec();
        self.call(calls::update_framework(info.clone(), suppressed, constraints.clone())).await?;
        let suppressed = suppressed_roles.iter().cloned().collect();
        *self.profile() = Profile { info, suppressed, constraints };
        Ok(())
    }

    /// Ends the framework and its tasks, and the driver with it. On an error both go on.
    pub async fn teardown(&self) -> Result<(), Error> {
        let this = self.clone();
        // Goes to its end even if nobody waits for it any more.
        let teardown = tokio::spawn(async move {
            this.turn(Phase::Running, Phase::TearingDown);
            let done = this.call(calls::teardown()).await;
            match done {
                Ok(()) => this.end(End::TornDown),
                Err(_) => this.turn(Phase::TearingDown, Phase::Running),
            }
            done
        });
        teardown.await.unwrap_or(Err(Error::Stopped))
    }

    /// Ends the driver. With `failover` the framework and its tasks go on without a scheduler for its failover timeout,
    /// for another process to take over; otherwise they end. The error is that of the teardown: the driver ends all the
    /// same, but the framework stays until its failover timeout.
    pub async fn stop(&self, failover: bool) -> Result<(), Error> {
        let done = if failover { Ok(()) } else { self.teardown().await };
        self.end(End::Stopped);
        done
    }

    /// Ends the driver once the callback at work is done, as [`Handle::stop`] with failover, but
    /// [`SchedulerDriver::run`](crate::SchedulerDriver::run) says that it was aborted.
    pub fn abort(&self) {
        self.end(End::Aborted);
    }
}
