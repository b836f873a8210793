//! Where an instance may run: one condition on a node's attributes and resources, or on where its siblings run.
//! Conditions come from users: each is bounded in size, and none can be expensive to look at.

use super::node::Node;
use crate::limits::{MAX_CONSTRAINT, MAX_INSTANCES};
use regex_lite::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Bytes that a compiled pattern may take.
const MAX_PATTERN: usize = 64 << 10;

/// A condition, in the text it was given as.
///
/// | text | holds if |
/// |---|---|
/// | `on=NAME` | the node has an attribute or a resource of that name, or says `on:NAME` itself |
/// | `NAME=VALUE`, `NAME!=VALUE` | an attribute has the value; none has it |
/// | `NAME~REGEX`, `like=NAME:REGEX` | an attribute matches as a whole |
/// | `NAME!~REGEX`, `unlike=NAME:REGEX` | none matches |
/// | `NAME<N`, `<=`, `>`, `>=` | the attribute's number, or the resource's amount that is free, compares so |
/// | `unique=NAME` | no other instance of the job runs where that is the same |
/// | `max-per=NAME:N` | at most N of the job's instances run where that is the same |
/// | `group-by=NAME[:N]` | no value has two instances more than another; N says how many values there are |
///
/// Besides attributes, `node` is the agent and `hostname` its name. Without a number, `group-by` goes by the nodes that
/// have lately had room.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Constraint {
    text: String,
    /// What it says.
    pub(super) rule: Rule,
}

impl PartialEq for Constraint {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// A condition, taken apart.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    On(String),
    Is(String, String),
    IsNot(String, String),
    Like(String, Regex),
    Unlike(String, Regex),
    Compare(String, Order, f64),
    Unique(String),
    MaxPer(String, u32),
    GroupBy(String, Option<u32>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    AtMost,
    More,
    AtLeast,
}

impl Constraint {
    /// Whether the node itself will do; a condition on siblings asks only that it can be counted there.
    pub(super) fn allows(&self, node: &Node) -> bool {
        match &self.rule {
            Rule::On(name) => node.has(name),
            Rule::Is(name, value) => node.values(name).any(|held| held.is(value)),
            Rule::IsNot(name, value) => !node.values(name).any(|held| held.is(value)),
            Rule::Like(name, pattern) => node.values(name).any(|held| pattern.is_match(&held.text())),
            Rule::Unlike(name, pattern) => !node.values(name).any(|held| pattern.is_match(&held.text())),
            Rule::Compare(name, order, with) => {
                node.number(name).is_some_and(|number| order.holds(number, *with))
            }
            Rule::Unique(name) | Rule::MaxPer(name, _) | Rule::GroupBy(name, _) => node.group(name).is_some(),
        }
    }

    /// The attribute by whose values siblings are counted, if that is what it is about.
    pub(super) fn counted_by(&self) -> Option<&str> {
        match &self.rule {
            Rule::Unique(name) | Rule::MaxPer(name, _) | Rule::GroupBy(name, _) => Some(name),
            _ => None,
        }
    }
}

impl Order {
    fn holds(self, a: f64, b: f64) -> bool {
        match self {
            Self::Less => a < b,
            Self::AtMost => a <= b,
            Self::More => a > b,
            Self::AtLeast => a >= b,
        }
    }
}

impl FromStr for Constraint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.len() > MAX_CONSTRAINT {
            return Err(format!("longer than {MAX_CONSTRAINT} bytes"));
        }
        Ok(Self { rule: rule(text).map_err(|why| format!("'{text}': {why}"))?, text: text.to_owned() })
    }
}

fn rule(text: &str) -> Result<Rule, String> {
    let at = text.find(['=', '!', '<', '>', '~']).ok_or(
        "expected NAME=VALUE, NAME!=VALUE, NAME~REGEX, NAME<N, on=NAME, unique=NAME, max-per=NAME:N or group-by=NAME",
    )?;
    let (name, rest) = (text[..at].trim().to_owned(), &text[at..]);
    let plain = |name: &str| {
        let good = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control());
        if good {
            Ok(name.to_owned())
        } else {
            Err("expected the name of an attribute or a resource".to_owned())
        }
    };
    plain(&name)?;
    let operators = ["!=", "!~", "<=", ">=", "<", ">", "~", "="];
    let operator = operators.into_iter().find(|operator| rest.starts_with(operator));
    let operator = operator.ok_or("expected != or !~ after the name")?;
    let value = rest[operator.len()..].trim();
    if value.is_empty() {
        return Err(format!("expected something after {operator}"));
    }
    let number = || {
        value.parse::<f64>().ok().filter(|n| n.is_finite()).ok_or_else(|| format!("'{value}' is no number"))
    };
    Ok(match (operator, name.as_str()) {
        ("=", "on") => Rule::On(plain(value)?),
        ("=", "unique") => Rule::Unique(plain(value)?),
        ("=", "max-per") => {
            let (name, most) = value.rsplit_once(':').ok_or("expected max-per=NAME:N")?;
            Rule::MaxPer(plain(name)?, count(most)?)
        }
        ("=", "group-by") => match value.rsplit_once(':') {
            Some((name, groups)) => Rule::GroupBy(plain(name)?, Some(count(groups)?)),
            None => Rule::GroupBy(plain(value)?, None),
        },
        ("=", "like" | "unlike") => {
            let (attribute, pattern) =
                value.split_once(':').ok_or_else(|| format!("expected {name}=NAME:REGEX"))?;
            let (attribute, pattern) = (plain(attribute)?, regex(pattern)?);
            if name == "like" { Rule::Like(attribute, pattern) } else { Rule::Unlike(attribute, pattern) }
        }
        ("=", _) => Rule::Is(name, value.to_owned()),
        ("!=", _) => Rule::IsNot(name, value.to_owned()),
        ("~", _) => Rule::Like(name, regex(value)?),
        ("!~", _) => Rule::Unlike(name, regex(value)?),
        ("<", _) => Rule::Compare(name, Order::Less, number()?),
        ("<=", _) => Rule::Compare(name, Order::AtMost, number()?),
        (">", _) => Rule::Compare(name, Order::More, number()?),
        _ => Rule::Compare(name, Order::AtLeast, number()?),
    })
}

fn count(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|n| (1..=MAX_INSTANCES).contains(n));
    number.ok_or_else(|| format!("'{text}': expected a number from 1 to {MAX_INSTANCES}"))
}

/// A pattern for the whole of a value.
fn regex(pattern: &str) -> Result<Regex, String> {
    let whole = RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(MAX_PATTERN).build();
    whole.map_err(|error| format!("'{pattern}' is no regular expression: {error}"))
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Constraint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Constraint> for String {
    fn from(constraint: Constraint) -> Self {
        constraint.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesos_proto::resources::{scalar, text_attribute};
    use mesos_proto::{mesos, recast, v1};

    fn node() -> Node {
        let floor = mesos::Attribute {
            name: "floor".into(),
            r#type: mesos::value::Type::Scalar as i32,
            scalar: Some(mesos::value::Scalar { value: 2.0 }),
            ..Default::default()
        };
        let attributes = [text_attribute("board", "field"), text_attribute("on", "temp-sensor"), floor];
        let offer = v1::Offer {
            agent_id: v1::AgentId { value: "S1".into() },
            hostname: "pump-house".into(),
            attributes: attributes.iter().map(|attribute| recast(attribute).unwrap()).collect(),
            resources: vec![recast(&scalar("cpus", 0.5)).unwrap(), recast(&scalar("leds", 2.0)).unwrap()],
            ..Default::default()
        };
        Node::of(&offer, 0)
    }

    #[test]
    fn each_kind_holds_and_fails() {
        for (text, holds) in [
            ("on=temp-sensor", true),
            ("on=leds", true),
            ("on=board", true),
            ("on=camera", false),
            ("board=field", true),
            ("board=fiel", false),
            ("board!=field", false),
            ("board != lab", true),
            ("colour!=red", true),
            ("colour=red", false),
            ("board~f.*d", true),
            ("board~iel", false),
            ("board!~f.*", false),
            ("like=board:fi(el|re)d", true),
            ("unlike=board:field", false),
            ("floor=2", true),
            ("floor>=2", true),
            ("floor>2", false),
            ("floor < 2.5", true),
            ("floor<=1", false),
            ("cpus>=0.5", true),
            ("cpus>0.5", false),
            ("nothing<5", false),
            ("hostname=pump-house", true),
            ("node=S1", true),
            ("unique=node", true),
            ("unique=rack", false),
            ("group-by=floor:3", true),
            ("max-per=board:2", true),
        ] {
            let constraint: Constraint = text.parse().unwrap();
            assert_eq!(constraint.allows(&node()), holds, "{text}");
            assert_eq!(constraint.to_string(), text);
        }
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (text, word) in [
            ("", "expected NAME=VALUE"),
            ("board", "expected NAME=VALUE"),
            ("=x", "name of an attribute"),
            ("board=", "after ="),
            ("board!x", "!="),
            ("floor<high", "no number"),
            ("floor<inf", "no number"),
            ("board~(", "regular expression"),
            ("board~a{9}{99}{99}{99}", "regular expression"),
            ("max-per=board", "max-per=NAME:N"),
            ("max-per=board:0", "from 1"),
            ("group-by=board:x", "from 1"),
            ("like=board", "like=NAME:REGEX"),
        ] {
            let error = text.parse::<Constraint>().unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        assert!("x=".to_owned().repeat(200).parse::<Constraint>().unwrap_err().contains("longer"));
    }
}
