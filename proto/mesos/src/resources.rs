//! Arithmetic of resources as Mesos does it: scalars in thousandths, whatever a double says behind them
//! (src/common/values.cpp).

use crate::mesos::{Resource, Value, value};
use std::collections::BTreeMap;
use std::fmt;

/// Scalars by name, in thousandths. What is zero is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scalars(BTreeMap<String, i64>);

impl Scalars {
    /// The scalars of a list of resources, same names added up.
    pub fn of(resources: &[Resource]) -> Self {
        let mut scalars = Self::default();
        for resource in resources {
            if let Some(scalar) = &resource.scalar {
                scalars.add_milli(&resource.name, milli(scalar.value));
            }
        }
        scalars
    }

    /// From names and amounts.
    pub fn from_amounts<'a>(amounts: impl IntoIterator<Item = (&'a str, f64)>) -> Self {
        let mut scalars = Self::default();
        for (name, amount) in amounts {
            scalars.add_milli(name, milli(amount));
        }
        scalars
    }

    /// An amount in thousandths.
    pub fn milli(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// An amount.
    pub fn get(&self, name: &str) -> f64 {
        self.milli(name) as f64 / 1000.0
    }

    /// All names with their thousandths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().map(|(name, milli)| (name.as_str(), *milli))
    }

    /// True if nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if every amount of `other` is there.
    pub fn contains(&self, other: &Self) -> bool {
        other.0.iter().all(|(name, milli)| self.milli(name) >= *milli)
    }

    /// Adds.
    pub fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(name, milli)| self.add_milli(name, *milli));
    }

    /// Takes away; never below zero.
    pub fn subtract(&mut self, other: &Self) {
        for (name, milli) in &other.0 {
            if let Some(left) = self.0.get_mut(name) {
                *left = (*left - milli).max(0);
            }
        }
        self.0.retain(|_, milli| *milli > 0);
    }

    fn add_milli(&mut self, name: &str, milli: i64) {
        if milli <= 0 {
            return;
        }
        // Most names are there already: no new string for those.
        if let Some(sum) = self.0.get_mut(name) {
            *sum = sum.saturating_add(milli);
        } else {
            self.0.insert(name.to_owned(), milli);
        }
    }

    /// As resources of the default role, allocated to `role` if there is one.
    pub fn to_resources(&self, role: Option<&str>) -> Vec<Resource> {
        self.0
            .iter()
            .map(|(name, milli)| Resource {
                allocation_info: role
                    .map(|role| crate::mesos::resource::AllocationInfo { role: Some(role.into()) }),
                ..scalar(name, *milli as f64 / 1000.0)
            })
            .collect()
    }
}

impl fmt::Display for Scalars {
    /// Mesos' text form: `cpus:0.5; mem:0.25`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, milli)) in self.0.iter().enumerate() {
            let gap = if at > 0 { "; " } else { "" };
            write!(f, "{gap}{name}:{}", *milli as f64 / 1000.0)?;
        }
        Ok(())
    }
}

/// Thousandths of an amount; 0 for what is no amount.
pub fn milli(amount: f64) -> i64 {
    if amount.is_finite() { (amount * 1000.0).round() as i64 } else { 0 }
}

/// One scalar of the default role.
pub fn scalar(name: &str, amount: f64) -> Resource {
    Resource {
        name: name.to_owned(),
        r#type: value::Type::Scalar as i32,
        scalar: Some(value::Scalar { value: amount }),
        ..Resource::default()
    }
}

/// Why a list of resources is not valid (src/common/resources.cpp, `Resources::validate`).
pub fn validate(resources: &[Resource]) -> Result<(), String> {
    for resource in resources {
        let name = &resource.name;
        if name.is_empty() {
            return Err("a resource without a name".into());
        }
        match value::Type::try_from(resource.r#type) {
            Ok(value::Type::Scalar) => match &resource.scalar {
                None => return Err(format!("{name}: no scalar")),
                Some(scalar) if !scalar.value.is_finite() || scalar.value < 0.0 => {
                    return Err(format!("{name}: {} is no amount", scalar.value));
                }
                Some(scalar) if scalar.value > 0.0 && milli(scalar.value) == 0 => {
                    return Err(format!("{name}: {} is less than 0.001", scalar.value));
                }
                Some(_) => {}
            },
            Ok(value::Type::Ranges) if resource.ranges.is_some() => {}
            Ok(value::Type::Set) if resource.set.is_some() => {}
            _ => return Err(format!("{name}: type and value do not agree")),
        }
    }
    Ok(())
}

/// An attribute with text.
pub fn text_attribute(name: &str, text: &str) -> crate::mesos::Attribute {
    crate::mesos::Attribute {
        name: name.to_owned(),
        r#type: value::Type::Text as i32,
        text: Some(value::Text { value: text.to_owned() }),
        ..Default::default()
    }
}

/// The value of a resource, for callers that keep both.
pub fn value_of(resource: &Resource) -> Value {
    Value {
        r#type: resource.r#type,
        scalar: resource.scalar,
        ranges: resource.ranges.clone(),
        set: resource.set.clone(),
        text: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_thousandths_are_one() {
        let mut sum = Scalars::default();
        for _ in 0..1000 {
            sum.add(&Scalars::from_amounts([("cpus", 0.001)]));
        }
        assert_eq!(sum.to_string(), "cpus:1");
        sum.subtract(&Scalars::from_amounts([("cpus", 0.7), ("mem", 1.0)]));
        assert_eq!(sum.milli("cpus"), 300);
        assert!(sum.contains(&Scalars::from_amounts([("cpus", 0.3)])));
        assert!(!sum.contains(&Scalars::from_amounts([("cpus", 0.301)])));
    }

    #[test]
    fn what_rounds_to_nothing_is_invalid() {
        assert!(validate(&[scalar("mem", 0.0004)]).unwrap_err().contains("less than 0.001"));
        assert!(validate(&[scalar("mem", -1.0)]).is_err());
        assert!(validate(&[scalar("mem", f64::NAN)]).is_err());
        assert!(validate(&[scalar("mem", 0.001)]).is_ok());
    }
}
