//! `cofferdam sqlite shell`: a sealed database in SQL.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use cofferdam_sqlite::{Sealed, clear_last_error, last_error};
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection, Row};
use serde_json::{Map, Value, json};

use crate::args::Shell;
use crate::context::{Context, absolute};
use crate::failure::Failure;
use crate::output::{hex, print};
use crate::store;

/// Asks once, or until the input ends.
pub(crate) fn run(context: &Context, options: &Shell) -> Result<ExitCode, Failure> {
    let path = absolute(&options.database);
    let opener = Arc::new(context.opener()?);
    if path.exists() {
        store::unlock(&opener, &path)?;
    } else if opener.new_store.is_none() {
        return Err(Failure::refused(format!(
            "{}: there is no such database; with --customer KEY a new one is made",
            path.display()
        )));
    }
    let sealed = Sealed::new(opener).map_err(Failure::from)?;
    let connection = sealed.open(&path)?;
    match &options.sql {
        Some(sql) => {
            execute(&connection, sql, context.json)?;
            Ok(ExitCode::SUCCESS)
        }
        None => converse(&connection, context.json),
    }
}

/// Reads statements until the input ends. At a terminal an error is told and the next question is asked.
fn converse(connection: &Connection, json: bool) -> Result<ExitCode, Failure> {
    let person = io::stdin().is_terminal();
    let mut statement = String::new();
    prompt(person, "cofferdam> ");
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|error| Failure::refused(format!("reading the input: {error}")))?;
        let result = if statement.trim().is_empty() && line.trim_start().starts_with('.') {
            match dot(line.trim()) {
                Dot::Quit => return Ok(ExitCode::SUCCESS),
                Dot::Sql(sql) => execute(connection, &sql, json),
                Dot::Unknown => Err(Failure::usage(format!(
                    "{}: there are .tables, .schema [TABLE] and .quit",
                    line.trim()
                ))),
            }
        } else {
            statement.push_str(&line);
            statement.push('\n');
            if !line.trim_end().ends_with(';') {
                prompt(person, "      ...> ");
                continue;
            }
            execute(connection, &std::mem::take(&mut statement), json)
        };
        match result {
            Err(failure) if person => eprintln!("{failure}"),
            result => result?,
        }
        prompt(person, "cofferdam> ");
    }
    execute(connection, &statement, json)?;
    Ok(ExitCode::SUCCESS)
}

/// A command of the shell's own.
enum Dot {
    Quit,
    Sql(String),
    Unknown,
}

fn dot(line: &str) -> Dot {
    let (command, argument) = line.split_once(' ').unwrap_or((line, ""));
    match command {
        ".quit" | ".exit" => Dot::Quit,
        ".tables" => Dot::Sql(TABLES.to_owned()),
        ".schema" => {
            let name = argument.trim().trim_end_matches(';').replace('\'', "''");
            let only = if name.is_empty() {
                String::new()
            } else {
                format!("AND tbl_name = '{name}'")
            };
            Dot::Sql(format!(
                "SELECT sql || ';' FROM sqlite_schema WHERE sql IS NOT NULL {only} ORDER BY rowid"
            ))
        }
        _ => Dot::Unknown,
    }
}

fn prompt(person: bool, text: &str) {
    if person {
        print!("{text}");
        let _ = io::stdout().flush();
    }
}

/// Runs statements one after the other and prints their rows.
fn execute(connection: &Connection, sql: &str, json: bool) -> Result<(), Failure> {
    clear_last_error();
    run_all(connection, sql, json).map_err(|failure| match last_error() {
        // SQLite carries numbers; the words are ours.
        Some(text) => failure.saying(text),
        None => failure,
    })
}

fn run_all(connection: &Connection, sql: &str, json: bool) -> Result<(), Failure> {
    let mut batch = Batch::new(connection, sql);
    while let Some(mut statement) = batch.next()? {
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut rows = statement.raw_query();
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            if json {
                all.push(object(&names, row)?);
            } else {
                let cells: Result<Vec<String>, _> =
                    (0..names.len()).map(|i| row.get_ref(i).map(cell)).collect();
                print(&cells?.join("|"))?;
            }
        }
        if json && !names.is_empty() {
            print(&Value::Array(all).to_string())?;
        }
    }
    Ok(())
}

fn object(names: &[String], row: &Row<'_>) -> rusqlite::Result<Value> {
    let mut object = Map::new();
    for (index, name) in names.iter().enumerate() {
        let value = match row.get_ref(index)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => json!(number),
            ValueRef::Real(number) => json!(number),
            other => json!(cell(other)),
        };
        object.insert(name.clone(), value);
    }
    Ok(Value::Object(object))
}

/// As sqlite3's list mode; blobs in hexadecimal.
fn cell(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => format!("{number:?}"),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => format!("x'{}'", hex(bytes)),
    }
}

const TABLES: &str = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' \
     ESCAPE '\\' ORDER BY name";
