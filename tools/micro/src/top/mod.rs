//! `micro top`: nodes and tenants as they are now. `model` and `draw` are pure; `live`, `feed` and `terminal` are what is
//! around them.

mod column;
mod data;
mod draw;
mod feed;
mod header;
mod layout;
mod live;
mod model;
mod node;
mod question;
mod tables;
mod terminal;
#[cfg(test)]
mod tests;
mod text;

use crate::ask::{GatewayAt, Server};
use anyhow::Result;
use model::{Input, Look, Model, Subject, What};
use question::{Order, PAGE_MAX, Power, Question, State};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

/// Columns of a frame that goes to no terminal, unless COLUMNS says otherwise.
const WIDTH: u16 = 140;
/// Columns of a frame at least and at most.
const WIDTHS: std::ops::RangeInclusive<u16> = 20..=500;
/// Before a lost stream is asked for again.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
#[command(after_help = "\
Live, it shows fleets of any size: the gateway is asked for what is on the screen. `?` says what keys do. A node's name is its
EUI-64; bars show what is used, granted and free. No colour says what no word says; NO_COLOR turns them off.

For scripts: --once prints one frame of text, and so it is if standard output is no terminal; --json prints the gateway's
document /view/fleet, with --follow one line of it each time it changed, for as long as you like; it reconnects by itself.")]
pub struct TopArgs {
    #[command(flatten)]
    at: GatewayAt,
    /// What nodes are sorted by
    #[arg(long, default_value = "node", value_name = "ORDER")]
    sort: Order,
    /// Nodes in this state only
    #[arg(long, default_value = "all")]
    state: State,
    /// Nodes that run on this only
    #[arg(long, default_value = "all")]
    power: Power,
    /// Nodes with tasks of this role only
    #[arg(long)]
    role: Option<String>,
    /// Nodes with this text in EUI-64, hostname, board or agent id only
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    find: String,
    /// Print one frame as text
    #[arg(long, conflicts_with = "json")]
    once: bool,
    /// For machines: the gateway's document
    #[arg(long)]
    json: bool,
    /// With --json: a line for each change, until interrupted
    #[arg(long, requires = "json")]
    follow: bool,
    /// With --once or --json: nodes at most
    #[arg(long, default_value_t = PAGE_MAX as u64, value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..=PAGE_MAX as u64))]
    limit: u64,
    /// Draw with nothing but ASCII, as is done anyway where the locale is not UTF-8
    #[arg(long)]
    ascii: bool,
}

impl TopArgs {
    /// Whether the terminal will be taken over.
    pub fn is_live(&self) -> bool {
        let moves = std::env::var("TERM").is_ok_and(|term| !term.is_empty() && term != "dumb");
        !self.once && !self.json && moves && std::io::stdout().is_terminal()
    }

    fn question(&self) -> Question {
        Question {
            text: self.find.clone(),
            order: self.sort,
            state: self.state,
            power: self.power,
            role: self.role.clone(),
            offset: 0,
            limit: if self.is_live() { PAGE_MAX } else { self.limit as usize },
        }
    }

    fn look(&self) -> Look {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        let ascii = self.ascii || !(locale.contains("utf-8") || locale.contains("utf8"));
        Look {
            signs: if ascii { text::Signs::ASCII } else { text::Signs::UNICODE },
            color: set("NO_COLOR").is_none(),
            once: !self.is_live(),
        }
    }
}

/// Runs it.
pub fn top(args: &TopArgs) -> Result<ExitCode> {
    let server = args.at.server()?;
    let question = args.question();
    let path = question.path();
    if args.follow {
        return follow(&server, &path);
    }
    // A gateway that is not there is said before the terminal is taken, and with its exit status.
    let document = server.document(&path)?;
    if args.json {
        println!("{document:#}");
        return Ok(ExitCode::SUCCESS);
    }
    let mut model =
        Model::new(args.at.gateway.to_string(), args.look(), question, (WIDTH, 1), live::now_ms());
    let _ = model.update(Input::News(Subject::Fleet, path, What::Whole(document))); // no key, no end
    if args.is_live() {
        return live::live(&server, model);
    }
    print!("{}", once(&mut model, width()));
    Ok(ExitCode::SUCCESS)
}

fn width() -> u16 {
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = || std::io::stdout().is_terminal().then(|| crossterm::terminal::size().ok()).flatten();
    let width = terminal().map(|(width, _)| width).or(told).unwrap_or(WIDTH);
    width.clamp(*WIDTHS.start(), *WIDTHS.end())
}

/// One frame with all that the model has, as text.
fn once(model: &mut Model, width: u16) -> String {
    model.size = (width, layout::whole(model));
    let area = Rect { x: 0, y: 0, width: model.size.0, height: model.size.1 };
    let mut buffer = Buffer::empty(area);
    draw::paint(model, area, &mut buffer);
    let mut frame = plain(&buffer);
    let shown = model.fleet.document.as_ref().map_or(0, |fleet| fleet.nodes.len());
    let more = model.matching().saturating_sub(shown);
    if more > 0 {
        frame += &format!("... {more} more nodes: --find, --state, --sort choose; `micro nodes` lists all\n");
    }
    frame
}

/// A frame without colours, and without what fills it up.
fn plain(buffer: &Buffer) -> String {
    let area = buffer.area;
    let mut text = String::new();
    for y in area.top()..area.bottom() {
        let (mut line, mut x) = (String::new(), area.left());
        while x < area.right() {
            let symbol = buffer[(x, y)].symbol();
            line += symbol;
            // A wide character stands in the columns behind it too.
            x += u16::try_from(Span::raw(symbol).width()).unwrap_or(1).max(1);
        }
        text += line.trim_end();
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// Prints the document whenever it has changed. The first time, somebody has to be there.
fn follow(server: &Server, path: &str) -> Result<ExitCode> {
    let mut known = false;
    loop {
        match lines(server, path, &mut known) {
            Err(error) if !known => return Err(error),
            Err(error) => tracing::warn!("{error:#}"),
            Ok(()) => {}
        }
        std::thread::sleep(PAUSE);
    }
}

fn lines(server: &Server, path: &str, known: &mut bool) -> Result<()> {
    let stream = server.follow(path)?;
    let none =
        || crate::exit::Trouble::Unreachable(format!("this gateway has no {path}: is it older than micro?"));
    for sent in stream.ok_or_else(none)? {
        let sent = sent?;
        if sent.event == "view" {
            *known = true;
            println!("{}", sent.data);
            std::io::stdout().flush()?;
        }
    }
    Ok(())
}
