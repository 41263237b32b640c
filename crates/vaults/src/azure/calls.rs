//! Names for calls, so that our record and the vault's own can be compared.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::failure::Failure;

/// The calls of one session. Their ids are UUIDs (RFC 9562, version 8) of which the first half is random and names the session, and the second
/// half counts: so a tally of calls that names its session names all of them.
#[derive(Default)]
pub(super) struct Calls {
    session: OnceLock<u64>,
    count: AtomicU64,
}

impl Calls {
    /// # Errors
    ///
    /// [`Reason::Unreachable`](cofferdam_keys::Reason::Unreachable) when the module gives no random bytes.
    pub(super) fn next_id(&self) -> Result<String, Failure> {
        let session = match self.session.get() {
            Some(&session) => session,
            None => {
                let drawn = random()?;
                *self.session.get_or_init(|| drawn)
            }
        };
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        Ok(uuid(session, number))
    }
}

/// The version is in the seventh byte, the variant in the ninth.
fn uuid(session: u64, number: u64) -> String {
    let high = session & 0xffff_ffff_ffff_0fff | 0x8000;
    let low = number & (u64::MAX >> 2) | 1 << 63;
    let hex = format!("{high:016x}{low:016x}");
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}

fn random() -> Result<u64, Failure> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Failure::unreachable("the cryptographic module gave no random bytes"))?;
    Ok(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_within_a_session() {
        assert_eq!(uuid(u64::MAX, 0), "ffffffff-ffff-8fff-8000-000000000000");
        assert_eq!(uuid(0, 255), "00000000-0000-8000-8000-0000000000ff");
        let (one, other) = (Calls::default(), Calls::default());
        let (first, second) = (one.next_id().unwrap(), one.next_id().unwrap());
        assert_eq!(first[..18], second[..18]);
        assert_ne!(first, second);
        assert_ne!(other.next_id().unwrap()[..18], first[..18]);
    }
}
