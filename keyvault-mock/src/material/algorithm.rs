//! Digest algorithms by the length of what the service is handed: it signs digests, not messages.

use aws_lc_rs::digest::{self, Digest};

use crate::error::Refusal;

/// `bytes` as the digest that a signature algorithm such as `RS256` is made over.
///
/// # Errors
/// A length that is not the algorithm's.
pub fn imported_digest(bits: &str, bytes: &[u8]) -> Result<Digest, Refusal> {
    let algorithm = match bits {
        "256" => &digest::SHA256,
        "384" => &digest::SHA384,
        _ => &digest::SHA512,
    };
    Digest::import_less_safe(bytes, algorithm).map_err(|_| {
        Refusal::bad_parameter(format!(
            "Invalid length of 'value': {} bytes. A digest for this algorithm has {} bytes.",
            bytes.len(),
            algorithm.output_len()
        ))
    })
}
