//! The token that opens the documents beyond loopback: 32 random bytes as hexadecimal digits, in a file that only its
//! owner reads.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq;

/// Shortest token taken from a file: what is shorter can be guessed.
const LENGTH_MIN: usize = 32;
/// Longest one.
const LENGTH_MAX: usize = 256;

/// A token's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read or made.
    #[error("token file {0}: {1}; name another one with --token-file")]
    File(PathBuf, io::Error),
    /// It holds something else.
    #[error(
        "token file {0}: expected {LENGTH_MIN} to {LENGTH_MAX} letters, digits or -_.~; remove the file to have a new one made"
    )]
    Malformed(PathBuf),
}

/// Opens the documents to whoever has it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// A new one.
    #[expect(clippy::new_without_default, reason = "no two are the same")]
    pub fn new() -> Self {
        Self(rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Reads a token as it is written in a file or an environment variable; white space around it is left out.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = (LENGTH_MIN..=LENGTH_MAX).contains(&text.len());
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte));
        (fits && plain).then(|| Self(text.to_owned()))
    }

    /// The token in this file.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let fail = |error| TokenError::File(path.to_owned(), error);
        let mut text = String::new();
        let file = File::open(path).map_err(fail)?;
        if file.metadata().map_err(fail)?.mode() & 0o077 != 0 {
            tracing::warn!(file = %path.display(), "others can read this token: chmod 600");
        }
        file.take(2 * LENGTH_MAX as u64).read_to_string(&mut text).map_err(fail)?;
        Self::parse(&text).ok_or_else(|| TokenError::Malformed(path.to_owned()))
    }

    /// The token in this file, which is made if there is none. Of two who make it at once both get the same.
    pub fn read_or_make(path: &Path) -> Result<Self, TokenError> {
        match Self::read(path) {
            Err(TokenError::File(_, error)) if error.kind() == io::ErrorKind::NotFound => {}
            read => return read,
        }
        let fail = |error| TokenError::File(path.to_owned(), error);
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory).map_err(fail)?;
        }
        let token = Self::new();
        // Whole or not at all: written beside, and linked to its name if nothing has that yet.
        let beside = path.with_extension(format!("{}.half", std::process::id()));
        let mut open = OpenOptions::new();
        let mut file =
            open.write(true).create(true).truncate(true).mode(0o600).open(&beside).map_err(fail)?;
        let written = file.write_all(format!("{}\n", token.text()).as_bytes()).and_then(|()| file.sync_all());
        let linked = written.and_then(|()| match std::fs::hard_link(&beside, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
        let _ = std::fs::remove_file(&beside); // a file that nobody reads
        linked.map_err(fail)?;
        Self::read(path)
    }

    /// Its text, for the one line that tells the operator.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether somebody's token is this one, in a time that tells nothing about where they differ.
    pub fn is(&self, other: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(other).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/token");
        let token = Token::read_or_make(&path).unwrap();
        assert_eq!(token.text().len(), 64);
        assert!(token == Token::read_or_make(&path).unwrap() && token == Token::read(&path).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
        let other = Token::read_or_make(&dir.path().join("other")).unwrap();
        assert!(token != other && token.is(token.text().as_bytes()));
        assert!(
            !token.is(other.text().as_bytes()) && !token.is(b"") && !token.is(&token.text().as_bytes()[..63])
        );
        assert_eq!(format!("{token:?}"), "Token", "it is in no log");
    }

    #[test]
    fn what_is_no_token_is_refused_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        for text in ["", "short", &"x".repeat(300), "0123456789 0123456789 0123456789 0123456789"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(Token::read_or_make(&path), Err(TokenError::Malformed(_))), "{text}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert!(matches!(Token::read(dir.path()), Err(TokenError::File(..))));
    }
}
