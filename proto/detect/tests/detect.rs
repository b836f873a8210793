//! Finding the leading master: a real ZooKeeper, masters that redirect, and a file that changes.

use detect::{Detector, Leader, MasterSpec};
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use zookeeper_client::{Acls, Client, CreateMode};

/// Where Debian's package `zookeeper` has its script.
const SERVER: &str = "/usr/share/zookeeper/bin/zkServer.sh";
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// A ZooKeeper of this test's own, gone with it.
struct ZooKeeper {
    dir: tempfile::TempDir,
    port: u16,
    process: Child,
}

impl ZooKeeper {
    fn start() -> Self {
        assert!(
            Path::new(SERVER).exists(),
            "no {SERVER}: install the package `zookeeper` and a Java runtime"
        );
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let config = format!(
            "tickTime=500\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\n\
             admin.enableServer=false\n",
            dir.path().join("data").display()
        );
        std::fs::write(dir.path().join("zoo.cfg"), config).unwrap();
        let process = Self::spawn(dir.path());
        Self { dir, port, process }
    }

    fn spawn(dir: &Path) -> Child {
        Command::new(SERVER)
            .args(["start-foreground", dir.join("zoo.cfg").to_str().unwrap()])
            .env("ZOO_LOG_DIR", dir)
            .env("JMXDISABLE", "true")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap()
    }

    fn kill(&mut self) {
        let group = format!("-{}", self.process.id());
        Command::new("kill").args(["-9", "--", &group]).status().unwrap();
        self.process.wait().unwrap();
    }

    fn restart(&mut self) {
        self.process = Self::spawn(self.dir.path());
    }

    async fn client(&self) -> Client {
        let connect = async {
            loop {
                let connector = Client::connector().with_session_timeout(Duration::from_secs(4));
                match connector.connect(&format!("127.0.0.1:{}", self.port)).await {
                    Ok(client) => return client,
                    Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                }
            }
        };
        tokio::time::timeout(LONG, connect).await.expect("ZooKeeper never answers")
    }
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn info(port: u16) -> String {
    format!(r#"{{"address":{{"hostname":"h","ip":"10.0.0.1","port":{port}}},"id":"x","ip":16777226}}"#)
}

async fn contend(client: &Client, port: u16) {
    let options = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
    client.create("/mesos/json.info_", info(port).as_bytes(), &options).await.unwrap();
}

async fn leader(detector: &mut Detector) -> Leader {
    tokio::time::timeout(LONG, detector.changed()).await.expect("nothing is detected")
}

fn at(port: u16) -> Leader {
    Some(SocketAddrV4::new([10, 0, 0, 1].into(), port))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lowest_number_in_zookeeper_leads_and_the_next_follows() {
    let mut zookeeper = ZooKeeper::start();
    let keeper = zookeeper.client().await;
    let spec: MasterSpec = format!("zk://127.0.0.1:{}/mesos", zookeeper.port).parse().unwrap();
    let mut detector = Detector::start(spec);
    // The group's path comes up after the detector has looked for it.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
    keeper.create("/mesos", b"", &persistent).await.unwrap();
    keeper.create("/mesos/log_replicas", b"", &persistent).await.unwrap();
    let first = zookeeper.client().await;
    contend(&first, 5050).await;
    assert_eq!(leader(&mut detector).await, at(5050));
    let second = zookeeper.client().await;
    contend(&second, 5051).await;
    drop(first); // its session closes, and its node goes with it
    let mut now = leader(&mut detector).await;
    if now.is_none() {
        now = leader(&mut detector).await;
    }
    assert_eq!(now, at(5051));

    // ZooKeeper itself goes away: the last leader stays. When it is back, its new state counts.
    zookeeper.kill();
    let stays = tokio::time::timeout(Duration::from_secs(2), detector.changed()).await;
    assert!(stays.is_err(), "{stays:?}");
    zookeeper.restart();
    drop(second);
    let third = zookeeper.client().await;
    contend(&third, 5053).await;
    let found = async {
        loop {
            if leader(&mut detector).await == at(5053) {
                return;
            }
        }
    };
    tokio::time::timeout(LONG, found).await.expect("the detector did not come back");
}

/// A master that answers everything with a redirection to whom it believes to lead.
fn redirecting(says: Arc<Mutex<String>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 2048]);
            let location = says.lock().unwrap().clone();
            let _ = write!(
                stream,
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\n\
                 Connection: close\r\n\r\n"
            );
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_of_a_list_says_who_leads() {
    let says = Arc::new(Mutex::new("//10.0.0.1:5050".to_owned()));
    let (dead, live) = (free_port(), redirecting(says.clone()));
    let spec: MasterSpec = format!("127.0.0.1:{dead},127.0.0.1:{live}").parse().unwrap();
    let mut detector = Detector::start(spec);
    assert_eq!(leader(&mut detector).await, at(5050));
    *says.lock().unwrap() = "//10.0.0.1:5051".to_owned();
    assert_eq!(leader(&mut detector).await, at(5051));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_read_again_when_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master");
    let spec: MasterSpec = format!("file://{}", path.display()).parse().unwrap();
    let mut detector = Detector::start(spec);
    std::fs::write(&path, "10.0.0.1:5050\n").unwrap();
    assert_eq!(leader(&mut detector).await, at(5050));
    // What makes no sense changes nothing; what follows does.
    std::fs::write(&path, "zk:/").unwrap();
    let stays = tokio::time::timeout(Duration::from_millis(1_500), detector.changed()).await;
    assert!(stays.is_err(), "{stays:?}");
    std::fs::write(&path, "10.0.0.1:5051\n").unwrap();
    assert_eq!(leader(&mut detector).await, at(5051));
}
