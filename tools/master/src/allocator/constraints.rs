//! Which agents a framework wants offers of, by role (src/master/allocator/mesos/offer_constraints_filter.cpp). An
//! agent is excluded if for a role that has constraints none of the groups holds as a whole.

use crate::limits::{MAX_CONSTRAINTS, MAX_REGEX_BYTES};
use mesos_proto::mesos::{Attribute, SlaveInfo, value};
use mesos_proto::v1::scheduler::attribute_constraint::predicate::Predicate as Wanted;
use mesos_proto::v1::scheduler::attribute_constraint::selector::{PseudoattributeType, Selector as Selected};
use mesos_proto::v1::scheduler::{AttributeConstraint, OfferConstraints};
use regex_lite::{Regex, RegexBuilder};
use std::collections::BTreeMap;

/// What constraints look at.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    hostname: String,
    region: Option<String>,
    zone: Option<String>,
    attributes: Vec<Attribute>,
}

impl Facts {
    /// What an agent says of itself.
    pub fn of(info: &SlaveInfo) -> Self {
        let domain = info.domain.as_ref().and_then(|domain| domain.fault_domain.as_ref());
        Self {
            hostname: info.hostname.clone(),
            region: domain.map(|domain| domain.region.name.clone()),
            zone: domain.map(|domain| domain.zone.name.clone()),
            attributes: info.attributes.clone(),
        }
    }
}

#[derive(Clone, Debug)]
enum Subject {
    Hostname,
    Region,
    Zone,
    /// The first attribute of this name.
    Attribute(String),
}

#[derive(Clone, Debug)]
enum Test {
    Exists,
    Equals(String),
    Matches(Regex),
}

#[derive(Clone, Debug)]
struct Constraint {
    subject: Subject,
    test: Test,
    /// It holds if the test fails.
    not: bool,
}

/// What one role of a framework asks for: any of these groups, each as a whole.
#[derive(Clone, Debug)]
pub struct Groups(Vec<Vec<Constraint>>);

/// Reads a framework's constraints. The error says which role's are wrong and why.
pub fn read(constraints: &OfferConstraints) -> Result<BTreeMap<String, Groups>, String> {
    let all = constraints.role_constraints.values().flat_map(|role| &role.groups);
    if all.map(|group| group.attribute_constraints.len()).sum::<usize>() > MAX_CONSTRAINTS {
        return Err(format!("Offer constraints are not valid: more than {MAX_CONSTRAINTS}"));
    }
    let mut roles = BTreeMap::new();
    for (role, wanted) in &constraints.role_constraints {
        let wrong = |why: String| format!("Offer constraints are not valid: role {role}: {why}");
        if wanted.groups.is_empty() {
            return Err(wrong("an empty 'RoleConstraints::groups'".into()));
        }
        let mut groups = Vec::new();
        for group in &wanted.groups {
            if group.attribute_constraints.is_empty() {
                return Err(wrong("an empty 'RoleConstraints::Group'".into()));
            }
            let group: Result<_, _> = group.attribute_constraints.iter().map(Constraint::read).collect();
            groups.push(group.map_err(|why| wrong(format!("an invalid 'AttributeConstraint': {why}")))?);
        }
        roles.insert(role.clone(), Groups(groups));
    }
    Ok(roles)
}

impl Groups {
    /// True if an agent is wanted.
    pub fn allow(&self, agent: &Facts) -> bool {
        self.0.iter().any(|group| group.iter().all(|constraint| constraint.holds(agent)))
    }
}

impl Constraint {
    fn read(constraint: &AttributeConstraint) -> Result<Self, String> {
        let subject = match &constraint.selector.selector {
            Some(Selected::AttributeName(name)) => Subject::Attribute(name.clone()),
            Some(Selected::PseudoattributeType(kind)) => match PseudoattributeType::try_from(*kind) {
                Ok(PseudoattributeType::Hostname) => Subject::Hostname,
                Ok(PseudoattributeType::Region) => Subject::Region,
                Ok(PseudoattributeType::Zone) => Subject::Zone,
                Ok(PseudoattributeType::Unknown) | Err(_) => {
                    return Err("Unknown pseudoattribute type".into());
                }
            },
            None => return Err("a selector needs an attribute's name or a pseudoattribute's type".into()),
        };
        let (test, not) = match &constraint.predicate.predicate {
            Some(Wanted::Exists(_)) => (Test::Exists, false),
            Some(Wanted::NotExists(_)) => (Test::Exists, true),
            Some(Wanted::TextEquals(text)) => (Test::Equals(text.value.clone()), false),
            Some(Wanted::TextNotEquals(text)) => (Test::Equals(text.value.clone()), true),
            Some(Wanted::TextMatches(text)) => (Test::Matches(regex(&text.regex)?), false),
            Some(Wanted::TextNotMatches(text)) => (Test::Matches(regex(&text.regex)?), true),
            None => return Err("Unknown predicate type".into()),
        };
        Ok(Self { subject, test, not })
    }

    fn holds(&self, agent: &Facts) -> bool {
        let text = match &self.subject {
            Subject::Hostname => Some(agent.hostname.as_str()),
            Subject::Region => agent.region.as_deref(),
            Subject::Zone => agent.zone.as_deref(),
            Subject::Attribute(name) => {
                match agent.attributes.iter().find(|attribute| attribute.name == *name) {
                    // What is said of texts holds for what is none.
                    Some(other) if other.r#type() != value::Type::Text => {
                        return !matches!(self.test, Test::Exists) || !self.not;
                    }
                    Some(attribute) => Some(attribute.text.as_ref().map_or("", |text| &text.value)),
                    None => None,
                }
            }
        };
        let passes = match (&self.test, text) {
            (_, None) => false,
            (Test::Exists, Some(_)) => true,
            (Test::Equals(wanted), Some(text)) => text == wanted,
            (Test::Matches(wanted), Some(text)) => wanted.is_match(text),
        };
        passes != self.not
    }
}

/// An expression that has to fit a whole text.
fn regex(pattern: &str) -> Result<Regex, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("regex '{pattern}': {why}");
    if pattern.len() > MAX_REGEX_BYTES {
        return Err(wrong(&format!("longer than {MAX_REGEX_BYTES} bytes")));
    }
    let build = |pattern: &str| RegexBuilder::new(pattern).size_limit(1 << 16).build();
    // By itself first: it must not close what is put around it.
    build(pattern).map_err(|why| wrong(&why))?;
    build(&format!("\\A(?:{pattern})\\z")).map_err(|why| wrong(&why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesos_proto::resources::text_attribute;

    fn groups(json: &str) -> Result<Groups, String> {
        let text = format!(r#"{{"role_constraints": {{"ops": {{"groups": {json}}}}}}}"#);
        let constraints = mesos_proto::json::from_json(text.as_bytes()).unwrap();
        read(&constraints).map(|mut roles| roles.remove("ops").unwrap())
    }

    fn agent() -> Facts {
        let number = Attribute {
            name: "floor".into(),
            r#type: value::Type::Scalar as i32,
            scalar: Some(value::Scalar { value: 2.0 }),
            ..Default::default()
        };
        let attributes = vec![text_attribute("board", "nrf52840dk"), number];
        Facts::of(&SlaveInfo { hostname: "node-7.test".into(), attributes, ..Default::default() })
    }

    #[test]
    fn every_predicate_is_as_mesos_has_it() {
        let holds = |selector: &str, predicate: &str| {
            let json = format!(
                r#"[{{"attribute_constraints": [{{"selector": {selector}, "predicate": {predicate}}}]}}]"#
            );
            groups(&json).unwrap().allow(&agent())
        };
        let (board, floor) = (r#"{"attribute_name": "board"}"#, r#"{"attribute_name": "floor"}"#);
        let (none, host) = (r#"{"attribute_name": "x"}"#, r#"{"pseudoattribute_type": "HOSTNAME"}"#);
        let zone = r#"{"pseudoattribute_type": "ZONE"}"#;
        for (predicate, expected) in [
            (r#"{"exists": {}}"#, [true, true, false, true, false]),
            (r#"{"not_exists": {}}"#, [false, false, true, false, true]),
            (r#"{"text_equals": {"value": "nrf52840dk"}}"#, [true, true, false, false, false]),
            (r#"{"text_not_equals": {"value": "nrf52840dk"}}"#, [false, true, true, true, true]),
            (r#"{"text_matches": {"regex": "n.*[0-9]+.*"}}"#, [true, true, false, true, false]),
            (r#"{"text_matches": {"regex": "nrf"}}"#, [false, true, false, false, false]),
            (r#"{"text_not_matches": {"regex": "nrf|node.*"}}"#, [true, true, true, false, true]),
        ] {
            let held = [board, floor, none, host, zone].map(|selector| holds(selector, predicate));
            assert_eq!(held, expected, "{predicate}");
        }
    }

    #[test]
    fn groups_are_alternatives_of_conjunctions() {
        let is = |name: &str| {
            format!(r#"{{"selector": {{"attribute_name": "{name}"}}, "predicate": {{"exists": {{}}}}}}"#)
        };
        let group = |names: &[&str]| {
            let all: Vec<_> = names.iter().map(|name| is(name)).collect();
            format!(r#"{{"attribute_constraints": [{}]}}"#, all.join(","))
        };
        for (alternatives, expected) in [
            (vec![group(&["board", "floor"])], true),
            (vec![group(&["board", "x"])], false),
            (vec![group(&["x"]), group(&["floor"])], true),
        ] {
            let json = format!("[{}]", alternatives.join(","));
            assert_eq!(groups(&json).unwrap().allow(&agent()), expected, "{json}");
        }
    }

    #[test]
    fn what_cannot_be_evaluated_is_refused() {
        let one = |selector: &str, predicate: &str| {
            format!(
                r#"[{{"attribute_constraints": [{{"selector": {selector}, "predicate": {predicate}}}]}}]"#
            )
        };
        let name = r#"{"attribute_name": "a"}"#;
        for json in [
            "[]".to_owned(),
            r#"[{"attribute_constraints": []}]"#.to_owned(),
            one("{}", r#"{"exists": {}}"#),
            one(r#"{"pseudoattribute_type": "UNKNOWN"}"#, r#"{"exists": {}}"#),
            one(name, "{}"),
            one(name, r#"{"text_matches": {"regex": "("}}"#),
            one(name, r#"{"text_matches": {"regex": "a)|(?:b"}}"#),
            one(name, r#"{"text_matches": {"regex": "((a{100}){100}){100}"}}"#),
        ] {
            assert!(groups(&json).unwrap_err().contains("not valid"), "{json}");
        }
    }
}
