//! Processes share a database and are killed without a warning; what they acknowledged is there.
//!
//! The test runs itself: four writers and four readers on one database, for each of two journal modes.
//! A writer notes every acknowledged commit in a ledger of its own outside of the database, synced.
//! The parent kills writers, and sometimes everybody, and starts them again.
//!
//! 1. A writer that is started finds the last commit in its ledger, and at most one more.
//! 2. A reader sees every commit that stood in a ledger before it began, whole transactions only, and
//!    counters that do not go back.
//! 3. In the end `integrity_check` is content and every entry of every ledger has its commit.
//!
//! `COFFERDAM_PROCESS_SECONDS` sets how long it goes on, `COFFERDAM_SEED` when who is killed.

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cofferdam_audit::{Actor, ActorKind, Source, UnixTime};
use cofferdam_keys::{KeyUri, Pins, Suite};
use cofferdam_sealed_file::{AuditPlace, NewStore, Opener, Recorded};
use cofferdam_sqlite::Sealed;
use cofferdam_tests::leases::quiet_leases;
use cofferdam_tests::random::{Random, number, seed};
use cofferdam_vaults::Vaults;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};

fn main() -> ExitCode {
    // Test runners ask every binary for its tests; this one is run as a whole, by its suite.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<String> = env::args().collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "writer", directory, id] => write(&Place::new(directory), id),
        [_, "reader", directory, id] => read(&Place::new(directory), id),
        _ => parent(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("WRONG: {error}");
            ExitCode::FAILURE
        }
    }
}

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Opens the database as every process of this test does: sealed under two keys that lie beside it, with its audit log.
fn open(path: &Path) -> Outcome<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let directory = path.parent().ok_or("a database is in a directory")?;
    let connection = sealed(directory)?.open_with(path, flags)?;
    connection.busy_timeout(Duration::from_secs(30))?;
    Ok(connection)
}

fn sealed(directory: &Path) -> Outcome<Sealed> {
    let vaults = Vaults::without_passphrases();
    let key = |name: &str| -> Outcome<KeyUri> {
        let path = directory.join(name);
        let key = KeyUri::from_file_path(&path)?;
        if !path.exists() {
            vaults.file(&key)?.create(None, clock())?;
        }
        Ok(key)
    };
    let new_store = NewStore {
        suite: Suite::Two,
        customer: key("customer.key")?,
        infrastructure: Some(key("infrastructure.key")?),
        room_for_second_layer: true,
    };
    Ok(Sealed::new(Arc::new(Opener {
        vaults: Arc::new(vaults),
        pins: Pins::none(),
        new_store: Some(new_store),
        audit: AuditPlace::Beside,
        audit_required: true,
        actor: Actor::new(ActorKind::System, "sqlite-processes"),
        source: Source::default(),
        clock,
        leases: quiet_leases(clock),
        recorded: Recorded::default(),
    }))?)
}

fn clock() -> UnixTime {
    UnixTime {
        seconds: 1_700_000_000,
        nanos: 0,
    }
}

fn parent() -> Outcome<()> {
    let seed = seed();
    let seconds = number("COFFERDAM_PROCESS_SECONDS").unwrap_or(60);
    println!("COFFERDAM_SEED={seed} COFFERDAM_PROCESS_SECONDS={seconds}");
    let mut random = Random::new(seed);
    let mut sum = Counts::default();
    for mode in ["WAL", "DELETE"] {
        let time = Duration::from_millis(seconds * 1000 / 2);
        let counts = share_database(mode, time, &mut random)?;
        println!("{mode}: {counts}");
        sum.commits += counts.commits;
        sum.kills += counts.kills;
        sum.reads += counts.reads;
    }
    println!("sqlite-processes: {sum}");
    Ok(())
}

#[derive(Default)]
struct Counts {
    commits: u64,
    kills: u64,
    reads: u64,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts {
            commits,
            kills,
            reads,
        } = self;
        write!(f, "{commits} commits, {kills} kills, {reads} reads")
    }
}

/// Lets processes work on a new database for a while and checks what they leave.
fn share_database(mode: &str, time: Duration, random: &mut Random) -> Outcome<Counts> {
    let place = Place::create(mode)?;
    create_database(&place, mode)?;
    let mut crew = Crew::start(&place)?;
    let start = Instant::now();
    let mut kills = 0;
    while start.elapsed() < time || kills == 0 || !crew.everyone_progressed()? {
        thread::sleep(Duration::from_millis(5 + random.below(120)));
        crew.expect_alive()?;
        kills += crew.kill_some(random)?;
    }
    crew.finish()?;
    let counts = Counts {
        commits: check_database(&place)?,
        kills,
        reads: (0..READERS).map(|id| place.reads(id)).sum(),
    };
    open(&place.database())?.execute("DELETE FROM commits WHERE writer = 1 AND number = 1", [])?;
    ensure(check_database(&place).is_err(), || {
        "a lost commit was not noticed, so this test cannot fail".to_owned()
    })?;
    fs::remove_dir_all(&place.0)?;
    Ok(counts)
}

fn create_database(place: &Place, mode: &str) -> Outcome<()> {
    let connection = open(&place.database())?;
    let sql = format!("PRAGMA journal_mode = {mode}");
    let answer: String = connection.query_row(&sql, [], |row| row.get(0))?;
    ensure(answer.eq_ignore_ascii_case(mode), || {
        format!("journal mode is {answer}")
    })?;
    connection.execute_batch(
        "BEGIN;
         CREATE TABLE total(value INTEGER NOT NULL);
         INSERT INTO total VALUES(0);
         CREATE TABLE counters(writer INTEGER PRIMARY KEY, value INTEGER NOT NULL);
         CREATE TABLE commits(writer INTEGER, number INTEGER, PRIMARY KEY(writer, number)) WITHOUT ROWID;
         CREATE TABLE parts(writer INTEGER, number INTEGER, part INTEGER, body BLOB);
         CREATE INDEX parts_by_number ON parts(writer, number);
         COMMIT;",
    )?;
    for id in 0..WRITERS {
        connection.execute("INSERT INTO counters VALUES(?, 0)", [id])?;
    }
    Ok(())
}

/// Invariant 3. Returns the number of commits.
fn check_database(place: &Place) -> Outcome<u64> {
    let connection = open(&place.database())?;
    let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    ensure(verdict == "ok", || format!("integrity_check: {verdict}"))?;
    let mut sum = 0;
    for id in 0..WRITERS {
        let ledger = fs::read_to_string(place.ledger(id))?;
        let mut noted = 0;
        for line in ledger.lines() {
            noted += 1;
            ensure(line.parse() == Ok(noted), || {
                format!("the ledger of writer {id} has {line} where {noted} belongs")
            })?;
        }
        let sql = "SELECT count(*), coalesce(min(number), 0), coalesce(max(number), 0)
                   FROM commits WHERE writer = ?";
        let found: (u64, u64, u64) =
            connection.query_row(sql, [id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        ensure(noted > 0 && found == (noted, 1, noted), || {
            format!("writer {id} has {noted} commits in its ledger, and in the database {found:?}")
        })?;
        sum += noted;
    }
    let mut watch = Watch::default();
    watch.look(&connection)?;
    ensure(watch.total == sum, || {
        format!("{} commits counted, {sum} noted", watch.total)
    })?;
    Ok(sum)
}

/// The processes that work on one database. Whoever is left is killed when this is dropped.
struct Crew<'a> {
    place: &'a Place,
    writers: Vec<Member>,
    readers: Vec<Member>,
}

struct Member {
    child: Child,
    /// The length of its ledger, or of its list of reads, when it was started.
    len_at_start: u64,
}

impl<'a> Crew<'a> {
    fn start(place: &'a Place) -> Outcome<Crew<'a>> {
        let mut crew = Crew {
            place,
            writers: Vec::new(),
            readers: Vec::new(),
        };
        for id in 0..WRITERS {
            crew.writers.push(Member::start(place, "writer", id)?);
        }
        for id in 0..READERS {
            crew.readers.push(Member::start(place, "reader", id)?);
        }
        Ok(crew)
    }

    fn everyone_progressed(&self) -> Outcome<bool> {
        let notes = (0..WRITERS).map(|id| self.place.ledger(id));
        let reads = (0..READERS).map(|id| self.place.reads_path(id));
        for path in notes.chain(reads) {
            if len(&path) == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Nobody gives up while there is work.
    fn expect_alive(&mut self) -> Outcome<()> {
        for member in self.writers.iter_mut().chain(&mut self.readers) {
            if let Some(status) = member.child.try_wait()? {
                return Err(format!("a process ended by itself: {status}").into());
            }
        }
        Ok(())
    }

    /// Kills and replaces one writer, or now and then everybody, so that the next one has to recover
    /// the database. Spares those who have not come to anything since they were started.
    fn kill_some(&mut self, random: &mut Random) -> Outcome<u64> {
        let mut victims: Vec<usize> = (0..WRITERS)
            .filter(|id| len(&self.place.ledger(*id)) > self.writers[*id].len_at_start)
            .collect();
        let everybody = victims.len() == WRITERS && random.chance(20);
        if !everybody && !victims.is_empty() {
            victims = vec![*random.pick(&victims)];
        }
        for id in &victims {
            self.writers[*id].kill()?;
        }
        if everybody {
            for id in 0..READERS {
                self.readers[id].kill()?;
            }
            for id in 0..READERS {
                self.readers[id] = Member::start(self.place, "reader", id)?;
            }
        }
        for id in &victims {
            self.writers[*id] = Member::start(self.place, "writer", *id)?;
        }
        let readers = if everybody { READERS } else { 0 };
        Ok((victims.len() + readers) as u64)
    }

    /// Asks everybody to stop, and waits.
    fn finish(mut self) -> Outcome<()> {
        File::create(self.place.stop())?;
        for member in self.writers.iter_mut().chain(&mut self.readers) {
            let status = member.child.wait()?;
            ensure(status.success(), || format!("a process failed: {status}"))?;
        }
        Ok(())
    }
}

impl Member {
    fn start(place: &Place, role: &str, id: usize) -> Outcome<Member> {
        let path = match role {
            "writer" => place.ledger(id),
            _ => place.reads_path(id),
        };
        let child = Command::new(env::current_exe()?)
            .arg(role)
            .arg(&place.0)
            .arg(id.to_string())
            .spawn()?;
        Ok(Member {
            child,
            len_at_start: len(&path),
        })
    }

    fn kill(&mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Both fail when the process is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Commits until it is told to stop, and notes each commit after it was acknowledged.
fn write(place: &Place, id: &str) -> Outcome<()> {
    let id: usize = id.parse()?;
    let mut connection = open(&place.database())?;
    let mut ledger = Ledger::open(&place.ledger(id))?;
    let sql = "SELECT coalesce(max(number), 0) FROM commits WHERE writer = ?";
    let mut number: u64 = retried(|| connection.query_row(sql, [id], |row| row.get(0)))?;
    ensure((ledger.last..=ledger.last + 1).contains(&number), || {
        let noted = ledger.last;
        format!("writer {id} noted commit {noted}, but the database has {number}")
    })?;
    if number > ledger.last {
        ledger.note(number)?;
    }
    let mut random = Random::part(u64::from(std::process::id()), number);
    while !place.stop().exists() {
        number += 1;
        retried(|| commit(&mut connection, id, number))?;
        ledger.note(number)?;
        if random.chance(3) {
            let mode = *random.pick(&["PASSIVE", "FULL", "RESTART", "TRUNCATE"]);
            let sql = format!("PRAGMA wal_checkpoint({mode})");
            retried(|| connection.query_row(&sql, [], |_| Ok(())))?;
        }
    }
    Ok(())
}

fn commit(connection: &mut Connection, id: usize, number: u64) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for part in 0..PARTS {
        transaction.execute(
            "INSERT INTO parts VALUES(?, ?, ?, ?)",
            params![id, number, part, body(id, number, part)],
        )?;
    }
    let old = number.saturating_sub(COMMITS_WITH_PARTS);
    transaction.execute(
        "DELETE FROM parts WHERE writer = ? AND number <= ?",
        params![id, old],
    )?;
    transaction.execute("INSERT INTO commits VALUES(?, ?)", params![id, number])?;
    let sql = "UPDATE counters SET value = value + 1 WHERE writer = ?";
    transaction.execute(sql, [id])?;
    transaction.execute("UPDATE total SET value = value + 1", [])?;
    transaction.commit()
}

/// What stands in a part: sometimes more than a page, always different.
fn body(id: usize, number: u64, part: u64) -> Vec<u8> {
    let mut random = Random::part(number * PARTS + part, id as u64);
    let len_max = if random.chance(10) { 9000 } else { 600 };
    let len = random.below(len_max);
    random.bytes(len as usize)
}

/// Looks at the database until it is told to stop.
fn read(place: &Place, id: &str) -> Outcome<()> {
    let connection = open(&place.database())?;
    let path = place.reads_path(id.parse()?);
    let mut reads = File::options().append(true).create(true).open(path)?;
    let mut watch = Watch::default();
    while !place.stop().exists() {
        for (writer, noted) in watch.counters.iter_mut().enumerate() {
            *noted = (*noted).max(Ledger::last(&place.ledger(writer))?.0);
        }
        watch.look(&connection)?;
        reads.write_all(b".")?;
    }
    Ok(())
}

/// The least that a reader must find: what it saw before, and what it knows to be acknowledged.
#[derive(Default)]
struct Watch {
    total: u64,
    counters: [u64; WRITERS],
}

impl Watch {
    /// Invariant 2.
    fn look(&mut self, connection: &Connection) -> Outcome<()> {
        let seen = retried(|| {
            connection.execute_batch("BEGIN")?;
            let seen = Seen::read(connection);
            connection.execute_batch("ROLLBACK")?;
            seen
        })?;
        let sum: u64 = seen.writers.iter().map(|writer| writer.counter).sum();
        ensure(seen.total == sum && seen.total >= self.total, || {
            format!("total was {}, is {}, sum {sum}", self.total, seen.total)
        })?;
        self.total = seen.total;
        for (id, writer) in seen.writers.iter().enumerate() {
            let least = self.counters[id];
            ensure(writer.counter >= least, || {
                format!("counter {id} was {least} and is {}", writer.counter)
            })?;
            ensure(writer.last == writer.counter, || {
                format!(
                    "counter {id} is {} after commit {}",
                    writer.counter, writer.last
                )
            })?;
            let expected: Vec<_> = (0..PARTS)
                .filter(|_| writer.last > 0)
                .map(|part| body(id, writer.last, part))
                .collect();
            ensure(writer.parts == expected, || {
                format!("commit {} of writer {id} is not whole", writer.last)
            })?;
            self.counters[id] = writer.counter;
        }
        Ok(())
    }
}

/// What one read transaction found.
struct Seen {
    total: u64,
    writers: Vec<SeenWriter>,
}

struct SeenWriter {
    counter: u64,
    last: u64,
    parts: Vec<Vec<u8>>,
}

impl Seen {
    fn read(connection: &Connection) -> rusqlite::Result<Seen> {
        let total = connection.query_row("SELECT value FROM total", [], |row| row.get(0))?;
        let mut writers = Vec::new();
        for id in 0..WRITERS {
            let sql = "SELECT value FROM counters WHERE writer = ?";
            let counter = connection.query_row(sql, [id], |row| row.get(0))?;
            let sql = "SELECT coalesce(max(number), 0) FROM commits WHERE writer = ?";
            let last: u64 = connection.query_row(sql, [id], |row| row.get(0))?;
            let sql = "SELECT body FROM parts WHERE writer = ? AND number = ? ORDER BY part";
            let mut statement = connection.prepare(sql)?;
            let parts = statement
                .query_map(params![id, last], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            writers.push(SeenWriter {
                counter,
                last,
                parts,
            });
        }
        Ok(Seen { total, writers })
    }
}

/// Does it again for as long as another process is in the way; that is not what is tested.
fn retried<T>(mut work: impl FnMut() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    loop {
        match work() {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {}
            result => return result,
        }
    }
}

/// The numbers of the commits of one writer, each with a newline, synced.
struct Ledger {
    file: File,
    last: u64,
}

impl Ledger {
    /// Opens or creates it, and cuts off a line that was not finished.
    fn open(path: &Path) -> Outcome<Ledger> {
        let file = File::options().append(true).create(true).open(path)?;
        let (last, len) = Ledger::last(path)?;
        file.set_len(len)?;
        Ok(Ledger { file, last })
    }

    fn note(&mut self, number: u64) -> Outcome<()> {
        self.file.write_all(format!("{number}\n").as_bytes())?;
        self.file.sync_data()?;
        self.last = number;
        Ok(())
    }

    /// The last finished line of a ledger and the length up to its end; zeros when there is none.
    fn last(path: &Path) -> Outcome<(u64, u64)> {
        let Ok(mut file) = File::open(path) else {
            return Ok((0, 0));
        };
        let start = file.metadata()?.len().saturating_sub(LEDGER_TAIL_LEN);
        file.seek(SeekFrom::Start(start))?;
        let mut tail = String::new();
        file.read_to_string(&mut tail)?;
        let Some(end) = tail.rfind('\n') else {
            return Ok((0, 0));
        };
        let line = tail[..end].rsplit('\n').next().unwrap_or_default();
        Ok((line.parse()?, start + end as u64 + 1))
    }
}

/// A directory with a database and the ledgers beside it.
struct Place(PathBuf);

impl Place {
    fn new(directory: &str) -> Place {
        Place(PathBuf::from(directory))
    }

    fn create(mode: &str) -> Outcome<Place> {
        let name = format!("processes-{}-{mode}", std::process::id());
        let place = Place(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        fs::create_dir(&place.0)?;
        Ok(place)
    }

    fn database(&self) -> PathBuf {
        self.0.join("shared.db")
    }

    fn ledger(&self, id: usize) -> PathBuf {
        self.0.join(format!("ledger-{id}"))
    }

    /// A file with one byte for each read.
    fn reads_path(&self, id: usize) -> PathBuf {
        self.0.join(format!("reads-{id}"))
    }

    fn reads(&self, id: usize) -> u64 {
        len(&self.reads_path(id))
    }

    fn stop(&self) -> PathBuf {
        self.0.join("stop")
    }
}

/// The length of a file; one that was not created yet is empty.
fn len(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn ensure(condition: bool, otherwise: impl FnOnce() -> String) -> Outcome<()> {
    if condition {
        Ok(())
    } else {
        Err(otherwise().into())
    }
}

const WRITERS: usize = 4;
const READERS: usize = 4;
/// How many rows each transaction adds besides its number.
const PARTS: u64 = 4;
/// The parts of older commits are removed, so that pages are freed and used again.
const COMMITS_WITH_PARTS: u64 = 40;
/// More than one number of 64 bits takes, with its newline, twice.
const LEDGER_TAIL_LEN: u64 = 64;
