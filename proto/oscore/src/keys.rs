//! From the master secret to keys and nonces (RFC 8613 §3.2, §5.2, §5.4).

use aes::Aes128;
use alloc::vec::Vec;
use ccm::aead::{AeadInPlace, KeyInit, generic_array::GenericArray};
use ccm::consts::{U8, U13};
use hkdf::Hkdf;
use sha2::Sha256;

/// Longest identifier, bytes: the nonce's 13 less 6 (RFC 8613 §5.2).
pub const ID_MAX: usize = 7;
/// Longest ID context taken, bytes.
const ID_CONTEXT_MAX: usize = 16;
/// AES-CCM-16-64-128 in the COSE registry.
const ALGORITHM: u8 = 10;
const NONCE_LEN: usize = 13;

type Aead = ccm::Ccm<Aes128, U8, U13>;

/// An endpoint's identifier, 0 to [`ID_MAX`] bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    len: u8,
    bytes: [u8; ID_MAX],
}

impl Id {
    /// `None` if it is too long.
    pub fn new(id: &[u8]) -> Option<Self> {
        let mut bytes = [0; ID_MAX];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        Some(Self { len: id.len() as u8, bytes })
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl core::fmt::Debug for Id {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What both ends derive; says nothing of itself in a log.
#[derive(Clone)]
pub struct Keys {
    sender_key: [u8; 16],
    recipient_key: [u8; 16],
    common_iv: [u8; NONCE_LEN],
    sender: Id,
    recipient: Id,
}

impl core::fmt::Debug for Keys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Keys({:?} to {:?})", self.sender, self.recipient)
    }
}

impl Keys {
    /// Derives the keys of the end that sends as `sender`. `None` if both have the same identifier, or the ID context
    /// is longer than 16 bytes.
    pub fn derive(
        secret: &[u8],
        salt: &[u8],
        id_context: Option<&[u8]>,
        sender: Id,
        recipient: Id,
    ) -> Option<Self> {
        if sender == recipient || id_context.is_some_and(|context| context.len() > ID_CONTEXT_MAX) {
            return None;
        }
        let hkdf = Hkdf::<Sha256>::new(Some(salt), secret);
        let mut keys = Self {
            sender_key: [0; 16],
            recipient_key: [0; 16],
            common_iv: [0; NONCE_LEN],
            sender,
            recipient,
        };
        let nobody = Id::default();
        hkdf.expand(&info(sender, id_context, b"Key", 16), &mut keys.sender_key).ok()?;
        hkdf.expand(&info(recipient, id_context, b"Key", 16), &mut keys.recipient_key).ok()?;
        hkdf.expand(&info(nobody, id_context, b"IV", NONCE_LEN as u8), &mut keys.common_iv).ok()?;
        Some(keys)
    }

    /// The identifier of this end.
    pub fn sender(&self) -> Id {
        self.sender
    }

    /// The identifier of the other end.
    pub fn recipient(&self) -> Id {
        self.recipient
    }

    /// Encrypts what this end says. `nonce_of` is who chose the number.
    pub(crate) fn seal(&self, nonce_of: Id, piv: Piv, request: (Id, Piv), mut text: Vec<u8>) -> Vec<u8> {
        let nonce = GenericArray::from(self.nonce(nonce_of, piv));
        let aead = Aead::new(&GenericArray::from(self.sender_key));
        match aead.encrypt_in_place_detached(&nonce, &aad(request), &mut text) {
            Ok(tag) => text.extend_from_slice(&tag),
            // Longer than CCM can count (65 kB), which no datagram is: nothing is better than plain text.
            Err(_) => text.clear(),
        }
        text
    }

    /// Decrypts what the other end said; `None` if it is not authentic.
    pub(crate) fn open(&self, nonce_of: Id, piv: Piv, request: (Id, Piv), text: &[u8]) -> Option<Vec<u8>> {
        let (text, tag) = text.split_at_checked(text.len().checked_sub(8)?)?;
        let nonce = GenericArray::from(self.nonce(nonce_of, piv));
        let aead = Aead::new(&GenericArray::from(self.recipient_key));
        let mut text = text.to_vec();
        aead.decrypt_in_place_detached(&nonce, &aad(request), &mut text, GenericArray::from_slice(tag))
            .ok()?;
        Some(text)
    }

    fn nonce(&self, id: Id, piv: Piv) -> [u8; NONCE_LEN] {
        let mut nonce = [0; NONCE_LEN];
        nonce[0] = id.len;
        nonce[1 + ID_MAX - usize::from(id.len)..=ID_MAX].copy_from_slice(id.as_bytes());
        nonce[1 + ID_MAX..].copy_from_slice(&piv.0.to_be_bytes()[3..]);
        nonce.iter_mut().zip(self.common_iv).for_each(|(byte, iv)| *byte ^= iv);
        nonce
    }
}

/// A partial IV: a sequence number of 40 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piv(u64);

impl Piv {
    /// The largest one (RFC 8613 §7.2.1).
    pub const MAX: u64 = (1 << 40) - 1;

    pub fn new(number: u64) -> Option<Self> {
        (number <= Self::MAX).then_some(Self(number))
    }

    pub fn number(self) -> u64 {
        self.0
    }

    /// 1 to 5 bytes; leading zeros are not the shortest form and are refused.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [] | [0, _, ..] => None,
            bytes if bytes.len() > 5 => None,
            bytes => Some(Self(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))),
        }
    }

    pub fn write(self, to: &mut Vec<u8>) -> u8 {
        let bytes = self.0.to_be_bytes();
        let skip = (self.0.leading_zeros() as usize / 8).min(7);
        to.extend_from_slice(&bytes[skip..]);
        (8 - skip) as u8
    }
}

/// The CBOR array that HKDF expands by (RFC 8613 §3.2.1).
fn info(id: Id, id_context: Option<&[u8]>, what: &[u8], len: u8) -> Vec<u8> {
    let mut info = Vec::with_capacity(32);
    info.push(0x85);
    byte_string(&mut info, id.as_bytes());
    match id_context {
        Some(context) => byte_string(&mut info, context),
        None => info.push(0xf6),
    }
    info.push(ALGORITHM);
    info.push(0x60 | what.len() as u8);
    info.extend_from_slice(what);
    info.push(len);
    info
}

/// The Enc_structure with the request's identifier and number (RFC 8613 §5.4); there are no class I options.
fn aad((kid, piv): (Id, Piv)) -> Vec<u8> {
    let mut external = Vec::with_capacity(24);
    external.extend_from_slice(&[0x85, 1, 0x81, ALGORITHM]);
    byte_string(&mut external, kid.as_bytes());
    let mut number = Vec::with_capacity(5);
    piv.write(&mut number);
    byte_string(&mut external, &number);
    byte_string(&mut external, &[]);
    let mut aad = Vec::with_capacity(40);
    aad.extend_from_slice(&[0x83, 0x68]);
    aad.extend_from_slice(b"Encrypt0");
    byte_string(&mut aad, &[]);
    byte_string(&mut aad, &external);
    aad
}

/// A CBOR byte string of fewer than 24 bytes, which all of these are.
fn byte_string(to: &mut Vec<u8>, bytes: &[u8]) {
    to.push(0x40 | bytes.len() as u8);
    to.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_as_short_as_can_be_and_nothing_else_is_read() {
        for (number, bytes) in [(0, &[0][..]), (20, &[20]), (256, &[1, 0]), (Piv::MAX, &[0xff; 5])] {
            let mut written = Vec::new();
            assert_eq!(usize::from(Piv::new(number).unwrap().write(&mut written)), bytes.len());
            assert_eq!(written, bytes);
            assert_eq!(Piv::from_bytes(bytes).map(Piv::number), Some(number));
        }
        assert_eq!(Piv::from_bytes(&[]), None);
        assert_eq!(Piv::from_bytes(&[0, 1]), None);
        assert_eq!(Piv::from_bytes(&[1; 6]), None);
        assert_eq!(Piv::new(Piv::MAX + 1), None);
    }
}
