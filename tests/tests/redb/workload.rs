//! Transactions that somebody might make, and what a database holds.

use std::collections::BTreeMap;

use cofferdam_tests::random::Random;
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, TableError,
    WriteTransaction,
};

/// What a database holds, table by table.
pub(crate) type Contents = BTreeMap<(usize, u64), Vec<u8>>;

/// One transaction.
pub(crate) struct Step {
    changes: Vec<Change>,
    pub(crate) ends: Ends,
    two_phase: bool,
    quick_repair: bool,
}

enum Change {
    Insert(usize, u64, Vec<u8>),
    Remove(usize, u64),
    RemoveBelow(usize, u64),
}

/// How a transaction ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    Committed,
    /// Committed with [`Durability::None`].
    CommittedLater,
    Aborted,
}

impl Step {
    pub(crate) fn random(random: &mut Random) -> Step {
        let count = 1 + random.index(12);
        Step {
            changes: (0..count).map(|_| Change::random(random)).collect(),
            ends: match random.below(10) {
                0 => Ends::Aborted,
                1 | 2 => Ends::CommittedLater,
                _ => Ends::Committed,
            },
            two_phase: random.chance(20),
            quick_repair: random.chance(20),
        }
    }

    pub(crate) fn apply(&self, contents: &mut Contents) {
        if self.ends == Ends::Aborted {
            return;
        }
        for change in &self.changes {
            match change {
                Change::Insert(table, key, value) => {
                    contents.insert((*table, *key), value.clone());
                }
                Change::Remove(table, key) => {
                    contents.remove(&(*table, *key));
                }
                Change::RemoveBelow(table, end) => {
                    contents.retain(|(other, key), _| other != table || key >= end);
                }
            }
        }
    }

    pub(crate) fn perform(&self, database: &Database) -> Result<(), redb::Error> {
        let mut transaction = database.begin_write()?;
        if self.ends == Ends::CommittedLater {
            transaction.set_durability(Durability::None)?;
        }
        transaction.set_two_phase_commit(self.two_phase);
        transaction.set_quick_repair(self.quick_repair);
        for change in &self.changes {
            change.perform(&transaction)?;
        }
        match self.ends {
            Ends::Aborted => transaction.abort()?,
            _ => transaction.commit()?,
        }
        Ok(())
    }
}

impl Change {
    fn random(random: &mut Random) -> Change {
        let (table, key) = (random.index(TABLES.len()), random.below(200));
        match random.below(10) {
            0 => Change::RemoveBelow(table, key / 4),
            1 | 2 => Change::Remove(table, key),
            3 => Change::Insert(table, key, {
                // Several pages of redb's.
                let len = random.index(40_000);
                random.bytes(len)
            }),
            _ => Change::Insert(table, key, {
                let len = random.index(300);
                random.bytes(len)
            }),
        }
    }

    fn perform(&self, transaction: &WriteTransaction) -> Result<(), redb::Error> {
        match self {
            Change::Insert(table, key, value) => {
                let mut table = transaction.open_table(TABLES[*table])?;
                table.insert(key, value.as_slice())?;
            }
            Change::Remove(table, key) => {
                transaction.open_table(TABLES[*table])?.remove(key)?;
            }
            Change::RemoveBelow(table, end) => {
                let mut table = transaction.open_table(TABLES[*table])?;
                table.retain_in(..*end, |_, _| false)?;
            }
        }
        Ok(())
    }
}

/// All that is in a database.
pub(crate) fn contents(database: &Database) -> Result<Contents, redb::Error> {
    let transaction = database.begin_read()?;
    let mut contents = Contents::new();
    for (index, definition) in TABLES.iter().enumerate() {
        let table = match transaction.open_table(*definition) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        for row in table.iter()? {
            let (key, value) = row?;
            contents.insert((index, key.value()), value.value().to_vec());
        }
    }
    Ok(contents)
}

const TABLES: [TableDefinition<u64, &[u8]>; 3] = [
    TableDefinition::new("first"),
    TableDefinition::new("second"),
    TableDefinition::new("third"),
];
