//! Keeps a scheduler subscribed: finds the master, subscribes, passes events on, and begins again when that ends.

use super::dispatch::dispatch;
use super::handle::{Phase, Profile};
use super::leaders::Leaders;
use super::{Handle, Outcome, Scheduler};
use crate::backoff::Backoff;
use crate::calls;
use crate::client::{Settings, Subscription, open};
use crate::error::{Error, Remedy};
use crate::reader::{Heard, Reader};
use crate::store::{FrameworkIdStore, MemoryStore};
use crate::v1::scheduler::OfferConstraints;
use crate::v1::{FrameworkId, FrameworkInfo};
use crate::wire::Format;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use detect::{Host, MasterSpec};
use http::header::HeaderValue;
use libprocess::TlsClient;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Between heartbeats, if a master does not say.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The longest time between heartbeats believed.
const HEARTBEAT_MAX: Duration = Duration::from_secs(3600);
/// Heartbeats that may be missing before a connection is given up (docs/scheduler-http-api.md, "Network partitions").
const MISSED_MAX: u32 = 5;

/// Who acknowledges statuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acknowledge {
    /// The driver, after the callback returned `Ok`.
    #[default]
    Automatic,
    /// The scheduler, with [`Handle::acknowledge`], when it has made sure of what it was told.
    Explicit,
}

/// How a driver ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Stopped; the framework is there for another process.
    Stopped,
    /// Torn down; there is no such framework any more.
    TornDown,
    /// Aborted.
    Aborted,
}

/// Runs a [`Scheduler`].
pub struct SchedulerDriver<S> {
    scheduler: S,
    handle: Handle,
    master: MasterSpec,
    store: Arc<dyn FrameworkIdStore>,
    settings: Settings,
    acknowledge: Acknowledge,
    backoff: Backoff,
    missed_max: u32,
}

/// Why a session ended.
enum Parted {
    /// The stream ended, or another master leads.
    Lost,
    /// The driver is to end.
    Ending(End),
    /// The master said ERROR.
    Error(String),
}

impl<S: Scheduler> SchedulerDriver<S> {
    /// A driver for a framework, with protobuf, automatic acknowledgement and an id that is kept in memory.
    pub fn new(master: MasterSpec, info: FrameworkInfo, scheduler: S) -> Self {
        Self {
            scheduler,
            handle: Handle::new(Profile { info, ..Profile::default() }),
            master,
            store: Arc::new(MemoryStore::default()),
            settings: Settings::default(),
            acknowledge: Acknowledge::default(),
            backoff: Backoff::default(),
            missed_max: MISSED_MAX,
        }
    }

    /// Keeps the framework's id there, and begins with the one that is there: the next process goes on with the tasks of
    /// this one. For that the framework's info needs a `failover_timeout`.
    pub fn store(mut self, store: impl FrameworkIdStore) -> Self {
        self.store = Arc::new(store);
        self
    }

    /// Speaks JSON or protobuf.
    pub fn format(mut self, format: Format) -> Self {
        self.settings.format = format;
        self
    }

    /// Proves to be `principal`, by HTTP's basic authentication, and states it in the framework's info.
    pub fn credential(mut self, principal: &str, secret: &str) -> Self {
        let encoded = STANDARD.encode(format!("{principal}:{secret}"));
        // Base64 is always a valid header.
        self.settings.authorization = HeaderValue::try_from(format!("Basic {encoded}")).ok();
        if let Some(value) = &mut self.settings.authorization {
            value.set_sensitive(true);
        }
        self.handle.profile().info.principal = Some(principal.to_owned());
        self
    }

    /// Encrypts the connections with the master, which has to speak TLS.
    pub fn tls(mut self, tls: TlsClient) -> Self {
        self.settings.tls = Some(tls);
        self
    }

    /// Who acknowledges statuses.
    pub fn acknowledge(mut self, acknowledge: Acknowledge) -> Self {
        self.acknowledge = acknowledge;
        self
    }

    /// Roles that want no offers at first.
    pub fn suppressed(self, roles: impl IntoIterator<Item = String>) -> Self {
        self.handle.profile().suppressed = roles.into_iter().collect();
        self
    }

    /// Which agents' resources are wanted at all, by role: the master offers no others.
    pub fn constraints(self, constraints: OfferConstraints) -> Self {
        self.handle.profile().constraints = Some(constraints);
        self
    }

    /// How long to wait between attempts to subscribe.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How many heartbeats may be missing, at least 1, before a connection is given up; 5 unless told otherwise.
    pub fn heartbeats_missed_max(mut self, missed: u32) -> Self {
        self.missed_max = missed.max(1);
        self
    }

    /// Makes the scheduler's calls, also from elsewhere.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs until it is stopped, or the master refuses the framework.
    pub async fn run(mut self) -> Result<End, Error> {
        let done = self.subscriptions().await;
        if matches!(done, Ok(End::TornDown)) {
            self.stored(|store| store.clear()).await?;
        }
        done
    }

    async fn subscriptions(&mut self) -> Result<End, Error> {
        if self.handle.framework_id().is_none()
            && let Some(id) = self.stored(|store| store.load()).await?
        {
            self.handle.profile().info.id = Some(FrameworkId { value: id });
        }
        let mut phase = self.handle.phase();
        let mut leaders = Leaders::start(self.master.clone());
        let mut attempt = 0;
        loop {
            let leader = tokio::select! {
                biased;
                end = ended(&mut phase) => return Ok(end),
                leader = leaders.present() => leader,
            };
            let opened = tokio::select! {
                biased;
                end = ended(&mut phase) => return Ok(end),
                opened = self.open(leader) => opened,
            };
            let begun = Instant::now();
            match opened {
                Ok(subscription) => match self.session(subscription, &mut phase, &mut leaders).await? {
                    Parted::Lost => {}
                    Parted::Ending(end) => return Ok(end),
                    Parted::Error(message) => return Err(self.refused(Error::Ended(message)).await),
                },
                Err(error) if matches!(error.remedy(), Remedy::Change | Remedy::Stop) => {
                    return Err(self.refused(error).await);
                }
                Err(error) => tracing::warn!(%error, "cannot subscribe"),
            }
            // A master that ends each subscription soon is not asked faster for that.
            if begun.elapsed() > self.backoff.most {
                attempt = 0;
            }
            let pause = self.backoff.pause(attempt, rand::random());
            attempt = attempt.saturating_add(1);
            tokio::select! {
                biased;
                end = ended(&mut phase) => return Ok(end),
                () = leaders.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn open(&self, leader: SocketAddrV4) -> Result<Subscription, Error> {
        let profile = self.handle.profile().clone();
        let suppressed = profile.suppressed.into_iter().collect();
        let call = calls::subscribe(profile.info, suppressed, profile.constraints);
        let host = Host { name: leader.ip().to_string(), port: leader.port() };
        open(host, &self.settings, &call).await
    }

    /// Tells the scheduler that this is the end, and why.
    async fn refused(&mut self, error: Error) -> Error {
        let error = match (error, self.handle.framework_id()) {
            // src/master/master.cpp, `validateFrameworkSubscription`
            (Error::Ended(reason), Some(id)) if reason.contains("has been removed") => {
                Error::Removed { id, reason }
            }
            (error, _) => error,
        };
        self.handle.set_client(None);
        log("error", self.scheduler.error(&self.handle, error.to_string()).await);
        error
    }

    /// Passes the events of one subscription on.
    async fn session(
        &mut self,
        subscription: Subscription,
        phase: &mut watch::Receiver<Phase>,
        leaders: &mut Leaders,
    ) -> Result<Parted, Error> {
        let Subscription { client, subscribed, stream } = subscription;
        let (framework, master) = (subscribed.framework_id, subscribed.master_info.as_ref());
        let interval = subscribed.heartbeat_interval_seconds.unwrap_or(HEARTBEAT.as_secs_f64());
        let interval = Duration::try_from_secs_f64(interval).unwrap_or(HEARTBEAT);
        let silence = interval.clamp(Duration::from_millis(1), HEARTBEAT_MAX) * self.missed_max;
        let mut reader = Reader::start(stream, silence);
        let known = self.handle.framework_id().is_some_and(|id| id == framework.value);
        if !known {
            let id = framework.value.clone();
            self.stored(move |store| store.save(&id)).await?;
            self.handle.profile().info.id = Some(framework.clone());
        }
        self.handle.set_client(Some(client));
        let handle = self.handle.clone();
        if known {
            log("reregistered", self.scheduler.reregistered(&handle, &framework, master).await);
        } else {
            log("registered", self.scheduler.registered(&handle, &framework, master).await);
        }
        let parted = loop {
            let heard = tokio::select! {
                biased;
                end = ended(phase) => break Parted::Ending(end),
                () = leaders.changed() => {
                    tracing::info!("another master leads");
                    break Parted::Lost;
                }
                heard = reader.next() => heard,
            };
            match heard {
                Heard::Event(event) => match event.error {
                    Some(error) => break Parted::Error(error.message),
                    None => dispatch(&mut self.scheduler, &handle, self.acknowledge, *event).await,
                },
                Heard::Silence(silence) => {
                    log("heartbeat_missed", self.scheduler.heartbeat_missed(&handle, silence).await);
                    break Parted::Lost;
                }
                Heard::Over(error) => {
                    tracing::warn!(%error, "the subscription ended");
                    break Parted::Lost;
                }
            }
        };
        drop(reader);
        // If a teardown ended the stream, its answer is about to come.
        let torn = phase.wait_for(|phase| *phase != Phase::TearingDown).await.map(|phase| phase.clone());
        self.handle.set_client(None);
        match (parted, torn) {
            (Parted::Lost | Parted::Error(_), Ok(Phase::Ending(end))) => Ok(Parted::Ending(end)),
            (Parted::Lost, _) => {
                log("disconnected", self.scheduler.disconnected(&handle).await);
                Ok(Parted::Lost)
            }
            (parted, _) => Ok(parted),
        }
    }

    /// Does something with the store where that may block.
    async fn stored<T: Send + 'static>(
        &self,
        what: impl FnOnce(&dyn FrameworkIdStore) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.store.clone();
        let done = tokio::task::spawn_blocking(move || what(store.as_ref())).await;
        done.unwrap_or_else(|panic| Err(std::io::Error::other(panic))).map_err(Error::Store)
    }
}

impl<S> Drop for SchedulerDriver<S> {
    /// Whoever has a handle, or waits for a subscription, is told that there is none any more.
    fn drop(&mut self) {
        self.handle.set_client(None);
        self.handle.end(End::Aborted);
    }
}

/// Reports a callback's error. True if there is none.
pub(crate) fn log(callback: &'static str, outcome: Outcome) -> bool {
    if let Err(error) = &outcome {
        tracing::warn!(callback, error, "a callback failed");
    }
    outcome.is_ok()
}

/// Comes back when the driver is to end.
async fn ended(phase: &mut watch::Receiver<Phase>) -> End {
    let ending = phase.wait_for(|phase| matches!(phase, Phase::Ending(_))).await.map(|phase| phase.clone());
    match ending {
        Ok(Phase::Ending(end)) => end,
        // The driver's own handle keeps the sender, so this does not happen.
        _ => std::future::pending().await,
    }
}
