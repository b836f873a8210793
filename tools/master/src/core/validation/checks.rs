//! Commands, containers, checks and disks of tasks (src/common/validation.cpp).

use mesos_proto::mesos::{
    CheckInfo, CommandInfo, ContainerInfo, HealthCheck, Resource, check_info, container_info, environment,
    health_check,
};
use mesos_proto::pool::UNRESERVED;
use mesos_proto::reservations::role;

/// Environment variables are what their type says.
pub(crate) fn command(command: &CommandInfo) -> Result<(), String> {
    use environment::variable::Type;
    for variable in command.environment.iter().flat_map(|environment| &environment.variables) {
        let name = &variable.name;
        match variable.r#type() {
            Type::Value if variable.value.is_none() => {
                return Err(format!("Environment variable '{name}' of type 'VALUE' must have a value set"));
            }
            Type::Secret if variable.value.is_some() => {
                return Err(format!(
                    "Environment variable '{name}' of type 'SECRET' must not have a value set"
                ));
            }
            Type::Unknown => return Err("Environment variable of type 'UNKNOWN' is not allowed".into()),
            Type::Value | Type::Secret => {}
        }
    }
    Ok(())
}

/// Volumes have one origin, and a Docker container says which.
pub(crate) fn container(container: &ContainerInfo) -> Result<(), String> {
    for volume in &container.volumes {
        let origins = [volume.host_path.is_some(), volume.image.is_some(), volume.source.is_some()];
        if origins.into_iter().filter(|there| *there).count() != 1 {
            let why = "Only one of them should be set: 'host_path', 'image' and 'source'";
            return Err(format!("Invalid volume: {why}"));
        }
    }
    if container.r#type() == container_info::Type::Docker && container.docker.is_none() {
        return Err("DockerInfo 'docker' is not set for DOCKER typed ContainerInfo".into());
    }
    Ok(())
}

fn runs(kind: &str, info: Option<&CommandInfo>) -> Result<(), String> {
    let Some(info) = info else {
        return Err(format!("Expecting 'command' to be set for COMMAND {}", kind.to_lowercase()));
    };
    if info.value.is_none() {
        let what = if info.shell() { "'shell command'" } else { "'executable path'" };
        return Err(format!("Command {} must contain {what}", kind.to_lowercase()));
    }
    command(info).map_err(|why| format!("{kind}'s `CommandInfo` is invalid: {why}"))
}

fn path(kind: &str, path: Option<&str>) -> Result<(), String> {
    match path {
        Some(path) if !path.starts_with('/') => {
            Err(format!("The path '{path}' of HTTP {kind} must start with '/'"))
        }
        _ => Ok(()),
    }
}

fn not_negative(fields: &[(&str, Option<f64>)]) -> Result<(), String> {
    match fields.iter().find(|(_, seconds)| seconds.is_some_and(|seconds| seconds.is_nan() || seconds < 0.0))
    {
        Some((field, _)) => Err(format!("Expecting '{field}' to be non-negative")),
        None => Ok(()),
    }
}

/// A health check.
pub(crate) fn health_check(check: &HealthCheck) -> Result<(), String> {
    use health_check::Type;
    match check.r#type.map(|_| check.r#type()) {
        None => return Err("HealthCheck must specify 'type'".into()),
        Some(Type::Unknown) => return Err("'UNKNOWN' is not a valid health check type".into()),
        Some(Type::Command) => runs("Health check", check.command.as_ref())?,
        Some(Type::Http) => {
            let Some(http) = &check.http else {
                return Err("Expecting 'http' to be set for HTTP health check".into());
            };
            if let Some(scheme) = http.scheme.as_deref().filter(|scheme| !matches!(*scheme, "http" | "https"))
            {
                return Err(format!("Unsupported HTTP health check scheme: '{scheme}'"));
            }
            path("health check", http.path.as_deref())?;
        }
        Some(Type::Tcp) if check.tcp.is_none() => {
            return Err("Expecting 'tcp' to be set for TCP health check".into());
        }
        Some(Type::Tcp) => {}
    }
    not_negative(&[
        ("delay_seconds", check.delay_seconds),
        ("grace_period_seconds", check.grace_period_seconds),
        ("interval_seconds", check.interval_seconds),
        ("timeout_seconds", check.timeout_seconds),
    ])
}

/// A check.
pub(crate) fn check(check: &CheckInfo) -> Result<(), String> {
    use check_info::Type;
    match check.r#type.map(|_| check.r#type()) {
        None => return Err("CheckInfo must specify 'type'".into()),
        Some(Type::Unknown) => return Err("'UNKNOWN' is not a valid check type".into()),
        Some(Type::Command) => runs("Check", check.command.as_ref().map(|command| &command.command))?,
        Some(Type::Http) => match &check.http {
            None => return Err("Expecting 'http' to be set for HTTP check".into()),
            Some(http) => path("check", http.path.as_deref())?,
        },
        Some(Type::Tcp) if check.tcp.is_none() => {
            return Err("Expecting 'tcp' to be set for TCP check".into());
        }
        Some(Type::Tcp) => {}
    }
    not_negative(&[
        ("delay_seconds", check.delay_seconds),
        ("interval_seconds", check.interval_seconds),
        ("timeout_seconds", check.timeout_seconds),
    ])
}

/// What a resource says of its disk (`validateDiskInfo`).
pub(crate) fn disk_info(resource: &Resource) -> Result<(), String> {
    let Some(disk) = &resource.disk else { return Ok(()) };
    let why = match (&disk.persistence, &disk.volume) {
        (Some(_), _) if resource.revocable.is_some() => {
            "Persistent volumes cannot be created from revocable resources"
        }
        (Some(_), _) if role(resource) == UNRESERVED => {
            "Persistent volumes cannot be created from unreserved resources"
        }
        (Some(_), None) => "Expecting 'volume' to be set for persistent volume",
        (Some(_), Some(volume)) if volume.host_path.is_some() => {
            "Expecting 'host_path' to be unset for persistent volume"
        }
        (None, Some(_)) => "Non-persistent volume not supported",
        (None, None) if disk.source.is_none() => "DiskInfo is set but empty",
        _ => return Ok(()),
    };
    Err(format!("Invalid DiskInfo: {why}"))
}
