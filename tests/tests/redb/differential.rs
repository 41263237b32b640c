//! The same transactions on a volume and on a plain file.

use std::sync::Arc;

use cofferdam_cipher::PageSize;
use cofferdam_keys::Suite;
use cofferdam_sealed_file::{FileDirectory, Volume, VolumeSetup};
use cofferdam_tests::random::Random;
use redb::Database;

use crate::workload::{Contents, Step, contents};
use crate::world::World;

/// Compares both with each other and with a plain model after each transaction, and after each reopening. Answers how many there were.
pub(crate) fn run(seed: u64, transactions: u64) -> u64 {
    let suites = [(Suite::One, 4096), (Suite::Two, 8192), (Suite::Two, 16384)];
    for (part, (suite, page_size)) in suites.into_iter().enumerate() {
        let random = &mut Random::part(seed, part as u64);
        compare(suite, page_size, random, transactions / suites.len() as u64);
    }
    transactions
}

fn compare(suite: Suite, page_size: usize, random: &mut Random, transactions: u64) {
    let world = World::new(suite);
    let path = world.keys.path().join("volume");
    FileDirectory::create(&path).unwrap();
    let setup = || VolumeSetup {
        path: path.join("keyring"),
        ..world.setup(Arc::new(FileDirectory::open(&path).unwrap()))
    };
    Volume::init(&setup(), PageSize::try_from(page_size).unwrap()).unwrap();
    let plain_path = world.keys.path().join("plain.redb");

    let mut volume = Volume::open(&setup()).unwrap();
    let mut sealed = cofferdam_redb::open(&volume, b"db").unwrap();
    let mut plain = Database::create(&plain_path).unwrap();
    let mut model = Contents::new();
    for number in 0..transactions {
        let step = Step::random(random);
        step.perform(&sealed).unwrap();
        step.perform(&plain).unwrap();
        step.apply(&mut model);
        if random.chance(3) {
            sealed.compact().unwrap();
        }
        if random.chance(5) {
            drop((sealed, plain));
            // What a process leaves that does not close its volume.
            drop(volume);
            volume = Volume::open(&setup()).unwrap();
            sealed = cofferdam_redb::open(&volume, b"db").unwrap();
            plain = Database::open(&plain_path).unwrap();
        }
        let found = contents(&sealed).unwrap();
        assert!(found == contents(&plain).unwrap(), "transaction {number}");
        assert!(found == model, "transaction {number}");
    }
    assert!(sealed.check_integrity().unwrap());
}
