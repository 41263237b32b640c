//! redb on a volume: it does what redb on a plain file does, and loses nothing that was committed when the power goes.
//!
//! `COFFERDAM_SEED` replays a run, `COFFERDAM_CRASH_POINTS` sets how many moments are tried, and
//! `COFFERDAM_OPERATIONS` how many operations have their answers compared.

#[path = "redb/crash.rs"]
mod crash;
#[path = "redb/differential.rs"]
mod differential;
#[path = "redb/model.rs"]
mod model;
#[path = "redb/workload.rs"]
mod workload;
#[path = "volume/world.rs"]
mod world;

use std::process::ExitCode;
use std::time::Instant;

use cofferdam_tests::crash_directory::CrashDirectory;
use cofferdam_tests::random::{number, seed};

fn main() -> ExitCode {
    // Test runners ask every binary for its tests; this one is run as a whole, by its suite.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let seed = seed();
    let points = number("COFFERDAM_CRASH_POINTS").unwrap_or(CRASH_POINTS);
    println!("COFFERDAM_SEED={seed} COFFERDAM_CRASH_POINTS={points}");
    let begun = Instant::now();
    let compared = differential::run(seed, TRANSACTIONS);
    let operations = number("COFFERDAM_OPERATIONS").unwrap_or(OPERATIONS);
    let answers = model::run(seed, operations);
    // A test that cannot fail is no test: the same on a disk that ignores syncs.
    let ignoring = crash::run(seed, 200, false, CrashDirectory::ignoring_sync);
    let tally = crash::run(seed, points, true, CrashDirectory::new);
    println!(
        "on a disk that ignores syncs: {} of {} crash points wrong",
        ignoring.wrong, ignoring.points
    );
    println!(
        "redb: {} operations in {} transactions compared with a plain file, {} savepoints restored, {} reopenings, {} crash points, {} of them amid a transaction, \
         {} with crashes during recovery, {} groups replayed, {} wrong, {:.1} s",
        answers.operations,
        compared + answers.transactions,
        answers.restored,
        answers.reopened,
        tally.points,
        tally.amid,
        tally.nested,
        tally.replayed,
        tally.wrong,
        begun.elapsed().as_secs_f64()
    );
    let can_fail = ignoring.wrong > 0 && tally.amid > 0 && tally.replayed > 0;
    match tally.wrong == 0 && tally.points >= points && can_fail {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

const CRASH_POINTS: u64 = 2000;
const TRANSACTIONS: u64 = 1500;
const OPERATIONS: u64 = 120_000;
