//! What the operator says of nodes' resources and attributes: for all of them, and for single ones.
//!
//! ```toml
//! resources = "cpus:0.5;mem(sensing):0.064"
//! attributes = "site:north"
//!
//! [node.0200000000000001]
//! hostname = "pump-house"
//! resources = "leds:0;valves:[1-4]"
//! attributes = "floor:2"
//! ```
//!
//! The format of the strings is that of `mesos-agent --resources` and `--attributes`. What is named replaces what the
//! node says it has under that name, but nothing is offered that is not there: of `cpus`, `mem`, `disk`, `sensors`
//! and `leds` never more than the node has.

use crate::file::{self, FileError};
use mesos_proto::mesos::{Attribute, Resource};
use mesos_proto::resources::{Scalars, scalar};
use mesos_proto::text;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Names whose amount the node itself knows.
const MEASURED: [&str; 5] = ["cpus", "mem", "disk", "sensors", "leds"];

/// What is wrong with a setting.
#[derive(Debug, thiserror::Error)]
pub enum OffersError {
    /// A string in the format of Mesos' flags.
    #[error("{field}: {why}")]
    Text {
        /// Where it was given.
        field: String,
        /// What is wrong.
        why: String,
    },
    /// The file of single nodes.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What is said of one node, or of all.
#[derive(Clone, Debug, Default)]
struct Override {
    hostname: Option<String>,
    resources: Vec<Resource>,
    attributes: Vec<Attribute>,
}

/// All that is said.
#[derive(Clone, Debug, Default)]
pub struct Offers {
    all: Override,
    nodes: BTreeMap<String, Override>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    resources: Option<toml::Spanned<String>>,
    attributes: Option<toml::Spanned<String>>,
    #[serde(default)]
    node: BTreeMap<toml::Spanned<String>, Node>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    hostname: Option<toml::Spanned<String>>,
    resources: Option<toml::Spanned<String>>,
    attributes: Option<toml::Spanned<String>>,
}

impl Offers {
    /// From the flags `--resources` and `--attributes`.
    pub fn from_flags(resources: &str, attributes: &str) -> Result<Self, OffersError> {
        let fail = |field: &str| {
            let field = field.to_owned();
            move |why| OffersError::Text { field, why }
        };
        let all = Override {
            hostname: None,
            resources: text::resources(resources).map_err(fail("--resources"))?,
            attributes: text::attributes(attributes).map_err(fail("--attributes"))?,
        };
        Ok(Self { all, nodes: BTreeMap::new() })
    }

    /// Adds what a file says; the flags have the last word for all nodes.
    pub fn with_file(mut self, path: &Path) -> Result<Self, OffersError> {
        let (file, lines) = file::read::<File>(path)?;
        let at = |offset, why| lines.at(offset, why);
        let read = |field: &str, value: Option<toml::Spanned<String>>| {
            value.map(|value| {
                text::resources(value.get_ref())
                    .map_err(|why| at(value.span().start, format!("{field}: {why}")))
            })
        };
        let label = |field: &str, value: Option<toml::Spanned<String>>| {
            value.map(|value| {
                text::attributes(value.get_ref())
                    .map_err(|why| at(value.span().start, format!("{field}: {why}")))
            })
        };
        let said = Override {
            hostname: None,
            resources: read("resources", file.resources).transpose()?.unwrap_or_default(),
            attributes: label("attributes", file.attributes).transpose()?.unwrap_or_default(),
        };
        self.all.resources = merged(said.resources, &self.all.resources, |resource| &resource.name);
        self.all.attributes = merged(said.attributes, &self.all.attributes, |attribute| &attribute.name);
        for (name, node) in file.node {
            let eui64 = name.get_ref().to_ascii_lowercase();
            if eui64.len() != 16 || !eui64.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                let why = format!("node.{}: expected an EUI-64 of 16 hexadecimal digits", name.get_ref());
                return Err(at(name.span().start, why).into());
            }
            if let Some(hostname) = &node.hostname
                && !is_hostname(hostname.get_ref())
            {
                return Err(at(
                    hostname.span().start,
                    "hostname: expected letters, digits, '-' and '.'".into(),
                )
                .into());
            }
            let said = Override {
                hostname: node.hostname.map(toml::Spanned::into_inner),
                resources: read("resources", node.resources).transpose()?.unwrap_or_default(),
                attributes: label("attributes", node.attributes).transpose()?.unwrap_or_default(),
            };
            let doubled =
                said.hostname.is_some() && self.nodes.values().any(|other| other.hostname == said.hostname);
            if doubled {
                // Maintenance hits all agents of one name and address at once.
                return Err(at(name.span().start, "hostname: another node has it".into()).into());
            }
            self.nodes.insert(eui64, said);
        }
        Ok(self)
    }

    /// The hostname that a node was given.
    pub fn hostname(&self, eui64: &str) -> Option<String> {
        self.nodes.get(eui64)?.hostname.clone()
    }

    /// True if anything is said of single nodes.
    pub fn has_nodes(&self) -> bool {
        !self.nodes.is_empty()
    }

    /// The node that was given a hostname, as 16 hexadecimal digits.
    pub fn node_of(&self, hostname: &str) -> Option<&str> {
        let mut named = self.nodes.iter().filter(|(_, said)| said.hostname.as_deref() == Some(hostname));
        named.next().map(|(eui64, _)| eui64.as_str())
    }

    /// What a node is said to have, from what it has.
    pub fn apply(
        &self,
        eui64: &str,
        has: Vec<Resource>,
        is: Vec<Attribute>,
    ) -> (Vec<Resource>, Vec<Attribute>) {
        let measured = Scalars::of(&has);
        let (mut resources, mut attributes) = (has, is);
        for said in [Some(&self.all), self.nodes.get(eui64)].into_iter().flatten() {
            resources = merged(resources, &said.resources, |resource| &resource.name);
            attributes = merged(attributes, &said.attributes, |attribute| &attribute.name);
        }
        let mut left = measured;
        let resources = resources.into_iter().filter_map(|resource| {
            let Some(said) = resource.scalar.filter(|_| MEASURED.contains(&resource.name.as_str())) else {
                return Some(resource);
            };
            let amount = said.value.min(left.get(&resource.name));
            left.subtract(&Scalars::from_amounts([(resource.name.as_str(), amount)]));
            let scalar = scalar(&resource.name, amount).scalar;
            (amount >= 0.001).then_some(Resource { scalar, ..resource })
        });
        (resources.collect(), attributes)
    }
}

/// `base` without what `over` names, and `over`.
fn merged<T: Clone>(base: Vec<T>, over: &[T], name: impl Fn(&T) -> &String) -> Vec<T> {
    let kept = base.into_iter().filter(|one| over.iter().all(|other| name(other) != name(one)));
    kept.chain(over.iter().cloned()).collect()
}

fn is_hostname(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "0200000000000001";

    fn file(text: &str) -> Result<Offers, OffersError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("offers.toml");
        std::fs::write(&path, text).unwrap();
        Offers::from_flags("", "").unwrap().with_file(&path)
    }

    #[test]
    fn a_node_offers_what_it_has_and_what_it_was_told() {
        let offers = file(
            "resources = \"cpus:0.5;mem:9\"\nattributes = \"site:north\"\n[node.0200000000000001]\n\
             resources = \"leds:0;valves:[1-4]\"\nattributes = \"floor:2\"\nhostname = \"pump-house\"\n",
        )
        .unwrap();
        let has = vec![scalar("cpus", 1.0), scalar("mem", 0.25), scalar("leds", 2.0)];
        let (resources, attributes) = offers.apply(NODE, has.clone(), Vec::new());
        let scalars = Scalars::of(&resources);
        assert_eq!((scalars.get("cpus"), scalars.get("mem"), scalars.get("leds")), (0.5, 0.25, 0.0));
        assert!(resources.iter().any(|resource| resource.name == "valves" && resource.ranges.is_some()));
        assert_eq!(attributes.len(), 2);
        assert_eq!(offers.hostname(NODE).as_deref(), Some("pump-house"));
        let (others, attributes) = offers.apply("0200000000000002", has, Vec::new());
        assert_eq!((others.len(), attributes.len()), (3, 1));
    }

    #[test]
    fn roles_share_what_there_is() {
        let offers = Offers::from_flags("cpus(a):0.7;cpus(b):0.7", "").unwrap();
        let (resources, _) = offers.apply(NODE, vec![scalar("cpus", 1.0)], Vec::new());
        let amounts: Vec<f64> =
            resources.iter().map(|r| Scalars::of(std::slice::from_ref(r)).get("cpus")).collect();
        assert_eq!(amounts, [0.7, 0.3]);
        assert_eq!(resources[0].role.as_deref(), Some("a"));
    }

    #[test]
    fn what_is_wrong_is_said_with_line_and_field() {
        for (text, line, field) in [
            ("resources = \"cpus=1\"", 1, "resources: "),
            ("\n\nattributes = \"site\"", 3, "attributes: "),
            ("[node.xyz]\n", 1, "node.xyz"),
            ("[node.0200000000000001]\nhostname = \"a b\"", 2, "hostname"),
            ("\nressources = \"\"", 2, "ressources"),
            ("[node.0200000000000001]\nresources = 3", 2, "string"),
            ("a = = b", 1, ""),
        ] {
            let error = file(text).unwrap_err().to_string();
            assert!(error.contains(&format!("line {line}: ")) && error.contains(field), "{text}: {error}");
        }
    }
}
