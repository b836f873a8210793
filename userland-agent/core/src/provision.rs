//! What a node without files is provisioned with: who it is, where its gateway is, whom it believes.
//!
//! ```text
//!   0       4        8         9                          KEYS_AT                BLOB_MAX
//!   +-------+--------+---------+--------------------+-----+----------------------+
//!   | magic | CRC-32 | version | postcard(Fields)   |  0  | 4 publishers' keys   |
//!   +-------+--------+---------+--------------------+-----+----------------------+
//!                    `-------------------- under the CRC ------------------------'
//! ```
//!
//! The keys of publishers are where a kernel finds them, which reads nothing else of it; those that are all 0 are none.

//! A tool on the host writes the blob with [`Provision::encode`]; the node reads it at its start and never writes it.
//! It holds the node's secret: it must not be printed, and whoever reads the node's flash has it.

use crate::crc::crc32;
use crate::manifest::PUBLISHERS_MAX;
use heapless::Vec;
use node_oscore::{Credential, Id};
use node_proto::Power;
use node_proto::limits::BOARD_NAME_MAX;
use serde::{Deserialize, Serialize};

/// Room for a blob in a node's storage, bytes.
pub const BLOB_MAX: usize = 512;
/// What a blob begins with.
const MAGIC: [u8; 4] = *b"MMAp";
/// Goes up when a field changes. A node reads its own version only.
const VERSION: u8 = 2;
/// Bytes before what the CRC is of.
const HEADER: usize = 8;
/// Where the keys of publishers are.
pub const KEYS_AT: usize = BLOB_MAX - 32 * PUBLISHERS_MAX;

/// The network that a node is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// 6LoWPAN in one PAN, unsecured below OSCORE.
    Lowpan {
        /// The PAN's identifier.
        pan: u16,
        /// Channel of the 2.4 GHz band, 11 to 26.
        channel: u8,
    },
    /// A Thread network, joined as a child.
    Thread {
        /// The PAN's identifier.
        pan: u16,
        /// Channel of the 2.4 GHz band, 11 to 26.
        channel: u8,
        /// The network key.
        key: [u8; 16],
        /// Which of the keys made of it is in use.
        key_sequence: u32,
    },
}

/// What a node was provisioned with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provision {
    /// Its identity, if it is not to be its radio's.
    pub eui64: Option<[u8; 8]>,
    /// The gateway's EUI-64.
    pub gateway: [u8; 8],
    /// The network that both are in.
    pub network: Network,
    /// What protects its messages; see [`crate::Config::credential`] for what it means to have none.
    pub credential: Option<Credential>,
    /// Ed25519 keys of the only publishers whose images it starts; any if there are none.
    pub publishers: Vec<[u8; 32], PUBLISHERS_MAX>,
    /// Longest pause between polls that it wants, seconds.
    pub poll_max_s: u16,
    /// Its supply.
    pub power: Power,
    /// The board's name; empty for the one that it was built for.
    pub board: heapless::String<BOARD_NAME_MAX>,
}

/// Why there is nothing to go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProvisionError {
    /// Nothing was written there.
    Absent,
    /// It was not written whole, or has changed since.
    Damaged,
    /// It is of another version, or does not decode.
    Unreadable,
    /// It does not fit [`BLOB_MAX`] or a field's limit.
    TooLong,
}

/// As it is stored.
#[derive(Serialize, Deserialize)]
struct Fields {
    eui64: Option<[u8; 8]>,
    gateway: [u8; 8],
    network: Network,
    credential: Option<Secret>,
    poll_max_s: u16,
    power: Power,
    board: heapless::String<BOARD_NAME_MAX>,
}

/// A [`Credential`] as it is stored.
#[derive(Serialize, Deserialize)]
struct Secret {
    eui64: [u8; 8],
    kid: Vec<u8, { node_oscore::ID_MAX }>,
    secret: [u8; 16],
    salt: [u8; 8],
}

impl Provision {
    /// The blob.
    pub fn encode(&self) -> Result<[u8; BLOB_MAX], ProvisionError> {
        let secret = |credential: &Credential| {
            Some(Secret {
                eui64: credential.eui64,
                kid: Vec::from_slice(credential.kid.as_bytes()).ok()?,
                secret: credential.secret,
                salt: credential.salt,
            })
        };
        let credential = match &self.credential {
            None => None,
            Some(credential) => Some(secret(credential).ok_or(ProvisionError::TooLong)?),
        };
        let fields = Fields {
            eui64: self.eui64,
            gateway: self.gateway,
            network: self.network,
            credential,
            poll_max_s: self.poll_max_s,
            power: self.power,
            board: self.board.clone(),
        };
        let mut blob = [0; BLOB_MAX];
        blob[..4].copy_from_slice(&MAGIC);
        blob[HEADER] = VERSION;
        postcard::to_slice(&fields, &mut blob[HEADER + 1..KEYS_AT]).map_err(|_| ProvisionError::TooLong)?;
        for (place, key) in blob[KEYS_AT..].chunks_exact_mut(32).zip(&self.publishers) {
            place.copy_from_slice(key);
        }
        let crc = crc32(&[&blob[HEADER..]]);
        blob[4..HEADER].copy_from_slice(&crc.to_le_bytes());
        Ok(blob)
    }

    /// Reads a blob, whatever follows it.
    #[inline(never)] // in its caller's large frame it takes more code
    pub fn decode(blob: &[u8]) -> Result<Self, ProvisionError> {
        let Some(blob) = blob.first_chunk::<BLOB_MAX>().filter(|blob| blob.starts_with(&MAGIC)) else {
            return Err(ProvisionError::Absent);
        };
        let (header, body) = blob.split_at(HEADER);
        if header[4..] != crc32(&[body]).to_le_bytes() {
            return Err(ProvisionError::Damaged);
        }
        let (fields, keys) = blob.split_at(KEYS_AT);
        let fields = match fields.get(HEADER..) {
            Some([VERSION, fields @ ..]) => postcard::take_from_bytes::<Fields>(fields).ok(),
            _ => None,
        };
        let (fields, _) = fields.ok_or(ProvisionError::Unreadable)?;
        let keys = keys.chunks_exact(32).filter_map(|key| <[u8; 32]>::try_from(key).ok());
        let credential = match fields.credential {
            None => None,
            Some(Secret { eui64, kid, secret, salt }) => {
                let kid = Id::new(&kid).filter(|kid| !kid.as_bytes().is_empty());
                Some(Credential { eui64, kid: kid.ok_or(ProvisionError::Unreadable)?, secret, salt })
            }
        };
        Ok(Self {
            eui64: fields.eui64,
            gateway: fields.gateway,
            network: fields.network,
            credential,
            publishers: keys.filter(|key| *key != [0; 32]).collect(),
            poll_max_s: fields.poll_max_s,
            power: fields.power,
            board: fields.board,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Provision {
        let credential = Credential {
            eui64: [2, 0, 0, 0, 0, 0, 0, 7],
            kid: Id::new(&[1; node_oscore::ID_MAX]).unwrap(),
            secret: *b"0123456789abcdef",
            salt: *b"saltsalt",
        };
        Provision {
            eui64: Some([2, 0, 0, 0, 0, 0, 0, 7]),
            gateway: [2, 0, 0, 0, 0, 0, 0, 1],
            network: Network::Thread { pan: u16::MAX, channel: 26, key: [7; 16], key_sequence: u32::MAX },
            credential: Some(credential),
            publishers: (1..=PUBLISHERS_MAX as u8).map(|key| [key; 32]).collect(),
            poll_max_s: u16::MAX,
            power: Power::Battery(255),
            board: "nrf52840dk-abc".try_into().unwrap(),
        }
    }

    #[test]
    fn what_was_written_is_read_and_the_longest_fits() {
        let blob = full().encode().unwrap();
        assert_eq!(Provision::decode(&blob), Ok(full()));
        assert_eq!(&blob[KEYS_AT..KEYS_AT + 32], &full().publishers[0], "where a kernel looks");
        let bare = Provision {
            eui64: None,
            network: Network::Lowpan { pan: 0xabcd, channel: 11 },
            credential: None,
            publishers: Vec::new(),
            ..full()
        };
        assert_eq!(Provision::decode(&bare.encode().unwrap()), Ok(bare));
    }

    #[test]
    fn whatever_bit_changes_nothing_is_believed() {
        let mut blob = full().encode().unwrap();
        for bit in 0..BLOB_MAX * 8 {
            blob[bit / 8] ^= 1 << (bit % 8);
            assert!(Provision::decode(&blob).is_err(), "bit {bit}");
            blob[bit / 8] ^= 1 << (bit % 8);
        }
        for cut in 0..BLOB_MAX {
            assert!(Provision::decode(&blob[..cut]).is_err());
        }
        assert_eq!(Provision::decode(&[0xff; BLOB_MAX]), Err(ProvisionError::Absent));
    }

    #[test]
    fn another_version_is_named_as_that() {
        let mut blob = full().encode().unwrap();
        blob[HEADER] = VERSION + 1;
        let crc = crc32(&[&blob[HEADER..]]);
        blob[4..HEADER].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Provision::decode(&blob), Err(ProvisionError::Unreadable));
    }
}
