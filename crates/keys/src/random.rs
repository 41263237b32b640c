//! Random bytes, from the cryptographic module and from nowhere else.

use crate::KeysError;

/// Fills a buffer with random bytes.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), KeysError> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| KeysError::Random)
}
