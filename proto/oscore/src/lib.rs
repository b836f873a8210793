//! Object Security for Constrained RESTful Environments (RFC 8613) with AES-CCM-16-64-128 and HKDF SHA-256, for one
//! pair of endpoints that share a master secret.
//!
//! ```text
//!   Request --protect_request--> Request (POST, OSCORE option, ciphertext) --- CoAP ---> open_request --> Request
//!   Response <--open_response--- Response (2.04, OSCORE option, ciphertext) <-- CoAP --- protect_response
//! ```
//!
//! CoAP's own layer (message ids, tokens, retransmission) stays outside: what is sent again is the same bytes.
//!
//! What never happens here:
//!
//! - A nonce is used twice. A number is used only below the bound that was last given out by
//!   [`Context::reservation`], which whoever calls saves before it sends (Appendix B.1.1); the nonce of a request
//!   protects one response, because [`Binding`] is used up by it.
//! - A request is taken twice. A context whose replay window was lost says so, and takes nothing before the peer has
//!   answered a challenge (Echo, RFC 9175; Appendix B.1.2).
//! - A message that does not verify changes anything.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod context;
mod credential;
mod keys;
mod option;
mod window;

pub use context::{Binding, Context, Error, Opened};
pub use credential::{Credential, CredentialError};
pub use keys::{ID_MAX, Id, Keys};
pub use option::key_id;
pub use window::Window;
