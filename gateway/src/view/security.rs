//! `/view/security`: keys, what was refused, whose images are taken.

use super::Looked;
use serde::Serialize;

#[derive(Serialize)]
struct Keys {
    commissioned: usize,
    revoked: usize,
}

#[derive(Serialize)]
struct Counter {
    name: &'static str,
    text: &'static str,
    value: u64,
}

#[derive(Serialize)]
struct Publisher {
    name: String,
    roles: Vec<String>,
}

#[derive(Serialize)]
struct Trusted {
    publishers: Vec<Publisher>,
}

#[derive(Serialize)]
pub(super) struct Security {
    insecure: bool,
    keys: Keys,
    counters: Vec<Counter>,
    trust: Option<Trusted>,
}

pub(super) fn security(looked: &Looked<'_>) -> Security {
    let (commissioned, revoked) = looked.sessions.keys();
    let (sessions, coap, refused) = looked.sessions.counters();
    let agents = looked.agents.counters();
    let counters = [
        ("oscore/unprotected", "Messages without protection, dropped", refused.unprotected),
        ("oscore/unknown", "Messages of keys that were never issued, dropped", refused.unknown),
        ("oscore/revoked", "Messages of revoked keys, dropped", refused.revoked),
        ("oscore/replayed", "Messages that were taken before, dropped", refused.replayed),
        ("oscore/forged", "Messages that did not verify, dropped", refused.forged),
        ("oscore/challenged", "Nodes asked to prove that they are no recording", refused.challenged),
        ("gateway/unknown_peers", "Messages from radios that have not registered", sessions.unknown_peers),
        (
            "gateway/malformed",
            "Messages of nodes that could not be read",
            sessions.malformed + coap.malformed,
        ),
        ("gateway/not_master", "Orders from somebody who is not the master", agents.not_master),
        ("gateway/wrong_agent", "Orders for another agent", agents.wrong_agent),
        (
            "gateway/authentications_failed",
            "Attempts to authenticate that failed",
            agents.authentications_failed,
        ),
        (
            "gateway/images_refused",
            "Images that nobody trusted has signed for the task",
            agents.images_refused,
        ),
    ];
    let trust = looked.agents.trust().publishers().map(|publishers| Trusted {
        publishers: publishers
            .map(|(name, roles)| Publisher { name: name.to_owned(), roles: roles.to_vec() })
            .collect(),
    });
    Security {
        insecure: looked.sessions.is_insecure(),
        keys: Keys { commissioned, revoked },
        counters: counters.map(|(name, text, value)| Counter { name, text, value }).into(),
        trust,
    }
}
