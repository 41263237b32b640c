//! redb's databases in a volume in a directory of the system.
#![allow(missing_docs, clippy::disallowed_methods)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cofferdam_audit::{Actor, ActorKind, Source, UnixTime};
use cofferdam_cipher::PageSize;
use cofferdam_keys::{KeyUri, LeasePolicy, LeaseTerms, Leases, Pins, Suite};
use cofferdam_redb::{OpenError, VolumeBackend, open, open_with};
use cofferdam_sealed_file::{
    AuditPlace, Error, FileDirectory, Homing, NewStore, Opener, Recorded, Volume, VolumeSetup,
};
use cofferdam_vaults::{Vaults, Which};
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    TableDefinition,
};
use tempfile::TempDir;

const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("HIPPOPOTAMUS-TABLE");
const MARKER: &[u8] = b"HIPPOPOTAMUS-MARKER";

#[test]
fn what_was_committed_is_there_when_the_volume_is_opened_again() {
    for (suite, page_size) in [(Suite::One, 4096), (Suite::Two, 8192)] {
        let place = Place::new(suite, page_size);
        let volume = place.open();
        fill(&open(&volume, b"a").unwrap(), 0..500);
        fill(&open(&volume, b"b").unwrap(), 0..3);
        volume.close().unwrap();

        let volume = place.open();
        let database = open(&volume, b"a").unwrap();
        assert_eq!(count(&database), 500);
        assert_eq!(count(&open(&volume, b"b").unwrap()), 3);
        fill(&database, 500..700);
        drop(database);
        assert_eq!(count(&open(&volume, b"a").unwrap()), 700);
        assert_eq!(volume.file_names().unwrap(), [b"a".to_vec(), b"b".to_vec()]);
    }
}

#[test]
fn an_aborted_transaction_leaves_nothing() {
    let place = Place::new(Suite::One, 4096);
    let volume = place.open();
    let database = open(&volume, b"a").unwrap();
    fill(&database, 0..10);
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(TABLE)
        .unwrap()
        .insert(99, MARKER)
        .unwrap();
    transaction.abort().unwrap();
    assert_eq!(count(&database), 10);
}

#[test]
fn nothing_of_it_is_in_any_file_of_the_volume() {
    let place = Place::new(Suite::Two, 4096);
    let volume = place.open();
    let database = open(&volume, b"HIPPOPOTAMUS-NAME").unwrap();
    fill(&database, 0..1000);
    volume.bring_home().unwrap();
    fill(&database, 0..50);
    let (mut files, mut bytes) = (0, 0);
    every_file(&place.path, &mut |path, content| {
        files += 1;
        bytes += content.len();
        for word in [b"HIPPOPOTAMUS".as_slice(), b"redb"] {
            let found = content.windows(word.len()).any(|it| it == word);
            assert!(!found, "{} holds plaintext", path.display());
        }
    });
    assert!(files >= 4 && bytes > 1000 * MARKER.len());
    // The same search does find it where it is in the open.
    let plain = place.keys.path().join("plain.redb");
    fill(&Database::create(&plain).unwrap(), 0..10);
    let content = fs::read(&plain).unwrap();
    assert!(content.windows(MARKER.len()).any(|it| it == MARKER));
}

#[test]
fn a_database_is_open_once() {
    let place = Place::new(Suite::One, 4096);
    let volume = place.open();
    let first = open(&volume, b"a").unwrap();
    let already = |result: Result<Database, OpenError>| {
        let error = result.map(drop).expect_err("it is open already");
        let expected = OpenError::Database(DatabaseError::DatabaseAlreadyOpen);
        assert_eq!(error.to_string(), expected.to_string());
    };
    already(open(&volume, b"a"));
    // Another process does not get the volume.
    assert!(matches!(
        Volume::open(&place.setup()),
        Err(Error::Held { .. })
    ));
    drop(first);
    drop(open(&volume, b"a").unwrap());

    // Readers may be several, and keep a writer out.
    let reader = || {
        let backend = VolumeBackend::new(volume.open_file(b"a").unwrap());
        Builder::new().open_read_only_with_backend(backend)
    };
    let readers = (reader().unwrap(), reader().unwrap());
    already(open(&volume, b"a"));
    drop(readers);
    let writer = open(&volume, b"a").unwrap();
    assert!(reader().is_err());
    drop(writer);
}

#[test]
fn threads_that_make_one_database_all_get_the_same() {
    let place = Place::new(Suite::One, 4096);
    let volume = place.open();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let volume = &volume;
            scope.spawn(move || {
                loop {
                    match open(volume, b"a") {
                        Ok(database) => return fill(&database, thread..thread + 1),
                        Err(OpenError::Database(DatabaseError::DatabaseAlreadyOpen)) => {
                            std::thread::yield_now();
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    assert_eq!(count(&open(&volume, b"a").unwrap()), 8);
    assert_eq!(volume.file_names().unwrap(), [b"a".to_vec()]);
}

#[test]
fn what_was_left_of_an_unfinished_database_is_not_in_the_way() {
    let place = Place::new(Suite::One, 4096);
    let volume = place.open();
    let left = volume.create_file(b"a.unfinished").unwrap();
    left.write_at(&[7; 9000], 0).unwrap();
    drop(left);
    fill(&open(&volume, b"a").unwrap(), 0..10);
    assert_eq!(volume.file_names().unwrap(), [b"a".to_vec()]);
}

#[test]
fn what_is_no_database_is_refused() {
    let place = Place::new(Suite::One, 4096);
    let volume = place.open();
    let file = volume.create_file(b"a").unwrap();
    file.write_at(&[7; 9000], 0).unwrap();
    assert!(matches!(open(&volume, b"a"), Err(OpenError::Database(_))));
    assert!(matches!(
        open(&volume, b""),
        Err(OpenError::Volume(Error::NotAName))
    ));
}

#[test]
fn no_page_is_read_after_the_key_was_taken_away() {
    let place = Place::with(
        Suite::One,
        4096,
        LeasePolicy {
            probe_interval: Duration::from_millis(50),
            revoke_deadline: Duration::from_millis(200),
            ..LeasePolicy::default()
        },
    );
    let volume = place.open();
    let database = open(&volume, b"a").unwrap();
    fill(&database, 0..100);
    let reading = database.begin_read().unwrap();
    let table = reading.open_table(TABLE).unwrap();
    assert!(table.get(50).unwrap().is_some());

    let key = place.vaults.file(&place.key).unwrap();
    key.set_enabled(&Which::Key, false).unwrap();
    let lease = volume.lease().unwrap();
    soon(|| lease.wiped().is_some());
    assert!(table.get(50).is_err());
    assert!(database.begin_write().is_err() || reading.open_table(TABLE).is_err());
    drop((table, reading, database));

    key.set_enabled(&Which::Key, true).unwrap();
    soon(|| open(&volume, b"a").is_ok());
    let database = open(&volume, b"a").unwrap();
    assert_eq!(count(&database), 100);
    drop(database);
    // The price of redb's cache, and why it is off unless it is asked for.
    let cached = open_with(&Builder::new(), &volume, b"a").unwrap();
    assert_eq!(count(&cached), 100);
}

fn fill(database: &Database, keys: std::ops::Range<u64>) {
    let transaction = database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(TABLE).unwrap();
        for key in keys {
            let value = [MARKER, &key.to_be_bytes(), &[b'x'; 100]].concat();
            table.insert(key, value.as_slice()).unwrap();
        }
    }
    transaction.commit().unwrap();
}

fn count(database: &Database) -> u64 {
    let table = database.begin_read().unwrap().open_table(TABLE).unwrap();
    let mut seen = 0;
    for row in table.iter().unwrap() {
        let (key, value) = row.unwrap();
        assert!(value.value().starts_with(MARKER));
        assert_eq!(
            value.value()[MARKER.len()..][..8],
            key.value().to_be_bytes()
        );
        seen += 1;
    }
    assert_eq!(table.len().unwrap(), seen);
    seen
}

fn every_file(directory: &Path, look: &mut impl FnMut(&Path, &[u8])) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => every_file(&path, look),
            false => look(&path, &fs::read(&path).unwrap()),
        }
    }
}

fn soon(mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it did not come to hold");
}

struct Place {
    keys: TempDir,
    path: PathBuf,
    key: KeyUri,
    vaults: Arc<Vaults>,
    opener: Arc<Opener>,
}

impl Place {
    fn new(suite: Suite, page_size: usize) -> Place {
        Place::with(suite, page_size, LeasePolicy::default())
    }

    fn with(suite: Suite, page_size: usize, policy: LeasePolicy) -> Place {
        let keys = tempfile::tempdir().unwrap();
        let vaults = Arc::new(Vaults::without_passphrases());
        let make = |name: &str| {
            let key = KeyUri::from_file_path(&keys.path().join(name)).unwrap();
            vaults.file(&key).unwrap().create(None, clock()).unwrap();
            key
        };
        let (key, infrastructure) = (make("customer.key"), make("infrastructure.key"));
        let opener = Arc::new(Opener {
            vaults: vaults.clone(),
            pins: Pins::none(),
            new_store: Some(NewStore {
                suite,
                customer: key.clone(),
                infrastructure: (suite.layer_count() == 2).then_some(infrastructure),
                room_for_second_layer: false,
            }),
            audit: AuditPlace::Beside,
            audit_required: true,
            actor: Actor::new(ActorKind::System, "test"),
            source: Source::default(),
            clock,
            leases: Leases::new(LeaseTerms {
                policy,
                clock,
                monotonic: cofferdam_wiring::monotonic,
            }),
            recorded: Recorded::default(),
        });
        let path = keys.path().join("volume");
        FileDirectory::create(&path).unwrap();
        let place = Place {
            keys,
            path,
            key,
            vaults,
            opener,
        };
        Volume::init(&place.setup(), PageSize::try_from(page_size).unwrap()).unwrap();
        place
    }

    fn setup(&self) -> VolumeSetup {
        VolumeSetup {
            directory: Arc::new(FileDirectory::open(&self.path).unwrap()),
            path: self.path.join("keyring"),
            opener: self.opener.clone(),
            journal_len: 1 << 20,
            homing: Homing::InBackground,
            accept_damage: false,
            holder: "a test".to_owned(),
            monotonic: cofferdam_wiring::monotonic,
        }
    }

    fn open(&self) -> Volume {
        Volume::open(&self.setup()).unwrap()
    }
}

fn clock() -> UnixTime {
    UnixTime {
        seconds: 1_800_000_000,
        nanos: 0,
    }
}

/// Goal: a database is not taken for what was left of the making of another.
#[test]
fn no_database_is_called_unfinished() {
    let place = Place::new(Suite::One, 4096);
    let volume = place.open();
    let refused = open(&volume, b"a.unfinished").err();
    assert!(matches!(
        refused,
        Some(OpenError::Volume(Error::Misuse { .. }))
    ));
    assert!(volume.file_names().unwrap().is_empty());
}
