//! A revocation drill: what would happen if the keys were taken away now, on a reader of our own.

mod reader;
mod vaults;

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cofferdam_keys::{Lease, Standing};
use cofferdam_sealed_file::{Error, Opener};
use cofferdam_sqlite::Sealed;

use crate::failure::Failure;
pub(crate) use reader::Reader;
pub(crate) use vaults::DrillVaults;

/// What a drill measured.
pub(crate) struct Measured {
    /// Reads that were served before the vault said *no*.
    pub(crate) reads_before: u64,
    /// From the vault's first *no* to its confirmation.
    pub(crate) confirmed_after: Duration,
    /// From the confirmed *no* to the last read that was served; zero when it came before.
    pub(crate) last_read_after: Duration,
    /// From the closing of the gate to the moment when no key was left in memory.
    pub(crate) wiped_after: Duration,
    /// Whether no key was left.
    pub(crate) wiped: bool,
    /// Reads that were tried and refused while the keys were away.
    pub(crate) refused: u64,
    /// What a reader was told.
    pub(crate) words: String,
    /// From the vault's *yes* to the first read that was served.
    pub(crate) restored_after: Duration,
}

/// Holds the drill on the database at `path`. `vaults` are the opener's.
///
/// # Errors
/// The database does not open, or the drill did not end as it must.
pub(crate) fn hold(
    opener: Arc<Opener>,
    vaults: &DrillVaults,
    path: &Path,
) -> Result<Measured, Failure> {
    let sealed = Sealed::new(opener.clone())?;
    let reader = Reader::start(&sealed, path)?;
    let lease = lease_of(&opener, path)?;
    thread::sleep(WARM_UP);
    let reads_before = reader.served();

    vaults.deny();
    until("the vault's no was not acted upon", || {
        !lease.standing().serves() && lease.wiped().is_some()
    })?;
    thread::sleep(WARM_UP);
    let (first, confirmed) = vaults.denials().ok_or_else(not_asked)?;
    let last_read_after = reader.last_served().map_or(Duration::ZERO, |last| {
        last.saturating_duration_since(confirmed)
    });
    let refused = reader.refused();
    let words = reader.words();
    let wiped = lease.wiped().ok_or_else(not_asked)?;

    let allowed = vaults.allow();
    until("the vault's yes was not acted upon", || {
        reader.last_served().is_some_and(|last| last > allowed)
    })?;
    let restored_after = reader.first_served_after(allowed).unwrap_or_default();
    reader.stop()?;
    Ok(Measured {
        reads_before,
        confirmed_after: confirmed - first,
        last_read_after,
        wiped_after: wiped.after,
        wiped: wiped.complete,
        refused,
        words,
        restored_after,
    })
}

/// The lease of a database that this opener serves.
///
/// # Errors
/// It is not being served.
pub(crate) fn lease_of(opener: &Opener, path: &Path) -> Result<Arc<Lease>, Failure> {
    let slots = crate::store::slots(path)?;
    let candidates = slots.candidates();
    let store = candidates.first().map(|(_, keyring)| keyring.store_id());
    store
        .and_then(|store| opener.leases.find(store))
        .filter(|lease| lease.standing() == Standing::Ready)
        .ok_or_else(|| {
            Failure::from(Error::Misuse {
                what: "the database is not being served, so there is nothing to take away",
            })
        })
}

fn until(failed: &str, mut done: impl FnMut() -> bool) -> Result<(), Failure> {
    let started = Instant::now();
    while !done() {
        if started.elapsed() > PATIENCE {
            return Err(Failure::refused(format!("the drill failed: {failed}")));
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn not_asked() -> Failure {
    Failure::refused("the drill failed: nobody asked the vault")
}

/// How long the reader reads before anything happens.
const WARM_UP: Duration = Duration::from_millis(300);
/// Much longer than anything in a drill takes.
const PATIENCE: Duration = Duration::from_secs(30);
