//! Main files and stores lose power.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use cofferdam_audit::{Actor, ActorKind, Source};
use cofferdam_keys::{DataKeys, KeyUri, Pins, Suite};
use cofferdam_sealed_file::{AuditPlace, Error, FileKind, NewStore, Opener, Recorded, SealedFile};
use cofferdam_tests::crash_disk::CrashDisk;
use cofferdam_tests::leases::quiet_leases;
use cofferdam_tests::power_cut::Loss;
use cofferdam_tests::random::{Random, seed};
use cofferdam_vaults::Vaults;

use crate::{PAGE, clock, in_parallel, open, times};

/// What its owner knows of a main file.
#[derive(Clone, Default)]
struct Known {
    pages: BTreeMap<u64, Page>,
    /// Lengths since the last sync, that one included.
    lengths: Vec<u64>,
}

#[derive(Clone, Default)]
struct Page {
    content: u8,
    /// It was written or cut off since the last sync: it may be anything that it was, or not open.
    unsynced: Vec<u8>,
}

/// Goal: crash at every operation. The file opens, its length is an old or a new one, and what was synced and not
/// written since has its content.
#[test]
fn what_was_synced_opens_after_a_power_cut() {
    let seed = seed();
    println!("seed {seed}");
    let failures = Mutex::new(Vec::new());
    in_parallel(12 * times(), |scenario| {
        let part = seed.wrapping_add(scenario as u64);
        for at in 1.. {
            match scenario_until(part, at) {
                Ok(true) => {}
                Ok(false) => break,
                Err(failure) => {
                    let told = format!("seed {part}, operation {at}: {failure}");
                    failures.lock().expect("no panics").push(told);
                }
            }
        }
    });
    let failures = failures.into_inner().expect("no panics");
    assert!(
        failures.is_empty(),
        "{} failures, such as\n{}",
        failures.len(),
        failures[..failures.len().min(8)].join("\n")
    );
}

/// Goal: a store whose making was cut short is none yet, or a whole one. Never something that is refused.
#[test]
fn a_store_is_made_or_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let vaults = Vaults::without_passphrases();
    let key = |name: &str| {
        let key = KeyUri::from_file_path(&directory.path().join(name)).expect("a path");
        let vault = vaults.file(&key).expect("a file vault");
        vault.create(None, clock()).expect("a key");
        key
    };
    let new_store = NewStore {
        suite: Suite::Two,
        customer: key("customer"),
        infrastructure: Some(key("infrastructure")),
        room_for_second_layer: false,
    };
    let opener = Opener {
        vaults: Arc::new(Vaults::without_passphrases()),
        pins: Pins::none(),
        new_store: Some(new_store),
        audit: AuditPlace::Nowhere,
        audit_required: false,
        actor: Actor::new(ActorKind::Service, "test"),
        source: Source::default(),
        clock,
        leases: quiet_leases(clock),
        recorded: Recorded::default(),
    };
    let seed = seed();
    println!("seed {seed}");
    let random = &mut Random::new(seed);
    let path = Path::new("/store");
    let (mut absent, mut present) = (0, 0);
    for at in 1..=5 {
        for _ in 0..60 {
            let disk = CrashDisk::new();
            disk.crash_at(at);
            let made = opener.create_store(&disk, path, None).is_ok();
            disk.crash();
            let loss = Loss::random(random);
            disk.power_cycle(loss, random.next());
            match opener.open_store(&disk, path) {
                Ok(None) => {
                    assert!(!made, "a store is gone that was made");
                    absent += 1;
                    opener.create_store(&disk, path, None).expect("made again");
                }
                Ok(Some(store)) => {
                    SealedFile::open(disk, opener.main_setup(&store)).expect("its file opens");
                    present += 1;
                }
                Err(error) => panic!("operation {at}, {loss:?}: {error}"),
            }
        }
    }
    assert!(absent > 0);
    assert!(present > 0);
}

/// `false` when the scenario ends before the operation.
fn scenario_until(seed: u64, at: u64) -> Result<bool, String> {
    let random = &mut Random::new(seed);
    let suite = *random.pick(&[Suite::One, Suite::Two, Suite::Three]);
    let keys = Arc::new(DataKeys::ephemeral(suite).expect("random bytes"));
    let disk = CrashDisk::new();
    // The head of a store is durable before anything else happens.
    let mut file = open(disk.clone(), &keys, FileKind::Main).map_err(text)?;
    file.set_len(0).map_err(text)?;
    let mut known = Known::default();
    known.lengths.push(0);
    file.write_at(&[1; PAGE], 0).map_err(text)?;
    known.write(0, 1);
    file.sync().map_err(text)?;
    known.synced(PAGE as u64);
    disk.crash_at(at);
    let ended = work(&mut file, &mut known, random);
    if !disk.crashed() {
        return ended.map(|()| false).map_err(text);
    }
    let snapshot = disk.snapshot();
    for loss in Loss::ALL {
        let left = CrashDisk::after(&snapshot, loss, random.next());
        known
            .check(&left, &keys)
            .map_err(|failure| format!("{loss:?}: {failure}"))?;
    }
    Ok(true)
}

fn work(
    file: &mut SealedFile<CrashDisk>,
    known: &mut Known,
    random: &mut Random,
) -> Result<(), Error> {
    let mut end = *known.lengths.last().expect("there is one");
    for step in 0..40 {
        match random.below(10) {
            0 => {
                let length = end;
                file.sync()?;
                known.synced(length);
            }
            1 => file.flush()?,
            2 => {
                let pages = end / PAGE as u64;
                let length = random.below(pages + 4) * PAGE as u64;
                known.set_len(length);
                end = length;
                file.set_len(length)?;
            }
            _ => {
                let pages = end / PAGE as u64;
                // Sometimes far behind the end, which leaves a hole.
                let page = random.below(pages + 2) + if random.chance(10) { 5 } else { 0 };
                for page in page..page + 1 + random.below(4) {
                    let content = 2 + step + 40 * (random.below(5) as u8);
                    known.write(page, content);
                    end = end.max((page + 1) * PAGE as u64);
                    known.lengths.push(end);
                    file.write_at(&[content; PAGE], page * PAGE as u64)?;
                }
            }
        }
    }
    Ok(())
}

impl Known {
    fn write(&mut self, page: u64, content: u8) {
        let known = self.pages.entry(page).or_default();
        let before = known.content;
        known.unsynced.push(before);
        known.content = content;
    }

    fn set_len(&mut self, length: u64) {
        let first = length / PAGE as u64;
        for (_, page) in self.pages.range_mut(first..) {
            let before = page.content;
            page.unsynced.push(before);
            page.content = 0;
        }
        self.lengths.push(length);
    }

    fn synced(&mut self, length: u64) {
        self.pages
            .values_mut()
            .for_each(|page| page.unsynced.clear());
        self.lengths = vec![length];
    }

    fn check(&self, disk: &CrashDisk, keys: &Arc<DataKeys>) -> Result<(), String> {
        let mut file = open(disk.clone(), keys, FileKind::Main).map_err(text)?;
        let length = file.len().map_err(text)?;
        let least = self.lengths[0].min(*self.lengths.iter().min().expect("there is one"));
        let most = *self.lengths.iter().max().expect("there is one");
        if !(least..=most).contains(&length) || !length.is_multiple_of(PAGE as u64) {
            return Err(format!("length {length}, should be in {:?}", self.lengths));
        }
        for page in 0..length / PAGE as u64 {
            let known = self.pages.get(&page).cloned().unwrap_or_default();
            let mut bytes = [0xa5; PAGE];
            match file.read_at(&mut bytes, page * PAGE as u64) {
                Ok(_) if bytes == [known.content; PAGE] => {}
                Ok(_) if known.unsynced.iter().any(|old| bytes == [*old; PAGE]) => {}
                Err(Error::PageAltered { .. }) if !known.unsynced.is_empty() => {}
                // A page between an old end and a new one: a hole, or frames that were lost.
                Err(Error::PageAltered { .. }) if page * PAGE as u64 >= least => {}
                Ok(_) => return Err(format!("page {page} has other content: {}", bytes[0])),
                Err(error) => return Err(format!("page {page}: {error}")),
            }
        }
        Ok(())
    }
}

fn text(error: Error) -> String {
    error.to_string()
}
