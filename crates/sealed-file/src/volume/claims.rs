//! Who uses a file alone, among all that have it open: engines that must not meet another of their kind on the same bytes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::opened::Opened;
use super::volume_file::VolumeFile;

/// The claims on one file. Other processes are kept away by the volume's own lock.
#[derive(Default)]
pub(super) struct Claims(Mutex<Held>);

#[derive(Default)]
struct Held {
    shared: u32,
    alone: bool,
}

/// How a file is to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// With others who only read.
    Shared,
    /// Alone.
    Alone,
}

/// A claim on a file; dropping it gives the file free.
pub struct FileClaim {
    claim: Claim,
    opened: Arc<Opened>,
}

impl VolumeFile {
    /// Claims the file, if nobody's claim is in the way. It binds those who ask; reads and writes do not.
    #[must_use]
    pub fn try_claim(&self, claim: Claim) -> Option<FileClaim> {
        let free = self.opened.claims.take(claim);
        free.then(|| FileClaim {
            claim,
            opened: self.opened.clone(),
        })
    }
}

impl Claims {
    fn take(&self, claim: Claim) -> bool {
        let mut held = self.held();
        match claim {
            _ if held.alone => return false,
            Claim::Alone if held.shared > 0 => return false,
            Claim::Alone => held.alone = true,
            Claim::Shared => held.shared += 1,
        }
        true
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FileClaim {
    fn drop(&mut self) {
        let mut held = self.opened.claims.held();
        match self.claim {
            Claim::Alone => held.alone = false,
            Claim::Shared => held.shared -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_alone_or_many_together() {
        let claims = Claims::default();
        assert!(claims.take(Claim::Shared));
        assert!(claims.take(Claim::Shared));
        assert!(!claims.take(Claim::Alone));
        claims.held().shared = 0;
        assert!(claims.take(Claim::Alone));
        assert!(!claims.take(Claim::Alone));
        assert!(!claims.take(Claim::Shared));
    }
}
