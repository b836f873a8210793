//! What an agent tells its executors in their environment (docs/executor-http-api.md, "Executor Environment Variables").

use crate::error::Error;
use crate::wire::At;
use detect::Host;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Mesos' defaults (src/slave/constants.hpp).
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(15 * 60);
const SUBSCRIPTION_BACKOFF_MAX: Duration = Duration::from_secs(2);
const SHUTDOWN_GRACE_PERIOD: Duration = Duration::from_secs(5);
/// Where an agent serves executors, behind the name of its actor if that is known.
const PATH: &str = "/api/v1/executor";

/// Who this executor is, where its agent is, and how patient it has to be.
#[derive(Clone)]
pub struct Environment {
    pub(crate) agent: At,
    pub(crate) path: String,
    /// Proves who calls, if the agent asks for that.
    pub(crate) token: Option<String>,
    /// Its framework.
    pub framework_id: String,
    /// Its own id.
    pub executor_id: String,
    /// The agent may restart and this goes on; otherwise it ends with the connection.
    pub checkpoint: bool,
    /// For how long it looks for its agent before it ends.
    pub recovery_timeout: Duration,
    /// The longest pause between two attempts.
    pub subscription_backoff_max: Duration,
    /// How long it may take to end after it was told to.
    pub shutdown_grace: Duration,
    /// Its working directory.
    pub sandbox: Option<PathBuf>,
}

/// Without the token.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("agent", &self.agent)
            .field("framework_id", &self.framework_id)
            .field("executor_id", &self.executor_id)
            .field("checkpoint", &self.checkpoint)
            .finish_non_exhaustive()
    }
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Result<Self, Error> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// From variables by name. The error names the one that is missing or wrong.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let wrong = |name, why: String| Error::Environment { name, why };
        let given = |name: &'static str| variable(name).filter(|value| !value.is_empty());
        let needed = |name| given(name).ok_or_else(|| wrong(name, "not set".into()));
        let duration = |name, otherwise| match given(name) {
            None => Ok(otherwise),
            Some(text) => mesos_proto::text::duration(&text)
                .ok_or_else(|| wrong(name, format!("'{text}' is no duration like 15mins"))),
        };
        // `slave(1)@10.0.0.1:5051`. The actor matters where many agents share one address.
        let pid = given("MESOS_SLAVE_PID");
        let (actor, address) = match pid.as_deref().and_then(|pid| pid.split_once('@')) {
            Some((actor, address)) => (Some(actor), Some(address)),
            None => (None, None),
        };
        let agent =
            match given("MESOS_DOMAIN_SOCKET") {
                Some(path) => At::Unix(path.into()),
                None => {
                    let name = "MESOS_AGENT_ENDPOINT";
                    let endpoint = given(name).or_else(|| address.map(str::to_owned));
                    let endpoint = endpoint.ok_or_else(|| wrong(name, "not set".into()))?;
                    let host = Host::of_location(&endpoint);
                    At::Tcp(host.ok_or_else(|| {
                        wrong(name, format!("'{endpoint}' is no address like 10.0.0.1:5051"))
                    })?)
                }
            };
        Ok(Self {
            agent,
            path: actor.map_or_else(|| PATH.to_owned(), |actor| format!("/{actor}{PATH}")),
            token: given("MESOS_EXECUTOR_AUTHENTICATION_TOKEN"),
            framework_id: needed("MESOS_FRAMEWORK_ID")?,
            executor_id: needed("MESOS_EXECUTOR_ID")?,
            checkpoint: given("MESOS_CHECKPOINT").is_some_and(|value| value == "1" || value == "true"),
            recovery_timeout: duration("MESOS_RECOVERY_TIMEOUT", RECOVERY_TIMEOUT)?,
            subscription_backoff_max: duration("MESOS_SUBSCRIPTION_BACKOFF_MAX", SUBSCRIPTION_BACKOFF_MAX)?,
            shutdown_grace: duration("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", SHUTDOWN_GRACE_PERIOD)?,
            sandbox: given("MESOS_SANDBOX").or_else(|| given("MESOS_DIRECTORY")).map(PathBuf::from),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Environment, Error> {
        let find =
            |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Environment::read(find)
    }

    const LEAST: [(&str, &str); 3] =
        [("MESOS_FRAMEWORK_ID", "f"), ("MESOS_EXECUTOR_ID", "e"), ("MESOS_AGENT_ENDPOINT", "10.0.0.5:5051")];

    #[test]
    fn the_least_that_an_agent_says_is_enough() {
        let least = read(&LEAST).unwrap();
        assert_eq!((least.agent.to_string().as_str(), least.path.as_str()), ("10.0.0.5:5051", PATH));
        assert!(!least.checkpoint && least.token.is_none());
        assert_eq!(least.recovery_timeout, RECOVERY_TIMEOUT);

        let all = read(&[
            LEAST[0],
            LEAST[1],
            ("MESOS_SLAVE_PID", "slave(7)@10.0.0.9:5051"),
            ("MESOS_CHECKPOINT", "1"),
            ("MESOS_RECOVERY_TIMEOUT", "1.5mins"),
            ("MESOS_SUBSCRIPTION_BACKOFF_MAX", "250ms"),
            ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "60secs"),
            ("MESOS_EXECUTOR_AUTHENTICATION_TOKEN", "hush"),
            ("MESOS_DIRECTORY", "/tmp"),
        ]);
        let all = all.unwrap();
        assert_eq!(all.agent.to_string(), "10.0.0.9:5051");
        assert_eq!(all.path, "/slave(7)/api/v1/executor");
        assert!(all.checkpoint && all.sandbox.is_some());
        assert_eq!(all.recovery_timeout, Duration::from_secs(90));
        assert_eq!(all.subscription_backoff_max, Duration::from_millis(250));
        assert!(!format!("{all:?}").contains("hush"));
        let socket = read(&[LEAST[0], LEAST[1], ("MESOS_DOMAIN_SOCKET", "/run/agent.sock")]).unwrap();
        assert!(matches!(socket.agent, At::Unix(_)));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (pairs, name) in [
            (vec![LEAST[1], LEAST[2]], "MESOS_FRAMEWORK_ID"),
            (vec![LEAST[0], LEAST[2]], "MESOS_EXECUTOR_ID"),
            (vec![LEAST[0], LEAST[1]], "MESOS_AGENT_ENDPOINT"),
            (vec![LEAST[0], LEAST[1], ("MESOS_AGENT_ENDPOINT", "nowhere")], "MESOS_AGENT_ENDPOINT"),
            ([&LEAST[..], &[("MESOS_RECOVERY_TIMEOUT", "soon")]].concat(), "MESOS_RECOVERY_TIMEOUT"),
        ] {
            let error = read(&pairs).unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
