//! redb on a plain file and on a volume.

use std::hint::black_box;
use std::path::Path;

use cofferdam_keys::Suite;
use cofferdam_sealed_file::Volume;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::store::volume;
use crate::{Outcome, make};

/// The first is what the others are compared with. *No cache* is redb without its page cache, as on a volume by default.
pub(crate) const NAMES: [&str; 5] = [
    "plain",
    "plain, no cache",
    "1, no cache",
    "1, cache",
    "2, no cache",
];

pub(crate) const PHASES: [&str; 5] = [
    "bulk insert",
    "small commits",
    "point reads",
    "scan",
    "updates",
];

pub(crate) struct Engine {
    database: Database,
    _volume: Option<Volume>,
}

impl Engine {
    pub(crate) fn new(name: &str, path: &Path) -> Outcome<Engine> {
        make(path)?;
        let mut builder = Builder::new();
        if name.ends_with("no cache") {
            builder.set_cache_size(0);
        }
        let suite = match name.split(',').next() {
            Some("1") => Suite::One,
            Some("2") => Suite::Two,
            _ => {
                return Ok(Engine {
                    database: builder.create(path.join("plain.redb"))?,
                    _volume: None,
                });
            }
        };
        let volume = volume(suite, path)?;
        Ok(Engine {
            database: cofferdam_redb::open_with(&builder, &volume, b"redb")?,
            _volume: Some(volume),
        })
    }

    /// Answers how many operations it took.
    pub(crate) fn run(&self, phase: &str, rows: u64) -> Outcome<usize> {
        match phase {
            "bulk insert" => self.insert(0..rows)?,
            "small commits" => {
                for row in 0..COMMITS {
                    self.insert(rows + row..rows + row + 1)?;
                }
                return Ok(COMMITS as usize);
            }
            "point reads" => {
                let table = self.database.begin_read()?.open_table(TABLE)?;
                for row in 0..rows {
                    black_box(table.get(scattered(row) % rows)?.is_some());
                }
            }
            "scan" => {
                let table = self.database.begin_read()?.open_table(TABLE)?;
                for row in table.iter()? {
                    black_box(row?.1.value().len());
                }
            }
            _ => {
                for part in 0..10 {
                    self.insert((0..rows / 10).map(|row| scattered(row * 10 + part) % rows))?;
                }
            }
        }
        Ok(rows as usize)
    }

    fn insert(&self, rows: impl Iterator<Item = u64>) -> Outcome<()> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for row in rows {
                table.insert(row, [row as u8; 150].as_slice())?;
            }
        }
        Ok(transaction.commit()?)
    }
}

fn scattered(row: u64) -> u64 {
    row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}

const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("rows");
const COMMITS: u64 = 100;
