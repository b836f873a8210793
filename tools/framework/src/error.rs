//! What can go wrong, and what to do about it.

use std::io;

/// A call, a subscription or a driver failed. [`Error::remedy`] says what helps.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers there.
    #[error("cannot reach {peer}: {why}; is it running, and open to this machine?")]
    Unreachable {
        /// Whom.
        peer: String,
        /// What the system says.
        why: io::Error,
    },
    /// The connection broke before the answer was there: the call may have been taken, or not.
    #[error("the connection with {peer} broke: {why}; the call may have been taken")]
    Broken {
        /// With whom.
        peer: String,
        /// What HTTP says.
        why: hyper::Error,
    },
    /// No answer in time: the call may have been taken, or not.
    #[error("{peer} did not answer in time; the call may have been taken")]
    NoAnswer {
        /// Who.
        peer: String,
    },
    /// There is no subscription at the moment. The driver is looking for one.
    #[error("not subscribed at the moment; call again once `registered` or `reregistered` was called")]
    Disconnected,
    /// It is there but not ready (503 and its like), such as a master that recovers.
    #[error("{peer} is not ready ({status}): {reason}; call again in a while")]
    NotReady {
        /// Who.
        peer: String,
        /// The HTTP status.
        status: u16,
        /// What it says.
        reason: String,
    },
    /// It wants to know who calls (401).
    #[error("{peer} asks who this is (401): {reason}; give the principal and secret that it knows")]
    Unauthenticated {
        /// Who.
        peer: String,
        /// What it says.
        reason: String,
    },
    /// It refuses the call as it is (4xx).
    #[error("{peer} refuses ({status}): {reason}; correct what it names")]
    Refused {
        /// Who.
        peer: String,
        /// The HTTP status.
        status: u16,
        /// What it says.
        reason: String,
    },
    /// What comes is no stream of events.
    #[error("the events of {peer} cannot be read: {why}")]
    Malformed {
        /// Whose.
        peer: String,
        /// What is wrong.
        why: String,
    },
    /// The stream of events ended.
    #[error("{peer} ended the subscription")]
    Closed {
        /// Who.
        peer: String,
    },
    /// Each master names another as the leading one.
    #[error("{peer} leads to another and so on; see that the masters agree who leads")]
    Redirected {
        /// The last one asked.
        peer: String,
    },
    /// An ERROR event: the framework cannot go on with this subscription.
    #[error("ended by the master: {0}")]
    Ended(String),
    /// The framework was removed: the id that was kept for it is of no more use.
    #[error("framework {id} was removed: {reason}; clear its id from the store to begin as a new framework")]
    Removed {
        /// Whose id.
        id: String,
        /// What the master says.
        reason: String,
    },
    /// The framework's id could not be read or written.
    #[error("the store of the framework's id: {0}")]
    Store(io::Error),
    /// Something has grown to its limit.
    #[error("more than {max} {what}; wait until some are done")]
    Full {
        /// What there are too many of.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// The environment lacks what an agent tells its executors.
    #[error("{name}: {why}; an executor is started by an agent, which sets it")]
    Environment {
        /// The variable.
        name: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The driver was stopped.
    #[error("the driver has been stopped")]
    Stopped,
}

/// What helps against an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Call again in a while. If it may have been taken, see first: [`Error::may_have_happened`].
    CallAgain,
    /// Call again once subscribed.
    AwaitSubscription,
    /// The same would fail again: something has to be changed.
    Change,
    /// It is over.
    Stop,
}

impl Error {
    /// What helps.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Unreachable { .. } | Self::NoAnswer { .. } | Self::NotReady { .. } => Remedy::CallAgain,
            Self::Full { .. } | Self::Redirected { .. } | Self::Broken { .. } => Remedy::CallAgain,
            Self::Disconnected | Self::Closed { .. } | Self::Malformed { .. } => Remedy::AwaitSubscription,
            Self::Unauthenticated { .. } | Self::Refused { .. } => Remedy::Change,
            Self::Removed { .. } | Self::Store(_) | Self::Environment { .. } => Remedy::Change,
            Self::Ended(_) | Self::Stopped => Remedy::Stop,
        }
    }

    /// True if the call may have been taken all the same.
    pub fn may_have_happened(&self) -> bool {
        matches!(self, Self::Broken { .. } | Self::NoAnswer { .. })
    }

    /// The answer of a peer to what it does not take.
    pub(crate) fn answered(peer: String, status: u16, reason: String) -> Self {
        match status {
            401 => Self::Unauthenticated { peer, reason },
            // Mesos answers 404 until it has set up its endpoints (src/sched, src/executor).
            404 | 408 | 425 | 429 | 500.. => Self::NotReady { peer, status, reason },
            _ => Self::Refused { peer, status, reason },
        }
    }
}
