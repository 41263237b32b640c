//! Reading, writing and committing.

use std::hint::black_box;

use cofferdam_sealed_file::VolumeStatistics;

use crate::store::{Bytes, Store};
use crate::{Cost, Outcome};

/// What is done to one file, in this order.
#[derive(Clone, Copy)]
pub(crate) enum Phase {
    Write,
    Overwrite,
    OverwriteAnywhere,
    Read,
    ReadAnywhere,
}

pub(crate) const PHASES: [Phase; 5] = [
    Phase::Write,
    Phase::Overwrite,
    Phase::OverwriteAnywhere,
    Phase::Read,
    Phase::ReadAnywhere,
];

impl Phase {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Phase::Write => "sequential write, new file",
            Phase::Overwrite => "sequential write, in place",
            Phase::OverwriteAnywhere => "random write, in place",
            Phase::Read => "sequential read",
            Phase::ReadAnywhere => "random read",
        }
    }
}

/// One operation for each page; those that write are synced once, at the end.
pub(crate) fn run(phase: Phase, store: &Store, pages: usize) -> Outcome<()> {
    let file = store.file("pages")?;
    let mut bytes = vec![7; PAGE_LEN];
    for index in 0..pages {
        let anywhere = scattered(index, pages) * PAGE_LEN as u64;
        let in_order = (index * PAGE_LEN) as u64;
        match phase {
            Phase::Write | Phase::Overwrite => file.write_at(&bytes, in_order)?,
            Phase::OverwriteAnywhere => file.write_at(&bytes, anywhere)?,
            Phase::Read => file.read_at(&mut bytes, in_order)?,
            Phase::ReadAnywhere => file.read_at(&mut bytes, anywhere)?,
        }
        black_box(&bytes);
    }
    match phase {
        Phase::Read | Phase::ReadAnywhere => Ok(()),
        _ => file.sync(),
    }
}

/// Where commits write.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// At the end: the system's file grows with each of them.
    Append,
    /// Over pages that are there.
    InPlace,
}

/// The files of threads that commit.
pub(crate) fn logs(store: &Store, place: Place, threads: usize) -> Outcome<Vec<Bytes>> {
    let log = |thread| {
        let file = store.file(&format!("log {threads} {thread}"))?;
        if let Place::InPlace = place {
            for index in 0..LOG_PAGES {
                file.write_at(&[8; PAGE_LEN], index * PAGE_LEN as u64)?;
            }
            file.sync()?;
        }
        Ok(file)
    };
    (0..threads).map(log).collect()
}

/// Every thread writes to a file of its own and syncs, over and over.
pub(crate) fn commit(files: &[Bytes], place: Place, commits: usize) -> Outcome<()> {
    let work = |file: &Bytes| -> Result<(), String> {
        for index in 0..(commits / files.len()) as u64 {
            let page = match place {
                Place::Append => index,
                Place::InPlace => index % LOG_PAGES,
            };
            let written = file.write_at(&[9; PAGE_LEN], page * PAGE_LEN as u64);
            written
                .and_then(|()| file.sync())
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = files
            .iter()
            .map(|file| scope.spawn(|| work(file)))
            .collect();
        for thread in threads {
            thread.join().expect("a thread panicked")?;
        }
        Ok(())
    })
}

/// How the time of commits is shared out.
pub(crate) fn account(
    name: &str,
    phase: &str,
    threads: usize,
    cost: Cost,
    before: VolumeStatistics,
    after: VolumeStatistics,
) -> String {
    let syncs = (after.syncs - before.syncs) as f64;
    let commits = (after.commits - before.commits) as f64;
    let micros = |seconds: f64| seconds * 1e6 / syncs;
    let waiting = (after.sync_time - before.sync_time).as_secs_f64() / threads as f64;
    format!(
        "{name}, {phase:21}: {:7.1} µs a commit, of which {:7.1} in sync (the journal's write and fdatasync, and waiting for another's); \
         {:5.1} processor; {:.1} commits share a sync; {} homings\n",
        micros(cost.wall),
        micros(waiting),
        micros(cost.cpu),
        syncs / commits,
        after.homings - before.homings,
    )
}

/// Each page once, in an order that nobody foresees.
fn scattered(index: usize, pages: usize) -> u64 {
    // An odd factor permutes the residues of a power of two.
    let pages = pages.next_power_of_two() as u64;
    (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) % pages
}

const PAGE_LEN: usize = 8192;
/// Pages of a file that commits overwrite.
const LOG_PAGES: u64 = 16;
