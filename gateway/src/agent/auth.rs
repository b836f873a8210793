//! CRAM-MD5 towards the master (src/authentication/cram_md5/authenticatee.cpp): each agent proves who it is from an
//! actor of its own, and registers only after that. Every loss of the master or its connection asks for a new proof.
//!
//! The secret never leaves this process, and nothing is answered to anyone but the session that the master opened.

use super::{Agents, registration::Registration};
use crate::bridge::NodeId;
use libprocess::{Message as WireMessage, Upid};
use mesos_proto::{cram, internal};
use prost::{DecodeError, Message, Name};

/// Least time for an attempt (src/slave/flags.cpp, `authentication_timeout_min`).
const TIMEOUT_MIN_MS: u64 = 5_000;
/// First upper bound of the time for an attempt: least time and back-off factor.
const TIMEOUT_FIRST_MS: u64 = 6_000;
/// Last upper bound of it.
const TIMEOUT_MAX_MS: u64 = 60_000;
/// What a master without authenticator answers.
const NO_AUTHENTICATOR: &str = "No authenticator loaded";

/// How far the proof has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Auth {
    /// Nothing is proved.
    Unproved,
    /// An attempt is under way until `until_ms`; the next may take up to `bound_ms`.
    Waiting { session: Option<Upid>, until_ms: u64, bound_ms: u64 },
    /// The master has taken the proof, or wants none.
    Done,
}

/// What the names of authenticatees begin with (src/authentication/cram_md5/authenticatee.cpp).
pub(super) const AUTHENTICATEE: &str = "crammd5-authenticatee(";

/// The name of an agent's authenticatee.
fn authenticatee(number: u32) -> String {
    format!("{AUTHENTICATEE}{number})")
}

impl Agents {
    /// True if the agent may register. If not, an attempt is under way, begun here if there was none.
    pub(super) fn authenticated(&mut self, id: NodeId, now_ms: u64) -> bool {
        let random = self.next_random();
        if self.config.credential.is_none() {
            return true;
        }
        let Some(agent) = self.nodes.get_mut(&id) else { return false };
        let bound_ms = match &agent.auth {
            Auth::Done => return true,
            Auth::Waiting { until_ms, .. } if now_ms < *until_ms => return false,
            Auth::Waiting { bound_ms, .. } => {
                tracing::warn!(node = %id, "authentication timed out; again");
                self.counters.authentications_failed += 1;
                (TIMEOUT_MIN_MS + (bound_ms - TIMEOUT_MIN_MS) * 2).min(TIMEOUT_MAX_MS)
            }
            Auth::Unproved => TIMEOUT_FIRST_MS,
        };
        let until_ms = now_ms + TIMEOUT_MIN_MS + random % (bound_ms - TIMEOUT_MIN_MS).max(1);
        agent.auth = Auth::Waiting { session: None, until_ms, bound_ms };
        if let Registration::Trying { next_ms, .. } = &mut agent.registration {
            *next_ms = until_ms;
        }
        let number = agent.record.actor;
        let pid = Upid::new(agent.actor(), self.advertised).to_string();
        if let Some(master) = self.master.clone() {
            self.send_as(authenticatee(number), master, &internal::AuthenticateMessage { pid });
        }
        false
    }

    /// Takes a message for an authenticatee.
    pub(super) fn authentication(
        &mut self,
        id: NodeId,
        message: &WireMessage,
        now_ms: u64,
    ) -> Result<(), DecodeError> {
        use internal::*;
        let body = message.body.clone();
        let (Some(name), Some(from)) = (message.name.strip_prefix("mesos.internal."), message.from.clone())
        else {
            return Ok(());
        };
        let Some(credential) = self.config.credential.clone() else { return Ok(()) };
        let at_master = self.master.as_ref().is_some_and(|master| master.addr == from.addr);
        let Some(agent) = self.nodes.get_mut(&id) else { return Ok(()) };
        let number = agent.record.actor;
        let Auth::Waiting { session, until_ms, .. } = &mut agent.auth else { return Ok(()) };
        let is_session = session.as_ref() == Some(&from);
        match name {
            AuthenticationMechanismsMessage::NAME if session.is_none() && at_master => {
                let offered = AuthenticationMechanismsMessage::decode(body)?.mechanisms;
                if !offered.iter().any(|mechanism| mechanism == cram::MECHANISM) {
                    tracing::error!(node = %id, ?offered, "the master does not take {}", cram::MECHANISM);
                    return Ok(()); // the attempt times out, and the next may find another master
                }
                *session = Some(from.clone());
                let start =
                    AuthenticationStartMessage { mechanism: cram::MECHANISM.into(), data: Some(Vec::new()) };
                self.send_as(authenticatee(number), from, &start);
            }
            AuthenticationStepMessage::NAME if is_session => {
                let challenge = AuthenticationStepMessage::decode(body)?.data;
                let data = cram::answer(&credential, &challenge).into_bytes();
                self.send_as(authenticatee(number), from, &AuthenticationStepMessage { data });
            }
            AuthenticationCompletedMessage::NAME if is_session => {
                agent.auth = Auth::Done;
                self.register_now(id, now_ms);
            }
            AuthenticationFailedMessage::NAME if is_session => {
                *session = None; // a session says one thing and is gone
                *until_ms = now_ms + TIMEOUT_MAX_MS;
                let until_ms = *until_ms;
                if let Registration::Trying { next_ms, .. } = &mut agent.registration {
                    *next_ms = until_ms;
                }
                self.counters.authentications_failed += 1;
                tracing::error!(node = %id, principal = credential.principal,
                    "the master refuses the credential; again in a minute");
            }
            AuthenticationErrorMessage::NAME if at_master => {
                let error = AuthenticationErrorMessage::decode(body)?.error.unwrap_or_default();
                if error.contains(NO_AUTHENTICATOR) {
                    tracing::warn!(node = %id, "the master asks for no authentication: registering without");
                    agent.auth = Auth::Done;
                    self.register_now(id, now_ms);
                } else {
                    self.counters.authentications_failed += 1;
                    tracing::warn!(node = %id, error, "authentication failed; again when its time is over");
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn register_now(&mut self, id: NodeId, now_ms: u64) {
        if let Some(agent) = self.nodes.get_mut(&id)
            && let Registration::Trying { next_ms, .. } = &mut agent.registration
        {
            *next_ms = now_ms;
        }
    }
}
