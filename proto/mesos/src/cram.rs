//! CRAM-MD5 (RFC 2195), the one mechanism that Mesos' own authenticatee and authenticator speak.

use hmac::{Hmac, Mac};
use md5::Md5;

/// The mechanism's name.
pub const MECHANISM: &str = "CRAM-MD5";

/// Who one is and how to prove it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The name.
    pub principal: String,
    /// The proof, never shown.
    pub secret: Vec<u8>,
}

/// A file is not what Mesos' `--credential` takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {{\"principal\": ..., \"secret\": ...}}, or both in one line with a space between: {0}")]
pub struct CredentialError(String);

impl Credential {
    /// Reads what `--credential` of `mesos-agent` takes: JSON, or the older line of principal and secret.
    pub fn parse(text: &str) -> Result<Self, CredentialError> {
        let error = |why: &str| CredentialError(why.to_owned());
        let text = text.trim();
        let (principal, secret) = if text.starts_with('{') {
            let json: serde_json::Value =
                serde_json::from_str(text).map_err(|why| CredentialError(why.to_string()))?;
            let field = |name: &str| json.get(name).and_then(|value| value.as_str()).map(str::to_owned);
            let principal = field("principal").ok_or_else(|| error("no text under 'principal'"))?;
            (principal, field("secret").ok_or_else(|| error("no text under 'secret'"))?)
        } else {
            let mut words = text.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some(principal), Some(secret), None) => (principal.to_owned(), secret.to_owned()),
                _ => return Err(error("not two words")),
            }
        };
        if principal.is_empty() || secret.is_empty() {
            return Err(error("principal or secret is empty"));
        }
        Ok(Self { principal, secret: secret.into_bytes() })
    }
}

/// Reads what `--credentials` of `mesos-master` takes: JSON `{"credentials": [...]}`, or a line for each.
pub fn parse_list(text: &str) -> Result<Vec<Credential>, CredentialError> {
    let text = text.trim();
    if !text.starts_with('{') {
        return text.lines().filter(|line| !line.trim().is_empty()).map(Credential::parse).collect();
    }
    let json: serde_json::Value =
        serde_json::from_str(text).map_err(|why| CredentialError(why.to_string()))?;
    let list = json.get("credentials").and_then(|list| list.as_array());
    let list = list.ok_or_else(|| CredentialError("no list under 'credentials'".into()))?;
    list.iter().map(|one| Credential::parse(&one.to_string())).collect()
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("principal", &self.principal).finish_non_exhaustive()
    }
}

/// The answer to a challenge: the principal, a space and the digest in lower-case hexadecimal.
pub fn answer(credential: &Credential, challenge: &[u8]) -> String {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Md5>::new_from_slice(&credential.secret) else { return String::new() };
    mac.update(challenge);
    let digest: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} {digest}", credential.principal)
}

/// True if `data` answers the challenge as the credential would.
pub fn verify(credential: &Credential, challenge: &[u8], data: &[u8]) -> bool {
    let expected = answer(credential, challenge);
    let differing = expected.bytes().zip(data).fold(0, |sum, (a, b)| sum | (a ^ b));
    expected.len() == data.len() && differing == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_2195_holds() {
        let credential = Credential { principal: "tim".into(), secret: b"tanstaaftanstaaf".to_vec() };
        let challenge = b"<1896.697170952@postoffice.reston.mci.net>";
        let said = answer(&credential, challenge);
        assert_eq!(said, "tim b913a602c7eda7a495b4e6e7334d3890");
        assert!(verify(&credential, challenge, said.as_bytes()));
        assert!(!verify(&credential, b"<another>", said.as_bytes()));
        assert!(!verify(&credential, challenge, b"tim"));
        assert!(!format!("{credential:?}").contains("tan"));
    }

    #[test]
    fn both_formats_of_the_file_are_read() {
        let expected = Credential { principal: "agents".into(), secret: b"s3cret".to_vec() };
        for text in ["agents s3cret\n", "{\"principal\": \"agents\", \"secret\": \"s3cret\"}"] {
            assert_eq!(Credential::parse(text).unwrap(), expected);
        }
        for text in
            ["", "agents", "a b c", "{}", "{\"principal\": 1, \"secret\": \"x\"}", "{\"principal\": \"a\""]
        {
            assert!(Credential::parse(text).is_err(), "{text}");
        }
        let list = r#"{"credentials": [{"principal": "agents", "secret": "s3cret"}]}"#;
        for text in [list, "agents s3cret\n\n"] {
            assert_eq!(parse_list(text).unwrap(), std::slice::from_ref(&expected));
        }
        assert!(parse_list("{}").is_err() && parse_list("one").is_err());
    }
}
