//! That no OSCORE nonce is used twice for different bytes, and nothing goes in the clear: read from the datagrams.

use std::collections::HashMap;

/// What of a CoAP message is not protected.
struct Outer<'a> {
    code: u8,
    token: &'a [u8],
    oscore: Option<&'a [u8]>,
    payload: &'a [u8],
}

/// RFC 7252 §3, as far as it matters here.
fn read(datagram: &[u8]) -> Option<Outer<'_>> {
    let (first, rest) = datagram.split_first()?;
    let (code, rest) = rest.split_first()?;
    let (token, mut rest) = rest.get(2..)?.split_at_checked(usize::from(first & 15))?;
    let mut oscore = None;
    let mut number = 0;
    loop {
        let Some((head, after)) = rest.split_first() else {
            return Some(Outer { code: *code, token, oscore, payload: &[] });
        };
        if *head == 0xff {
            return Some(Outer { code: *code, token, oscore, payload: after });
        }
        rest = after;
        let mut more = |nibble: u8| match nibble {
            13 => {
                let (byte, after) = rest.split_first()?;
                rest = after;
                Some(usize::from(*byte) + 13)
            }
            14 => {
                let (bytes, after) = rest.split_first_chunk::<2>()?;
                rest = after;
                Some(usize::from(u16::from_be_bytes(*bytes)) + 269)
            }
            15 => None,
            small => Some(usize::from(small)),
        };
        number += more(head >> 4)?;
        let len = more(head & 15)?;
        let (value, after) = rest.split_at_checked(len)?;
        rest = after;
        if number == 9 {
            oscore = Some(value);
        }
    }
}

/// The partial IV in an OSCORE option (RFC 8613 §6.1).
fn partial_iv(option: &[u8]) -> Option<u64> {
    let (flags, rest) = option.split_first()?;
    let bytes = rest.get(..usize::from(flags & 7)).filter(|bytes| !bytes.is_empty())?;
    Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// Which nonce with which key: the node, whether the node sends, whether the nonce is the request's of the other side,
/// the number.
type Nonce = (usize, bool, bool, u64);

/// All nonces that were seen.
#[derive(Default)]
pub(crate) struct Nonces {
    used: HashMap<Nonce, u64>,
    /// Numbers of requests, by node, direction and token.
    asked: HashMap<(usize, bool, Vec<u8>), u64>,
}

impl Nonces {
    /// Looks at a datagram as it leaves. The error says what is wrong with it.
    pub fn sent(&mut self, node: usize, by_node: bool, to_battery: bool, bytes: &[u8]) -> Result<(), String> {
        let who = if by_node { "node" } else { "gateway" };
        let outer = read(bytes).ok_or_else(|| format!("{who} {node} sends what is no CoAP"))?;
        if outer.code == 0 {
            return Ok(()); // an acknowledgement or a rejection without content
        }
        let is_request = outer.code < 32;
        if is_request && to_battery {
            return Err(format!("a request is sent to node {node}, which sleeps"));
        }
        let Some(option) = outer.oscore else {
            return Err(format!("{who} {node} sends code {} in the clear", outer.code));
        };
        let own = partial_iv(option);
        let nonce = match own {
            Some(number) => {
                if is_request {
                    let newest = self.asked.entry((node, by_node, outer.token.to_vec())).or_default();
                    *newest = number.max(*newest);
                }
                (node, by_node, false, number)
            }
            None => {
                let asked = self.asked.get(&(node, !by_node, outer.token.to_vec()));
                let number = asked.ok_or_else(|| format!("{who} {node} answers what nobody asked"))?;
                (node, by_node, true, *number)
            }
        };
        // FNV-1a.
        let text = outer.payload.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        });
        match self.used.insert(nonce, text) {
            Some(before) if before != text => {
                let (.., of_request, number) = nonce;
                Err(format!("{who} {node} used number {number} twice (of the request: {of_request})"))
            }
            _ => Ok(()),
        }
    }
}
