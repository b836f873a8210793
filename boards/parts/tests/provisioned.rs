//! The kernel finds the keys where the tool has put them.

use agent_core::provision::{BLOB_MAX, Network, Provision};
use node_proto::Power;
use parts::provisioned::{BLOB, PUBLISHERS_MAX, publishers};

fn told(keys: &[[u8; 32]]) -> [u8; BLOB_MAX] {
    let provision = Provision {
        eui64: None,
        gateway: [2, 0, 0, 0, 0, 0, 0, 1],
        network: Network::Lowpan { pan: 0xabcd, channel: 26 },
        credential: None,
        publishers: keys.iter().copied().collect(),
        poll_max_s: 60,
        power: Power::Mains,
        board: Default::default(),
    };
    provision.encode().unwrap()
}

#[test]
fn the_kernel_believes_whom_the_agent_believes() {
    assert_eq!((BLOB, PUBLISHERS_MAX), (BLOB_MAX, agent_core::PUBLISHERS_MAX));
    for count in 0..=PUBLISHERS_MAX {
        let keys: Vec<[u8; 32]> = (1..=count as u8).map(|key| [key; 32]).collect();
        let (found, known) = publishers(&told(&keys));
        assert_eq!(&found[..known], &keys[..]);
    }
    assert_eq!(publishers(&[0xff; BLOB]).1, 0);
    assert_eq!(publishers(&[0; BLOB]).1, 0);
}
