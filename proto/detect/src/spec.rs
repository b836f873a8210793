//! What one writes after `--master`.

use std::fmt;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::str::FromStr;

/// Port of a master that names none.
const MASTER_PORT: u16 = 5050;
/// Hosts in a list, or of a ZooKeeper ensemble.
const HOSTS_MAX: usize = 16;

/// A name or IPv4 address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Name or address.
    pub name: String,
    /// Port.
    pub port: u16,
}

/// Where to learn who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterSpec {
    /// It is this one.
    One(Host),
    /// One of these knows.
    List(Vec<Host>),
    /// The first of the group in ZooKeeper.
    ZooKeeper {
        /// `HOST:PORT,HOST:PORT`.
        cluster: String,
        /// `USER:PASSWORD` of the digest scheme.
        auth: Option<String>,
        /// The group's path.
        path: String,
    },
    /// A file that says one of the others, read again when it changes.
    File(PathBuf),
}

/// Not a place to find a master.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "master '{given}': {why}; expected HOST:PORT, a list of them with commas, zk://HOST:PORT,.../PATH or file:///PATH"
)]
pub struct SpecError {
    given: String,
    why: String,
}

impl From<SocketAddrV4> for MasterSpec {
    fn from(address: SocketAddrV4) -> Self {
        Self::One(Host { name: address.ip().to_string(), port: address.port() })
    }
}

impl Host {
    /// The host that a `Location` names: `//host:port` or `host:port`, with or without a scheme and a path.
    pub fn of_location(location: &str) -> Option<Self> {
        let rest = location.split_once("//").map_or(location, |(_, rest)| rest);
        let (name, port) = rest.split('/').next()?.rsplit_once(':')?;
        let port = port.parse().ok()?;
        (!name.is_empty()).then(|| Self { name: name.to_owned(), port })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.port)
    }
}

/// Without the password.
impl fmt::Display for MasterSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(host) => write!(f, "{host}"),
            Self::List(hosts) => {
                let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
                write!(f, "{}", hosts.join(","))
            }
            Self::ZooKeeper { cluster, path, .. } => write!(f, "zk://{cluster}{path}"),
            Self::File(path) => write!(f, "file://{}", path.display()),
        }
    }
}

impl FromStr for MasterSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let text = text.trim();
        // A password is not repeated in an error.
        let given = match text.rsplit_once('@') {
            Some((_, rest)) if text.starts_with("zk://") => format!("zk://...@{rest}"),
            _ => text.chars().take(200).collect(),
        };
        let fail = |why: String| SpecError { given: given.clone(), why };
        if let Some(path) = text.strip_prefix("file://") {
            return match path.starts_with('/') {
                true => Ok(Self::File(path.into())),
                false => Err(fail("the path of a file is absolute".into())),
            };
        }
        if text.starts_with('/') {
            return Ok(Self::File(text.into()));
        }
        if let Some(rest) = text.strip_prefix("zk://") {
            let (auth, rest) = match rest.rsplit_once('@') {
                Some((auth, rest)) => (Some(auth.to_owned()), rest),
                None => (None, rest),
            };
            if auth.as_ref().is_some_and(|auth| !auth.contains(':')) {
                return Err(fail("before '@' there is USER:PASSWORD".into()));
            }
            let (cluster, path) =
                rest.split_once('/').ok_or_else(|| fail("no path after the hosts".into()))?;
            let hosts = hosts(cluster, 2181).map_err(fail)?;
            let path = format!("/{}", path.trim_end_matches('/'));
            if path.len() == 1 || path.contains("//") {
                return Err(fail("the path of the group is missing or empty in between".into()));
            }
            let cluster: Vec<String> = hosts.iter().map(ToString::to_string).collect();
            return Ok(Self::ZooKeeper { cluster: cluster.join(","), auth, path });
        }
        if text.contains("://") {
            return Err(fail("an unknown scheme".into()));
        }
        let mut hosts = hosts(text, MASTER_PORT).map_err(fail)?;
        Ok(if hosts.len() == 1 { Self::One(hosts.remove(0)) } else { Self::List(hosts) })
    }
}

fn hosts(text: &str, default_port: u16) -> Result<Vec<Host>, String> {
    let host = |part: &str| {
        let (name, port) = match part.split_once(':') {
            Some((name, port)) => {
                let port = port.parse().ok().filter(|port| *port > 0);
                (name, port.ok_or_else(|| format!("'{part}' has no port from 1 to 65535"))?)
            }
            None => (part, default_port),
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        match !name.is_empty() && name.bytes().all(is_name) {
            true => Ok(Host { name: name.to_owned(), port }),
            false => Err(format!("'{part}' is no host")),
        }
    };
    let hosts = text.split(',').map(str::trim).map(host).collect::<Result<Vec<_>, String>>()?;
    if hosts.len() > HOSTS_MAX {
        return Err(format!("more than {HOSTS_MAX} hosts"));
    }
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_one_writes_is_understood_and_said_again() {
        for (text, again) in [
            ("10.0.0.1:5050", "10.0.0.1:5050"),
            ("master.example", "master.example:5050"),
            ("a:1, b:2", "a:1,b:2"),
            ("zk://u:p@w@zk1:2181,zk2/mesos/x/", "zk://zk1:2181,zk2:2181/mesos/x"),
            ("file:///etc/mesos/zk", "file:///etc/mesos/zk"),
            ("/etc/mesos/zk", "file:///etc/mesos/zk"),
        ] {
            assert_eq!(text.parse::<MasterSpec>().unwrap().to_string(), again);
        }
        let Ok(MasterSpec::ZooKeeper { auth, .. }) = "zk://u:p@h/m".parse() else { panic!("no ensemble") };
        assert_eq!(auth.as_deref(), Some("u:p"));
    }

    #[test]
    fn what_is_wrong_is_named_and_a_password_is_not() {
        for (text, why) in [
            ("", "'' is no host"),
            ("a:0", "'a:0' has no port"),
            ("a:1,,b", "'' is no host"),
            ("zk://h:2181", "no path"),
            ("zk://h/", "missing"),
            ("zk://user@h/m", "USER:PASSWORD"),
            ("file://etc/x", "absolute"),
            ("http://a:5050", "unknown scheme"),
        ] {
            let error = text.parse::<MasterSpec>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let error = "zk://user:secret@h".parse::<MasterSpec>().unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn a_location_names_a_host() {
        let said = |location| Host::of_location(location).map(|host| host.to_string());
        assert_eq!(said("//10.0.0.1:5050").as_deref(), Some("10.0.0.1:5050"));
        assert_eq!(said("http://m1:5050/").as_deref(), Some("m1:5050"));
        assert_eq!(said("m1:5050").as_deref(), Some("m1:5050"));
        assert_eq!((said("/"), said("//m1"), said("//:1"), said("//a:x")), (None, None, None, None));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".{0,80}") {
            let _ = (text.parse::<MasterSpec>(), Host::of_location(&text));
        }
    }
}
