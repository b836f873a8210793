//! CoAP resource names. One letter each: a path is sent with every request.

/// On the gateway: [`crate::Register`].
pub const REGISTER: &str = "r";
/// On the gateway: [`crate::Poll`].
pub const POLL: &str = "p";
/// On the gateway: [`crate::Status`].
pub const STATUS: &str = "s";
/// On the gateway: [`crate::Message`]; and `/m/N`, the [`crate::LongMessage`] of the task with handle N by Block1.
pub const MESSAGE: &str = "m";
/// On the gateway: [`crate::Log`].
pub const LOG: &str = "l";
/// On the gateway: `/i/N`, the bytes of image N by Block2.
pub const IMAGE: &str = "i";
/// On the gateway: `/d/N`, the [`crate::Document`] of the task with handle N by Block2.
pub const DOCUMENT: &str = "d";
/// On the gateway: `/b/N`, the bytes that command N ([`crate::Order::Fetch`]) is about, by Block2.
pub const BODY: &str = "b";
/// On the node: [`crate::Command`].
pub const COMMAND: &str = "c";
/// The UDP port both listen at (RFC 7252 §6.1).
pub const COAP_PORT: u16 = 5683;
