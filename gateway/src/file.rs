//! TOML files that operators write. What is wrong in one is said with its path, the line and the field.

use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// A file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something in it.
    #[error("{path}, line {line}: {why}")]
    Content {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What is wrong, with the field.
        why: String,
    },
}

/// Tells lines from offsets, for errors that come after reading.
pub(crate) struct Lines {
    path: PathBuf,
    source: String,
}

impl Lines {
    /// What is wrong with what stands at a byte offset.
    pub fn at(&self, offset: usize, why: String) -> FileError {
        let before = &self.source.as_bytes()[..offset.min(self.source.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        FileError::Content { path: self.path.clone(), line, why }
    }
}

/// Reads a file into its type.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<(T, Lines), FileError> {
    let source =
        std::fs::read_to_string(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    let lines = Lines { path: path.to_owned(), source };
    let parsed = toml::from_str(&lines.source);
    match parsed {
        Ok(value) => Ok((value, lines)),
        Err(error) => {
            let offset = error.span().map_or(0, |span| span.start);
            Err(lines.at(offset, error.message().to_owned()))
        }
    }
}
