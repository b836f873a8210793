//! The driver on a disk that is full.

use super::*;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// A disk that is full after some commits.
struct Fills(AtomicU32);

impl Commit<Table> for Fills {
    fn commit(&self, _: &[Write]) -> Result<(), StoreError> {
        match self.0.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Ok(()),
            Err(_) => Err(StoreError::Write { path: "here".into(), why: "no space".into() }),
        }
    }
}

fn config() -> Config {
    Config { listen: std::net::SocketAddr::from(([127, 0, 0, 1], 0)), ..Config::default() }
}

#[tokio::test]
async fn one_that_cannot_write_its_id_does_not_start() {
    let started = run_on(config(), Box::new(Fills(0.into())), Vec::new()).await;
    assert!(matches!(started, Err(Error::Store(StoreError::Write { .. }))));
}

#[tokio::test]
async fn one_that_cannot_write_stops_and_has_promised_nothing() {
    let mut handle = run_on(config(), Box::new(Fills(1.into())), Vec::new()).await.unwrap();
    // The first framework's number is to be kept before it is told its id.
    let call = Call {
        r#type: Some(mesos_proto::v1::scheduler::call::Type::Subscribe as i32),
        subscribe: Some(mesos_proto::v1::scheduler::call::Subscribe {
            framework_info: mesos_proto::v1::FrameworkInfo {
                user: "u".into(),
                name: "n".into(),
                ..Default::default()
            },
            ..Default::default()
        }),
        ..Default::default()
    };
    let (answer, wait) = oneshot::channel();
    let request = Request::Call { stream: None, json: true, call: Box::new(call), answer };
    handle.inbox.send(request).await.unwrap();
    assert!(wait.await.is_err(), "it was answered");
    assert!(matches!(handle.wait().await, Err(Error::Store(StoreError::Write { .. }))));
}
