//! Which master leads: from one address, a list, ZooKeeper, or a file that says one of these.
//!
//! A detector announces leaders on a watch channel and never ends by itself. What it hears from outside is believed
//! only as far as it is an IPv4 address and a port: an agent has to be called back there by libprocess, which knows
//! nothing else. While nobody can be asked, the last leader stays.

mod list;
mod spec;
mod zk;

pub use spec::{Host, MasterSpec, SpecError};

use std::net::{SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often a name is looked up and a list asked.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How often a file is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Bytes of a file that are read.
const FILE_MAX: u64 = 64 << 10;

/// The leading master, as far as it is known.
pub type Leader = Option<SocketAddrV4>;

/// A detector at work; dropping it ends it.
pub struct Detector {
    leader: watch::Receiver<Leader>,
    task: JoinHandle<()>,
}

impl Drop for Detector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Detector {
    /// Begins to look for the leader.
    pub fn start(spec: MasterSpec) -> Self {
        let (tell, leader) = watch::channel(None);
        let task = tokio::spawn(async move {
            match spec {
                MasterSpec::One(host) => one(&host, &tell).await,
                MasterSpec::List(hosts) => list::watch(&hosts, &tell).await,
                MasterSpec::ZooKeeper { cluster, auth, path } => {
                    zk::watch(&cluster, auth.as_deref(), &path, &tell).await;
                }
                MasterSpec::File(path) => file(path, tell).await,
            }
        });
        Self { leader, task }
    }

    /// The next leader that is another than the last one told, at first the first one.
    pub async fn changed(&mut self) -> Leader {
        if self.leader.changed().await.is_err() {
            std::future::pending::<()>().await; // the detector lives as long as this
        }
        *self.leader.borrow_and_update()
    }
}

/// Announces a leader if it is another one.
fn announce(tell: &watch::Sender<Leader>, leader: Leader) {
    let changed = tell.send_if_modified(|held| std::mem::replace(held, leader) != leader);
    if changed {
        match leader {
            Some(master) => tracing::info!(%master, "leading master"),
            None => tracing::warn!("no master leads"),
        }
    }
}

/// The IPv4 address of a host. A name is looked up.
async fn resolve(host: &Host) -> Result<SocketAddrV4, String> {
    let found = tokio::net::lookup_host((host.name.as_str(), host.port)).await;
    let mut found = found.map_err(|error| format!("{host}: {error}"))?;
    let v4 = found.find_map(|address| match address {
        SocketAddr::V4(address) => Some(address),
        SocketAddr::V6(_) => None,
    });
    v4.ok_or_else(|| format!("{host}: no IPv4 address"))
}

async fn one(host: &Host, tell: &watch::Sender<Leader>) {
    loop {
        match resolve(host).await {
            Ok(address) => announce(tell, Some(address)),
            Err(why) => tracing::warn!(why, "cannot look up the master"),
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

async fn file(path: PathBuf, tell: watch::Sender<Leader>) {
    let mut said = String::new();
    let mut inner: Option<(Detector, JoinHandle<()>)> = None;
    loop {
        match read(&path).await {
            Ok(text) if text != said => {
                match text.parse::<MasterSpec>() {
                    Ok(MasterSpec::File(_)) => tracing::error!(path = %path.display(), "names another file"),
                    Ok(spec) => {
                        tracing::info!(path = %path.display(), master = %spec, "master of the file");
                        if let Some((_, forward)) = inner.take() {
                            forward.abort();
                        }
                        let detector = Box::pin(async { Detector::start(spec) }).await;
                        let (mut leader, tell) = (detector.leader.clone(), tell.clone());
                        let forward = tokio::spawn(async move {
                            while leader.changed().await.is_ok() {
                                let now = *leader.borrow_and_update();
                                announce(&tell, now);
                            }
                        });
                        inner = Some((detector, forward));
                    }
                    Err(error) => {
                        tracing::error!(path = %path.display(), %error, "the master stays what it was");
                    }
                }
                said = text;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(path = %path.display(), %error, "cannot read; the master stays"),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn read(path: &std::path::Path) -> std::io::Result<String> {
    use tokio::io::AsyncReadExt;
    let mut text = String::new();
    tokio::fs::File::open(path).await?.take(FILE_MAX).read_to_string(&mut text).await?;
    Ok(text.trim().to_owned())
}
