//! A real database in the open: the IANA time zones (see `data/README.md`), or one of the viewer's own.

use std::path::Path;

use cofferdam_sqlite::{Snapshot, unseal};
use rusqlite::{Connection, Transaction, params};

use crate::failure::Failure;
use crate::progress::Progress;

/// What the story says about the database.
pub(super) struct Subject {
    /// What it holds, in a few words.
    pub(super) what: String,
    /// A text that stands in it.
    pub(super) needle: String,
    /// The table with most pages.
    pub(super) table: String,
    /// Another table, when there is one.
    pub(super) other_table: Option<String>,
    /// Its rows.
    pub(super) rows: i64,
}

/// Makes the database at `path`.
pub(super) fn build(path: &Path, input: Option<&Path>) -> Result<Subject, Failure> {
    match input {
        Some(input) => copy(input, path)?,
        None => time_zones(path)?,
    }
    let connection = Connection::open(path)?;
    let mut subject = look(&connection)?;
    if input.is_none() {
        "Lord Howe Island".clone_into(&mut subject.needle);
        subject.what = format!("the world's time zones since 1850, {} rows", subject.rows);
    }
    Ok(subject)
}

/// Exactly the bytes of the viewer's own database, which is only read.
fn copy(input: &Path, path: &Path) -> Result<(), Failure> {
    let snapshot = Snapshot::of_plain(input)?;
    let mut progress = Progress::interruptible("copying");
    unseal(&snapshot, path, &mut |done, total| progress.at(done, total))?.publish()?;
    Ok(())
}

/// What a database that nobody described has in it.
fn look(connection: &Connection) -> Result<Subject, Failure> {
    let mut tables = Vec::new();
    let mut statement = connection.prepare(TABLES)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        tables.push((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    }
    let Some((table, sql)) = tables.first().cloned() else {
        return Err(Failure::usage(
            "--input: the database has no table with rows",
        ));
    };
    let mut count = 0;
    for (name, _) in &tables {
        let sql = format!("SELECT count(*) FROM {}", quoted(name));
        count += connection.query_row(&sql, [], |row| row.get::<_, i64>(0))?;
    }
    Ok(Subject {
        what: format!("your database: {} tables, {count} rows", tables.len()),
        needle: sql.chars().take(24).collect(),
        other_table: tables.get(1).map(|(name, _)| name.clone()),
        table,
        rows: count,
    })
}

/// A name as SQL writes it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn time_zones(path: &Path) -> Result<(), Failure> {
    let mut connection = Connection::open(path)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    countries(&transaction)?;
    places(&transaction)?;
    rules_and_periods(&transaction)?;
    transaction.commit()?;
    Ok(())
}

fn countries(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare("INSERT INTO countries VALUES(?1, ?2)")?;
    for line in COUNTRIES.lines().filter(|line| !line.starts_with('#')) {
        if let Some((code, name)) = line.split_once('\t') {
            insert.execute([code, name])?;
        }
    }
    Ok(())
}

fn places(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare("INSERT INTO places VALUES(?1, ?2, ?3, ?4, ?5)")?;
    for line in PLACES.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        if let [codes, position, zone, comment @ ..] = fields.as_slice() {
            let (latitude, longitude) = coordinates(position);
            let comment = comment.first().copied();
            insert.execute(params![zone, codes, latitude, longitude, comment])?;
        }
    }
    Ok(())
}

fn rules_and_periods(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut rule =
        transaction.prepare("INSERT INTO rules VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
    let mut period = transaction.prepare("INSERT INTO periods VALUES(?1, ?2, ?3, ?4, ?5)")?;
    let mut link = transaction.prepare("INSERT INTO links VALUES(?1, ?2)")?;
    let mut zone = "";
    for line in ZONES.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields.as_slice() {
            ["R", name, from, to, _, month, day, at, save, letters] => {
                rule.execute([name, from, to, month, day, at, save, letters])?;
            }
            ["L", target, alias] => {
                link.execute([alias, target])?;
            }
            ["Z", name, offset, rules, format, until @ ..] => {
                zone = name;
                period.execute(params![zone, offset, rules, format, ending(until)])?;
            }
            [offset, rules, format, until @ ..] => {
                period.execute(params![zone, offset, rules, format, ending(until)])?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn ending(until: &[&str]) -> Option<String> {
    (!until.is_empty()).then(|| until.join(" "))
}

/// `+DDMM+DDDMM` or `+DDMMSS+DDDMMSS` as degrees.
fn coordinates(text: &str) -> (Option<f64>, Option<f64>) {
    let split = text.get(1..).and_then(|rest| rest.find(['+', '-']));
    let Some((latitude, longitude)) = split.and_then(|at| text.split_at_checked(at + 1)) else {
        return (None, None);
    };
    (degrees(latitude, 2), degrees(longitude, 3))
}

fn degrees(text: &str, digits: usize) -> Option<f64> {
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    let part = |from: usize, len: usize| text.get(from..from + len)?.parse::<f64>().ok();
    let seconds = part(1 + digits + 2, 2).unwrap_or(0.0);
    Some(sign * (part(1, digits)? + part(1 + digits, 2)? / 60.0 + seconds / 3600.0))
}

const ZONES: &str = include_str!("../../data/tzdata.zi");
const PLACES: &str = include_str!("../../data/zone1970.tab");
const COUNTRIES: &str = include_str!("../../data/iso3166.tab");

const SCHEMA: &str = "\
CREATE TABLE countries(code TEXT PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE places(zone TEXT PRIMARY KEY, countries TEXT NOT NULL, latitude REAL, longitude REAL, comment TEXT);
CREATE TABLE rules(name TEXT, from_year TEXT, to_year TEXT, month TEXT, day TEXT, at TEXT, save TEXT, letters TEXT);
CREATE TABLE periods(zone TEXT NOT NULL, offset TEXT NOT NULL, rules TEXT, format TEXT, until TEXT);
CREATE TABLE links(alias TEXT PRIMARY KEY, target TEXT NOT NULL);";

/// Tables with rows, the largest first.
const TABLES: &str = "\
SELECT s.name, s.sql FROM sqlite_schema s JOIN dbstat d ON d.name = s.name
WHERE s.type = 'table' AND s.sql NOT LIKE 'CREATE VIRTUAL%' AND s.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
GROUP BY s.name HAVING sum(d.ncell) > 0 ORDER BY sum(d.pgsize) DESC, s.name";
