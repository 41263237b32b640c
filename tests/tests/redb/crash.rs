//! The power goes amid transactions; what is there afterwards is what some transaction left, not before the last durable one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cofferdam_cipher::PageSize;
use cofferdam_keys::Suite;
use cofferdam_sealed_file::Volume;
use cofferdam_tests::crash_directory::{CrashDirectory, DirectorySnapshot, Mark};
use cofferdam_tests::power_cut::Loss;
use cofferdam_tests::random::Random;

use crate::workload::{Contents, Ends, Step, contents};
use crate::world::World;

/// What was tried and found.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) points: u64,
    /// A transaction was under way.
    pub(crate) amid: u64,
    pub(crate) nested: u64,
    pub(crate) replayed: u64,
    pub(crate) wrong: u64,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.points += other.points;
        self.amid += other.amid;
        self.nested += other.nested;
        self.replayed += other.replayed;
        self.wrong += other.wrong;
    }
}

/// Runs scenarios on all cores until there were enough crash points.
pub(crate) fn run(
    seed: u64,
    points: u64,
    loud: bool,
    directory: impl Fn() -> CrashDirectory + Sync,
) -> Tally {
    let worlds = [World::new(Suite::One), World::new(Suite::Two)];
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = || {
        let mut tally = Tally::default();
        while done.load(Ordering::Relaxed) < points {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let world = &worlds[(number % 2) as usize];
            let part = scenario(world, seed, number, loud, &directory());
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

/// One run of made-up transactions, cut off at some of its writes and syncs.
fn scenario(
    world: &World,
    seed: u64,
    number: u64,
    loud: bool,
    directory: &CrashDirectory,
) -> Tally {
    let random = &mut Random::part(seed, 1000 + number);
    let (history, mut trace) = record(world, random, directory);
    random.shuffle(&mut trace);
    let mut tally = Tally::default();
    for snapshot in trace.iter().take(POINTS_PER_SCENARIO) {
        tally.points += 1;
        tally.amid += u64::from(snapshot.mark.begun > snapshot.mark.synced);
        if let Err(why) = crash_and_look(world, random, snapshot, &history, &mut tally) {
            tally.wrong += 1;
            if loud {
                println!("scenario {number}, {:?}: {why}", snapshot.mark);
            }
        }
    }
    tally
}

/// Makes a database and does the transactions, and remembers what it held after each of them.
fn record(
    world: &World,
    random: &mut Random,
    directory: &CrashDirectory,
) -> (Vec<Contents>, Vec<DirectorySnapshot>) {
    let setup = world.setup(Arc::new(directory.clone()));
    Volume::init(&setup, PageSize::try_from(4096).unwrap()).unwrap();
    let volume = Volume::open(&setup).unwrap();
    directory.record();
    let database = cofferdam_redb::open(&volume, b"db").unwrap();
    let mut history = vec![Contents::new()];
    let mut mark = Mark::default();
    for _ in 0..5 + random.index(25) {
        let step = Step::random(random);
        let mut model = history.last().unwrap().clone();
        step.apply(&mut model);
        history.push(model);
        mark.begun += 1;
        directory.mark(mark);
        step.perform(&database).unwrap();
        if step.ends == Ends::Committed {
            mark.synced = mark.begun;
            directory.mark(mark);
        }
    }
    assert!(&contents(&database).unwrap() == history.last().unwrap());
    (history, directory.recorded())
}

fn crash_and_look(
    world: &World,
    random: &mut Random,
    snapshot: &DirectorySnapshot,
    history: &[Contents],
    tally: &mut Tally,
) -> Result<(), String> {
    let directory = match random.chance(25) {
        // The process dies, and the power goes when the next one is at it.
        true => CrashDirectory::killed(snapshot),
        false => CrashDirectory::after(snapshot, Loss::random(random), random.next()),
    };
    let setup = world.setup(Arc::new(directory.clone()));
    for _ in 0..3 {
        if random.chance(50) {
            break;
        }
        tally.nested += 1;
        directory.crash_at(1 + random.below(80));
        // redb's repair after a crash is cut off, too.
        if let Ok(volume) = Volume::open(&setup) {
            drop(cofferdam_redb::open(&volume, b"db"));
        }
        directory.power_cycle(Loss::random(random), random.next());
    }
    let volume = Volume::open(&setup).map_err(|error| format!("does not open: {error}"))?;
    tally.replayed += volume.recovered().groups;
    let opened = cofferdam_redb::open(&volume, b"db");
    let mut database = opened.map_err(|error| format!("redb does not open: {error}"))?;
    let found = contents(&database).map_err(|error| format!("does not read: {error}"))?;
    let Mark { begun, synced } = snapshot.mark;
    if !history[synced..=begun].contains(&found) {
        return Err(match history.contains(&found) {
            true => "holds what it held at another time".to_owned(),
            false => "holds what it never held".to_owned(),
        });
    }
    match database.check_integrity() {
        Ok(true) => Ok(()),
        Ok(false) => Err("redb had to repair it twice".to_owned()),
        Err(error) => Err(format!("redb finds it broken: {error}")),
    }
}

const POINTS_PER_SCENARIO: usize = 60;
