//! A list of masters: each knows who leads and says so at `/redirect` (src/master/http.cpp, `redirect`).

use crate::{ASK_AGAIN, Host, Leader, announce, resolve};
use std::time::Duration;
use tokio::sync::watch;

/// How long one master may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn watch(hosts: &[Host], tell: &watch::Sender<Leader>) -> ! {
    loop {
        let leader = *tell.borrow();
        // The last leader first: in a list of single masters, each of which leads itself, it stays the one.
        let last = leader.map(|leader| Host { name: leader.ip().to_string(), port: leader.port() });
        let mut found = None;
        for host in last.iter().chain(hosts) {
            match leader_of(host).await {
                Ok(leader) => {
                    found = Some(leader);
                    break;
                }
                Err(why) => tracing::debug!(why, "a master of the list does not say who leads"),
            }
        }
        match found {
            Some(leader) => announce(tell, Some(leader)),
            None => tracing::warn!("no master of the list answers"),
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

async fn leader_of(host: &Host) -> Result<std::net::SocketAddrV4, String> {
    let asked = resolve(host).await?;
    let url = format!("http://{asked}/redirect");
    let location =
        tokio::task::spawn_blocking(move || ask(&url)).await.map_err(|error| error.to_string())??;
    resolve(&location).await
}

fn ask(url: &str) -> Result<Host, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .build()
        .into();
    let response = agent.get(url).call().map_err(|error| format!("{url}: {error}"))?;
    let location = response.headers().get("location").and_then(|location| location.to_str().ok());
    let location = location.ok_or_else(|| format!("{url}: status {}, no Location", response.status()))?;
    Host::of_location(location).ok_or_else(|| format!("{url}: Location '{location}' names no master"))
}
