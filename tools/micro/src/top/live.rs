//! The driver of the live view: threads for keys, signals and documents, one loop that takes in and draws.

use super::draw::draw;
use super::feed::Feed;
use super::model::{Input, Model};
use super::terminal::Terminal;
use crate::ask::Server;
use anyhow::{Context, Result, bail};
use crossterm::event::{Event, KeyEventKind};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

/// What waits to be taken in; whoever has more waits himself.
const WAITING_MAX: usize = 64;

/// What comes.
enum Come {
    Input(Input),
    Signal(i32),
    /// The keyboard is gone.
    Deaf(std::io::Error),
}

/// Unix time, milliseconds.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Shows the model until it is over.
pub fn live(server: &Server, mut model: Model) -> Result<ExitCode> {
    let (sender, inbox) = sync_channel(WAITING_MAX);
    // Before the terminal is ours: from now on, no signal ends us without its being given back.
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).context("signals")?;
    let mut terminal = Terminal::take()?;
    watch_signals(signals, sender.clone());
    watch_keys(sender.clone());
    let mut feeds = model.wants().map(|(subject, _)| {
        let sender = sender.clone();
        Feed::start(server.clone(), subject, move |path, what| {
            sender.send(Come::Input(Input::News(subject, path.to_owned(), what))).is_ok()
        })
    });
    let signal = loop {
        for (feed, (_, path)) in feeds.iter_mut().zip(model.wants()) {
            feed.want(path);
        }
        let (width, height) = terminal.size()?;
        if model.size != (width, height) && model.update(Input::Resize(width, height)).is_break() {
            return Ok(ExitCode::SUCCESS);
        }
        terminal.draw(|frame| draw(&model, frame))?;
        // The clock goes on by itself.
        let to_next_second = Duration::from_millis(1000 - now_ms() % 1000);
        let mut come = match inbox.recv_timeout(to_next_second) {
            Ok(come) => Some(come),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => bail!("all parts of this command have ended"),
        };
        if !feeds.iter().all(Feed::is_alive) {
            bail!("a part of this command has ended by itself: a fault of micro");
        }
        let _ = model.update(Input::Tick(now_ms())); // time alone ends nothing
        // What has come meanwhile is drawn once.
        let mut taken = 0;
        let signal = loop {
            match come {
                None => break None,
                Some(Come::Signal(signal)) => break Some(signal),
                Some(Come::Deaf(error)) => return Err(error).context("keyboard"),
                Some(Come::Input(input)) => {
                    if model.update(input).is_break() {
                        return Ok(ExitCode::SUCCESS);
                    }
                }
            }
            taken += 1;
            come = if taken < WAITING_MAX { inbox.try_recv().ok() } else { None };
        };
        if signal.is_some() {
            break signal;
        }
    };
    drop(terminal);
    // It ends as it would have without us, so that whoever started it sees by what.
    if let Some(signal) = signal {
        signal_hook::low_level::emulate_default_handler(signal).context("signal")?;
    }
    Ok(ExitCode::FAILURE)
}

fn watch_signals(mut signals: Signals, sender: SyncSender<Come>) {
    std::thread::spawn(move || {
        for (number, signal) in signals.forever().enumerate() {
            // The second finds a terminal that takes nothing: then it is left as it is.
            if number > 0 || sender.try_send(Come::Signal(signal)).is_err() {
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        }
    });
}

fn watch_keys(sender: SyncSender<Come>) {
    std::thread::spawn(move || {
        loop {
            let come = match crossterm::event::read() {
                Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => Come::Input(Input::Key(key)),
                Ok(Event::Resize(width, height)) => Come::Input(Input::Resize(width, height)),
                Ok(_) => continue,
                Err(error) => Come::Deaf(error),
            };
            let last = matches!(come, Come::Deaf(_));
            if sender.send(come).is_err() || last {
                return;
            }
        }
    });
}
