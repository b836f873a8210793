//! The operator's token, as a gateway or master beyond loopback asks for it.

use anyhow::{Context, Result};
use std::path::PathBuf;

/// Where the token is. In the environment, `MICRO_TOKEN` is the token itself; it is no flag, because others see those.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct TokenArgs {
    /// File with the operator's token, for a gateway or master that listens beyond this machine [env: MICRO_TOKEN is
    /// the token itself]
    #[arg(long, env = "MICRO_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl TokenArgs {
    /// What to send as `Authorization`, if there is a token.
    pub fn header(&self) -> Result<Option<String>> {
        let token = match &self.token_file {
            Some(path) => Some(page::Token::read(path)?),
            None => match std::env::var("MICRO_TOKEN") {
                Ok(text) => Some(page::Token::parse(&text).context("MICRO_TOKEN: not a token")?),
                Err(_) => None,
            },
        };
        Ok(token.map(|token| format!("Bearer {}", token.text())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_and_a_wrong_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let at = TokenArgs { token_file: Some(path.clone()) };
        assert!(at.header().unwrap_err().to_string().contains("token"));
        let token = page::Token::read_or_make(&path).unwrap();
        assert_eq!(at.header().unwrap().unwrap(), format!("Bearer {}", token.text()));
    }
}
