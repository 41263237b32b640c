//! Files of a volume against files of the system, and redb on both.
//!
//! `cargo run --release -p cofferdam-benches --bin volume -- [OPTION=VALUE…]`; `benches/volume` builds it and says what machine it is on.
//!
//! | Option | Meaning |
//! | --- | --- |
//! | `rounds=5` | how often everything is run; what is printed are medians over the rounds of each round's ratio |
//! | `mib=64` | size of the files that are read and written, a power of two |
//! | `commits=400` | synced commits of each phase, over all its threads |
//! | `rows=20000` | rows of redb's tables |
//! | `dir=/var/tmp` | where everything is; a disk whose syncs are real, or the commits mean nothing |
//!
//! Contenders take turns phase by phase, so that what disturbs the machine disturbs all of them. The time is the clock's, and that of the
//! process's processors beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use store::{Kind, Store};

mod engine;
mod files;
mod store;

fn main() -> ExitCode {
    match Options::parse().and_then(|options| measure(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

struct Options {
    rounds: usize,
    mib: usize,
    commits: usize,
    rows: u64,
    dir: PathBuf,
}

impl Options {
    fn parse() -> Outcome<Options> {
        let mut options = Options {
            rounds: 5,
            mib: 64,
            commits: 400,
            rows: 20_000,
            dir: "/var/tmp".into(),
        };
        for argument in std::env::args().skip(1) {
            match argument.split_once('=') {
                Some(("rounds", text)) => options.rounds = text.parse()?,
                Some(("mib", text)) => options.mib = text.parse()?,
                Some(("commits", text)) => options.commits = text.parse()?,
                Some(("rows", text)) => options.rows = text.parse()?,
                Some(("dir", text)) => options.dir = text.into(),
                _ => return Err(format!("{argument:?} is no option of this bench").into()),
            }
        }
        match options.mib.is_power_of_two() {
            true => Ok(options),
            false => Err("mib is a power of two".into()),
        }
    }
}

/// What a phase cost one contender in one round, in seconds.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
}

/// Runs something and tells what it cost.
fn cost(work: impl FnOnce() -> Outcome<()>) -> Outcome<Cost> {
    let (begun, cpu) = (Instant::now(), processor_seconds());
    work()?;
    Ok(Cost {
        wall: begun.elapsed().as_secs_f64(),
        cpu: processor_seconds() - cpu,
    })
}

/// Of this process, all its threads and the system for it.
fn processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The costs of each phase, contender by contender, round by round.
#[derive(Default)]
struct Table {
    phases: Vec<String>,
    costs: BTreeMap<(String, usize), Vec<Cost>>,
    operations: BTreeMap<String, usize>,
}

impl Table {
    fn add(&mut self, phase: &str, contender: usize, operations: usize, cost: Cost) {
        if !self.operations.contains_key(phase) {
            self.phases.push(phase.to_owned());
            self.operations.insert(phase.to_owned(), operations);
        }
        let costs = self.costs.entry((phase.to_owned(), contender)).or_default();
        costs.push(cost);
    }

    /// Against contender 0: medians of each round's ratio, of the clock's time and the processors'.
    fn print(&self, title: &str, contenders: &[&str]) {
        println!(
            "\n{title}: times as long as {} (processor time)\n",
            contenders[0]
        );
        print!("{:28} {:>14}", "", "µs each");
        contenders[1..].iter().for_each(|it| print!(" {it:>16}"));
        println!();
        for phase in &self.phases {
            let costs = |contender: usize| &self.costs[&(phase.clone(), contender)];
            let micros = 1e6 / self.operations[phase] as f64;
            let each = median(costs(0).iter().map(|it| it.wall * micros));
            print!("{phase:28} {each:14.2}");
            for contender in 1..contenders.len() {
                let pairs = || costs(contender).iter().zip(costs(0));
                let wall = median(pairs().map(|(it, plain)| it.wall / plain.wall));
                let cpu = median(pairs().map(|(it, plain)| it.cpu / plain.cpu));
                print!(" {:>16}", format!("{wall:.2} ({cpu:.2})"));
            }
            println!();
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn measure(options: &Options) -> Outcome<()> {
    let dir = tempfile::tempdir_in(&options.dir)?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    println!(
        "{} rounds in {}; load {}",
        options.rounds,
        options.dir.display(),
        load.trim()
    );
    let (mut files, mut commits, mut redb) = Default::default();
    let mut groups = String::new();
    for round in 0..options.rounds {
        let place = |name: &str| dir.path().join(format!("{round}-{name}"));
        groups = measure_files(options, &place, &mut files, &mut commits)?;
        measure_redb(options, &place, &mut redb)?;
        // Nothing of this round is on its way to the disk in the next one.
        std::fs::read_dir(dir.path())?.try_for_each(|it| std::fs::remove_dir_all(it?.path()))?;
        rustix::fs::sync();
    }
    let names = Kind::ALL.map(Kind::name);
    files.print("Files, 8 KiB at a time", &names);
    commits.print("Synced commits of 8 KiB, a file for each thread", &names);
    println!("\nWhere a commit's time goes, in the last round:\n{groups}");
    redb.print("redb", &engine::NAMES);
    Ok(())
}

fn measure_files(
    options: &Options,
    place: &impl Fn(&str) -> PathBuf,
    files: &mut Table,
    commits: &mut Table,
) -> Outcome<String> {
    let stores: Vec<Store> = Kind::ALL
        .iter()
        .map(|kind| Store::new(*kind, &place(kind.name())))
        .collect::<Outcome<_>>()?;
    let pages = options.mib * 128;
    for phase in files::PHASES {
        for (contender, store) in stores.iter().enumerate() {
            let cost = cost(|| files::run(phase, store, pages))?;
            files.add(phase.name(), contender, pages, cost);
        }
    }
    let mut groups = String::new();
    for (place, what) in [
        (files::Place::Append, "appending"),
        (files::Place::InPlace, "in place"),
    ] {
        for threads in [1, 4, 16] {
            let phase = format!("{threads} threads, {what}");
            for (contender, store) in stores.iter().enumerate() {
                let logs = files::logs(store, place, threads)?;
                let before = store.statistics();
                let cost = cost(|| files::commit(&logs, place, options.commits))?;
                commits.add(&phase, contender, options.commits, cost);
                if let (Some(before), Some(after)) = (before, store.statistics()) {
                    let name = Kind::ALL[contender].name();
                    groups += &files::account(name, &phase, threads, cost, before, after);
                }
            }
        }
    }
    Ok(groups)
}

fn measure_redb(
    options: &Options,
    place: &impl Fn(&str) -> PathBuf,
    table: &mut Table,
) -> Outcome<()> {
    let stores: Vec<engine::Engine> = engine::NAMES
        .iter()
        .map(|name| engine::Engine::new(name, &place(&format!("redb-{name}"))))
        .collect::<Outcome<_>>()?;
    for phase in engine::PHASES {
        for (contender, store) in stores.iter().enumerate() {
            let mut operations = 0;
            let cost = cost(|| {
                operations = store.run(phase, options.rows)?;
                Ok(())
            })?;
            table.add(phase, contender, operations, cost);
        }
    }
    Ok(())
}

/// Makes a directory that is not there yet.
fn make(path: &Path) -> Outcome<()> {
    Ok(std::fs::create_dir_all(path)?)
}
