//! What is asked of the fleet: which nodes, in which order, and which part of them.

use crate::ask::encoded;
use clap::ValueEnum;

/// Nodes in one document; the gateway gives no more.
pub const PAGE_MAX: usize = 200;

/// What nodes are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// Their EUI-64
    #[default]
    Node,
    /// The emptiest first, mains last
    Battery,
    /// Silent for longest first
    Heard,
    /// Those with most tasks first
    Tasks,
    /// The worst link first
    Quality,
}

/// The state of nodes that are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum State {
    #[default]
    All,
    /// Their lease holds
    Live,
    /// Their lease lapsed
    Silent,
    /// Not known to the master yet
    Registering,
    Registered,
    /// Gone away by themselves
    Away,
    Draining,
}

/// What nodes that are shown run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Power {
    #[default]
    All,
    Mains,
    Battery,
}

/// The word on the command line, which is the gateway's too.
pub fn word(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// The one after it, or before it.
pub fn turn<T: ValueEnum + PartialEq + Copy>(value: T, forward: bool) -> T {
    let all = T::value_variants();
    let at = all.iter().position(|one| *one == value).unwrap_or(0);
    all[(at + if forward { 1 } else { all.len() - 1 }) % all.len()]
}

/// A question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    pub text: String,
    pub order: Order,
    pub state: State,
    pub power: Power,
    pub role: Option<String>,
    /// The first node of the answer.
    pub offset: usize,
    /// Nodes in the answer; at most [`PAGE_MAX`].
    pub limit: usize,
}

impl Question {
    /// Its path at a gateway.
    pub fn path(&self) -> String {
        let mut path = format!("/view/fleet?sort={}&limit={}", word(self.order), self.limit);
        let mut add = |name: &str, value: &str| path += &format!("&{name}={}", encoded(value));
        if !self.text.is_empty() {
            add("q", &self.text);
        }
        if self.state != State::All {
            add("state", &word(self.state));
        }
        if self.power != Power::All {
            add("power", &word(self.power));
        }
        if let Some(role) = &self.role {
            add("role", role);
        }
        if self.offset > 0 {
            add("offset", &self.offset.to_string());
        }
        path
    }

    /// Sees to it that the answer has these rows; they are in its middle if it has to be another one.
    pub fn show(&mut self, top: usize, rows: usize) {
        let rows = rows.min(self.limit);
        if top < self.offset || top + rows > self.offset + self.limit {
            self.offset = top.saturating_sub((self.limit - rows) / 2);
        }
    }

    /// What is left out, in words; nothing if that is nothing.
    pub fn said(&self) -> String {
        let mut said = Vec::new();
        if !self.text.is_empty() {
            said.push(format!("\"{}\"", self.text));
        }
        if self.state != State::All {
            said.push(word(self.state));
        }
        if self.power != Power::All {
            said.push(format!("on {}", word(self.power)));
        }
        said.extend(self.role.iter().map(|role| format!("with tasks of {role}")));
        said.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_asked_in_the_gateways_words() {
        let mut question = Question { limit: 200, ..Default::default() };
        assert_eq!(question.path(), "/view/fleet?sort=node&limit=200");
        question.text = "a&b #1".into();
        (question.order, question.state, question.power) = (Order::Quality, State::Silent, Power::Battery);
        (question.role, question.offset) = (Some("x/y".into()), 40);
        let path = "/view/fleet?sort=quality&limit=200&q=a%26b%20%231&state=silent&power=battery&role=x%2Fy&offset=40";
        assert_eq!(question.path(), path);
        assert_eq!(question.said(), "\"a&b #1\", silent, on battery, with tasks of x/y");
    }

    #[test]
    fn words_go_round() {
        assert_eq!(turn(Order::Node, true), Order::Battery);
        assert_eq!(turn(Order::Node, false), Order::Quality);
        assert_eq!(turn(Power::Battery, true), Power::All);
    }
}
