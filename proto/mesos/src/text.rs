//! Resources and attributes as one writes them for `mesos-agent`: `cpus:0.5;ports:[1-9,20-29];pins(role):{a,b}` and
//! `site:north;floor:2` (src/common/resources.cpp, `parse`; src/common/attributes.cpp). What that cannot say, such as a
//! reservation with a principal, is written as Mesos logs it, and not read.

use crate::mesos::resource::reservation_info::Type as Reserved;
use crate::mesos::resource::{DiskInfo, ReservationInfo};
use crate::mesos::{Attribute, Resource, Value, value};
use crate::pool::{MAX_RESOURCES, UNRESERVED};
use crate::resources::{milli, validate};
use std::fmt::Write as _;
use std::time::Duration;

/// Entries in one string.
const ENTRIES_MAX: usize = MAX_RESOURCES;
/// What no name has: it would be taken for something else.
const NOT_IN_NAMES: [char; 12] = [' ', '\t', '(', ')', '[', ']', '{', '}', '<', '>', ':', ';'];

/// Reads a time span: a number and a unit with nothing between, `1.5secs` (3rdparty/stout/include/stout/duration.hpp).
pub fn duration(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number: f64 = text[..unit].parse().ok()?;
    let seconds = match &text[unit..] {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "secs" => 1.0,
        "mins" => 60.0,
        "hrs" => 3600.0,
        "days" => 86_400.0,
        "weeks" => 604_800.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * seconds).ok()
}

/// Writes one resource, in either format of reservations.
pub fn write(resource: &Resource) -> String {
    let mut resource = resource.clone();
    crate::reservations::upgrade(&mut resource);
    let mut text = resource.name.clone();
    match resource.reservations.as_slice() {
        [] => {}
        [ReservationInfo { principal: None, labels: None, role: Some(role), r#type }]
            if *r#type == Some(Reserved::Static as i32) =>
        {
            text += &format!("({role})");
        }
        stack => {
            let stack: Vec<String> = stack.iter().map(reservation).collect();
            text += &format!("(reservations: [{}])", stack.join(","));
        }
    }
    if let Some(disk) = &resource.disk {
        text += &format!("[{}]", volume(disk));
    }
    for (mark, there) in [("{REV}", resource.revocable.is_some()), ("<SHARED>", resource.shared.is_some())] {
        if there {
            text += mark;
        }
    }
    text.push(':');
    if let Some(scalar) = resource.scalar {
        // Writing to a string does not fail.
        let _ = write!(text, "{}", milli(scalar.value) as f64 / 1000.0);
    } else if let Some(ranges) = &resource.ranges {
        let parts: Vec<_> =
            ranges.range.iter().map(|range| format!("{}-{}", range.begin, range.end)).collect();
        text += &format!("[{}]", parts.join(", "));
    } else if let Some(set) = &resource.set {
        text += &format!("{{{}}}", set.item.join(", "));
    }
    text
}

fn reservation(reservation: &ReservationInfo) -> String {
    let mut text = format!("({},{}", reservation.r#type().as_str_name(), reservation.role());
    if let Some(principal) = &reservation.principal {
        text += &format!(",{principal}");
    }
    if let Some(labels) = &reservation.labels {
        let labels = labels.labels.iter().map(|label| format!("{}: {}", label.key, label.value()));
        text += &format!(",{{{}}}", labels.collect::<Vec<_>>().join(", "));
    }
    text + ")"
}

fn volume(disk: &DiskInfo) -> String {
    let id = disk.persistence.as_ref().map(|persistence| persistence.id.clone());
    let source = disk.source.as_ref().map(|source| source.r#type().as_str_name().to_owned());
    let path = disk.volume.as_ref().map(|volume| volume.container_path.clone());
    source.into_iter().chain(id).chain(path).collect::<Vec<_>>().join(":")
}

/// Reads resources; the error says which entry is wrong and what was expected.
pub fn resources(text: &str) -> Result<Vec<Resource>, String> {
    let mut resources = Vec::new();
    for entry in entries(text)? {
        let expected = || format!("'{entry}': expected NAME:VALUE or NAME(ROLE):VALUE");
        let (name, value) = entry.split_once(':').ok_or_else(expected)?;
        let (name, role) = match name.trim().strip_suffix(')') {
            Some(with_role) => with_role.split_once('(').ok_or_else(expected)?,
            None => (name.trim(), UNRESERVED),
        };
        if name.is_empty() || role.is_empty() || name.contains(NOT_IN_NAMES) || role.contains(NOT_IN_NAMES) {
            return Err(expected());
        }
        let value = parse(value.trim()).map_err(|why| format!("'{entry}': {why}"))?;
        if value.text.is_some() {
            return Err(format!("'{entry}': expected a number, [1-2,4-5] or {{a,b}}"));
        }
        resources.push(Resource {
            name: name.to_owned(),
            r#type: value.r#type,
            scalar: value.scalar,
            ranges: value.ranges,
            set: value.set,
            role: Some(role.to_owned()).filter(|role| role != UNRESERVED),
            ..Default::default()
        });
    }
    let given: Vec<Resource> = resources.iter().filter(|resource| !is_zero(resource)).cloned().collect();
    validate(&given)?;
    Ok(resources)
}

/// Reads attributes.
pub fn attributes(text: &str) -> Result<Vec<Attribute>, String> {
    let read = |entry: &str| {
        let (name, value) = entry.split_once(':').ok_or_else(|| format!("'{entry}': expected NAME:VALUE"))?;
        if name.trim().is_empty() {
            return Err(format!("'{entry}': expected NAME:VALUE"));
        }
        let value = parse(value.trim()).map_err(|why| format!("'{entry}': {why}"))?;
        Ok(Attribute {
            name: name.trim().to_owned(),
            r#type: value.r#type,
            scalar: value.scalar,
            ranges: value.ranges,
            text: value.text,
            set: value.set,
        })
    };
    entries(text)?.into_iter().map(read).collect()
}

/// Nothing of something: takes a resource off the offer.
fn is_zero(resource: &Resource) -> bool {
    resource.scalar.is_some_and(|scalar| scalar.value == 0.0)
}

fn entries(text: &str) -> Result<Vec<&str>, String> {
    let entries: Vec<&str> = text.split(';').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    if entries.len() > ENTRIES_MAX {
        return Err(format!("more than {ENTRIES_MAX} entries"));
    }
    Ok(entries)
}

fn parse(text: &str) -> Result<Value, String> {
    let kind = |kind: value::Type| Value { r#type: kind as i32, ..Default::default() };
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or("a range ends with ']'")?;
        let range = |part: &str| {
            let error = || format!("'{part}' is no range like 1-2");
            let (begin, end) = part.split_once('-').ok_or_else(error)?;
            let number = |text: &str| text.trim().parse::<u64>().map_err(|_| error());
            let range = value::Range { begin: number(begin)?, end: number(end)? };
            if range.begin <= range.end { Ok(range) } else { Err(error()) }
        };
        let mut range = inner.split(',').map(range).collect::<Result<Vec<_>, String>>()?;
        range.sort_by_key(|range| range.begin);
        if range.windows(2).any(|pair| pair[1].begin <= pair[0].end) {
            return Err("the ranges overlap".into()); // a master drops the whole registration silently
        }
        return Ok(Value { ranges: Some(value::Ranges { range }), ..kind(value::Type::Ranges) });
    }
    if let Some(inner) = text.strip_prefix('{') {
        let inner = inner.strip_suffix('}').ok_or("a set ends with '}'")?;
        let item: Vec<String> =
            inner.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect();
        if (1..item.len()).any(|at| item[..at].contains(&item[at])) {
            return Err("an item is there twice".into());
        }
        return Ok(Value { set: Some(value::Set { item }), ..kind(value::Type::Set) });
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => {
            Ok(Value { scalar: Some(value::Scalar { value: number }), ..kind(value::Type::Scalar) })
        }
        Ok(_) => Err("expected a number of 0 or more".into()),
        Err(_) if text.is_empty() => Err("the value is empty".into()),
        Err(_) => {
            let text = value::Text { value: text.to_owned() };
            Ok(Value { text: Some(text), ..kind(value::Type::Text) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn time_spans_are_numbers_with_a_unit() {
        assert_eq!(duration("10mins"), Some(Duration::from_secs(600)));
        assert_eq!(duration("1.5secs"), Some(Duration::from_millis(1500)));
        for wrong in
            ["", "10", "mins", "10 mins", "-1secs", "1.2.3secs", "99999999999999999999weeks", "1e9days"]
        {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_formats_of_mesos_are_read() {
        let read = resources("cpus:0.5; ports:[1-9, 20-29];pins(a/b):{x,y}").unwrap();
        assert_eq!(read[0].scalar.unwrap().value, 0.5);
        assert_eq!(read[1].ranges.as_ref().unwrap().range.len(), 2);
        assert_eq!((read[2].role.as_deref(), read[2].set.as_ref().unwrap().item.len()), (Some("a/b"), 2));
        let read = attributes("site:north;floor:2;racks:[1-2]").unwrap();
        assert!(read[0].text.is_some() && read[1].scalar.is_some() && read[2].ranges.is_some());
    }

    #[test]
    fn what_is_no_resource_is_refused() {
        for text in [
            "cpus",
            "cpus:x",
            "cpus:-1",
            "ports:[9-1]",
            "ports:[1-9",
            "ports:[1-4,4-9]",
            "pins:{a,a}",
            ":1",
            "a(:1",
            "cpus:NaN",
            "cpus(reservations: [(DYNAMIC,ops,me)]):1",
            "cpus{REV}:1",
            "disk[id]:1",
            "mem:0.0001",
        ] {
            assert!(resources(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".{0,60}") {
            let _ = (resources(&text), attributes(&text));
        }
    }
}
