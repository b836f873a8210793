//! Masters in ZooKeeper: each has an ephemeral sequential node `json.info_NNNNNNNNNN` under the group's path with its
//! `MasterInfo` in JSON, and the lowest number leads (src/master/contender/zookeeper.cpp, src/zookeeper/group.cpp).

use crate::{Leader, announce};
use std::net::SocketAddrV4;
use std::time::Duration;
use tokio::sync::watch;
use zookeeper_client::{Client, Error, EventType};

/// What a master's node is called, before its number. Others, such as `log_replicas`, are no candidates.
const PREFIX: &str = "json.info_";
/// Mesos' own (src/zookeeper, `MASTER_DETECTOR_ZK_SESSION_TIMEOUT`).
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// Pauses between attempts to reach the ensemble.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(15);

pub(super) async fn watch(cluster: &str, auth: Option<&str>, path: &str, tell: &watch::Sender<Leader>) -> ! {
    let mut pause = RETRY;
    loop {
        let mut connector = Client::connector().with_session_timeout(SESSION_TIMEOUT);
        if let Some(auth) = auth {
            connector = connector.with_auth("digest", auth.as_bytes());
        }
        match connector.connect(cluster).await {
            Ok(client) => {
                tracing::info!(cluster, path, "connected to ZooKeeper");
                pause = RETRY;
                let Err(error) = follow(&client, path, tell).await;
                tracing::warn!(cluster, %error, "the session with ZooKeeper ended; the last leader stays");
            }
            Err(error) => tracing::warn!(cluster, %error, "cannot reach ZooKeeper; the last leader stays"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

/// Announces leaders until the session ends.
async fn follow(
    client: &Client,
    path: &str,
    tell: &watch::Sender<Leader>,
) -> Result<std::convert::Infallible, Error> {
    loop {
        let (children, changed) = match client.list_and_watch_children(path).await {
            Ok(found) => found,
            Err(Error::NoNode) => {
                // No master has ever been here.
                announce(tell, None);
                let (stat, created) = client.check_and_watch_stat(path).await?;
                if stat.is_none() {
                    ended(&created.changed().await)?;
                }
                continue;
            }
            Err(error) => return Err(error),
        };
        let first = children.iter().filter_map(|name| Some((sequence(name)?, name))).min();
        match first {
            None => announce(tell, None),
            Some((_, name)) => match client.get_data(&format!("{path}/{name}")).await {
                Ok((data, _)) => match address(&data) {
                    Some(leader) => announce(tell, Some(leader)),
                    None => tracing::error!(name, "the leader's node names no IPv4 address and port"),
                },
                Err(Error::NoNode) => continue, // it has just gone
                Err(error) => return Err(error),
            },
        }
        ended(&changed.changed().await)?;
    }
}

/// An error if the event says that the session is over.
fn ended(event: &zookeeper_client::WatchedEvent) -> Result<(), Error> {
    match event.event_type {
        EventType::Session if event.session_state.is_terminated() => Err(Error::SessionExpired),
        _ => Ok(()),
    }
}

fn sequence(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// The address in a `MasterInfo` in JSON, from `address` or `pid`.
fn address(data: &[u8]) -> Option<SocketAddrV4> {
    let info: serde_json::Value = serde_json::from_slice(data).ok()?;
    let stated = || {
        let ip = info.get("address")?.get("ip")?.as_str()?.parse().ok()?;
        let port = info.get("address")?.get("port")?.as_u64()?.try_into().ok()?;
        Some(SocketAddrV4::new(ip, port))
    };
    let by_pid = || info.get("pid")?.as_str()?.split_once('@')?.1.parse().ok();
    stated().or_else(by_pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_known_by_name_and_leaders_by_their_info() {
        assert_eq!(sequence("json.info_0000000012"), Some(12));
        assert_eq!(
            (sequence("log_replicas"), sequence("info_0000000001"), sequence("json.info_x")),
            (None, None, None)
        );
        let leader = |json: &str| address(json.as_bytes()).map(|address| address.to_string());
        let full =
            r#"{"address":{"hostname":"m1","ip":"10.0.0.1","port":5050},"id":"x","pid":"master@10.0.0.9:1"}"#;
        assert_eq!(leader(full).as_deref(), Some("10.0.0.1:5050"));
        assert_eq!(leader(r#"{"pid":"master@10.0.0.9:1"}"#).as_deref(), Some("10.0.0.9:1"));
        assert_eq!((leader("{"), leader("{}"), leader(r#"{"pid":"master@m1:1"}"#)), (None, None, None));
    }
}
