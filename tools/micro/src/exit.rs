//! Exit statuses that scripts can rely on, and the errors behind them. What is none of these is 1.

use std::process::ExitCode;

/// A task or job did not end well.
pub const ENDED_BADLY: u8 = 3;
/// A command line that makes no sense, as clap has it.
const USAGE: u8 = 2;
const UNKNOWN: u8 = 4;
const UNREACHABLE: u8 = 5;
const REFUSED: u8 = 6;

/// What `micro --help` says of them.
pub const HELP: &str = "\
Exit status: 0 done; 1 failed, as said on standard error; 2 a command line that makes no sense; 3 the task or job did
not end well; 4 no such node, task, job or agent; 5 nobody answers there; 6 not allowed without the token.";

/// A failure with a status of its own. Each says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// What was asked makes no sense.
    #[error("{0}")]
    Senseless(String),
    /// No such thing.
    #[error("{0}")]
    Unknown(String),
    /// Nobody answers.
    #[error("{0}")]
    Unreachable(String),
    /// The token is missing or wrong.
    #[error("{0}")]
    Refused(String),
}

/// The status that an error ends the command with.
pub fn status(error: &anyhow::Error) -> ExitCode {
    for cause in error.chain() {
        if let Some(trouble) = cause.downcast_ref::<Trouble>() {
            return ExitCode::from(match trouble {
                Trouble::Senseless(_) => USAGE,
                Trouble::Unknown(_) => UNKNOWN,
                Trouble::Unreachable(_) => UNREACHABLE,
                Trouble::Refused(_) => REFUSED,
            });
        }
        if let Some(gateway::keys::KeysError::Unknown(_)) = cause.downcast_ref() {
            return ExitCode::from(UNKNOWN);
        }
        match cause.downcast_ref() {
            Some(framework::Error::Unreachable { .. } | framework::Error::NoAnswer { .. }) => {
                return ExitCode::from(UNREACHABLE);
            }
            Some(framework::Error::Unauthenticated { .. }) => return ExitCode::from(REFUSED),
            _ => {}
        }
    }
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_status_is_the_causes_however_deep_it_is() {
        let deep = Err::<(), _>(Trouble::Unknown("no such node".into())).context("asking").unwrap_err();
        assert_eq!(format!("{:?}", status(&deep)), format!("{:?}", ExitCode::from(UNKNOWN)));
        assert_eq!(
            format!("{:?}", status(&anyhow::anyhow!("disk full"))),
            format!("{:?}", ExitCode::FAILURE)
        );
    }
}
