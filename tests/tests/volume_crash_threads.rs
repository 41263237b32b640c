//! Several threads use one volume, whose journal goes home in the background, and the power goes at some moment (V1, V6).
//!
//! Each thread has files of its own, for which its history says what they may hold; and all write to one file that is cut to
//! nothing now and then. Operations are numbered when they begin and when they end. What is there afterwards must be a prefix: an
//! operation that was over before another one began is there if that one is, and so is what was over before a sync began
//! that was acknowledged.
//!
//! `COFFERDAM_SEED` makes the same steps and cuts, in another interleaving; `COFFERDAM_CRASH_POINTS` sets how many moments are tried.

#[path = "volume/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use cofferdam_cipher::PageSize;
use cofferdam_keys::Suite;
use cofferdam_sealed_file::{Error, Homing, Volume, VolumeFile, VolumeSetup};
use cofferdam_tests::crash_directory::{CrashDirectory, DirectorySnapshot};
use cofferdam_tests::power_cut::Loss;
use cofferdam_tests::random::{Random, number, seed};
use cofferdam_tests::volume_model::{Model, VolumeStep, contents, steps};
use world::World;

fn main() -> ExitCode {
    // Test runners ask every binary for its tests; this one is run as a whole, by its suite.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let seed = seed();
    let points = number("COFFERDAM_CRASH_POINTS").unwrap_or(CRASH_POINTS);
    println!("COFFERDAM_SEED={seed} COFFERDAM_CRASH_POINTS={points}");
    let begun = Instant::now();
    let world = World::new(Suite::One);
    // A test that cannot fail is no test.
    let mut ignoring = Tally::default();
    for number in 0..3 {
        scenario(
            &world,
            seed,
            number,
            &CrashDirectory::ignoring_sync(),
            &mut ignoring,
        );
    }
    let mut tally = Tally {
        loud: true,
        ..Tally::default()
    };
    let mut number = 0;
    while tally.points < points {
        scenario(&world, seed, number, &CrashDirectory::new(), &mut tally);
        number += 1;
    }
    println!(
        "on a disk that ignores syncs: {} of {} crash points wrong",
        ignoring.wrong, ignoring.points
    );
    println!(
        "crash: {} crash points of {THREADS} threads, {} homings, {} groups replayed, {} wrong, {:.1} s",
        tally.points,
        tally.homings,
        tally.replayed,
        tally.wrong,
        begun.elapsed().as_secs_f64()
    );
    let can_fail = ignoring.wrong > 0 && tally.homings > 0 && tally.replayed > 0;
    match tally.wrong == 0 && can_fail {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

#[derive(Default)]
struct Tally {
    points: u64,
    wrong: u64,
    replayed: u64,
    homings: u64,
    loud: bool,
}

/// What one thread did.
struct Log {
    /// Its files after each of its steps; the first entry is before all.
    history: Vec<Model>,
    /// When each step began and ended.
    spans: Vec<Span>,
    /// When it asked for durability, and was told.
    syncs: Vec<Span>,
    /// What it did to the file of all.
    shared: Vec<(Span, SharedStep)>,
}

#[derive(Clone, Copy)]
struct Span {
    begun: u64,
    ended: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum SharedStep {
    /// Wrote this number to the thread's own page.
    Write(u64),
    /// Cut the file to nothing.
    Empty,
}

fn scenario(world: &World, seed: u64, number: u64, directory: &CrashDirectory, tally: &mut Tally) {
    let setup = VolumeSetup {
        homing: Homing::InBackground,
        ..world.setup(Arc::new(directory.clone()))
    };
    Volume::init(&setup, PageSize::try_from(4096).unwrap()).unwrap();
    let volume = Volume::open(&setup).unwrap();
    volume.create_file(SHARED).unwrap();
    volume.sync().unwrap();
    directory.record_one_of(SNAPSHOT_ONE_OF, seed ^ number);
    directory.pause_at_times(seed ^ number);
    let over = AtomicBool::new(false);
    let logs = std::thread::scope(|scope| {
        let (volume, over) = (&volume, &over);
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let random = Random::part(seed ^ number.rotate_left(20), thread);
                scope.spawn(move || work(volume, directory, thread, random))
            })
            .collect();
        let onlookers: Vec<_> = (0..2)
            .map(|onlooker| {
                scope.spawn(move || look_on(volume, over, Random::part(seed ^ number, onlooker)))
            })
            .collect();
        let logs: Vec<Log> = threads
            .into_iter()
            .map(|it| it.join().expect("a thread panicked"))
            .collect();
        over.store(true, Ordering::Relaxed);
        for onlooker in onlookers {
            onlooker.join().expect("an onlooker panicked");
        }
        logs
    });
    tally.homings += volume.statistics().homings;
    for (point, snapshot) in directory.recorded().iter().enumerate() {
        tally.points += 1;
        let random = &mut Random::part(seed ^ number.rotate_left(40), point as u64);
        if let Err(why) = crash_and_look(world, random, snapshot, &logs, tally) {
            tally.wrong += 1;
            if tally.loud {
                println!(
                    "scenario {number}, point {point}, moment {}: {why}",
                    snapshot.moment
                );
            }
        }
    }
}

/// Steps on files of the thread's own, and between them some on the file of all.
fn work(volume: &Volume, directory: &CrashDirectory, thread: u64, mut random: Random) -> Log {
    let mut log = Log {
        history: vec![Model::new()],
        spans: Vec::new(),
        syncs: Vec::new(),
        shared: Vec::new(),
    };
    let steps = steps(&mut random, STEPS);
    let shared = volume.open_file(SHARED).unwrap();
    let mut value = 0;
    for step in steps {
        if random.chance(40) {
            value += 1;
            let step = match random.chance(30) {
                true => SharedStep::Empty,
                false => SharedStep::Write(value),
            };
            let span = spanned(directory, || match step {
                SharedStep::Empty => shared.set_len(0).unwrap(),
                SharedStep::Write(value) => {
                    shared.write_at(&page_of(value), thread * PAGE).unwrap()
                }
            });
            log.shared.push((span, step));
        }
        log.perform(volume, directory, owned_by(thread, step));
        // Somebody has the file open that loses its name.
        if random.chance(30) {
            let (new, name) = (
                format!("{thread}:new").into_bytes(),
                format!("{thread}:replaced"),
            );
            let bytes = Arc::new(random.bytes(100));
            log.perform(volume, directory, VolumeStep::Create(new.clone()));
            log.perform(volume, directory, VolumeStep::Write(new.clone(), 0, bytes));
            log.perform(
                volume,
                directory,
                VolumeStep::Rename(new, name.into_bytes()),
            );
        }
    }
    log
}

fn spanned(directory: &CrashDirectory, work: impl FnOnce()) -> Span {
    let begun = directory.tick();
    work();
    let ended = directory.tick();
    Span { begun, ended }
}

/// The same step on files that only this thread uses.
fn owned_by(thread: u64, step: VolumeStep) -> VolumeStep {
    let own = |name: Vec<u8>| [format!("{thread}:").as_bytes(), &name].concat();
    match step {
        VolumeStep::Create(name) => VolumeStep::Create(own(name)),
        VolumeStep::Write(name, at, bytes) => VolumeStep::Write(own(name), at, bytes),
        VolumeStep::SetLen(name, len) => VolumeStep::SetLen(own(name), len),
        VolumeStep::Rename(from, to) => VolumeStep::Rename(own(from), own(to)),
        VolumeStep::Remove(name) => VolumeStep::Remove(own(name)),
        VolumeStep::MakeDirectory(name) => VolumeStep::MakeDirectory(own(name)),
        VolumeStep::MoveDirectory(from, to) => VolumeStep::MoveDirectory(own(from), own(to)),
        VolumeStep::RemoveDirectory(name) => VolumeStep::RemoveDirectory(own(name)),
        step @ (VolumeStep::Sync | VolumeStep::BringHome) => step,
    }
}

/// Opens whatever there is, reads it, and lets go of it some time later: files are removed and replaced while they are open.
fn look_on(volume: &Volume, over: &AtomicBool, mut random: Random) {
    let mut held: Vec<VolumeFile> = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let name = match random.chance(70) {
            true => format!("{}:replaced", random.below(THREADS)).into_bytes(),
            false => random.pick(&volume.file_names().unwrap()).clone(),
        };
        match volume.open_file(&name) {
            Ok(file) => held.push(file),
            // It went meanwhile.
            Err(Error::NoSuchFile) => {}
            Err(error) => panic!("a file does not open: {error}"),
        }
        if let Some(file) = held.last().filter(|_| random.clone().chance(30)) {
            let mut bytes = vec![0; 5000];
            file.read_at(&mut bytes, 0).unwrap();
        }
        while held.len() > random.index(3) {
            let index = random.index(held.len());
            drop(held.swap_remove(index));
        }
    }
}

fn crash_and_look(
    world: &World,
    random: &mut Random,
    snapshot: &DirectorySnapshot,
    logs: &[Log],
    tally: &mut Tally,
) -> Result<(), String> {
    let directory = match random.chance(25) {
        true => CrashDirectory::killed(snapshot),
        false => CrashDirectory::after(snapshot, Loss::random(random), random.next()),
    };
    let setup = world.setup(Arc::new(directory));
    let volume = Volume::open(&setup).map_err(|error| format!("does not open: {error}"))?;
    tally.replayed += volume.recovered().groups;
    let mut found = contents(&volume).map_err(|error| format!("does not read: {error}"))?;
    let shared = found.remove(SHARED).ok_or("the file of all is gone")?;
    let moment = snapshot.moment;
    let syncs = logs.iter().flat_map(|log| &log.syncs);
    let acknowledged = syncs
        .filter(|it| it.ended < moment)
        .map(|it| it.begun)
        .max();
    let acknowledged = acknowledged.unwrap_or(0);
    is_a_prefix(&found, logs, moment, acknowledged)?;
    shared_is_right(&shared, logs, moment, acknowledged)
}

/// Looks for a step of each thread up to which everything is there, so that together they are a prefix.
fn is_a_prefix(found: &Model, logs: &[Log], moment: u64, acknowledged: u64) -> Result<(), String> {
    let mut floor: Vec<usize> = logs
        .iter()
        .map(|log| log.over_before(acknowledged))
        .collect();
    let of_thread: Vec<Model> = (0..logs.len())
        .map(|thread| files_of(found, thread))
        .collect();
    // The lowest that will do: whatever else would do needs more of the others.
    loop {
        let mut visible = Vec::new();
        for (thread, log) in logs.iter().enumerate() {
            let begun = log.spans.iter().take_while(|it| it.begun < moment).count();
            let fits = (floor[thread]..=begun).find(|step| log.history[*step] == of_thread[thread]);
            visible.push(
                fits.ok_or_else(|| match log.history.contains(&of_thread[thread]) {
                    true => format!("thread {thread} has what it had at another time"),
                    false => format!("thread {thread} has what it never had"),
                })?,
            );
        }
        let mut needed = visible.clone();
        for (thread, step) in visible.iter().enumerate().filter(|(_, step)| **step > 0) {
            let begun = logs[thread].spans[step - 1].begun;
            for (other, log) in logs.iter().enumerate() {
                needed[other] = needed[other].max(log.over_before(begun));
            }
        }
        if needed == visible {
            return Ok(());
        }
        floor = needed;
    }
}

impl Log {
    fn perform(&mut self, volume: &Volume, directory: &CrashDirectory, step: VolumeStep) {
        let mut model = self.history.last().unwrap().clone();
        step.apply(&mut model);
        self.history.push(model);
        let span = spanned(directory, || step.perform(volume).unwrap());
        self.spans.push(span);
        if matches!(step, VolumeStep::Sync) {
            self.syncs.push(span);
        }
    }

    /// How many steps were over before this moment.
    fn over_before(&self, moment: u64) -> usize {
        self.spans.iter().take_while(|it| it.ended < moment).count()
    }
}

fn files_of(found: &Model, thread: usize) -> Model {
    let prefix = format!("{thread}:").into_bytes();
    let own = found.iter().filter(|(name, _)| name.starts_with(&prefix));
    own.map(|(name, bytes)| (name.clone(), bytes.clone()))
        .collect::<BTreeMap<_, _>>()
}

/// Each thread's page is one that it wrote, whole, and none from before what was acknowledged, unless the file was cut since.
fn shared_is_right(
    bytes: &[u8],
    logs: &[Log],
    moment: u64,
    acknowledged: u64,
) -> Result<(), String> {
    let all = logs.iter().flat_map(|log| &log.shared);
    let cuts = all.filter(|(span, step)| *step == SharedStep::Empty && span.begun < moment);
    let last_cut = cuts.map(|(span, _)| span.ended).max().unwrap_or(0);
    for (thread, log) in logs.iter().enumerate() {
        let page = bytes.chunks(PAGE as usize).nth(thread).unwrap_or(&[]);
        let value = match page.first_chunk() {
            Some(value) => u64::from_le_bytes(*value),
            None => 0,
        };
        if value > 0 && page.get(..SHARED_LEN) != Some(&page_of(value)[..]) {
            return Err(format!("the page of thread {thread} is none that it wrote"));
        }
        let writes = log.shared.iter().filter_map(|(span, step)| match step {
            SharedStep::Write(value) => Some((*span, *value)),
            SharedStep::Empty => None,
        });
        let begun = writes.clone().filter(|(span, _)| span.begun < moment);
        let synced = writes.filter(|(span, _)| span.ended < acknowledged && span.begun > last_cut);
        let (least, most) = (synced.map(|it| it.1).max(), begun.map(|it| it.1).max());
        if value < least.unwrap_or(0) || value > most.unwrap_or(0) {
            return Err(format!(
                "the page of thread {thread} has {value}, and {least:?} was synced, {most:?} begun"
            ));
        }
    }
    Ok(())
}

fn page_of(value: u64) -> [u8; SHARED_LEN] {
    let mut bytes = [0; SHARED_LEN];
    for part in bytes.chunks_mut(8) {
        part.copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

const THREADS: u64 = 4;
const STEPS: usize = 60;
/// A file that all threads write to.
const SHARED: &[u8] = b"shared";
const SHARED_LEN: usize = 96;
const PAGE: u64 = 4096;
const SNAPSHOT_ONE_OF: u64 = 12;
const CRASH_POINTS: u64 = 4000;
