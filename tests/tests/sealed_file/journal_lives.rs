//! A journal that is kept between transactions (`journal_mode=PERSIST`), one life after the other, with power cuts.

use std::sync::Arc;
use std::sync::Mutex;

use cofferdam_keys::{DataKeys, Suite};
use cofferdam_sealed_file::{Error, FileKind, SealedFile};
use cofferdam_tests::crash_disk::CrashDisk;
use cofferdam_tests::power_cut::Loss;
use cofferdam_tests::random::{Random, seed};

use crate::{PAGE, in_parallel, open, times};

/// Goal: whatever a power cut tears, a journal that has a header holds bytes of that header's transaction, and of no
/// older one; and all that were synced before the header counted them.
#[test]
fn no_older_transaction_comes_back() {
    let found = power_cuts(1200 * times(), SealedFile::begin_anew);
    assert!(
        found.wrong.is_empty(),
        "{} wrong: {:?}",
        found.wrong.len(),
        found.wrong.first()
    );
    assert!(found.hot > 100, "only {} journals had a header", found.hot);
}

/// Goal: show that the test can fail. A journal that is written over without beginning anew gives older transactions back.
#[test]
fn a_journal_that_does_not_begin_anew_is_noticed() {
    let found = power_cuts(1200, |_| Ok(()));
    assert!(!found.wrong.is_empty());
}

#[derive(Default)]
struct Found {
    /// Journals that SQLite would roll back.
    hot: usize,
    wrong: Vec<String>,
}

/// What is known of the journal when the power goes.
#[derive(Debug, Default)]
struct Relied {
    /// The transaction under way, whose number fills its bytes.
    life: u8,
    /// Its bytes up to here were synced, and its header counts them durably.
    counted: u64,
    /// The transaction before and where it ended, when its journal could not be marked: SQLite knows by its last bytes, the
    /// name of a super-journal, that it has ended.
    unmarked: Option<(u8, u64)>,
}

type Begin = fn(&mut SealedFile<CrashDisk>) -> Result<(), Error>;

fn power_cuts(count: usize, begin: Begin) -> Found {
    let seed = seed();
    println!("seed {seed}");
    let found = Mutex::new(Found::default());
    in_parallel(count, |scenario| {
        let random = &mut Random::part(seed, scenario as u64);
        let suite = *random.pick(&[Suite::One, Suite::Two, Suite::Three]);
        let keys = Arc::new(DataKeys::ephemeral(suite).expect("random bytes"));
        let disk = CrashDisk::new();
        disk.crash_at(1 + random.below(160));
        let mut relied = Relied::default();
        let ended = transactions(&disk, &keys, begin, &mut relied, random);
        let honest = ended.err().filter(|_| !disk.crashed());
        let loss = Loss::random(random);
        disk.crash();
        disk.power_cycle(loss, random.next());
        let checked = match honest {
            Some(error) => Err(format!("without a power cut: {error}")),
            None => check(&disk, &keys, &relied),
        };
        let mut found = found.lock().expect("no panics");
        match checked {
            Ok(hot) => found.hot += usize::from(hot),
            Err(what) => found.wrong.push(format!(
                "seed {seed}, scenario {scenario}: {what}, {relied:?}, {loss:?}"
            )),
        }
    });
    found.into_inner().expect("no panics")
}

/// Transactions as SQLite writes them with `synchronous=FULL`.
fn transactions(
    disk: &CrashDisk,
    keys: &Arc<DataKeys>,
    begin: Begin,
    relied: &mut Relied,
    random: &mut Random,
) -> Result<(), Error> {
    let mut file = open(disk.clone(), keys, FileKind::RollbackJournal)?;
    for life in 1..12 {
        if random.chance(20) {
            file = open(disk.clone(), keys, FileKind::RollbackJournal)?;
        }
        begin(&mut file)?;
        relied.life = life;
        let mut header = [life; PAGE];
        header[..COUNT_END].fill(0);
        file.write_at(&header, 0)?;
        let mut end = PAGE as u64;
        for _ in 0..random.below(6) {
            let len = 1 + random.index(3 * PAGE);
            file.write_at(&vec![life; len], end)?;
            end += len as u64;
            if random.chance(20) {
                file.flush()?;
            }
        }
        file.sync()?;
        file.write_at(&[life; COUNT_END], 0)?;
        file.sync()?;
        relied.counted = end;
        // The database is written. Power that goes meanwhile, a write to it at the latest, finds a hot journal.
        if random.chance(50) {
            file.forget();
        }
        file.sync()?;
        relied.unmarked = None;
        relied.counted = 0;
        if random.chance(25) {
            relied.unmarked = Some((life, end));
            continue;
        }
        file.note_ended();
        file.write_at(&[0; HEADER_LEN], 0)?;
        file.sync()?;
        relied.life = 0;
    }
    Ok(())
}

/// Whether the journal is hot.
fn check(disk: &CrashDisk, keys: &Arc<DataKeys>, relied: &Relied) -> Result<bool, String> {
    let said = |error: Error| error.to_string();
    let mut file = open(disk.clone(), keys, FileKind::RollbackJournal).map_err(said)?;
    let len = file.len().map_err(said)?;
    let mut bytes = vec![0; len as usize];
    for (index, page) in bytes.chunks_mut(PAGE).enumerate() {
        file.read_at(page, (index * PAGE) as u64).map_err(said)?;
    }
    let hot = bytes.first().is_some_and(|&first| first != 0);
    if !hot {
        return match relied.counted {
            0 => Ok(false),
            _ => Err("a header that was synced is gone".to_owned()),
        };
    }
    let life = bytes[0];
    if let Some((before, end)) = relied.unmarked
        && life == before
    {
        let whole = bytes.get(..end as usize);
        return match whole.is_some_and(|bytes| bytes.iter().all(|&byte| byte == before)) {
            true => Ok(true),
            false => Err(format!("a part of transaction {before} is back")),
        };
    }
    if relied.life != 0 && life != relied.life {
        return Err(format!("the header of transaction {life} is back"));
    }
    match bytes.iter().position(|&byte| byte != 0 && byte != life) {
        Some(at) => Err(format!(
            "byte {at} is of transaction {}, the header of {life}",
            bytes[at]
        )),
        None if bytes[..relied.counted as usize].contains(&0) => {
            Err("bytes that were synced are gone".to_owned())
        }
        None => Ok(true),
    }
}

/// The fields that SQLite's header ends with.
const HEADER_LEN: usize = 28;
/// Magic and count, which are set when the records are durable.
const COUNT_END: usize = 12;
