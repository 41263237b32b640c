//! A volume loses power at any moment; afterwards it holds exactly what it held at one moment, not before the last sync that was
//! acknowledged (V1, V2, V3).
//!
//! `COFFERDAM_SEED` replays a run, `COFFERDAM_CRASH_POINTS` sets how many moments are tried.

#[path = "volume/world.rs"]
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use cofferdam_cipher::{PageSize, SlotCount};
use cofferdam_keys::{DataKeys, Suite};
use cofferdam_sealed_file::{
    Directory, Disk, Error, FileKind, FileSetup, Part, SealedFile, Volume, VolumeSetup,
};
use cofferdam_tests::crash_directory::{CrashDirectory, DirectorySnapshot, Mark};
use cofferdam_tests::power_cut::Loss;
use cofferdam_tests::random::{Random, number, seed};
use cofferdam_tests::volume_model::{Model, VolumeStep, contents, steps};
use world::{World, clock};

fn main() -> ExitCode {
    // Test runners ask every binary for its tests; this one is run as a whole, by its suite.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let seed = seed();
    let points = number("COFFERDAM_CRASH_POINTS").unwrap_or(CRASH_POINTS);
    println!("COFFERDAM_SEED={seed} COFFERDAM_CRASH_POINTS={points}");
    let begun = Instant::now();

    // A test that cannot fail is no test: the same crashes without the journal, and on a disk that ignores syncs.
    let without_journal = without_a_journal(seed);
    let ignoring = Lab::new(seed).run(2000, CrashDirectory::ignoring_sync);
    println!(
        "without the journal: {} of {} crash points wrong; on a disk that ignores syncs: {} of {}",
        without_journal.wrong, without_journal.points, ignoring.wrong, ignoring.points
    );
    let lab = Lab {
        loud: true,
        ..Lab::new(seed)
    };
    let tally = lab.run(points, CrashDirectory::new);
    println!(
        "crash: {} crash points, {} of them with crashes during recovery, {} groups replayed, {} wrong, {:.1} s",
        tally.points,
        tally.nested,
        tally.replayed,
        tally.wrong,
        begun.elapsed().as_secs_f64()
    );
    let can_fail = without_journal.wrong > 0 && ignoring.wrong > 0;
    match tally.wrong == 0 && tally.points >= points && tally.replayed > 0 && can_fail {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

#[derive(Clone, Copy, Default)]
struct Tally {
    points: u64,
    wrong: u64,
    nested: u64,
    replayed: u64,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.points += other.points;
        self.wrong += other.wrong;
        self.nested += other.nested;
        self.replayed += other.replayed;
    }
}

struct Lab {
    worlds: [World; 2],
    seed: u64,
    loud: bool,
}

impl Lab {
    fn new(seed: u64) -> Lab {
        Lab {
            worlds: [World::new(Suite::One), World::new(Suite::Two)],
            seed,
            loud: false,
        }
    }

    /// Runs scenarios on all cores until there were enough crash points.
    fn run(&self, points: u64, directory: impl Fn() -> CrashDirectory + Sync) -> Tally {
        let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
        let work = || {
            let mut tally = Tally::default();
            while done.load(Ordering::Relaxed) < points {
                let scenario = next.fetch_add(1, Ordering::Relaxed);
                let part = self.scenario(scenario, &directory());
                done.fetch_add(part.points, Ordering::Relaxed);
                tally.add(part);
            }
            tally
        };
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let mut all = Tally::default();
            for thread in threads {
                all.add(thread.join().expect("a scenario panicked"));
            }
            all
        })
    }

    /// One run of made-up steps, cut off at each of its writes and syncs.
    fn scenario(&self, scenario: u64, directory: &CrashDirectory) -> Tally {
        let random = &mut Random::part(self.seed, scenario);
        let world = &self.worlds[(scenario % 2) as usize];
        let (history, trace) = record(world, random, directory);
        let mut tally = Tally::default();
        for (point, snapshot) in trace.iter().enumerate() {
            let random = &mut Random::part(self.seed ^ scenario.rotate_left(32), point as u64);
            let mut part = Tally {
                points: 1,
                ..Tally::default()
            };
            if let Err(why) = crash_and_look(world, random, snapshot, &history, &mut part) {
                part.wrong = 1;
                if self.loud {
                    println!(
                        "scenario {scenario}, point {point}, {:?}: {why}",
                        snapshot.mark
                    );
                }
            }
            tally.add(part);
        }
        tally
    }
}

/// Does the steps, and remembers the volume after each of them and the directory after each of its changes.
fn record(
    world: &World,
    random: &mut Random,
    directory: &CrashDirectory,
) -> (Vec<Model>, Vec<DirectorySnapshot>) {
    let setup = world.setup(Arc::new(directory.clone()));
    Volume::init(&setup, PageSize::try_from(4096).unwrap()).unwrap();
    let volume = Volume::open(&setup).unwrap();
    directory.record();
    let mut history = vec![Model::new()];
    let mut mark = Mark::default();
    let count = 20 + random.index(60);
    for step in steps(random, count) {
        mark.begun += 1;
        directory.mark(mark);
        let mut model = history.last().unwrap().clone();
        step.apply(&mut model);
        history.push(model);
        step.perform(&volume).unwrap();
        if matches!(step, VolumeStep::Sync) {
            mark.synced = mark.begun;
            directory.mark(mark);
        }
    }
    assert_eq!(&contents(&volume).unwrap(), history.last().unwrap());
    (history, directory.recorded())
}

/// Lets the power go at the snapshot, and again while the volume is opened, as often as it likes; then looks what is there.
fn crash_and_look(
    world: &World,
    random: &mut Random,
    snapshot: &DirectorySnapshot,
    history: &[Model],
    tally: &mut Tally,
) -> Result<(), String> {
    let directory = match random.chance(25) {
        // The process dies, and the power goes when the next one is at it.
        true => CrashDirectory::killed(snapshot),
        false => CrashDirectory::after(snapshot, Loss::random(random), random.next()),
    };
    let setup = world.setup(Arc::new(directory.clone()));
    for _ in 0..4 {
        if random.chance(40) {
            break;
        }
        tally.nested = 1;
        directory.crash_at(1 + random.below(60));
        drop(Volume::open(&setup));
        directory.power_cycle(Loss::random(random), random.next());
    }
    let volume = Volume::open(&setup).map_err(|error| format!("does not open: {error}"))?;
    tally.replayed += volume.recovered().groups;
    let found = contents(&volume).map_err(|error| format!("does not read: {error}"))?;
    let Mark { begun, synced } = snapshot.mark;
    if !history[synced..=begun].contains(&found) {
        return Err(match history.contains(&found) {
            true => "holds what it held at another time".to_owned(),
            false => "holds what it never held".to_owned(),
        });
    }
    if random.chance(10) {
        goes_on(&volume, &directory, &setup, found, random)?;
    }
    Ok(())
}

/// The volume is as good as before: what is synced now survives as well.
fn goes_on(
    volume: &Volume,
    directory: &CrashDirectory,
    setup: &VolumeSetup,
    mut model: Model,
    random: &mut Random,
) -> Result<(), String> {
    let name = b"afterwards".to_vec();
    let bytes = Arc::new(random.bytes(5000));
    for step in [
        VolumeStep::Create(name.clone()),
        VolumeStep::Write(name, 300, bytes),
        VolumeStep::Sync,
    ] {
        step.apply(&mut model);
        step.perform(volume).map_err(|error| error.to_string())?;
    }
    directory.power_cycle(Loss::random(random), random.next());
    let volume = Volume::open(setup).map_err(|error| format!("does not open again: {error}"))?;
    match contents(&volume) {
        Ok(found) if found == model => Ok(()),
        Ok(_) => Err("lost what was synced after a crash".to_owned()),
        Err(error) => Err(format!("does not read again: {error}")),
    }
}

/// Sealed files straight on the same directory. The pages that are torn are lost.
fn without_a_journal(seed: u64) -> Tally {
    let keys = data_keys(&World::new(Suite::One));
    let mut tally = Tally::default();
    for scenario in 0..20 {
        let random = &mut Random::part(seed, scenario);
        let directory = CrashDirectory::new();
        let mut history = vec![Vec::new()];
        let mut mark = Mark::default();
        let mut file = open_plain(&directory, &keys).unwrap();
        directory.record();
        let mut model: Vec<u8> = Vec::new();
        for _ in 0..30 {
            mark.begun += 1;
            directory.mark(mark);
            let at = random.index(model.len() / 4096 + 1) * 4096;
            let bytes = random.bytes(4096);
            model.resize(model.len().max(at + 4096), 0);
            model[at..at + 4096].copy_from_slice(&bytes);
            history.push(model.clone());
            file.write_at(&bytes, at as u64).unwrap();
            file.sync().unwrap();
            mark.synced = mark.begun;
            directory.mark(mark);
        }
        for snapshot in directory.recorded() {
            let directory = CrashDirectory::after(&snapshot, Loss::random(random), random.next());
            let found = read_plain(&directory, &keys);
            let allowed = &history[snapshot.mark.synced..=snapshot.mark.begun];
            tally.points += 1;
            tally.wrong += u64::from(!found.is_ok_and(|found| allowed.contains(&found)));
        }
    }
    tally
}

fn read_plain(directory: &CrashDirectory, keys: &Arc<DataKeys>) -> Result<Vec<u8>, Error> {
    let mut file = open_plain(directory, keys)?;
    let mut found = vec![0; file.len()? as usize];
    file.read_at(&mut found, 0)?;
    Ok(found)
}

fn open_plain(
    directory: &CrashDirectory,
    keys: &Arc<DataKeys>,
) -> Result<SealedFile<Arc<dyn Disk>>, Error> {
    let disk: Arc<dyn Disk> = directory.create(Part::File(1)).unwrap().into();
    directory.sync().unwrap();
    let setup = FileSetup {
        keys: keys.clone(),
        kind: FileKind::Volume,
        page_size: PageSize::try_from(4096).ok(),
        slot_count: SlotCount::One,
        clock,
    };
    SealedFile::open(disk, setup)
}

fn data_keys(world: &World) -> Arc<DataKeys> {
    let disk = CrashDirectory::new().create(Part::Keyring).unwrap();
    let disk: Arc<dyn Disk> = disk.into();
    let path = std::path::Path::new("keyring");
    world.opener.create_store(&disk, path, None).unwrap().keys
}

const CRASH_POINTS: u64 = 20_000;
