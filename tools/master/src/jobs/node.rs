//! A node as its last offer showed it: attributes, and what was free of it.

use mesos_proto::resources::{Scalars, milli};
use mesos_proto::v1;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Bytes of a value that conditions look at.
const MAX_VALUE: usize = 1024;

/// Maintenance that begins sooner keeps new tasks away, milliseconds.
const AT_HAND_MS: u64 = 3_600_000;

/// A value of an attribute.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Number(f64),
    Text(String),
    Set(Vec<String>),
    Ranges(Vec<(u64, u64)>),
}

impl Value {
    fn of(attribute: &v1::Attribute) -> Option<Self> {
        if let Some(scalar) = &attribute.scalar {
            return Some(Self::Number(scalar.value));
        }
        if let Some(text) = &attribute.text {
            return Some(Self::Text(text.value.chars().take(MAX_VALUE).collect()));
        }
        if let Some(ranges) = &attribute.ranges {
            return Some(Self::Ranges(ranges.range.iter().map(|range| (range.begin, range.end)).collect()));
        }
        attribute.set.as_ref().map(|set| Self::Set(set.item.clone()))
    }

    /// Whether it is what a user wrote.
    pub fn is(&self, wanted: &str) -> bool {
        match self {
            Self::Number(number) => wanted.parse().is_ok_and(|wanted: f64| milli(wanted) == milli(*number)),
            Self::Text(text) => text == wanted,
            Self::Set(items) => items.iter().any(|item| item == wanted),
            Self::Ranges(ranges) => {
                wanted.parse().is_ok_and(|wanted: u64| ranges.iter().any(|(a, b)| (a..=b).contains(&&wanted)))
            }
        }
    }

    /// For patterns and for counting.
    pub fn text(&self) -> String {
        let mut text = String::new();
        match self {
            Self::Number(number) => text = number.to_string(),
            Self::Text(held) => text.clone_from(held),
            Self::Set(items) => text = items.join(","),
            Self::Ranges(ranges) => {
                for (begin, end) in ranges {
                    let gap = if text.is_empty() { "" } else { "," };
                    // A String takes whatever is written.
                    let _ = write!(text, "{gap}{begin}-{end}");
                }
            }
        }
        text
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            Self::Set(_) | Self::Ranges(_) => None,
        }
    }
}

/// A node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub agent: String,
    pub hostname: String,
    attributes: BTreeMap<String, Vec<Value>>,
    /// What is free of it for the role that the offer was for.
    pub free: Scalars,
    /// When it was last offered.
    pub seen_ms: u64,
    /// When it is planned to be away: from, to.
    away_ms: Option<(u64, u64)>,
}

impl Node {
    pub fn of(offer: &v1::Offer, now_ms: u64) -> Self {
        let mut attributes: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let hostname = Value::Text(offer.hostname.clone());
        attributes.insert("hostname".into(), vec![hostname]);
        for attribute in &offer.attributes {
            if let Some(value) = Value::of(attribute) {
                attributes.entry(attribute.name.clone()).or_default().push(value);
            }
        }
        attributes.insert("node".into(), vec![Value::Text(offer.agent_id.value.clone())]);
        Self {
            agent: offer.agent_id.value.clone(),
            hostname: offer.hostname.clone(),
            attributes,
            free: free(&offer.resources),
            seen_ms: now_ms,
            away_ms: offer.unavailability.as_ref().map(away),
        }
    }

    /// Whether it is there for a while yet: nothing new goes where maintenance is at hand.
    pub fn stays(&self, now_ms: u64) -> bool {
        self.away_ms.is_none_or(|(from, to)| now_ms + AT_HAND_MS < from || to <= now_ms)
    }

    /// The values of an attribute.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &Value> {
        self.attributes.get(name).into_iter().flatten()
    }

    /// Whether there is something of that name.
    pub fn has(&self, name: &str) -> bool {
        self.attributes.contains_key(name)
            || self.free.milli(name) > 0
            || self.values("on").any(|value| value.is(name))
    }

    /// The number of an attribute, or what is free of a resource.
    pub fn number(&self, name: &str) -> Option<f64> {
        let said = self.values(name).find_map(Value::number);
        said.or_else(|| (self.free.milli(name) > 0).then(|| self.free.get(name)))
    }

    /// What instances are counted by.
    pub fn group(&self, name: &str) -> Option<String> {
        self.values(name).next().map(Value::text)
    }
}

/// Milliseconds since the epoch from which, and until which.
fn away(planned: &v1::Unavailability) -> (u64, u64) {
    let from = u64::try_from(planned.start.nanoseconds / 1_000_000).unwrap_or(0);
    let length =
        planned.duration.map(|duration| u64::try_from(duration.nanoseconds / 1_000_000).unwrap_or(0));
    (from, length.map_or(u64::MAX, |length| from.saturating_add(length)))
}

/// Amounts that a task can be given: not what may be taken back, is shared, or holds data.
fn plain(resource: &v1::Resource) -> bool {
    resource.revocable.is_none() && resource.shared.is_none() && resource.disk.is_none()
}

fn free(resources: &[v1::Resource]) -> Scalars {
    let amounts = resources
        .iter()
        .filter(|resource| plain(resource))
        .filter_map(|resource| resource.scalar.as_ref().map(|scalar| (resource.name.as_str(), scalar.value)));
    Scalars::from_amounts(amounts)
}

/// Takes amounts out of an offer's resources, what is reserved first; `None`, with nothing taken, if they are not there.
pub(super) fn take(from: &mut Vec<v1::Resource>, wanted: &Scalars) -> Option<Vec<v1::Resource>> {
    if !free(from).contains(wanted) {
        return None;
    }
    let mut taken = Vec::new();
    let reserved = |resource: &v1::Resource| {
        !resource.reservations.is_empty() || resource.role.as_deref().is_some_and(|role| role != "*")
    };
    for (name, mut missing) in wanted.iter() {
        for pass in [true, false] {
            let held =
                from.iter_mut().filter(|held| held.name == name && plain(held) && reserved(held) == pass);
            for resource in held {
                let Some(scalar) = &mut resource.scalar else { continue };
                let part = milli(scalar.value).min(missing);
                if part > 0 {
                    missing -= part;
                    scalar.value = (milli(scalar.value) - part) as f64 / 1000.0;
                    let scalar = Some(v1::value::Scalar { value: part as f64 / 1000.0 });
                    taken.push(v1::Resource { scalar, ..resource.clone() });
                }
            }
        }
    }
    from.retain(|resource| resource.scalar.as_ref().is_none_or(|scalar| milli(scalar.value) > 0));
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesos_proto::{mesos, recast, resources::scalar};

    #[test]
    fn what_is_reserved_is_taken_first_and_nothing_if_it_does_not_suffice() {
        let mine = mesos::Resource { role: Some("ops".into()), ..scalar("mem", 0.1) };
        let resources = [scalar("mem", 0.3), mine, scalar("cpus", 1.0)];
        let mut offer: Vec<v1::Resource> = resources.iter().map(|held| recast(held).unwrap()).collect();
        let before = offer.clone();
        assert!(take(&mut offer, &Scalars::from_amounts([("mem", 0.5)])).is_none());
        assert_eq!(offer, before);
        let taken = take(&mut offer, &Scalars::from_amounts([("mem", 0.15)])).unwrap();
        let amounts: Vec<_> =
            taken.iter().map(|held| (held.role().to_owned(), held.scalar.unwrap().value)).collect();
        assert_eq!(amounts, [("ops".to_owned(), 0.1), ("*".to_owned(), 0.05)]);
        assert_eq!((free(&offer).get("mem"), offer.len()), (0.25, 2));
    }
}
