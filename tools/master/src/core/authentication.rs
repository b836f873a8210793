//! CRAM-MD5 of agents (src/authentication/cram_md5/authenticator.cpp): a session for each attempt, an actor of its own,
//! and who has proved what. A lost connection takes the proof with it.

use super::{MasterCore, decode};
use libprocess::{Message, Upid};
use mesos_proto::cram::{self, Credential};
use mesos_proto::internal::*;
use prost::DecodeError;

/// What the names of sessions begin with.
pub(crate) const SESSION: &str = "crammd5-authenticator-session(";
/// How long an attempt may take, milliseconds (src/master/constants.hpp).
const TIMEOUT_MS: u64 = 15_000;
/// Attempts under way at once.
const SESSIONS_MAX: usize = 65_536;

/// An attempt under way.
pub(crate) struct Session {
    /// Who is to be believed.
    agent: Upid,
    /// The actor that proves it.
    client: Upid,
    challenge: Vec<u8>,
    expires_ms: u64,
}

impl MasterCore {
    /// True if an agent may register.
    pub(super) fn may_register(&self, from: &Upid) -> bool {
        !self.config.authenticate_agents || self.authenticated.contains_key(from)
    }

    pub(super) fn authenticate(&mut self, from: &Upid, message: &AuthenticateMessage) {
        let error = |why: &str| AuthenticationErrorMessage { error: Some(why.to_owned()) };
        if self.config.credentials.is_empty() {
            return self.send(from, &error("No authenticator loaded"));
        }
        let now_ms = self.now_ms;
        let Ok(agent) = message.pid.parse::<Upid>() else {
            return self.send(from, &error("pid is no actor"));
        };
        // A new attempt replaces an old one.
        self.sessions.retain(|_, session| session.agent != agent && session.expires_ms > now_ms);
        self.authenticated.remove(&agent);
        if self.sessions.len() >= SESSIONS_MAX {
            return self.send(from, &error("too many attempts"));
        }
        let number = self.next_session;
        self.next_session += 1;
        // Nobody who does not know the seed can tell the next challenge from those before.
        let seed = Credential { principal: String::new(), secret: self.config.seed.to_be_bytes().into() };
        let nonce = cram::answer(&seed, &number.to_be_bytes());
        let challenge = format!("<{}.{now_ms}@{}>", nonce.trim(), self.config.hostname).into_bytes();
        let session = Session { agent, client: from.clone(), challenge, expires_ms: now_ms + TIMEOUT_MS };
        self.sessions.insert(number, session);
        let mechanisms = vec![cram::MECHANISM.to_owned()];
        self.send_from(name(number), from, &AuthenticationMechanismsMessage { mechanisms });
    }

    /// Takes a message for a session.
    pub(super) fn session(&mut self, from: &Upid, message: &Message) -> Result<(), DecodeError> {
        let number = message.to.strip_prefix(SESSION).and_then(|rest| rest.strip_suffix(')')?.parse().ok());
        let now_ms = self.now_ms;
        let live = number.and_then(|number| {
            let session = self.sessions.get(&number)?;
            (session.client == *from && session.expires_ms > now_ms).then_some((number, session))
        });
        let Some((number, session)) = live else {
            self.count("messages_for_nobody");
            return Ok(());
        };
        match message.name.as_str() {
            "mesos.internal.AuthenticationStartMessage" => {
                let start: AuthenticationStartMessage = decode(&message.body)?;
                if start.mechanism == cram::MECHANISM {
                    let data = session.challenge.clone();
                    self.send_from(name(number), from, &AuthenticationStepMessage { data });
                } else {
                    self.refuse(number, from);
                }
            }
            "mesos.internal.AuthenticationStepMessage" => {
                let step: AuthenticationStepMessage = decode(&message.body)?;
                let proves = |held: &&Credential| cram::verify(held, &session.challenge, &step.data);
                match self.config.credentials.iter().find(proves) {
                    Some(credential) => {
                        let (agent, principal) = (session.agent.clone(), credential.principal.clone());
                        tracing::info!(%agent, principal, "authenticated");
                        self.sessions.remove(&number);
                        self.authenticated.insert(agent, principal);
                        self.count("authentications");
                        self.send_from(name(number), from, &AuthenticationCompletedMessage {});
                    }
                    None => self.refuse(number, from),
                }
            }
            _ => self.count("messages_unknown"),
        }
        Ok(())
    }

    fn refuse(&mut self, number: u64, from: &Upid) {
        if let Some(session) = self.sessions.remove(&number) {
            tracing::warn!(agent = %session.agent, "authentication failed");
        }
        self.count("authentications_failed");
        self.send_from(name(number), from, &AuthenticationFailedMessage {});
    }
}

fn name(number: u64) -> String {
    format!("{SESSION}{number})")
}
