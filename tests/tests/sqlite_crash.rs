//! SQLite loses power, or its disk fails, at any moment; afterwards every database holds exactly the
//! transactions that were acknowledged, and whole ones.
//!
//! `COFFERDAM_SEED` replays a run, `COFFERDAM_CRASH_POINTS` sets how many moments are tried. A failure
//! prints the case and the seed of its scenario.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use cofferdam_audit::{Actor, ActorKind, Source, UnixTime};
use cofferdam_keys::{KeyUri, Pins, Suite};
use cofferdam_sealed_file::{AuditPlace, NewStore, Opener, Recorded};
use cofferdam_sqlite::Sealed;
use cofferdam_tests::crash_vfs::{Disk, Fault, FaultKind, Operation, Progress, World};
use cofferdam_tests::leases::quiet_leases;
use cofferdam_tests::oracle::{
    Case, Committed, Journal, Synchronous, read_back, write_and_read_back,
};
use cofferdam_tests::oracle_run::{Run, Stopped};
use cofferdam_tests::power_cut::Loss;
use cofferdam_tests::random::{Random, number, seed};
use cofferdam_vaults::Vaults;
use tempfile::TempDir;

fn main() -> ExitCode {
    // Test runners ask every binary for its tests; this one is run as a whole, by its suite.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let seed = seed();
    let points = number("COFFERDAM_CRASH_POINTS").unwrap_or(CRASH_POINTS);
    println!("COFFERDAM_SEED={seed} COFFERDAM_CRASH_POINTS={points}");

    let mut tally = Tally::default();
    let stacks: [(&str, Stack); 2] = [("plain", plain_vfs), ("stacked", stacked_vfs)];
    for (name, stack) in stacks {
        let bench = Bench { stack, seed };
        let points = points / stacks.len() as u64;
        let sections: [(&str, Section); 6] = [
            ("a test that cannot fail is no test", &unsynced_is_noticed),
            ("what once went wrong", &what_once_went_wrong),
            ("power is lost at any moment of a long run", &|bench| {
                any_moment_of_long_runs(bench, points * 5 / 8)
            }),
            ("power is lost at every change of a short run", &|bench| {
                every_change_of_short_runs(bench, points / 4)
            }),
            (
                "every operation of a short run fails",
                &every_operation_fails,
            ),
            ("an operation fails, and power is lost later", &|bench| {
                faults_before_power_cuts(bench, points / 8)
            }),
        ];
        for (title, section) in sections {
            let start = Instant::now();
            let part = section(&bench);
            println!(
                "{name}: {title}: {} crash points, {} faults, {} wrong, {:.1} s",
                part.crash_points,
                part.faults,
                part.violations.len(),
                start.elapsed().as_secs_f64()
            );
            tally.add(part);
        }
    }
    tally.report(points)
}

/// A part of the test, which can be run on any stack.
type Section<'a> = &'a dyn Fn(&Bench) -> Tally;

/// Given the name of a world's VFS, the name of the VFS that the scenarios use.
type Stack = fn(&str) -> String;

/// SQLite straight on the simulated disk: what holds here is what SQLite promises.
fn plain_vfs(base: &str) -> String {
    base.to_owned()
}

/// Cofferdam's VFS on the simulated disk, with two layers and keys that survive the crash.
fn stacked_vfs(base: &str) -> String {
    static OPENER: OnceLock<(TempDir, Arc<Opener>)> = OnceLock::new();
    let (_, opener) = OPENER.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory for key files");
        let opener = Arc::new(opener(directory.path()));
        (directory, opener)
    });
    let sealed = Sealed::over(Arc::clone(opener), Some(base));
    let sealed = sealed.expect("SQLite takes another VFS");
    sealed.layer().to_owned()
}

fn opener(directory: &Path) -> Opener {
    let vaults = Vaults::without_passphrases();
    let [customer, infrastructure] = ["customer.key", "infrastructure.key"].map(|name| {
        let key = KeyUri::from_file_path(&directory.join(name)).expect("a path is a key's name");
        let vault = vaults.file(&key).expect("a vault for a key file");
        vault.create(None, clock()).expect("a new key file");
        key
    });
    Opener {
        vaults: Arc::new(vaults),
        pins: Pins::none(),
        new_store: Some(NewStore {
            suite: Suite::Two,
            customer,
            infrastructure: Some(infrastructure),
            room_for_second_layer: true,
        }),
        // The log is a file of the real system, which does not lose power with the world.
        audit: AuditPlace::Nowhere,
        audit_required: false,
        actor: Actor::new(ActorKind::System, "sqlite-crash"),
        source: Source::default(),
        clock,
        leases: quiet_leases(clock),
        recorded: Recorded::default(),
    }
}

fn clock() -> UnixTime {
    UnixTime {
        seconds: 1_700_000_000,
        nanos: 0,
    }
}

/// With `synchronous=OFF`, or on a disk that ignores syncs, the same scenarios must go wrong in every
/// journal mode. Otherwise the others prove nothing.
fn unsynced_is_noticed(bench: &Bench) -> Tally {
    let honest = Disk::honest(512);
    let lying = Disk {
        ignores_sync: true,
        ..honest
    };
    let mut sum = Tally::default();
    for (synchronous, disk) in [(Synchronous::Off, honest), (Synchronous::Extra, lying)] {
        for journal in Journal::ALL {
            let case = Case {
                journal,
                synchronous,
                page_size: 1024,
                sector_size: 512,
            };
            let mut lab = Lab::new(bench.stack);
            let found = lab.long_run(case, disk, Random::part(bench.seed, 1).next(), 300);
            if found.violations.is_empty() {
                sum.violations.push(format!(
                    "{case:?} on {disk:?}: nothing was lost, so this test cannot fail"
                ));
            }
        }
    }
    sum
}

/// Scenarios that damaged databases: sealed pages of a transaction before the last came back, a journal could not be cut, a record
/// was not made durable because the write before it had failed.
fn what_once_went_wrong(bench: &Bench) -> Tally {
    let case = |journal, synchronous, page_size, sector_size| Case {
        journal,
        synchronous,
        page_size,
        sector_size,
    };
    let extra = case(Journal::Persist, Synchronous::Extra, 512, 4096);
    let full = case(Journal::Persist, Synchronous::Full, 512, 512);
    let truncate = case(Journal::Truncate, Synchronous::Full, 1024, 512);
    let delete = case(Journal::Delete, Synchronous::Full, 4096, 512);
    let mut lab = Lab::new(bench.stack);
    let mut sum = Tally::default();
    for (case, seed) in [
        (extra, 13_458_398_340_570_122_676),
        (extra, 9_256_245_045_807_549_285),
        (full, 11_335_495_672_348_315_280),
    ] {
        sum.add(lab.long_run(case, case.disk(), seed, 60));
    }
    for (case, kind, persistent, seed) in [
        (full, FaultKind::IoError, false, 6_958_197_975_871_289_475),
        (full, FaultKind::Full, true, 12_848_969_978_779_893_993),
        (delete, FaultKind::Full, false, 17_272_545_847_089_838_333),
        (
            truncate,
            FaultKind::IoError,
            false,
            17_566_983_598_507_345_365,
        ),
    ] {
        sum.add(lab.faulty_runs(case, kind, persistent, seed));
    }
    sum
}

/// Long runs in every case; moments are sampled, and so is what the disk keeps.
fn any_moment_of_long_runs(bench: &Bench, points: u64) -> Tally {
    let cases = cases();
    bench.in_parallel(points, |lab, job| {
        let case = cases[job as usize % cases.len()];
        let seed = Random::part(bench.seed, 1000 + job).next();
        lab.long_run(case, case.disk(), seed, 60)
    })
}

/// Short runs that really end at the crash: every later call of the program fails. Each change of the
/// disk is the last one in turn.
fn every_change_of_short_runs(bench: &Bench, points: u64) -> Tally {
    let cases = cases();
    bench.in_parallel(points, |lab, job| {
        let case = cases[(job as usize * 7) % cases.len()];
        let seed = Random::part(bench.seed, 1_000_000 + job).next();
        lab.short_run(case, seed)
    })
}

/// Each operation of a short run fails in turn, once or from then on. Either SQLite reports it, or
/// nothing is lost by it; the database reopens to the last acknowledged state or the one under way.
fn every_operation_fails(bench: &Bench) -> Tally {
    let faults = [
        (FaultKind::IoError, false),
        (FaultKind::IoError, true),
        (FaultKind::Full, false),
        (FaultKind::Full, true),
    ];
    let cases: Vec<_> = cases()
        .into_iter()
        .filter(|case| case.page_size <= 4096)
        .collect();
    let jobs = FAULT_ROUNDS * cases.len() * faults.len();
    bench.in_parallel(u64::MAX, |lab, job| {
        if job >= jobs as u64 {
            return Tally::finished();
        }
        let case = cases[job as usize % cases.len()];
        let (kind, persistent) = faults[job as usize / cases.len() % faults.len()];
        let seed = Random::part(bench.seed, 2_000_000 + job).next();
        lab.faulty_runs(case, kind, persistent, seed)
    })
}

/// An operation fails, and SQLite goes on when it does not care: it does not look at how the end of a transaction over
/// several databases went. Some time later the power is lost.
fn faults_before_power_cuts(bench: &Bench, points: u64) -> Tally {
    let cases = cases();
    bench.in_parallel(points, |lab, job| {
        let case = cases[job as usize % cases.len()];
        let seed = Random::part(bench.seed, 3_000_000 + job).next();
        lab.faulty_run_cut_short(case, seed)
    })
}

/// Every journal mode with every page size, on disks that claim small and large sectors.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for page_size in [512, 1024, 4096, 16384, 65536] {
        for journal in Journal::ALL {
            for synchronous in [Synchronous::Full, Synchronous::Extra, Synchronous::Normal] {
                // With a rollback journal NORMAL leaves out the sync between the journal's pages and
                // its header, and SQLite does not promise that this survives a reordering disk.
                if synchronous == Synchronous::Normal && !journal.is_wal() {
                    continue;
                }
                let sector_size = if cases.len() % 2 == 0 { 512 } else { 4096 };
                cases.push(Case {
                    journal,
                    synchronous,
                    page_size,
                    sector_size,
                });
            }
        }
    }
    cases
}

/// What a section needs to know.
struct Bench {
    stack: Stack,
    seed: u64,
}

impl Bench {
    /// Hands out jobs, numbered from 0, until there are enough crash points.
    fn in_parallel(&self, points: u64, work: impl Fn(&mut Lab, u64) -> Tally + Sync) -> Tally {
        let sum = Mutex::new(Tally::default());
        let next = AtomicU64::new(0);
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let mut lab = Lab::new(self.stack);
                    loop {
                        let part = work(&mut lab, next.fetch_add(1, Ordering::Relaxed));
                        let mut sum = sum.lock().expect("no thread of this test panics");
                        let finished = part.finished;
                        sum.add(part);
                        let failed = sum.violations.len() >= VIOLATIONS_MAX;
                        if finished || failed || sum.crash_points >= points {
                            break;
                        }
                    }
                });
            }
        });
        sum.into_inner().expect("no thread of this test panics")
    }
}

/// The machines of one thread: one runs scenarios, the other is restarted after crashes.
struct Lab {
    program: Machine,
    recovery: Machine,
}

struct Machine {
    world: World,
    vfs: String,
}

impl Machine {
    fn new(stack: Stack) -> Machine {
        let world = World::new(Disk::honest(512));
        let vfs = stack(world.vfs());
        Machine { world, vfs }
    }
}

impl Lab {
    fn new(stack: Stack) -> Lab {
        Lab {
            program: Machine::new(stack),
            recovery: Machine::new(stack),
        }
    }

    fn is_sqlite_alone(&self) -> bool {
        self.program.vfs == self.program.world.vfs()
    }

    /// One long run without a fault, and the power cut at sampled moments of it.
    fn long_run(&mut self, case: Case, disk: Disk, seed: u64, moments: usize) -> Tally {
        let mut tally = Tally::default();
        let Machine { world, vfs } = &self.program;
        world.clear(disk);
        self.recovery.world.clear(disk);
        world.take_snapshots(moments, seed);
        let mut run = Run::new(case, world, vfs, seed);
        if let Err(stopped) = run.steps(LONG_RUN_STEPS) {
            tally.wrong(case, seed, 0, format!("without a fault: {stopped:?}"));
            return tally;
        }
        let states = run.into_states();
        let mut random = Random::part(seed, 1);
        for snapshot in world.snapshots() {
            let loss = Loss::random(&mut random);
            let recovery = &self.recovery;
            recovery
                .world
                .power_cycle_at(&snapshot, loss, random.next());
            let progress = snapshot.progress;
            let checked = check_restart(recovery, case, &states, progress, &mut random, &mut tally);
            if let Err(what) = checked {
                tally.wrong(case, seed, snapshot.change, format!("{loss:?}: {what}"));
            }
        }
        tally
    }

    /// A short run that is repeated with the power cut at its first, second, … change of the disk.
    fn short_run(&mut self, case: Case, seed: u64) -> Tally {
        let mut tally = Tally::default();
        let Machine { world, vfs } = &self.program;
        let mut random = Random::part(seed, 2);
        for change in 1.. {
            world.clear(case.disk());
            world.crash_at(change);
            let mut run = Run::new(case, world, vfs, seed);
            let result = run.steps(SHORT_RUN_STEPS);
            if !world.crashed() {
                if let Err(stopped) = result {
                    tally.wrong(case, seed, change, format!("without a fault: {stopped:?}"));
                }
                return tally;
            }
            let loss = Loss::random(&mut random);
            let left = (run.into_states(), result, loss);
            let checked = lose_power(&self.program, case, left, &mut random, &mut tally);
            if let Err(what) = checked {
                tally.wrong(case, seed, change, format!("{loss:?}: {what}"));
            }
        }
        tally
    }

    /// A run in which one operation fails, and power is lost at a later change of the disk.
    fn faulty_run_cut_short(&mut self, case: Case, seed: u64) -> Tally {
        let mut tally = Tally::default();
        let Machine { world, vfs } = &self.program;
        let mut random = Random::part(seed, 4);
        world.clear(case.disk());
        world.crash_at(20 + random.below(400));
        world.inject(Fault {
            nth: 1 + random.below(800),
            kind: FaultKind::IoError,
            persistent: false,
        });
        let mut run = Run::new(case, world, vfs, seed);
        let result = run.steps(LONG_RUN_STEPS / 2);
        let operation = world.fault_struck();
        tally.faults += u64::from(world.faults_injected() > 0);
        let left = (run.into_states(), result, Loss::random(&mut random));
        let checked = lose_power(&self.program, case, left, &mut random, &mut tally);
        match checked {
            Err(_) if self.is_sqlite_alone() => tally.sqlites_own += 1,
            Err(what) => tally.wrong(case, seed, 0, format!("{operation:?} failed: {what}")),
            Ok(()) => {}
        }
        tally
    }

    /// A short run that is repeated with its first, second, … operation failing. Every other time
    /// the power is cut as well.
    fn faulty_runs(&mut self, case: Case, kind: FaultKind, persistent: bool, seed: u64) -> Tally {
        let mut tally = Tally::default();
        let Machine { world, vfs } = &self.program;
        let mut random = Random::part(seed, 3);
        for nth in 1.. {
            world.clear(case.disk());
            world.inject(Fault {
                nth,
                kind,
                persistent,
            });
            let mut run = Run::new(case, world, vfs, seed);
            let result = run.steps(SHORT_RUN_STEPS);
            let struck = world.faults_injected();
            let operation = world.fault_struck();
            tally.faults += u64::from(struck > 0);
            if struck > 0 && nth % 2 == 0 {
                world.power_cycle(Loss::random(&mut random), random.next());
            }
            let checked = match &result {
                Err(Stopped::Wrong(what)) => Err(what.clone()),
                Err(error) if struck == 0 => Err(format!("without a fault: {error:?}")),
                Ok(()) | Err(Stopped::Reported(_)) => {
                    let states = run.into_states();
                    check(&self.program, case, &states, world.progress(), &mut tally)
                }
            };
            // A journal that cannot be cut is left lying by SQLite when it has a super-journal, and the next transaction on it
            // cannot be rolled back. Nothing to be done about it below SQLite's own files.
            if checked.is_err() && self.is_sqlite_alone() && operation == Some(Operation::Truncate)
            {
                tally.sqlites_own += 1;
            } else if let Err(what) = checked {
                let what = format!(
                    "{kind:?} of {operation:?}, persistent {persistent}, then {result:?}: {what}"
                );
                tally.wrong(case, seed, nth, what);
            }
            if struck == 0 {
                return tally;
            }
        }
        tally
    }
}

/// Lets a machine lose power after a run that ended like this, and checks what it finds when it starts again.
fn lose_power(
    machine: &Machine,
    case: Case,
    (states, ended, loss): (Vec<Committed>, Result<(), Stopped>, Loss),
    random: &mut Random,
    tally: &mut Tally,
) -> Result<(), String> {
    let progress = machine.world.progress();
    machine.world.power_cycle(loss, random.next());
    match ended {
        Err(Stopped::Wrong(what)) => Err(what),
        // The last change may have been one that needs no acknowledgement.
        Ok(()) | Err(Stopped::Reported(_)) => {
            check_restart(machine, case, &states, progress, random, tally)
        }
    }
}

/// Restarts a machine that lost power, sometimes loses it again while SQLite recovers, and checks
/// what is there in the end. Sometimes goes on writing.
fn check_restart(
    machine: &Machine,
    case: Case,
    states: &[Committed],
    progress: Progress,
    random: &mut Random,
    tally: &mut Tally,
) -> Result<(), String> {
    tally.crash_points += 1;
    while random.chance(40) {
        machine.world.crash_at(1 + random.below(12));
        let recovered = read_back(&machine.vfs);
        if !machine.world.crashed() {
            // There was less to recover than that. What was read must be right all the same.
            machine.world.stay_up();
            recovered?;
            break;
        }
        tally.recoveries_crashed += 1;
        machine
            .world
            .power_cycle(Loss::random(random), random.next());
    }
    check(machine, case, states, progress, tally)?;
    if random.chance(10) {
        cofferdam_sqlite::clear_last_error();
        return match write_and_read_back(&machine.vfs) {
            // Known, and counted: SQLite reuses free pages without a journal, so a power cut may tear one. Nothing that was
            // committed is in it, but a sealed page that is torn can be read no more.
            Err(_) if torn_free_page() => {
                tally.free_pages_torn += 1;
                Ok(())
            }
            result => result,
        };
    }
    Ok(())
}

fn check(
    machine: &Machine,
    case: Case,
    states: &[Committed],
    progress: Progress,
    tally: &mut Tally,
) -> Result<(), String> {
    let (main, aux) = read_back(&machine.vfs)?;
    if !case.admits(states, progress, &main, &aux) {
        let place = |found: &dyn Fn(&Committed) -> bool| states.iter().position(found);
        return Err(format!(
            "{progress:?}, but main is at {:?} and aux at {:?}",
            place(&|state| state.main == main),
            place(&|state| state.aux == aux)
        ));
    }
    if progress.committing {
        let newest = &states[progress.acknowledged + 1];
        let older = &states[progress.acknowledged];
        if (&newest.main, &newest.aux) != (&older.main, &older.aux) {
            let arrived = newest.main == main && newest.aux == aux;
            let outcome = if arrived { "committed" } else { "rolled back" };
            *tally
                .outcomes
                .entry((case.journal.pragma(), outcome))
                .or_default() += 1;
        }
    }
    Ok(())
}

/// Whether a database whose every committed row was there refused one page.
fn torn_free_page() -> bool {
    cofferdam_sqlite::last_error().is_some_and(|text| text.contains("of the database was altered"))
}

/// What was done and found.
#[derive(Default)]
struct Tally {
    crash_points: u64,
    recoveries_crashed: u64,
    faults: u64,
    /// Writes after a recovery that met a torn free page.
    free_pages_torn: u64,
    /// Databases that SQLite alone damages after a fault, on its own VFS.
    sqlites_own: u64,
    /// How commits under way ended, by journal mode.
    outcomes: BTreeMap<(&'static str, &'static str), u64>,
    violations: Vec<String>,
    finished: bool,
}

impl Tally {
    fn finished() -> Tally {
        Tally {
            finished: true,
            ..Tally::default()
        }
    }

    fn wrong(&mut self, case: Case, seed: u64, place: u64, what: String) {
        let said = cofferdam_sqlite::last_error().unwrap_or_default();
        self.violations.push(format!(
            "{case:?}, scenario seed {seed}, operation {place}: {what} {said}"
        ));
    }

    fn add(&mut self, part: Tally) {
        self.crash_points += part.crash_points;
        self.recoveries_crashed += part.recoveries_crashed;
        self.faults += part.faults;
        self.free_pages_torn += part.free_pages_torn;
        self.sqlites_own += part.sqlites_own;
        for (outcome, count) in part.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        self.violations.extend(part.violations);
    }

    /// Prints the result. Doing too little is a failure as well.
    fn report(mut self, points: u64) -> ExitCode {
        for ((journal, outcome), count) in &self.outcomes {
            println!("{journal}: {count} commits under way were {outcome}");
        }
        for journal in Journal::ALL {
            for outcome in ["committed", "rolled back"] {
                if !self.outcomes.contains_key(&(journal.pragma(), outcome)) {
                    let text = format!("no commit under {} was {outcome}", journal.pragma());
                    self.violations.push(text);
                }
            }
        }
        if self.crash_points < points || self.recoveries_crashed == 0 || self.faults == 0 {
            self.violations.push("too little was tried".to_owned());
        }
        for violation in self.violations.iter().take(VIOLATIONS_MAX) {
            println!("WRONG: {violation}");
        }
        println!(
            "sqlite-crash: {} crash points, {} recoveries crashed again, {} faults injected, {} torn free pages met, {} times SQLite alone was wrong",
            self.crash_points,
            self.recoveries_crashed,
            self.faults,
            self.free_pages_torn,
            self.sqlites_own
        );
        if self.violations.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

const CRASH_POINTS: u64 = 40_000;
const FAULT_ROUNDS: usize = 1;
const LONG_RUN_STEPS: usize = 30;
const SHORT_RUN_STEPS: usize = 4;
/// After so many wrong answers it is no use to look for more.
const VIOLATIONS_MAX: usize = 20;
