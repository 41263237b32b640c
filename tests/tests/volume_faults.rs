//! Every operation of a volume's directory fails once: the caller is told, nothing more is acknowledged than is true, and when the
//! volume is opened again it holds what was synced last, or what was done since, up to some moment (V4).

#[path = "volume/world.rs"]
mod world;

use std::process::ExitCode;
use std::sync::Arc;

use cofferdam_cipher::PageSize;
use cofferdam_keys::Suite;
use cofferdam_sealed_file::{Error, Volume};
use cofferdam_tests::crash_directory::{
    CrashDirectory, DirectoryFault, DirectoryFaultKind as Kind, Mark,
};
use cofferdam_tests::power_cut::Loss;
use cofferdam_tests::random::{Random, seed};
use cofferdam_tests::volume_model::{Model, VolumeStep, contents, steps};
use world::World;

fn main() -> ExitCode {
    // Test runners ask every binary for its tests; this one is run as a whole, by its suite.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let seed = seed();
    println!("COFFERDAM_SEED={seed}");
    let world = World::new(Suite::One);
    let mut tally = Tally::default();
    for scenario in 0..SCENARIOS {
        let steps = steps(&mut Random::part(seed, scenario), 40);
        for kind in [Kind::Io, Kind::Full, Kind::ShortWrite, Kind::FailedSync] {
            let mut nth = 1;
            // Until the scenario passes untouched.
            while run(
                &world,
                &steps,
                DirectoryFault { nth, kind },
                seed ^ nth,
                &mut tally,
            ) {
                nth += 1;
            }
        }
    }
    println!(
        "volume-faults: {} faults, {} of them latched the volume, {} wrong",
        tally.faults, tally.latched, tally.wrong
    );
    match tally.wrong == 0 && tally.latched > 0 && tally.faults > tally.latched {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

#[derive(Default)]
struct Tally {
    faults: u64,
    latched: u64,
    wrong: u64,
}

/// Does the steps with one fault; answers whether it struck.
fn run(
    world: &World,
    steps: &[VolumeStep],
    fault: DirectoryFault,
    seed: u64,
    tally: &mut Tally,
) -> bool {
    let directory = CrashDirectory::new();
    let setup = world.setup(Arc::new(directory.clone()));
    Volume::init(&setup, PageSize::try_from(4096).unwrap()).unwrap();
    let volume = Volume::open(&setup).unwrap();
    directory.inject(fault);
    let mut history = vec![Model::new()];
    let mut mark = Mark::default();
    let mut failure = None;
    for step in steps {
        mark.begun += 1;
        let mut model = history.last().unwrap().clone();
        step.apply(&mut model);
        history.push(model);
        match step.perform(&volume) {
            Ok(()) if matches!(step, VolumeStep::Sync) => mark.synced = mark.begun,
            Ok(()) => {}
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    if !directory.disarm() {
        assert!(failure.is_none(), "failed without a fault");
        return false;
    }
    tally.faults += 1;
    let mut wrong = |what: &str| {
        println!("{fault:?}: {what}");
        tally.wrong += 1;
    };
    if failure.is_none() {
        wrong("nobody was told");
    }
    let latched = volume.statistics().latched;
    tally.latched += u64::from(latched);
    // The fault is over. What is acknowledged now must be true as well.
    match volume.sync() {
        // What failed has not happened, and was not half of it either.
        Ok(()) => {
            mark = Mark {
                synced: mark.begun - 1,
                begun: mark.begun,
            }
        }
        Err(Error::Latched) if latched => {
            if !matches!(volume.create_file(b"more"), Err(Error::Latched)) {
                wrong("a latched volume took more");
            }
            // What was there can still be read.
            if !contents(&volume).is_ok_and(|found| history[mark.begun - 1..].contains(&found)) {
                wrong("a latched volume does not read");
            }
        }
        Err(_) => wrong("a sync failed without a fault"),
    }
    drop(volume);
    let last = directory.snapshot();
    let random = &mut Random::new(seed);
    for directory in [
        CrashDirectory::after(&last, Loss::Everything, 0),
        CrashDirectory::after(&last, Loss::random(random), random.next()),
        // The process goes on, and the power goes later.
        directory,
    ] {
        let setup = world.setup(Arc::new(directory.clone()));
        directory.crash_at(1 + random.below(40));
        drop(Volume::open(&setup));
        directory.power_cycle(Loss::random(random), random.next());
        let found = Volume::open(&setup).and_then(|volume| contents(&volume));
        match found {
            Ok(found) if history[mark.synced..=mark.begun].contains(&found) => {}
            Ok(_) => wrong("another state than the last one that was synced, or a later one"),
            Err(error) => wrong(&format!("does not open: {error}")),
        }
    }
    true
}

const SCENARIOS: u64 = 8;
