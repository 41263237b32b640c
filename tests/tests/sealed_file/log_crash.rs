//! Logs and journals lose power and processes, life after life.

use std::sync::Arc;
use std::sync::Mutex;

use cofferdam_keys::{DataKeys, Suite};
use cofferdam_sealed_file::{Disk, Error, FileKind};
use cofferdam_tests::crash_disk::CrashDisk;
use cofferdam_tests::power_cut::Loss;
use cofferdam_tests::random::{Random, seed};

use crate::kill_disk::KillDisk;
use crate::log::{Log, Relied, Style};
use crate::{in_parallel, times};

/// Goal: what was synced is never lost by a power cut, whatever was done before and after, and no page that anybody
/// may rely on is reported as altered.
#[test]
fn synced_bytes_of_logs_survive_power_cuts() {
    let failures = power_cuts(&LOGS, 900, Style::random);
    assert!(failures.is_empty(), "{}", listed(&failures));
}

/// Goal: the same, cut at every single operation of an append-only log.
#[test]
fn synced_bytes_survive_appending_whenever_the_power_goes() {
    let seed = seed();
    println!("seed {seed}");
    let failures = Mutex::new(Vec::new());
    in_parallel(8 * times(), |scenario| {
        for at in 1..400 {
            let part = seed.wrapping_add(scenario as u64);
            let kind = LOGS[scenario % 2];
            match lives(kind, part, 2, Style::append_only, Some(at)) {
                Ok(true) => {}
                // The whole scenario ran without reaching the operation.
                Ok(false) => return,
                Err(failure) => failures.lock().expect("no panics").push(failure),
            }
        }
    });
    let failures = failures.into_inner().expect("no panics");
    assert!(failures.is_empty(), "{}", listed(&failures));
}

/// Goal: what was flushed is never lost when the process is killed, also inside of a write.
#[test]
fn flushed_bytes_of_logs_survive_kills() {
    let failures = kills(&LOGS, 1500, Style::random);
    assert!(failures.is_empty(), "{}", listed(&failures));
}

/// Goal: show that these tests can fail. A file whose pages have one home each loses what was synced and flushed.
#[test]
fn files_with_one_home_fail_the_same_tests() {
    let kinds = [FileKind::SuperJournal; 2];
    let failures = power_cuts(&kinds, 120, Style::append_only).len();
    assert!(failures > 10, "only {failures} power cuts were noticed");
    // A kill inside of a write to a page that had bytes before.
    let failures = kills(&kinds, 600, Style::append_only).len();
    assert!(failures > 0, "no kill was noticed");
}

/// Goal: show that the power cuts are real. On a disk that lies about syncs the tests fail.
#[test]
fn a_disk_that_ignores_syncs_is_noticed() {
    let seed = seed();
    println!("seed {seed}");
    let noticed = (0..60).filter(|scenario| {
        let random = &mut Random::part(seed, *scenario);
        let keys = keys(random);
        let disk = CrashDisk::ignoring_sync();
        let (relied, _) = life(
            &disk,
            &keys,
            LOGS[0],
            Style::append_only(random),
            random,
            None,
        );
        disk.crash();
        disk.power_cycle(Loss::Everything, random.next());
        check(&disk, &keys, LOGS[0], &relied, relied.synced, random).is_err()
    });
    assert!(noticed.count() > 20);
}

fn power_cuts(kinds: &[FileKind; 2], count: usize, style: fn(&mut Random) -> Style) -> Vec<String> {
    let seed = seed();
    println!("seed {seed}");
    let failures = Mutex::new(Vec::new());
    in_parallel(count * times(), |scenario| {
        let part = seed.wrapping_add(scenario as u64);
        if let Err(failure) = lives(kinds[scenario % 2], part, 6, style, None) {
            failures.lock().expect("no panics").push(failure);
        }
    });
    failures.into_inner().expect("no panics")
}

/// Lives of one disk, each ended by a power cut. `false` when the first one ended before the operation `at`.
fn lives(
    kind: FileKind,
    seed: u64,
    count: usize,
    style: fn(&mut Random) -> Style,
    mut at: Option<u64>,
) -> Result<bool, String> {
    let random = &mut Random::new(seed);
    let keys = keys(random);
    let disk = CrashDisk::new();
    for life_number in 0..count {
        let told = |failure: String| format!("seed {seed}, {kind}, life {life_number}: {failure}");
        let style = style(random);
        let crash_at = at.take().unwrap_or_else(|| 1 + random.below(90));
        let (relied, ended) = life(&disk, &keys, kind, style, random, Some(crash_at));
        if let Some(error) = ended.filter(|_| !disk.crashed()) {
            return Err(told(format!("{error}, {style:?}")));
        }
        if life_number == 0 && !disk.crashed() {
            return Ok(false);
        }
        disk.crash();
        let loss = Loss::random(random);
        disk.power_cycle(loss, random.next());
        check(&disk, &keys, kind, &relied, relied.synced, random)
            .map_err(|failure| told(format!("{failure}, {loss:?}, {style:?}")))?;
    }
    Ok(true)
}

fn kills(kinds: &[FileKind; 2], count: usize, style: fn(&mut Random) -> Style) -> Vec<String> {
    let seed = seed();
    println!("seed {seed}");
    let failures = Mutex::new(Vec::new());
    in_parallel(count * times(), |scenario| {
        let kind = kinds[scenario % 2];
        let random = &mut Random::part(seed, scenario as u64);
        let keys = keys(random);
        let mut bytes = Vec::new();
        for life_number in 0..4 {
            let style = style(random);
            let disk = KillDisk::new(bytes, 1 + random.below(120), random.next());
            let (relied, _) = life(&disk, &keys, kind, style, random, None);
            bytes = disk.bytes();
            let left = KillDisk::new(bytes.clone(), u64::MAX, 0);
            if let Err(failure) = check(&left, &keys, kind, &relied, relied.flushed, random) {
                let told = format!(
                    "seed {seed}, scenario {scenario}, {kind}, life {life_number}: {failure}, {style:?}"
                );
                failures.lock().expect("no panics").push(told);
                return;
            }
        }
    });
    failures.into_inner().expect("no panics")
}

/// One life of a log: what its owner relied on when it ended, and the error that ended it.
fn life<D: CrashAt>(
    disk: &D,
    keys: &Arc<DataKeys>,
    kind: FileKind,
    style: Style,
    random: &mut Random,
    crash_at: Option<u64>,
) -> (Relied, Option<Error>) {
    let part = Random::new(random.next());
    let mut log = match Log::recover(disk.clone(), keys, kind, style, part) {
        Ok(log) => log,
        Err(error) => return (Relied::default(), Some(error)),
    };
    if let Some(nth) = crash_at {
        disk.at(nth);
    }
    let ended = log.work(70).err();
    (log.relied.clone(), ended)
}

fn check<D: Disk + Clone>(
    disk: &D,
    keys: &Arc<DataKeys>,
    kind: FileKind,
    relied: &Relied,
    end: u64,
    random: &mut Random,
) -> Result<(), String> {
    let style = Style::append_only(random);
    let log = Log::recover(disk.clone(), keys, kind, style, random.clone())
        .map_err(|error| format!("recovery: {error}"))?;
    let found = log.recovered();
    if end > 0 && (found.0 != relied.cycle || found.1 < end) {
        return Err(format!(
            "found {found:?}, should be at least {end} of {relied:?}"
        ));
    }
    Ok(())
}

/// Disks that can be told when to fail.
trait CrashAt: Disk + Clone {
    fn at(&self, nth: u64);
}

impl CrashAt for CrashDisk {
    fn at(&self, nth: u64) {
        self.crash_at(nth);
    }
}

impl CrashAt for KillDisk {
    fn at(&self, _: u64) {}
}

fn keys(random: &mut Random) -> Arc<DataKeys> {
    let suite = *random.pick(&[Suite::One, Suite::Two, Suite::Three]);
    Arc::new(DataKeys::ephemeral(suite).expect("random bytes"))
}

fn listed(failures: &[String]) -> String {
    let first = failures.iter().take(8).cloned().collect::<Vec<_>>();
    format!("{} failures, such as\n{}", failures.len(), first.join("\n"))
}

const LOGS: [FileKind; 2] = [FileKind::WriteAheadLog, FileKind::RollbackJournal];
