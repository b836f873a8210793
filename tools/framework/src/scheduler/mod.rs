//! What a scheduler is asked and told; [`SchedulerDriver`] does the rest.

mod dispatch;
mod driver;
mod handle;
mod leaders;

pub(crate) use driver::log;
pub use driver::{Acknowledge, End, SchedulerDriver};
pub use handle::Handle;

use crate::v1::{
    AgentId, ExecutorId, FrameworkId, InverseOffer, MasterInfo, Offer, OfferId, OperationStatus, TaskStatus,
};
use std::time::Duration;

/// What a callback gives. An error is logged. Offers whose callback failed are declined, as far as they were not used; a
/// status whose callback failed is not acknowledged, and so comes again.
pub type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// A framework's scheduler. Each callback has a sensible default; an implementation writes `async fn` for those that it
/// wants.
///
/// They are called one after the other, never two at once. A callback that takes long holds up the others and, after
/// 1,024 events, the master's stream, so that nothing grows. It may make what calls it likes on the [`Handle`], and give
/// that to tasks of its own.
#[expect(unused_variables, reason = "the arguments of the defaults are named for who reads them")]
pub trait Scheduler: Send + 'static {
    /// The master has taken this in as a new framework. Its id is in the store already.
    fn registered(
        &mut self,
        handle: &Handle,
        framework: &FrameworkId,
        master: Option<&MasterInfo>,
    ) -> impl Future<Output = Outcome> + Send {
        async { Ok(()) }
    }

    /// It is subscribed again: after another process had the framework, after a lost connection, at another master.
    /// All offers from before are void. Asks for the state of all tasks, unless told otherwise.
    fn reregistered(
        &mut self,
        handle: &Handle,
        framework: &FrameworkId,
        master: Option<&MasterInfo>,
    ) -> impl Future<Output = Outcome> + Send {
        async { Ok(handle.reconcile(&[]).await?) }
    }

    /// Resources that it may use. Declines them, unless told otherwise: what is neither accepted nor declined is kept
    /// from everybody.
    fn resource_offers(
        &mut self,
        handle: &Handle,
        offers: Vec<Offer>,
    ) -> impl Future<Output = Outcome> + Send {
        async move { Ok(handle.decline(&offers, None).await?) }
    }

    /// An offer is void.
    fn offer_rescinded(&mut self, handle: &Handle, offer: OfferId) -> impl Future<Output = Outcome> + Send {
        async { Ok(()) }
    }

    /// An operator wants resources back, such as for maintenance. Declines, unless told otherwise, which promises
    /// nothing: the resources may be taken all the same.
    fn inverse_offers(
        &mut self,
        handle: &Handle,
        offers: Vec<InverseOffer>,
    ) -> impl Future<Output = Outcome> + Send {
        async move { Ok(handle.decline_inverse_offers(&offers, None).await?) }
    }

    /// An inverse offer is void.
    fn inverse_offer_rescinded(
        &mut self,
        handle: &Handle,
        offer: OfferId,
    ) -> impl Future<Output = Outcome> + Send {
        async { Ok(()) }
    }

    /// What became of a task. Acknowledged once this returned `Ok`, unless the driver was told to leave that to the
    /// scheduler; one that is not acknowledged comes again, with the same UUID.
    fn status_update(&mut self, handle: &Handle, status: TaskStatus) -> impl Future<Output = Outcome> + Send {
        async { Ok(()) }
    }

    /// What became of an operation that was named ([`crate::operation::named`]). Acknowledged as a task's status is.
    fn operation_status(
        &mut self,
        handle: &Handle,
        status: OperationStatus,
    ) -> impl Future<Output = Outcome> + Send {
        async { Ok(()) }
    }

    /// Bytes from an executor. Not reliable: what is lost on the way is lost.
    fn framework_message(
        &mut self,
        handle: &Handle,
        agent: AgentId,
        executor: ExecutorId,
        data: Vec<u8>,
    ) -> impl Future<Output = Outcome> + Send {
        async { Ok(()) }
    }

    /// An agent was removed; updates tell what became of each of its tasks.
    fn agent_lost(&mut self, handle: &Handle, agent: AgentId) -> impl Future<Output = Outcome> + Send {
        async { Ok(()) }
    }

    /// An executor has ended, with this status if that is known.
    fn executor_lost(
        &mut self,
        handle: &Handle,
        agent: Option<AgentId>,
        executor: ExecutorId,
        status: Option<i32>,
    ) -> impl Future<Output = Outcome> + Send {
        async { Ok(()) }
    }

    /// For so long nothing has come from the master, not even a heartbeat. The driver gives the connection up:
    /// [`Scheduler::disconnected`] follows.
    fn heartbeat_missed(
        &mut self,
        handle: &Handle,
        silence: Duration,
    ) -> impl Future<Output = Outcome> + Send {
        async { Ok(()) }
    }

    /// The subscription ended. The driver looks for another; meanwhile calls are errors.
    fn disconnected(&mut self, handle: &Handle) -> impl Future<Output = Outcome> + Send {
        async { Ok(()) }
    }

    /// The master refuses the framework, or another process has taken it over. The driver ends after this.
    fn error(&mut self, handle: &Handle, message: String) -> impl Future<Output = Outcome> + Send {
        async { Ok(()) }
    }
}
