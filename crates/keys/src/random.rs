//! Random bytes, from the cryptographic module and from nowhere else.

use crate::KeysError;

/// Fills a buffer with random bytes.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), KeysError> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| KeysError::Random)
}

/// A number in 0…1, to spread what would otherwise happen at one moment. Nothing secret hangs on it.
pub(crate) fn fraction() -> f64 {
    let mut bytes = [0; 4];
    match fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}
