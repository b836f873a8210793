//! What is on the screen, and what becomes of it: keys and documents in, wanted documents out. Nothing here asks,
//! waits, draws or knows the time by itself.

use super::data::{Event, Events, Fleet, NodeView, Task, Tenant};
use super::layout;
use super::question::{Question, turn};
use super::text::Signs;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::Value;
use std::collections::VecDeque;
use std::ops::ControlFlow;

/// Events kept of a node.
const EVENTS_MAX: usize = 200;
/// Longest text to look for, characters.
const FILTER_MAX: usize = 64;

/// What is asked of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Fleet,
    Node,
    Events,
}

/// What came of it.
#[derive(Debug)]
pub enum What {
    /// The document.
    Whole(Value),
    /// One more event.
    Event(Value),
    /// There is no such thing (any more).
    Gone,
    /// Nobody answers; it is asked again.
    Lost(String),
}

/// Something to react to.
#[derive(Debug)]
pub enum Input {
    Key(KeyEvent),
    Resize(u16, u16),
    /// The Unix time.
    Tick(u64),
    /// Something of the gateway, for this path.
    News(Subject, String, What),
}

/// A place in a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub selected: usize,
    /// The first that is shown.
    pub top: usize,
}

impl Place {
    /// Moves the selection; what is selected is shown.
    fn go(&mut self, to: usize, count: usize, rows: usize) {
        self.selected = to.min(count.saturating_sub(1));
        self.top = self.top.min(self.selected).max((self.selected + 1).saturating_sub(rows.max(1)));
        self.top = self.top.min(count.saturating_sub(rows));
    }
}

/// A document and the state of its stream.
#[derive(Debug, Default)]
pub struct Seen<T> {
    pub document: Option<T>,
    /// When it came, and what the time was at the gateway then.
    came: (u64, u64),
    /// Since when nobody answers, and why.
    pub lost: Option<(u64, String)>,
}

impl<T> Seen<T> {
    fn came(&mut self, document: T, at: u64, now_ms: u64) {
        *self = Self { document: Some(document), came: (now_ms, at), lost: None };
    }

    /// The age of what is shown, milliseconds: of a live stream, nothing is old.
    pub fn lost_for(&self, now_ms: u64) -> Option<(u64, &str)> {
        self.lost.as_ref().map(|(since, why)| (now_ms.saturating_sub(*since), why.as_str()))
    }
}

/// A node that is looked at.
#[derive(Debug)]
pub struct NodePage {
    pub node: String,
    pub seen: Seen<NodeView>,
    /// The newest first.
    pub events: VecDeque<Event>,
    pub place: Place,
    pub gone: bool,
}

/// What fills the screen.
#[derive(Debug)]
pub enum Screen {
    Nodes,
    Tenants(Place),
    Node(Box<NodePage>),
}

/// How it is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub signs: Signs,
    pub color: bool,
    /// Nobody presses keys: one frame, and that is it.
    pub once: bool,
}

/// Everything.
#[derive(Debug)]
pub struct Model {
    pub gateway: String,
    pub look: Look,
    pub size: (u16, u16),
    pub now_ms: u64,
    pub question: Question,
    pub fleet: Seen<Fleet>,
    pub nodes: Place,
    pub screen: Screen,
    pub help: bool,
    /// What is being typed to look for.
    pub typed: Option<String>,
}

impl Model {
    pub fn new(gateway: String, look: Look, question: Question, size: (u16, u16), now_ms: u64) -> Self {
        Self {
            gateway,
            look,
            size,
            now_ms,
            question,
            fleet: Seen::default(),
            nodes: Place::default(),
            screen: Screen::Nodes,
            help: false,
            typed: None,
        }
    }

    /// The paths that are to be followed now.
    pub fn wants(&self) -> [(Subject, Option<String>); 3] {
        let (node, events) = match &self.screen {
            Screen::Node(page) => (
                Some(format!("/view/node/{}", page.node)),
                Some(format!("/view/events?node={}&limit={EVENTS_MAX}", page.node)),
            ),
            _ => (None, None),
        };
        [(Subject::Fleet, Some(self.question.path())), (Subject::Node, node), (Subject::Events, events)]
    }

    /// The time by the gateway's clock: as far from ours as when the last document came.
    pub fn gateway_ms(&self) -> u64 {
        let (here, there) = self.fleet.came;
        there + self.now_ms.saturating_sub(here)
    }

    pub fn tenants(&self) -> &[Tenant] {
        self.fleet.document.as_ref().map_or(&[], |fleet| &fleet.tenants)
    }

    pub fn matching(&self) -> usize {
        self.fleet.document.as_ref().map_or(0, |fleet| fleet.matching)
    }

    /// Takes something in; breaks when it is time to go.
    pub fn update(&mut self, input: Input) -> ControlFlow<()> {
        match input {
            Input::Key(key) => return self.key(key),
            Input::Resize(width, height) => self.size = (width, height),
            Input::Tick(now_ms) => self.now_ms = now_ms,
            Input::News(subject, path, what) => self.news(subject, &path, what),
        }
        self.settle();
        ControlFlow::Continue(())
    }

    /// Rows of the list that is on the screen.
    fn rows(&self) -> usize {
        layout::rows(self)
    }

    /// After a change: what is selected is shown, and what is shown is asked for.
    fn settle(&mut self) {
        let (rows, count) = (self.rows(), self.matching());
        let tenants = self.tenants().len();
        match &mut self.screen {
            Screen::Nodes => {
                if self.fleet.document.is_some() {
                    self.nodes.go(self.nodes.selected, count, rows);
                }
                self.question.show(self.nodes.top, rows);
            }
            Screen::Tenants(place) => place.go(place.selected, tenants, rows),
            Screen::Node(page) => {
                let tasks = page.tasks().count();
                page.place.go(page.place.selected, tasks, rows);
            }
        }
    }

    fn news(&mut self, subject: Subject, path: &str, what: What) {
        let wanted = self
            .wants()
            .into_iter()
            .any(|(about, wanted)| about == subject && wanted.as_deref() == Some(path));
        if !wanted {
            return; // it was asked for before something else was
        }
        let now = self.now_ms;
        match (subject, &mut self.screen) {
            (Subject::Fleet, _) => take(&mut self.fleet, what, now, |fleet| fleet.at),
            (Subject::Node, Screen::Node(page)) => match what {
                What::Gone => page.gone = true,
                what => {
                    page.gone = false;
                    take(&mut page.seen, what, now, |view| view.at);
                }
            },
            (Subject::Events, Screen::Node(page)) => page.hear(what),
            _ => {}
        }
    }

    fn key(&mut self, key: KeyEvent) -> ControlFlow<()> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && matches!(key.code, KeyCode::Char('c' | 'd')) {
            return ControlFlow::Break(());
        }
        if self.help {
            self.help = false;
            return match key.code {
                KeyCode::Char('q') => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            };
        }
        if self.typed.is_some() {
            self.typing(key.code);
        } else if key.code == KeyCode::Char('q') {
            return ControlFlow::Break(());
        } else {
            self.command(key.code);
        }
        self.settle();
        ControlFlow::Continue(())
    }

    /// While a text to look for is typed; it is looked for at once.
    fn typing(&mut self, code: KeyCode) {
        let Some(typed) = &mut self.typed else { return };
        match code {
            KeyCode::Char(c) if typed.chars().count() < FILTER_MAX && !c.is_control() => typed.push(c),
            KeyCode::Backspace => drop(typed.pop()),
            KeyCode::Enter => self.typed = None,
            KeyCode::Esc => {
                self.typed = None;
                self.ask(|question| question.text.clear());
                return;
            }
            _ => {}
        }
        if let Some(text) = self.typed.clone() {
            self.ask(|question| question.text = text);
        }
    }

    /// Asks something else; the list begins again.
    fn ask(&mut self, change: impl FnOnce(&mut Question)) {
        let before = self.question.clone();
        change(&mut self.question);
        if self.question != before {
            self.question.offset = 0;
            self.nodes = Place::default();
        }
    }

    fn command(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.help = true,
            KeyCode::Char('t') => {
                self.screen = match &self.screen {
                    Screen::Tenants(_) => Screen::Nodes,
                    _ => Screen::Tenants(Place::default()),
                };
            }
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left if !matches!(self.screen, Screen::Nodes) => {
                self.screen = Screen::Nodes;
            }
            KeyCode::Esc => self.ask(|question| question.text.clear()),
            KeyCode::Char('/') => {
                self.screen = Screen::Nodes;
                self.typed = Some(self.question.text.clone());
            }
            KeyCode::Char('s') => self.ask(|question| question.order = turn(question.order, true)),
            KeyCode::Char('S') => self.ask(|question| question.order = turn(question.order, false)),
            KeyCode::Char('f') => self.ask(|question| question.state = turn(question.state, true)),
            KeyCode::Char('p') => self.ask(|question| question.power = turn(question.power, true)),
            KeyCode::Enter | KeyCode::Right => self.open(),
            code => self.walk(code),
        }
    }

    /// Moves in the list that is on the screen.
    fn walk(&mut self, code: KeyCode) {
        let rows = self.rows().max(1);
        let (nodes, tenants) = (self.matching(), self.tenants().len());
        let (place, count) = match &mut self.screen {
            Screen::Nodes => (&mut self.nodes, nodes),
            Screen::Tenants(place) => (place, tenants),
            Screen::Node(page) => {
                let tasks = page.tasks().count();
                (&mut page.place, tasks)
            }
        };
        let at = place.selected;
        let to = match code {
            KeyCode::Up | KeyCode::Char('k') => at.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => at + 1,
            KeyCode::PageUp | KeyCode::Char('b') => at.saturating_sub(rows),
            KeyCode::PageDown | KeyCode::Char(' ') => at + rows,
            KeyCode::Home | KeyCode::Char('g') => 0,
            KeyCode::End | KeyCode::Char('G') => usize::MAX,
            _ => return,
        };
        place.go(to, count, rows);
    }

    fn open(&mut self) {
        let Screen::Nodes = self.screen else { return };
        let Some(fleet) = &self.fleet.document else { return };
        let found = self.nodes.selected.checked_sub(fleet.offset).and_then(|at| fleet.nodes.get(at));
        // A node is named by 16 hexadecimal digits; nothing else becomes part of a path.
        if let Some(node) = found.filter(|node| node.node.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            self.screen = Screen::Node(Box::new(NodePage {
                node: node.node.clone(),
                seen: Seen::default(),
                events: VecDeque::new(),
                place: Place::default(),
                gone: false,
            }));
        }
    }
}

impl NodePage {
    /// Tasks that are under way, then those that are over.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        let view = self.seen.document.iter();
        view.flat_map(|view| view.tasks.iter().chain(&view.completed))
    }

    fn hear(&mut self, what: What) {
        match what {
            What::Whole(value) => {
                if let Ok(said) = serde_json::from_value::<Events>(value) {
                    self.events = said.events.into_iter().rev().take(EVENTS_MAX).collect();
                }
            }
            What::Event(value) => {
                if let Ok(event) = serde_json::from_value(value) {
                    self.events.truncate(EVENTS_MAX - 1);
                    self.events.push_front(event);
                }
            }
            What::Gone | What::Lost(_) => {} // the node's own stream tells of it
        }
    }
}

/// Keeps what came of a document.
fn take<T: serde::de::DeserializeOwned>(seen: &mut Seen<T>, what: What, now_ms: u64, at: fn(&T) -> u64) {
    let lost = match what {
        What::Whole(value) => match serde_json::from_value(value) {
            Ok(document) => {
                let at = at(&document);
                return seen.came(document, at, now_ms);
            }
            Err(error) => format!("the gateway says what this version does not read: {error}"),
        },
        What::Lost(why) => why,
        What::Gone => "this gateway has no /view/fleet: is it older than this command?".into(),
        What::Event(_) => return,
    };
    let since = seen.lost.take().map_or(now_ms, |(since, _)| since);
    seen.lost = Some((since, lost));
}
