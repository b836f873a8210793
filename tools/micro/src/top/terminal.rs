//! The terminal: taken over, and given back as it was, whatever happens.

use anyhow::{Context, Result};
use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::backend::CrosstermBackend;
use std::io::{Stdout, stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the terminal is ours.
static OURS: AtomicBool = AtomicBool::new(false);

/// A terminal that is drawn on. It is given back when this is dropped, and before a panic says what it has to.
pub struct Terminal {
    drawn: ratatui::Terminal<CrosstermBackend<Stdout>>,
}

/// Gives it back; the second time, nothing happens. What fails cannot be helped: who would read of it?
fn give_back() {
    if OURS.swap(false, Ordering::SeqCst) {
        let _ = execute!(stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

impl Terminal {
    /// Takes it over.
    pub fn take() -> Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                before(panic);
            }));
        });
        enable_raw_mode().context("the terminal does not give single keys; `micro top --once` needs none")?;
        OURS.store(true, Ordering::SeqCst);
        let drawn = execute!(stdout(), EnterAlternateScreen, Hide)
            .and_then(|()| ratatui::Terminal::new(CrosstermBackend::new(stdout())));
        match drawn {
            Ok(drawn) => Ok(Self { drawn }),
            Err(error) => {
                give_back();
                Err(error).context("terminal")
            }
        }
    }

    /// Columns and lines.
    pub fn size(&self) -> Result<(u16, u16)> {
        let size = self.drawn.size().context("terminal")?;
        Ok((size.width, size.height))
    }

    /// Draws on it.
    pub fn draw(&mut self, draw: impl FnOnce(&mut ratatui::Frame<'_>)) -> Result<()> {
        if !OURS.load(Ordering::SeqCst) {
            anyhow::bail!("a part of this command panicked, as said above");
        }
        self.drawn.draw(draw).context("terminal")?;
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}
