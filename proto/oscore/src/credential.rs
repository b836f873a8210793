//! What a node is provisioned with and a gateway keeps of it, as one line of text.

use crate::keys::{Id, Keys};
use alloc::string::String;
use core::fmt::{self, Write as _};
use core::str::FromStr;

/// The secret that one node shares with its gateway.
///
/// As text: EUI-64, key identifier, master secret and master salt in hexadecimal, a space between them.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The node.
    pub eui64: [u8; 8],
    /// The node's identifier in OSCORE, unique at its gateway. The gateway's own is empty.
    pub kid: Id,
    /// Master secret: random.
    pub secret: [u8; 16],
    /// Master salt.
    pub salt: [u8; 8],
}

impl Credential {
    /// Keys of the node's end. `None` only for a node without an identifier.
    pub fn node_keys(&self) -> Option<Keys> {
        Keys::derive(&self.secret, &self.salt, None, self.kid, Id::default())
    }

    /// Keys of the gateway's end.
    pub fn gateway_keys(&self) -> Option<Keys> {
        Keys::derive(&self.secret, &self.salt, None, Id::default(), self.kid)
    }

    /// The line of text. There is no `Display`: a secret is not to be printed by accident.
    pub fn to_line(&self) -> String {
        let mut line = String::new();
        for (at, field) in [&self.eui64[..], self.kid.as_bytes(), &self.secret, &self.salt].iter().enumerate()
        {
            if at > 0 {
                line.push(' ');
            }
            for byte in *field {
                let _ = write!(line, "{byte:02x}"); // a String takes everything
            }
        }
        line
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({:?})", self.kid)
    }
}

/// Which field of a line is not what it should be. The line itself is not told: it holds a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialError(&'static str);

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl core::error::Error for CredentialError {}

impl FromStr for Credential {
    type Err = CredentialError;

    fn from_str(line: &str) -> Result<Self, CredentialError> {
        let mut fields = line.split_ascii_whitespace();
        let mut field = || fields.next().unwrap_or("");
        let eui64 =
            bytes(field()).ok_or(CredentialError("field 1, the EUI-64, is not 16 hexadecimal digits"))?;
        let kid = field();
        let kid = (2..=14).contains(&kid.len()).then(|| identifier(kid)).flatten();
        let kid =
            kid.ok_or(CredentialError("field 2, the key identifier, is not 2 to 14 hexadecimal digits"))?;
        let secret =
            bytes(field()).ok_or(CredentialError("field 3, the secret, is not 32 hexadecimal digits"))?;
        let salt =
            bytes(field()).ok_or(CredentialError("field 4, the salt, is not 16 hexadecimal digits"))?;
        match fields.next() {
            None => Ok(Self { eui64, kid, secret, salt }),
            Some(_) => Err(CredentialError("there is more than four fields")),
        }
    }
}

fn bytes<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    read_hex(hex, &mut bytes)?;
    Some(bytes)
}

fn identifier(hex: &str) -> Option<Id> {
    let mut bytes = [0; crate::ID_MAX];
    let bytes = bytes.get_mut(..hex.len() / 2)?;
    read_hex(hex, bytes)?;
    Id::new(bytes)
}

fn read_hex(hex: &str, to: &mut [u8]) -> Option<()> {
    if hex.len() != 2 * to.len() || !hex.is_ascii() {
        return None;
    }
    for (byte, pair) in to.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = (digit(0)? << 4 | digit(1)?) as u8;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_line_is_read_as_it_was_written_and_a_wrong_field_is_named() {
        let credential = Credential {
            eui64: [2, 0, 0, 0, 0, 0, 0, 7],
            kid: Id::new(&[1, 2]).unwrap(),
            secret: *b"0123456789abcdef",
            salt: *b"saltsalt",
        };
        let line = credential.to_line();
        assert_eq!(line, "0200000000000007 0102 30313233343536373839616263646566 73616c7473616c74");
        assert!(line.parse() == Ok(credential.clone()));
        assert!(!alloc::format!("{credential:?}").contains("3031"));
        let error = |line: &str| line.parse::<Credential>().unwrap_err().to_string();
        assert!(error("").contains("field 1"));
        assert!(error("0200000000000007 z1").contains("field 2"));
        assert!(error("0200000000000007 0102 30").contains("field 3"));
        assert!(error(&(line.clone() + "0")).contains("field 4"));
        assert!(error(&(line + " 1")).contains("more than four"));
    }
}
