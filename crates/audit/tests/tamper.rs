//! Whatever is done to the files of a log is noticed, or changes nothing.

mod common;

use std::fs;
use std::path::Path;

use cofferdam_audit::{
    AuditError, AuditLog, Checkpoint, Sink, VerifierKey, VerifyError, VerifyReport, verify,
};
use common::{ORIGIN, SEED, STORE, clock, copy, event, files, log_of, open};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

fn key() -> VerifierKey {
    VerifierKey::from_seed(ORIGIN, &SEED).expect("a key")
}

/// Noticed by the verifier; or the verifier says what it said before, and a writer and the anchor too.
fn noticed_or_harmless(dir: &Path, before: &VerifyReport, what: &str) -> bool {
    match verify(dir, &key(), Some(&before.checkpoint)) {
        Err(_) => true,
        Ok(report) => {
            assert_eq!(report, *before, "{what}");
            let log = AuditLog::open_or_create(dir, ORIGIN, &SEED, clock);
            let log = log.unwrap_or_else(|error| panic!("{what}: {error}"));
            let newest = log
                .newest_sequence(STORE)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(newest, before.stores.get(STORE).copied(), "{what}");
            false
        }
    }
}

/// Files whose loss or damage may be harmless, because the log has their content elsewhere.
fn may_be_harmless(name: &Path) -> bool {
    name == Path::new("tail") || name == Path::new("lock") || name.starts_with("anchor")
}

fn restore(from: &Path, to: &Path) {
    fs::remove_dir_all(to).expect("removed");
    copy(from, to);
}

#[test]
fn every_flipped_byte_is_noticed() {
    let (_temporary, dir) = log_of(258);
    let before = verify(&dir, &key(), None).expect("verifies");
    for name in files(&dir) {
        let path = dir.join(&name);
        let content = fs::read(&path).expect("there");
        let step = (content.len() / 150).max(1);
        let last = content.len().saturating_sub(40)..content.len();
        for place in (0..content.len()).step_by(step).chain(last) {
            let mut changed = content.clone();
            changed[place] ^= 1 << (place % 8);
            fs::write(&path, &changed).expect("written");
            let what = format!("{} byte {place}", name.display());
            let noticed = verify(&dir, &key(), None).is_err();
            assert!(noticed || name == Path::new("tail") && place < 8, "{what}");
        }
        fs::write(&path, &content).expect("written");
    }
    assert_eq!(verify(&dir, &key(), None).expect("verifies again"), before);
}

#[test]
fn every_missing_or_shortened_or_lengthened_file_is_noticed() {
    let (temporary, dir) = log_of(258);
    let spare = temporary.path().join("spare");
    copy(&dir, &spare);
    let before = verify(&dir, &key(), None).expect("verifies");
    for name in files(&spare) {
        let content = fs::read(spare.join(&name)).expect("there");
        let longer = [content.as_slice(), b"\0"].concat();
        let mut damages = vec![None, Some(longer)];
        for len in [0, 1, content.len() / 2, content.len().saturating_sub(1)] {
            if len < content.len() {
                damages.push(Some(content[..len].to_vec()));
            }
        }
        for damage in damages {
            let what = format!("{} {:?}", name.display(), damage.as_ref().map(Vec::len));
            match damage {
                Some(damage) => fs::write(dir.join(&name), damage).expect("written"),
                None => fs::remove_file(dir.join(&name)).expect("removed"),
            }
            let noticed = noticed_or_harmless(&dir, &before, &what);
            assert!(noticed || may_be_harmless(&name), "{what}");
            restore(&spare, &dir);
        }
    }
}

/// Swapping, repeating, inserting or leaving out entries, and tiles in each other's place.
#[test]
fn moved_entries_and_files_are_noticed() {
    let (temporary, dir) = log_of(600);
    let spare = temporary.path().join("spare");
    copy(&dir, &spare);
    let swaps = [
        ("tile/entries/000", "tile/entries/001"),
        ("tile/0/000", "tile/0/001"),
    ];
    for (one, two) in swaps {
        fs::copy(spare.join(one), dir.join(two)).expect("copied");
        assert!(verify(&dir, &key(), None).is_err(), "{one}");
        fs::copy(spare.join(two), dir.join(one)).expect("copied");
        assert!(verify(&dir, &key(), None).is_err(), "{one}");
        restore(&spare, &dir);
    }
    for bundle in ["tile/entries/001", "tile/entries/002.p/88"] {
        let entries = split(&fs::read(dir.join(bundle)).expect("there"));
        let mut changes = vec![entries.clone(); 4];
        changes[0].swap(3, 4);
        changes[1][5] = entries[6].clone();
        changes[2].remove(7);
        changes[3].insert(8, entries[8].clone());
        for changed in changes {
            fs::write(dir.join(bundle), join(&changed)).expect("written");
            assert!(
                matches!(verify(&dir, &key(), None), Err(VerifyError::Entries { .. })),
                "{bundle}"
            );
        }
        fs::write(dir.join(bundle), join(&entries)).expect("written");
        verify(&dir, &key(), None).expect("verifies again");
    }
}

/// An entry and its hash in the tile changed together do not lead to the signed root.
#[test]
fn an_edit_with_a_mended_tile_is_noticed() {
    let (_temporary, dir) = log_of(300);
    let (bundle, tile) = (dir.join("tile/entries/000"), dir.join("tile/0/000"));
    let mut entries = split(&fs::read(&bundle).expect("there"));
    let mut hashes = fs::read(&tile).expect("there");
    let text = String::from_utf8(entries[7].clone()).expect("text");
    entries[7] = text.replace("success", "denied").into_bytes();
    let hash = Sha256::new()
        .chain_update([0])
        .chain_update(&entries[7])
        .finalize();
    hashes[7 * 32..8 * 32].copy_from_slice(&hash);
    fs::write(&bundle, join(&entries)).expect("written");
    fs::write(&tile, &hashes).expect("written");
    assert!(verify(&dir, &key(), None).is_err());
    assert!(AuditLog::open_or_create(&dir, ORIGIN, &SEED, clock).is_err());
}

/// Someone who has the key can rewrite history; a checkpoint that was kept shows it.
#[test]
fn a_remembered_checkpoint_shows_forks_and_truncation() {
    let (temporary, dir) = log_of(300);
    let old = verify(&dir, &key(), None).expect("verifies").checkpoint;
    let spare = temporary.path().join("spare");
    copy(&dir, &spare);
    open(&dir).record(&event(300)).expect("recorded");
    let kept = verify(&dir, &key(), Some(&old))
        .expect("continues")
        .checkpoint;
    let kept = Checkpoint::open(kept.note(), &key()).expect("kept in a file and read again");
    // Truncated: an older copy of everything. Without the checkpoint it looks well.
    verify(&spare, &key(), None).expect("an older log is a log");
    let truncated = verify(&spare, &key(), Some(&kept));
    assert!(matches!(
        truncated,
        Err(VerifyError::Truncated {
            remembered: 301,
            found: 300
        })
    ));
    // Forked, with as many events and with more.
    let log = open(&spare);
    for number in 0..3 {
        log.record(&event(1000 + number)).expect("recorded");
        let forked = verify(&spare, &key(), Some(&kept));
        assert!(
            matches!(forked, Err(VerifyError::Forked { size: 301 })),
            "{number}"
        );
    }
    // Another log of the same custodian is not a continuation either.
    let other = AuditLog::open_or_create(
        &temporary.path().join("other"),
        "audit.example/other",
        &SEED,
        clock,
    );
    let other = other.expect("opens").checkpoint().expect("open");
    assert!(matches!(
        verify(&dir, &key(), Some(&other)),
        Err(VerifyError::Key)
    ));
}

/// A process that has the log open notices what happens to it behind its back.
#[test]
fn a_writer_does_not_go_on_from_a_replaced_log() {
    let (temporary, dir) = log_of(300);
    let (older, forked) = (
        temporary.path().join("older"),
        temporary.path().join("forked"),
    );
    copy(&dir, &older);
    copy(&dir, &forked);
    let log = open(&dir);
    log.record(&event(300)).expect("recorded");
    let now = temporary.path().join("now");
    copy(&dir, &now);
    restore(&older, &dir);
    assert!(matches!(
        log.record(&event(1)),
        Err(AuditError::RolledBack {
            known: 301,
            found: 300
        })
    ));
    let fork = open(&forked);
    for number in 0..400 {
        fork.record(&event(number)).expect("recorded");
        if [0, 1, 300].contains(&number) {
            restore(&forked, &dir);
            assert!(
                matches!(log.record(&event(1)), Err(AuditError::Forked { .. })),
                "{number}"
            );
        }
    }
    // The refusal lasts no longer than its cause.
    restore(&now, &dir);
    assert_eq!(log.record(&event(1)).expect("recorded").index, 301);
}

/// An anchor that is older than the log is looked at again, one that is from a longer log is refused.
#[test]
fn anchors_are_checked_against_the_log() {
    let (temporary, dir) = log_of(10);
    let older = temporary.path().join("older");
    copy(&dir, &older);
    open(&dir).record(&event(99)).expect("recorded");
    let anchor = format!("anchor/{STORE}");
    fs::copy(dir.join(&anchor), older.join(&anchor)).expect("copied");
    assert!(matches!(
        verify(&older, &key(), None),
        Err(VerifyError::Truncated {
            remembered: 11,
            found: 10
        })
    ));
    let cut = AuditLog::anchored_sequence(&older, STORE, &key());
    assert!(matches!(
        cut,
        Err(AuditError::RolledBack {
            known: 11,
            found: 10
        })
    ));
}

#[test]
fn a_log_whose_checkpoint_was_removed_does_not_begin_again() {
    for count in [1, 255, 256, 300] {
        let (_temporary, dir) = log_of(count);
        fs::remove_file(dir.join("checkpoint")).expect("removed");
        let refused = AuditLog::open_or_create(&dir, ORIGIN, &SEED, clock);
        assert!(
            matches!(refused, Err(AuditError::Damaged { .. })),
            "{count}"
        );
        assert!(AuditLog::anchored_sequence(&dir, STORE, &key()).is_err());
    }
}

/// What a writer finds damaged it does not append to.
#[test]
fn a_writer_refuses_damage_that_it_cannot_repair() {
    let (temporary, dir) = log_of(300);
    let spare = temporary.path().join("spare");
    copy(&dir, &spare);
    let damages: [&[&str]; 3] = [
        &["checkpoint"],
        &["tile/0/000"],
        &["tail", "tile/entries/001.p/44"],
    ];
    for damage in damages {
        for name in damage {
            let mut content = fs::read(dir.join(name)).expect("there");
            let place = content.len() / 2;
            content[place] ^= 1;
            fs::write(dir.join(name), content).expect("written");
        }
        let refused = AuditLog::open_or_create(&dir, ORIGIN, &SEED, clock);
        assert!(
            matches!(refused, Err(AuditError::Damaged { .. })),
            "{damage:?}"
        );
        restore(&spare, &dir);
    }
    // One of two copies is enough, and the other is written again.
    for name in [
        "tail",
        "tile/entries/001.p/44",
        "tile/0/001.p/44",
        "tile/1/000.p/1",
        "log.vkey",
    ] {
        fs::remove_file(dir.join(name)).expect("removed");
        drop(open(&dir));
        assert_eq!(
            fs::read(dir.join(name)).ok(),
            fs::read(spare.join(name)).ok(),
            "{name}"
        );
    }
}

fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    while let [high, low, rest @ ..] = bytes {
        let (entry, after) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        entries.push(entry.to_vec());
        bytes = after;
    }
    entries
}

fn join(entries: &[Vec<u8>]) -> Vec<u8> {
    entries
        .iter()
        .flat_map(|entry| [&(entry.len() as u16).to_be_bytes()[..], entry].concat())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any few bytes written anywhere into any file.
    #[test]
    fn random_damage_is_noticed_or_harmless(
        file in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let (_temporary, dir) = log_of(70);
        let before = verify(&dir, &key(), None).expect("verifies");
        let names: Vec<_> = files(&dir).into_iter().filter(|name| name != Path::new("lock")).collect();
        let name = &names[file.index(names.len())];
        let original = fs::read(dir.join(name)).expect("there");
        let mut content = original.clone();
        let start = place.index(content.len());
        for (old, new) in content[start..].iter_mut().zip(&bytes) {
            *old = *new;
        }
        fs::write(dir.join(name), &content).expect("written");
        let noticed = noticed_or_harmless(&dir, &before, &name.display().to_string());
        prop_assert!(noticed || content == original || may_be_harmless(name), "{}", name.display());
    }
}
