//! SQLite on sealed files, against plain SQLite and against its peers.
//!
//! `cargo run --release -p cofferdam-benches --bin sqlite -- [OPTION=VALUE…]`; `benches/run` does it with the peers.
//!
//! | Option | Meaning |
//! | --- | --- |
//! | `rounds=5` | how often everything is run; what is printed are medians over the rounds |
//! | `rows=60000` | size of the databases |
//! | `page-size=4096` | SQLite's page size |
//! | `journal=delete,wal` | journal modes |
//! | `dir=/dev/shm` | where the databases are |
//! | `only=TEXT` | only phases whose name has this text, and those that fill their database |
//! | `sqlcipher=PROGRAM` | the program of `benches/sqlcipher` |
//! | `apsw=DIR`, `sqlite3mc=DIR`, `python=PROGRAM` | where the wheels of these names are, and a Python that takes them |
//!
//! Each contender runs in a process of its own and measures itself; they take turns phase by phase, so that what
//! disturbs the machine disturbs all of them. A ratio compares a contender with the SQLite that is the same but for the
//! encryption, driven in the same way, in the same round.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use contender::{Contender, Cost};
use workload::{Phase, Scale, phases, pragmas};

mod contender;
mod server;
mod table;
mod workload;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let outcome = match arguments.next() {
        Some(first) if first == "--serve" => {
            let name = arguments.next().unwrap_or_default();
            let keys = PathBuf::from(arguments.next().unwrap_or_default());
            contender::serve_as(&name, &keys)
        }
        first => {
            Options::parse(first.into_iter().chain(arguments)).and_then(|options| measure(&options))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            println!("error {text}");
            ExitCode::FAILURE
        }
    }
}

/// The options as given, and what they are when they are not.
struct Options(HashMap<String, String>);

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options: HashMap<String, String> = DEFAULTS
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        for argument in arguments {
            let (name, value) = argument
                .split_once('=')
                .ok_or_else(|| format!("{argument:?} is not OPTION=VALUE"))?;
            if !DEFAULTS.iter().any(|(known, _)| *known == name) {
                return Err(format!("there is no option {name:?}"));
            }
            options.insert(name.to_owned(), value.to_owned());
        }
        Ok(Options(options))
    }

    fn text(&self, name: &str) -> &str {
        &self.0[name]
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<T, String> {
        let text = self.text(name);
        text.parse()
            .map_err(|_| format!("{name}: {text:?} is no number"))
    }
}

const DEFAULTS: [(&str, &str); 10] = [
    ("rounds", "5"),
    ("rows", "60000"),
    ("page-size", "4096"),
    ("journal", "delete,wal"),
    ("dir", "/dev/shm"),
    ("only", ""),
    ("sqlcipher", ""),
    ("apsw", ""),
    ("sqlite3mc", ""),
    ("python", "python3"),
];

fn measure(options: &Options) -> Result<(), String> {
    let rounds: usize = options.number("rounds")?;
    for journal in options.text("journal").split(',') {
        let scale = Scale {
            rows: options.number("rows")?,
            page_size: options.number("page-size")?,
            log: journal.eq_ignore_ascii_case("wal"),
        };
        let dir =
            Path::new(options.text("dir")).join(format!("cofferdam-bench-{}", std::process::id()));
        let result = run(options, scale, rounds, &dir);
        let _ = std::fs::remove_dir_all(&dir);
        let (names, baselines, all) = result?;
        println!(
            "\nSQLite, journal {journal}, pages of {}, {} rows, {rounds} rounds, in {}; load {}",
            scale.page_size,
            scale.rows,
            options.text("dir"),
            load(),
        );
        table::print(&names, &baselines, &all, journal);
    }
    Ok(())
}

/// The costs of one phase: for each round, of each contender.
pub(crate) type Costs = Vec<Vec<Cost>>;

type Outcome = (Vec<String>, Vec<usize>, Vec<(Phase, Costs)>);

fn run(options: &Options, scale: Scale, rounds: usize, dir: &Path) -> Result<Outcome, String> {
    let mut contenders = contenders(options, dir)?;
    let wanted = |phase: &Phase| phase.new_database || phase.name.contains(options.text("only"));
    let mut all: Vec<(Phase, Costs)> = phases(scale)
        .into_iter()
        .filter(wanted)
        .map(|phase| (phase, Vec::new()))
        .collect();
    for round in 0..rounds {
        for (phase, costs) in &mut all {
            let mut of_round = Vec::with_capacity(contenders.len());
            for contender in &mut contenders {
                let version = prepare(contender, phase, scale)?;
                if let Some(version) = version.filter(|_| round == 0 && phase.name == "bulk insert")
                {
                    println!("{}: SQLite {version}", contender.name);
                }
                of_round.push(contender.run(&phase.statements)?);
            }
            if let Some(other) = of_round.iter().find(|cost| cost.last != of_round[0].last) {
                return Err(format!(
                    "{}: {:?} and {:?}",
                    phase.name, of_round[0].last, other.last
                ));
            }
            costs.push(of_round);
        }
    }
    let names = contenders
        .iter()
        .map(|contender| contender.name.clone())
        .collect();
    let baselines = contenders
        .iter()
        .map(|contender| contender.baseline)
        .collect();
    Ok((names, baselines, all))
}

fn prepare(
    contender: &mut Contender,
    phase: &Phase,
    scale: Scale,
) -> Result<Option<String>, String> {
    let mut version = None;
    if phase.new_database || phase.reopens {
        version = Some(if phase.new_database {
            contender.open_new()?
        } else {
            contender.reopen()?
        });
        contender.run(&pragmas(scale))?;
    }
    contender.run(&phase.before)?;
    Ok(version)
}

/// Starts everybody that there is a program for.
fn contenders(options: &Options, dir: &Path) -> Result<Vec<Contender>, String> {
    let mut all = Vec::new();
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    for (name, argument) in [
        ("plain", "plain"),
        ("suite 1", "1"),
        ("suite 3", "3"),
        ("suite 2", "2"),
    ] {
        let mut command = Command::new(&own);
        command
            .arg("--serve")
            .arg(argument)
            .arg(dir.join("keys").join(argument));
        all.push(Contender::start(name, 0, &mut command, dir)?);
    }
    let sqlcipher = options.text("sqlcipher");
    if !sqlcipher.is_empty() {
        let baseline = all.len();
        for (name, argument) in [("plain (sqlcipher)", "plain"), ("sqlcipher", "sealed")] {
            let mut command = Command::new(sqlcipher);
            all.push(Contender::start(
                name,
                baseline,
                command.arg(argument),
                dir,
            )?);
        }
    }
    let baseline = all.len();
    for (name, wheel, argument) in [
        ("plain (apsw)", "apsw", "plain"),
        ("mc no key", "sqlite3mc", "plain"),
        ("mc aegis256x4", "sqlite3mc", "aegis256x4"),
        ("mc chacha20", "sqlite3mc", "chacha20"),
    ] {
        let place = options.text(wheel);
        if place.is_empty() {
            continue;
        }
        let mut command = Command::new(options.text("python"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("sqlite3mc.py");
        command.arg(script).arg(argument).env("PYTHONPATH", place);
        all.push(Contender::start(name, baseline, &mut command, dir)?);
    }
    Ok(all)
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg")
        .unwrap_or_default()
        .trim_end()
        .to_owned()
}
