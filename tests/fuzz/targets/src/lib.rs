//! What reads bytes of strangers, as functions of those bytes: the bodies of the fuzz targets, which an ordinary test
//! feeds the corpus too; and the rig that drives a whole node and a whole gateway in memory.

mod codecs;
mod mesos;
mod native;
mod node;
pub mod rig;
pub mod script;
mod sessions;
mod wasm;

pub use codecs::{coap, lowpan, messages, oscore};
pub use mesos::{agents, api, images, libprocess};
pub use native::{native, native_image};
pub use node::node;
pub use sessions::sessions;
pub use wasm::wasm;

/// Takes bytes and survives them.
pub type Target = fn(&[u8]);

/// All targets by the names of their corpora.
pub const TARGETS: [(&str, Target); 12] = [
    ("agents", agents),
    ("api", api),
    ("coap", coap),
    ("images", images),
    ("libprocess", libprocess),
    ("lowpan", lowpan),
    ("messages", messages),
    ("native", native),
    ("node", node),
    ("oscore", oscore),
    ("sessions", sessions),
    ("wasm", wasm),
];
