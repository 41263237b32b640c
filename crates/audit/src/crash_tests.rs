//! A log on a disk that fails and loses what was not synced.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use crate::files::Files;
use crate::log::AuditLog;
use crate::note::Signer;
use crate::reader::LogReader;
use crate::verify::verify_files;
use crate::{Action, Event, Object, Outcome, Sink, UnixTime};

/// Keeps what was synced apart from what was only written.
#[derive(Clone, Default)]
struct Disk {
    contents: BTreeMap<u64, Content>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    next: u64,
    /// Operations until everything fails.
    left: Option<u64>,
    /// How often somebody waited for the disk.
    syncs: u64,
}

#[derive(Clone, Default)]
struct Content {
    current: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Clone, Default)]
struct CrashFiles(Arc<Mutex<Disk>>);

impl CrashFiles {
    fn of(disk: Disk) -> CrashFiles {
        CrashFiles(Arc::new(Mutex::new(disk)))
    }

    fn disk(&self) -> Disk {
        self.0.lock().expect("no test panics with it").clone()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.0.lock().expect("no test panics with it");
        match &mut disk.left {
            Some(0) => return Err(io::Error::other("the disk has failed")),
            Some(left) => *left -= 1,
            None => {}
        }
        change(&mut disk)
    }
}

impl Files for CrashFiles {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let disk = self.0.lock().expect("no test panics with it");
        let id = disk.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(disk.contents[id].current.clone())
    }

    fn write(&self, path: &str, offset: u64, bytes: &[u8], durable: bool) -> io::Result<()> {
        let fails = self.0.lock().expect("no test panics with it").left == Some(0);
        if fails {
            // A write that fails has written something.
            let mut disk = self.0.lock().expect("no test panics with it");
            disk.put(path, offset, &bytes[..bytes.len() / 2]);
        }
        self.change(|disk| {
            let id = disk.put(path, offset, bytes);
            if durable {
                let content = disk.contents.get_mut(&id).expect("just put");
                content.durable = content.current.clone();
                disk.syncs += 1;
            }
            Ok(())
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(|disk| {
            let id = disk.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            disk.names.insert(to.to_owned(), id);
            Ok(())
        })
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.change(|disk| {
            let below = format!("{path}/");
            disk.names
                .retain(|name, _| name != path && !name.starts_with(&below));
            Ok(())
        })
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.change(|disk| {
            let ends = path
                .match_indices('/')
                .map(|(at, _)| at)
                .chain([path.len()]);
            for end in ends {
                disk.names
                    .entry(path[..end].to_owned())
                    .or_insert(DIRECTORY);
            }
            Ok(())
        })
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.change(|disk| {
            disk.syncs += 1;
            let (names, durable) = (&disk.names, &mut disk.durable_names);
            durable.retain(|name, _| parent(name) != path);
            durable.extend(
                names
                    .iter()
                    .filter(|(name, _)| parent(name) == path)
                    .map(|(n, i)| (n.clone(), *i)),
            );
            Ok(())
        })
    }
}

const DIRECTORY: u64 = 0;

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Disk {
    fn put(&mut self, path: &str, offset: u64, bytes: &[u8]) -> u64 {
        let id = *self.names.entry(path.to_owned()).or_insert_with(|| {
            self.next += 1;
            self.next
        });
        let content = &mut self.contents.entry(id).or_default().current;
        content.resize(offset as usize, 0);
        content.extend_from_slice(bytes);
        id
    }

    /// What is there after a power loss: everything synced, and of the rest what chance leaves.
    fn crash(&self, chance: &mut Chance) -> Disk {
        let mut names = BTreeMap::new();
        let all = self.names.keys().chain(self.durable_names.keys());
        for name in all.collect::<std::collections::BTreeSet<_>>() {
            let from = if chance.coin() {
                &self.names
            } else {
                &self.durable_names
            };
            if let Some(id) = from.get(name) {
                names.insert(name.clone(), *id);
            }
        }
        // What stands in a directory that is gone is gone.
        let kept = names.clone();
        names.retain(|name, _| {
            name.match_indices('/')
                .all(|(at, _)| kept.contains_key(&name[..at]))
        });
        let contents: BTreeMap<_, _> = self
            .contents
            .iter()
            .map(|(id, content)| {
                let torn = content.torn(chance);
                (
                    *id,
                    Content {
                        current: torn.clone(),
                        durable: torn,
                    },
                )
            })
            .collect();
        Disk {
            contents,
            durable_names: names.clone(),
            names,
            next: self.next,
            left: None,
            syncs: 0,
        }
    }

    fn synced(mut self) -> Disk {
        self.durable_names = self.names.clone();
        for content in self.contents.values_mut() {
            content.durable = content.current.clone();
        }
        self
    }
}

impl Content {
    /// Sectors of the old and the new content, mixed.
    fn torn(&self, chance: &mut Chance) -> Vec<u8> {
        match chance.next() % 4 {
            0 => return self.current.clone(),
            1 => return self.durable.clone(),
            _ => {}
        }
        let len = if chance.coin() {
            self.current.len()
        } else {
            self.durable.len()
        };
        let mut torn = vec![0; len];
        for (number, sector) in torn.chunks_mut(512).enumerate() {
            let from = if chance.coin() {
                &self.current
            } else {
                &self.durable
            };
            for (byte, old) in sector.iter_mut().zip(from.iter().skip(number * 512)) {
                *byte = *old;
            }
        }
        torn
    }
}

/// SplitMix64: every test says its seed.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn coin(&mut self) -> bool {
        self.next().is_multiple_of(2)
    }
}

fn clock() -> UnixTime {
    UnixTime {
        seconds: 1_767_225_600,
        nanos: 5,
    }
}

fn signer() -> Signer {
    Signer::new("crash.example/log", &[3; 32]).expect("a good origin")
}

fn open(files: &CrashFiles) -> Result<AuditLog, crate::AuditError> {
    AuditLog::with_files(Arc::new(files.clone()), None, signer(), clock)
}

fn event(number: u64) -> Event {
    let object = Object::store("00112233445566778899aabbccddeeff").with_keyring_sequence(number);
    Event::new(Action::KeyRewrap, Outcome::Success).with_object(object)
}

/// Appends one by one and in batches; returns how many events were acknowledged and the checkpoint.
fn scenario(files: &CrashFiles, first: u64, steps: &[u64]) -> (u64, Option<crate::Checkpoint>) {
    let mut acknowledged = (first, None);
    let Ok(log) = open(files) else {
        return acknowledged;
    };
    let mut next = first;
    for &count in steps {
        let events: Vec<Event> = (next..next + count).map(event).collect();
        next += count;
        match log.record_all(&events) {
            Ok(numbers) => {
                assert_eq!(numbers, next - count..next);
                let checkpoint = log.checkpoint().expect("just appended");
                acknowledged = (next, Some(checkpoint));
            }
            Err(_) => {
                let again = log.record(&event(0));
                assert!(
                    matches!(again, Err(crate::AuditError::Poisoned)),
                    "{again:?}"
                );
                break;
            }
        }
    }
    acknowledged
}

/// After any crash: readers see what was acknowledged, a writer goes on, everything verifies.
fn check_after(
    disk: Disk,
    first: u64,
    acknowledged: u64,
    checkpoint: Option<&crate::Checkpoint>,
    why: &str,
) {
    let files = CrashFiles::of(disk);
    if acknowledged > first {
        let mut reader = LogReader::with_files(Arc::new(files.clone()), &signer().key)
            .unwrap_or_else(|error| panic!("{why}: {error}"));
        let last = reader
            .event(acknowledged - 1)
            .unwrap_or_else(|error| panic!("{why}: {error}"));
        assert_eq!(last.event, event(acknowledged - 1), "{why}");
    }
    let log = open(&files).unwrap_or_else(|error| panic!("{why}: {error}"));
    let store = "00112233445566778899aabbccddeeff";
    let anchored = log
        .newest_sequence(store)
        .unwrap_or_else(|error| panic!("{why}: {error}"));
    assert!(
        anchored >= acknowledged.checked_sub(1),
        "{why}: {anchored:?}"
    );
    let size = log.checkpoint().expect("open").size();
    assert!(size >= acknowledged, "{why}: {size}");
    for more in 0..3 {
        let recorded = log
            .record(&event(size + more))
            .unwrap_or_else(|error| panic!("{why}: {error}"));
        assert_eq!(recorded.index, size + more, "{why}");
    }
    let report = verify_files(Arc::new(files), &signer().key, checkpoint);
    let report = report.unwrap_or_else(|error| panic!("{why}: {error}"));
    assert_eq!(report.checkpoint.size(), size + 3, "{why}");
    assert_eq!(report.stores[store], size + 2, "{why}");
}

fn crash_everywhere(start: &Disk, first: u64, steps: &[u64]) -> u64 {
    for step in 0.. {
        let files = CrashFiles::of(Disk {
            left: Some(step),
            ..start.clone()
        });
        let (acknowledged, checkpoint) = scenario(&files, first, steps);
        let disk = files.disk();
        let untouched = disk.left.is_some_and(|left| left > 0);
        // The process died, the machine did not.
        let alive = Disk {
            left: None,
            ..disk.clone()
        };
        check_after(
            alive,
            first,
            acknowledged,
            checkpoint.as_ref(),
            &format!("step {step}, killed"),
        );
        for seed in 0..6 {
            let after = disk.crash(&mut Chance(seed));
            let why = format!("step {step}, seed {seed}");
            check_after(after, first, acknowledged, checkpoint.as_ref(), &why);
        }
        if untouched {
            return step;
        }
    }
    unreachable!("the scenario ends")
}

/// A new log: a crash at any file operation leaves nothing, or a log with what was acknowledged.
#[test]
fn a_crash_while_a_log_begins_loses_no_acknowledged_event() {
    let steps = crash_everywhere(&Disk::default(), 0, &[1, 1, 3]);
    assert!(steps > 20, "{steps}");
}

/// The same around the end of a bundle, where tiles become whole, also with batches across it.
#[test]
fn a_crash_around_a_whole_tile_loses_no_acknowledged_event() {
    for (first, steps) in [
        (254, &[1, 1, 1, 1][..]),
        (250, &[2, 8, 1]),
        (250, &[600, 1]),
    ] {
        let files = CrashFiles::default();
        let events: Vec<Event> = (0..first).map(event).collect();
        open(&files)
            .and_then(|log| log.record_all(&events))
            .expect("no faults");
        crash_everywhere(&files.disk().synced(), first, steps);
    }
}

/// One process dies in the middle of a batch that crosses a bundle; another that has the log open
/// goes on as if nothing had happened.
#[test]
fn a_process_that_dies_does_not_hinder_another() {
    for step in 0.. {
        let files = CrashFiles::default();
        let log = open(&files).expect("no faults");
        let events: Vec<Event> = (0..250).map(event).collect();
        log.record_all(&events).expect("no faults");
        let dying = open(&files).expect("no faults");
        files.0.lock().expect("no panic").left = Some(step);
        let died = dying
            .record_all(&(250..270).map(event).collect::<Vec<_>>())
            .is_err();
        files.0.lock().expect("no panic").left = None;
        for _ in 0..10 {
            let size = log.checkpoint().expect("readable").size();
            log.record(&event(size))
                .unwrap_or_else(|error| panic!("step {step}: {error}"));
        }
        let report = verify_files(Arc::new(files), &signer().key, None);
        let size = report
            .unwrap_or_else(|error| panic!("step {step}: {error}"))
            .checkpoint
            .size();
        assert!(size == 260 || size == 280, "{size}");
        if !died {
            return;
        }
    }
}

/// The promise of three: entries, checkpoint, name of the checkpoint. An anchor is a fourth.
#[test]
fn an_append_waits_for_the_disk_three_times() {
    let files = CrashFiles::default();
    let log = open(&files).expect("no faults");
    let syncs_of = |event: &Event| {
        let before = files.disk().syncs;
        log.record(event).expect("no faults");
        files.disk().syncs - before
    };
    let plain = Event::new(Action::UseUnwrap, Outcome::Success);
    let all: Vec<u64> = (0..512).map(|_| syncs_of(&plain)).collect();
    assert!(
        all.iter()
            .enumerate()
            .all(|(number, &syncs)| syncs == 3 || number % 256 == 255),
        "{all:?}"
    );
    assert!(all.iter().sum::<u64>() < 512 * 3 + 40, "{all:?}");
    assert_eq!(syncs_of(&event(1)), 4);
}
