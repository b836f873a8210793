//! Frameworks and their roles (`validation::framework`, src/common/roles.cpp).

use crate::core::valid_id;
use crate::limits::{MAX_DURATION_MS, MAX_ID, MAX_ROLES};
use mesos_proto::mesos::{FrameworkInfo, framework_info};
use mesos_proto::pool::UNRESERVED;
use std::collections::BTreeSet;

fn multi_role(info: &FrameworkInfo) -> bool {
    let multi = framework_info::capability::Type::MultiRole as i32;
    info.capabilities.iter().any(|capability| capability.r#type == Some(multi))
}

/// A framework's roles: `roles` if it can have several, else `role`.
pub(crate) fn roles_of(info: &FrameworkInfo) -> BTreeSet<String> {
    if multi_role(info) {
        info.roles.iter().cloned().collect()
    } else {
        BTreeSet::from([info.role().to_owned()])
    }
}

/// A role's name (`roles::validate`).
pub(crate) fn valid_role(role: &str) -> Result<(), String> {
    if role == UNRESERVED {
        return Ok(());
    }
    if role.is_empty() {
        return Err("Role names cannot be the empty string".into());
    }
    if role.len() > MAX_ID {
        return Err(format!(
            "Role '{}...' is longer than {MAX_ID} bytes",
            role.chars().take(32).collect::<String>()
        ));
    }
    if role.starts_with('/') || role.ends_with('/') {
        return Err(format!("Role '{role}' cannot start or end with a slash"));
    }
    for part in role.split('/') {
        let why = match part {
            "" => "contain two adjacent slashes",
            "." | ".." | UNRESERVED => "have '.', '..' or '*' as a component",
            _ if part.starts_with('-') => "have a component that starts with a dash",
            _ if part.chars().any(|c| c.is_whitespace() || c.is_control()) => {
                "contain whitespace or backspace"
            }
            _ => continue,
        };
        return Err(format!("Role '{role}' cannot {why}"));
    }
    Ok(())
}

/// What a framework says of itself (`validation::framework::validate`).
pub(crate) fn framework_info(info: &FrameworkInfo) -> Result<(), String> {
    if multi_role(info) {
        if info.role.is_some() {
            return Err(
                "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable".into()
            );
        }
        if info.roles.len() > MAX_ROLES {
            return Err(format!("'FrameworkInfo.roles' has more than {MAX_ROLES} roles"));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = info.roles.iter().find(|role| !seen.insert(*role)) {
            return Err(format!("'FrameworkInfo.roles' contains duplicate items: {{ {twice} }}"));
        }
        for role in &info.roles {
            valid_role(role).map_err(|why| format!("'FrameworkInfo.roles' contains invalid role: {why}"))?;
        }
    } else {
        if !info.roles.is_empty() {
            return Err(
                "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable".into()
            );
        }
        valid_role(info.role()).map_err(|why| format!("'FrameworkInfo.role' is not a valid role: {why}"))?;
    }
    if let Some(id) = info.id.as_ref().filter(|id| !id.value.is_empty())
        && !valid_id(&id.value)
    {
        return Err("'FrameworkInfo.id' is not a valid id".into());
    }
    for filters in info.offer_filters.values() {
        let alternatives = filters.min_allocatable_resources.iter().flat_map(|least| &least.quantities);
        for quantities in alternatives {
            if quantities.quantities.is_empty() {
                return Err("Resource quantities must contain at least one quantity".into());
            }
            let wrong = |amount: f64| !amount.is_finite() || amount.is_subnormal() || amount < 0.0;
            if let Some((name, amount)) = quantities.quantities.iter().find(|(_, amount)| wrong(amount.value))
            {
                return Err(format!("Invalid resource quantity for '{name}': {} is no amount", amount.value));
            }
        }
    }
    let timeout = info.failover_timeout();
    if !timeout.is_finite() || timeout.abs() > i64::MAX as f64 / 1e9 {
        return Err(format!("The framework failover_timeout ({timeout}) is invalid"));
    }
    Ok(())
}

/// Roles that are to be suppressed are the framework's (`validateSuppressedRoles`).
pub(crate) fn suppressed(roles: &BTreeSet<String>, suppressed: &[String]) -> Result<(), String> {
    match suppressed.iter().find(|role| !roles.contains(*role)) {
        Some(role) => Err(format!("Suppressed roles {{ {role} }} are not contained in the set of roles")),
        None => Ok(()),
    }
}

/// A framework may change all of itself but this (`validateUpdate`).
pub(crate) fn framework_update(old: &FrameworkInfo, new: &FrameworkInfo) -> Result<(), String> {
    if old.principal != new.principal {
        return Err("Changing framework's principal is not allowed.".into());
    }
    if old.user != new.user {
        return Err(format!(
            "Updating 'FrameworkInfo.user' is unsupported; attempted to update from '{}' to '{}'",
            old.user, new.user
        ));
    }
    if old.checkpoint() != new.checkpoint() {
        return Err(format!(
            "Updating 'FrameworkInfo.checkpoint' is unsupported; attempted to update from '{}' to '{}'",
            old.checkpoint(),
            new.checkpoint()
        ));
    }
    Ok(())
}

/// What a framework that subscribes again cannot change stays as it was, without a word (`preserveImmutableFields`).
pub(crate) fn preserve(old: &FrameworkInfo, new: &mut FrameworkInfo) {
    new.user.clone_from(&old.user);
    new.checkpoint = old.checkpoint;
}

/// The failover timeout in milliseconds: none below zero, a year at most.
pub(crate) fn failover_ms(info: &FrameworkInfo) -> u64 {
    let milliseconds = info.failover_timeout().max(0.0) * 1000.0;
    if milliseconds.is_finite() { (milliseconds as u64).min(MAX_DURATION_MS) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_may_be_hierarchical() {
        for good in ["*", "ops", "ops/night", "a/b/c", "über"] {
            assert_eq!(valid_role(good), Ok(()), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", ".", "a/..", "a/*", "-a", "a/-b", "a b", "a\tb", "a\u{7f}"] {
            assert!(valid_role(bad).is_err(), "{bad}");
        }
        assert!(valid_role(&"x".repeat(256)).is_err());
    }
}
