//! The state directory: what is kept in it, and when it is refused.

use super::*;
use durable::{Commit, Store, StoreError, Table, Write};

fn config(directory: &std::path::Path) -> Config {
    Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        state: Some(directory.to_owned()),
        ..Config::default()
    }
}

/// A master of another format, or one that knows other kinds of record.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Other<const FORMAT: u32>;

impl<const FORMAT: u32> Table for Other<FORMAT> {
    const OWNER: &'static str = "master";
    const FORMAT: u32 = FORMAT;

    fn number(self) -> u8 {
        1
    }

    fn from_number(_: u8) -> Option<Self> {
        Some(Self)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_comes_back_under_its_id_and_expects_its_agents() {
    let dir = tempfile::tempdir().unwrap();
    let first = run(config(&dir.path().join("of/master"))).await.unwrap();
    let id = first.id.clone();
    let mut agent = Agent::start(first.addr).await;
    let registered = agent.register().await;
    // One at a time.
    let refused = run(config(&dir.path().join("of/master"))).await.err().unwrap();
    assert!(matches!(refused, Error::Store(StoreError::InUse { .. })), "{refused}");
    assert!(refused.to_string().contains("another master"), "{refused}");
    first.stop().await;
    let second = run(config(&dir.path().join("of/master"))).await.unwrap();
    assert_eq!(second.id, id);
    let slaves = second.view(master::view::View::Slaves).await.unwrap();
    assert_eq!(slaves["recovered_slaves"][0]["id"]["value"], registered.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.redb");
    let refused = async || {
        let before = std::fs::read(&path).unwrap();
        let error = run(config(dir.path())).await.err().expect("it is refused");
        assert!(std::fs::read(&path).unwrap() == before, "{error}");
        error
    };
    std::fs::write(&path, "no store").unwrap();
    let error = refused().await;
    assert!(error.to_string().contains("move it away"), "{error}");
    std::fs::remove_file(&path).unwrap();
    drop(Store::<Other<99>>::open(&path).unwrap());
    let error = refused().await;
    assert!(matches!(error, Error::Store(StoreError::OtherFormat { found: 99, .. })), "{error}");
    assert!(error.to_string().contains("run the version that wrote it"), "{error}");
    std::fs::remove_file(&path).unwrap();
    let (store, _) = Store::<Other<1>>::open(&path).unwrap();
    store.commit(&[Write::Put(Other, b"m-S0".to_vec(), vec![0xff])]).unwrap();
    drop(store);
    let error = run(config(dir.path())).await.err().unwrap();
    assert!(matches!(error, Error::Record(_)), "{error}");
    assert!(error.to_string().contains("move it away"), "{error}");
}
