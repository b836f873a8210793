//! An AES engine for boards that have none. Tock's 802.15.4 framer asks for one; frames without security, the only ones
//! that the [guard](crate::guard) admits and that nodes send, never reach it.

use kernel::ErrorCode;
use kernel::hil::symmetric_encryption::{AES, AES128, AESCBC, AESCtr, AESECB, Client};

/// Refuses every operation.
pub struct NoAes;

impl<'a> AES<'a, AES128> for NoAes {
    fn enable(&self) {}

    fn disable(&self) {}

    fn set_client(&'a self, _client: &'a dyn Client<'a>) {}

    fn set_key(&self, _key: &[u8]) -> Result<(), ErrorCode> {
        Err(ErrorCode::NOSUPPORT)
    }

    fn set_iv(&self, _iv: &[u8]) -> Result<(), ErrorCode> {
        Err(ErrorCode::NOSUPPORT)
    }

    fn start_message(&self) {}

    fn crypt(
        &self,
        source: Option<&'static mut [u8]>,
        dest: &'static mut [u8],
        _start_index: usize,
        _stop_index: usize,
    ) -> Option<(Result<(), ErrorCode>, Option<&'static mut [u8]>, &'static mut [u8])> {
        Some((Err(ErrorCode::NOSUPPORT), source, dest))
    }
}

impl AESCtr for NoAes {
    fn set_mode_aesctr(&self, _encrypting: bool) -> Result<(), ErrorCode> {
        Err(ErrorCode::NOSUPPORT)
    }
}

impl AESCBC for NoAes {
    fn set_mode_aescbc(&self, _encrypting: bool) -> Result<(), ErrorCode> {
        Err(ErrorCode::NOSUPPORT)
    }
}

impl AESECB for NoAes {
    fn set_mode_aesecb(&self, _encrypting: bool) -> Result<(), ErrorCode> {
        Err(ErrorCode::NOSUPPORT)
    }
}
