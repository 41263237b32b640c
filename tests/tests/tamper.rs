//! Everything on the disk is altered, moved, swapped, cut and put back. What is not exactly what was written is refused,
//! by name; nothing panics, and no byte is served that was not written there.
//!
//! What is *not* noticed is asserted as precisely, in [`limits`]: the documentation promises no more.

#[path = "tamper/companions.rs"]
mod companions;
#[path = "tamper/fixture.rs"]
mod fixture;
#[path = "tamper/keyrings.rs"]
mod keyrings;
#[path = "tamper/limits.rs"]
mod limits;
#[path = "tamper/pages.rs"]
mod pages;
#[path = "tamper/records.rs"]
mod records;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use cofferdam_keys::Suite;
use cofferdam_tests::random::seed;

use fixture::Fixture;

fn main() {
    // Test runners ask every binary for its tests; this one is run as a whole, by its suite.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let seed = seed();
    println!("seed {seed}");
    for (suite, room) in [
        (Suite::One, false),
        (Suite::One, true),
        (Suite::Two, true),
        (Suite::Three, true),
    ] {
        let fixture = Fixture::new(suite, room, seed);
        fixture.assert_untouched();
        let parts: [Part; 6] = [
            ("pages", pages::run),
            ("records", records::run),
            ("keyrings", keyrings::run),
            ("companions", companions::run),
            ("limits", limits::run),
            // Last: the audit log has then seen newer keyrings than the one that the other parts alter.
            ("rollback", keyrings::rollback),
        ];
        for (name, part) in parts {
            let before = refusals();
            part(&fixture);
            let count = refusals() - before;
            println!(
                "suite {}, room {room}, {name}: {count} refusals",
                suite as u8
            );
        }
    }
    println!("tamper: {} refusals", refusals());
}

/// A name, and what it does to a fixture.
type Part = (&'static str, fn(&Fixture));

static REFUSALS: AtomicUsize = AtomicUsize::new(0);

fn refusals() -> usize {
    REFUSALS.load(Ordering::Relaxed)
}

fn refused() {
    REFUSALS.fetch_add(1, Ordering::Relaxed);
}

/// Runs jobs on many threads: a refusal takes milliseconds in which the reader waits for a writer that may be at work.
fn in_parallel<T: Sync>(jobs: &[T], job: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                while let Some(one) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    job(one);
                }
            });
        }
    });
}
