//! The one message that is on its way out, piece by piece.
//!
//! A message of more than one piece may meet a full ring in its middle. It stays here then, and whatever the task calls
//! next sends more of it, so that a message is never sent in part and never twice.

use grants::syscall::PIECE_MAX;

/// Longest message, bytes; `agent_wasm::abi` has the same.
pub const MESSAGE_MAX: usize = 512;

/// A message, and how much of it is sent.
pub struct Outgoing {
    bytes: [u8; MESSAGE_MAX],
    len: usize,
    sent: usize,
}

impl Outgoing {
    pub const fn new() -> Self {
        Self { bytes: [0; MESSAGE_MAX], len: 0, sent: 0 }
    }

    /// True if all of it is sent.
    pub fn is_empty(&self) -> bool {
        self.sent == self.len
    }

    /// Sends the first piece of a message, and what more there is room for. What is left waits here. `send` is given a
    /// piece and whether more follows. An error of the first piece is that of the message, of which nothing is sent;
    /// there must not be another one, and it must not be longer than [`MESSAGE_MAX`].
    pub fn begin<E>(
        &mut self,
        bytes: &[u8],
        send: &mut impl FnMut(&[u8], bool) -> Result<(), E>,
    ) -> Result<(), E> {
        let (first, rest) = bytes.split_at(bytes.len().min(PIECE_MAX));
        send(first, !rest.is_empty())?;
        for (room, byte) in self.bytes.iter_mut().zip(rest) {
            *room = *byte;
        }
        (self.len, self.sent) = (rest.len().min(MESSAGE_MAX), 0);
        self.go_on(send);
        Ok(())
    }

    /// Sends what there is room for.
    pub fn go_on<E>(&mut self, send: &mut impl FnMut(&[u8], bool) -> Result<(), E>) {
        while let Some(rest) = self.bytes.get(self.sent..self.len).filter(|rest| !rest.is_empty()) {
            let (piece, after) = rest.split_at(rest.len().min(PIECE_MAX));
            if send(piece, !after.is_empty()).is_err() {
                return;
            }
            self.sent += piece.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_goes_out_once_and_whole_however_little_room_there_is() {
        for len in [0, 1, 48, 49, 96, 97, 512] {
            let message: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let (mut outgoing, mut pieces) = (Outgoing::new(), Vec::new());
            let mut turn = 0;
            let mut send = |piece: &[u8], more: bool| {
                turn += 1;
                if turn % 3 != 1 {
                    return Err(());
                }
                assert!(piece.len() <= PIECE_MAX);
                pieces.push((piece.to_vec(), more));
                Ok(())
            };
            assert_eq!(outgoing.begin(&message, &mut send), Ok(()));
            for _ in 0..100 {
                outgoing.go_on(&mut send);
            }
            assert!(outgoing.is_empty());
            assert_eq!(pieces.iter().flat_map(|(piece, _)| piece.clone()).collect::<Vec<_>>(), message);
            let last = pieces.len() - 1;
            assert!(pieces.iter().enumerate().all(|(at, (_, more))| *more == (at < last)));
        }
    }

    #[test]
    fn nothing_is_left_of_a_message_whose_first_piece_is_refused() {
        let mut outgoing = Outgoing::new();
        assert_eq!(outgoing.begin(&[1; 100], &mut |_, _| Err("busy")), Err("busy"));
        assert!(outgoing.is_empty());
    }
}
