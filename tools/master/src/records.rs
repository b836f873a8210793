//! What is in the records of [`crate::store`]. Field numbers are on disk: they never change their meaning.

use mesos_proto::mesos::{DrainInfo, FrameworkInfo, SlaveInfo};

/// An admitted agent.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AgentRecord {
    /// As it registered last, with its id.
    #[prost(message, required, tag = "1")]
    pub info: SlaveInfo,
    /// When it was admitted, milliseconds since the epoch.
    #[prost(uint64, tag = "2")]
    pub registered_ms: u64,
    /// Its actor, `slave(N)@IP:PORT`.
    #[prost(string, tag = "3")]
    pub pid: String,
}

/// A framework that may come back.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FrameworkRecord {
    /// As it subscribed last, with its id.
    #[prost(message, required, tag = "1")]
    pub info: FrameworkInfo,
    /// When it subscribed first, milliseconds since the epoch.
    #[prost(uint64, tag = "2")]
    pub registered_ms: u64,
}

/// A framework that has ended.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CompletedRecord {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its user.
    #[prost(string, tag = "2")]
    pub user: String,
    /// When it subscribed first, milliseconds since the epoch.
    #[prost(uint64, tag = "3")]
    pub registered_ms: u64,
    /// When it ended.
    #[prost(uint64, tag = "4")]
    pub unregistered_ms: u64,
}

/// An agent that is offered no more, by the operator's word.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DrainRecord {
    /// How its tasks are ended, and how far that is; none if they are to stay.
    #[prost(message, optional, tag = "1")]
    pub info: Option<DrainInfo>,
    /// Since when, milliseconds since the epoch.
    #[prost(uint64, tag = "2")]
    pub since_ms: u64,
}
