//! Asking the source: one question at a time, one answer for all who ask the same within a second.
//!
//! What the documents are made of belongs to a thread that has nodes to serve. However many watch, and whatever they ask
//! for, that thread is left alone for as long as it was asked.

use crate::document::Answer;
use crate::reply::Refusal;
use crate::{Asked, Source};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How old an answer may be that another stream is given.
const FRESH: Duration = Duration::from_millis(900);
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest pause after one.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// An answer, and when it was given.
type Slot = tokio::sync::Mutex<Option<(Instant, Result<Answer, Refusal>)>>;

#[derive(Default)]
pub(crate) struct Shared {
    /// By question. Only streams are in here: as many as there are streams, and those that ended a moment ago.
    slots: Mutex<HashMap<String, Arc<Slot>>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Shared {
    /// The newest answer to a question that others may be asking too.
    pub async fn watch<S: Source>(&self, source: &S, asked: &Asked) -> Result<Answer, Refusal> {
        // Of a sequence, those ask the same who are at the same place in it.
        let place = (asked.after.map(|after| after.0), asked.had);
        let slot = self.slot(&format!("{} {place:?}", asked.key));
        let mut held = slot.lock().await;
        if let Some((at, answer)) = held.as_ref()
            && at.elapsed() < FRESH
        {
            return answer.clone();
        }
        let answer = self.ask(source, asked.clone()).await;
        *held = Some((Instant::now(), answer.clone()));
        answer
    }

    fn slot(&self, key: &str) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(key) {
            return slot.clone();
        }
        // One that is locked is being used.
        slots.retain(|_, slot| {
            slot.try_lock().map_or(true, |held| held.as_ref().is_some_and(|(at, _)| at.elapsed() < 2 * FRESH))
        });
        slots.entry(key.to_owned()).or_default().clone()
    }

    /// Asks the source, when it is this question's turn.
    pub async fn ask<S: Source>(&self, source: &S, asked: Asked) -> Result<Answer, Refusal> {
        let late = || Refusal::busy("too busy to answer; ask again");
        let turn =
            tokio::time::timeout(PATIENCE, self.turn.clone().lock_owned()).await.map_err(|_| late())?;
        let began = Instant::now();
        let answer = tokio::time::timeout(PATIENCE, source.show(asked)).await.map_err(|_| late())?;
        let pause = began.elapsed().min(PAUSE_MAX);
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            drop(turn);
        });
        answer
    }
}
