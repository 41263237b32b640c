//! What redb answers, operation by operation, on a volume, on a plain file and in a plain model of both.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use cofferdam_cipher::PageSize;
use cofferdam_keys::Suite;
use cofferdam_sealed_file::{FileDirectory, Volume, VolumeSetup};
use cofferdam_tests::random::Random;
use redb::{
    Builder, Database, Durability, Error, MultimapTable, MultimapTableDefinition, ReadableDatabase,
    ReadableMultimapTable, ReadableTable, ReadableTableMetadata, Table, TableDefinition,
    WriteTransaction,
};

use crate::world::World;

/// What was done and compared.
#[derive(Default)]
pub(crate) struct Compared {
    pub(crate) operations: u64,
    pub(crate) transactions: u64,
    pub(crate) restored: u64,
    pub(crate) reopened: u64,
}

/// Goal: no sequence of operations has another answer because the bytes are sealed.
pub(crate) fn run(seed: u64, operations: u64) -> Compared {
    let mut compared = Compared::default();
    // A cache of redb's hides the storage; without one every page comes from the volume.
    let settings = [
        (Suite::One, 4096, 0),
        (Suite::Two, 8192, 40_000),
        (Suite::Two, 4096, 1 << 24),
    ];
    for (part, (suite, page_size, cache)) in settings.into_iter().enumerate() {
        let random = &mut Random::part(seed, 500 + part as u64);
        let end = operations * (part as u64 + 1) / settings.len() as u64;
        let mut pair = Pair::new(suite, page_size, cache);
        while compared.operations < end {
            pair.transaction(random, &mut compared);
            if random.chance(2) {
                pair.reopen();
                compared.reopened += 1;
            }
            if random.chance(1) {
                pair.compact();
            }
        }
        let [sealed, _] = pair.databases.as_mut().expect("they are open");
        assert!(sealed.check_integrity().unwrap());
    }
    compared
}

/// A table and one of several values for a key, as they should be.
#[derive(Clone, Default, PartialEq, Eq)]
struct Model {
    table: BTreeMap<u64, Vec<u8>>,
    multimap: BTreeSet<(u64, u64)>,
}

/// What an operation answers, whatever it is.
type Answer = Vec<(u64, Vec<u8>)>;

enum Operation {
    Get(u64),
    Insert(u64, Vec<u8>),
    InsertReserved(u64, usize),
    Remove(u64),
    PopFirst,
    PopLast,
    Len,
    Range(u64, u64, bool),
    RetainIn(u64, u64, u64),
    ExtractIf(u64, usize),
    InsertMulti(u64, u64),
    RemoveMulti(u64, u64),
    RemoveAllMulti(u64),
    GetMulti(u64),
}

impl Operation {
    fn random(random: &mut Random) -> Operation {
        let key = random.below(KEYS);
        let end = key + random.below(40);
        match random.below(100) {
            0..15 => Operation::Get(key),
            15..40 => {
                let len = match random.chance(5) {
                    true => random.index(20_000),
                    false => random.index(400),
                };
                Operation::Insert(key, random.bytes(len))
            }
            40..45 => Operation::InsertReserved(key, 1 + random.index(6000)),
            45..55 => Operation::Remove(key),
            55 => Operation::PopFirst,
            56 => Operation::PopLast,
            57..60 => Operation::Len,
            60..70 => Operation::Range(key, end, random.chance(50)),
            70 => Operation::RetainIn(key, end, 2 + random.below(3)),
            71 => Operation::ExtractIf(2 + random.below(50), 1 + random.index(20)),
            72..84 => Operation::InsertMulti(key % 20, random.below(500)),
            84..90 => Operation::RemoveMulti(key % 20, random.below(500)),
            90 => Operation::RemoveAllMulti(key % 20),
            _ => Operation::GetMulti(key % 20),
        }
    }

    fn perform(
        &self,
        table: &mut Table<u64, &'static [u8]>,
        multimap: &mut MultimapTable<u64, u64>,
    ) -> Result<Answer, Error> {
        let mut answer = Answer::new();
        match self {
            Operation::Get(key) => {
                let value = table.get(key)?;
                answer.extend(value.map(|value| (*key, value.value().to_vec())));
            }
            Operation::Insert(key, value) => {
                let old = table.insert(key, value.as_slice())?;
                answer.extend(old.map(|value| (*key, value.value().to_vec())));
            }
            Operation::InsertReserved(key, len) => {
                let mut reserved = table.insert_reserve(key, *len)?;
                reserved.as_mut().fill(*key as u8);
            }
            Operation::Remove(key) => {
                let old = table.remove(key)?;
                answer.extend(old.map(|value| (*key, value.value().to_vec())));
            }
            Operation::PopFirst => {
                let old = table.pop_first()?;
                answer.extend(old.map(|(key, value)| (key.value(), value.value().to_vec())));
            }
            Operation::PopLast => {
                let old = table.pop_last()?;
                answer.extend(old.map(|(key, value)| (key.value(), value.value().to_vec())));
            }
            Operation::Len => answer.push((table.len()?, Vec::new())),
            Operation::Range(begin, end, backwards) => {
                let mut rows = table.range::<u64>(*begin..*end)?;
                while let Some(row) = match backwards {
                    true => rows.next_back(),
                    false => rows.next(),
                } {
                    let (key, value) = row?;
                    answer.push((key.value(), value.value().to_vec()));
                }
            }
            Operation::RetainIn(begin, end, modulus) => {
                table.retain_in::<u64, _>(*begin..*end, |key, _| key % modulus != 0)?;
            }
            Operation::ExtractIf(modulus, count) => {
                let extracted = table.extract_if(|key, _| key % modulus == 0)?;
                for row in extracted.take(*count) {
                    let (key, value) = row?;
                    answer.push((key.value(), value.value().to_vec()));
                }
            }
            Operation::InsertMulti(key, value) => {
                answer.push((u64::from(multimap.insert(key, value)?), Vec::new()));
            }
            Operation::RemoveMulti(key, value) => {
                answer.push((u64::from(multimap.remove(key, value)?), Vec::new()));
            }
            Operation::RemoveAllMulti(key) => {
                for value in multimap.remove_all(key)? {
                    answer.push((value?.value(), Vec::new()));
                }
            }
            Operation::GetMulti(key) => {
                for value in multimap.get(key)? {
                    answer.push((value?.value(), Vec::new()));
                }
            }
        }
        Ok(answer)
    }

    fn expected(&self, model: &mut Model) -> Answer {
        let Model { table, multimap } = model;
        let one = |row: Option<(u64, Vec<u8>)>| row.into_iter().collect();
        match self {
            Operation::Get(key) => one(table.get(key).map(|value| (*key, value.clone()))),
            Operation::Insert(key, value) => {
                one(table.insert(*key, value.clone()).map(|old| (*key, old)))
            }
            Operation::InsertReserved(key, len) => {
                table.insert(*key, vec![*key as u8; *len]);
                Answer::new()
            }
            Operation::Remove(key) => one(table.remove(key).map(|old| (*key, old))),
            Operation::PopFirst => one(table.pop_first()),
            Operation::PopLast => one(table.pop_last()),
            Operation::Len => vec![(table.len() as u64, Vec::new())],
            Operation::Range(begin, end, backwards) => {
                let rows = table.range(begin..end);
                let mut rows: Answer = rows.map(|(key, value)| (*key, value.clone())).collect();
                if *backwards {
                    rows.reverse();
                }
                rows
            }
            Operation::RetainIn(begin, end, modulus) => {
                table.retain(|key, _| !(begin..end).contains(&key) || key % modulus != 0);
                Answer::new()
            }
            Operation::ExtractIf(modulus, count) => {
                let keys = table.keys().filter(|key| *key % modulus == 0);
                let keys: Vec<u64> = keys.take(*count).copied().collect();
                keys.iter()
                    .filter_map(|key| table.remove_entry(key))
                    .collect()
            }
            Operation::InsertMulti(key, value) => {
                // redb answers whether it was there.
                vec![(u64::from(!multimap.insert((*key, *value))), Vec::new())]
            }
            Operation::RemoveMulti(key, value) => {
                vec![(u64::from(multimap.remove(&(*key, *value))), Vec::new())]
            }
            Operation::RemoveAllMulti(key) => {
                let values = values(multimap, *key);
                multimap.retain(|(other, _)| other != key);
                values
            }
            Operation::GetMulti(key) => values(multimap, *key),
        }
    }
}

fn values(multimap: &BTreeSet<(u64, u64)>, key: u64) -> Answer {
    let rows = multimap.range((key, 0)..=(key, u64::MAX));
    rows.map(|(_, value)| (*value, Vec::new())).collect()
}

/// Both databases, the sealed one first, and the model.
struct Pair {
    world: World,
    cache: usize,
    volume: Option<Volume>,
    databases: Option<[Database; 2]>,
    model: Model,
    /// A savepoint's number in each database, and what they held.
    savepoint: Option<([u64; 2], Model)>,
}

impl Pair {
    fn new(suite: Suite, page_size: usize, cache: usize) -> Pair {
        let world = World::new(suite);
        let path = world.keys.path().join("volume");
        FileDirectory::create(&path).unwrap();
        Volume::init(
            &setup(&world, &path),
            PageSize::try_from(page_size).unwrap(),
        )
        .unwrap();
        let mut pair = Pair {
            world,
            cache,
            volume: None,
            databases: None,
            model: Model::default(),
            savepoint: None,
        };
        pair.reopen();
        pair
    }

    fn reopen(&mut self) {
        drop((self.databases.take(), self.volume.take()));
        let path = self.world.keys.path();
        let volume = Volume::open(&setup(&self.world, &path.join("volume"))).unwrap();
        let mut builder = Builder::new();
        builder.set_cache_size(self.cache);
        let sealed = cofferdam_redb::open_with(&builder, &volume, b"db").unwrap();
        let plain = builder.create(path.join("plain.redb")).unwrap();
        for database in [&sealed, &plain] {
            let held = contents(database).unwrap();
            assert!(held == self.model, "after reopening");
        }
        (self.volume, self.databases) = (Some(volume), Some([sealed, plain]));
    }

    fn compact(&mut self) {
        // redb compacts nothing that a savepoint needs.
        if self.savepoint.is_none() {
            let databases = self.databases.as_mut().expect("they are open");
            let [sealed, plain] = databases.each_mut().map(|it| it.compact().unwrap());
            assert_eq!(sealed, plain);
        }
    }

    /// Both do the same; each answer is compared before the next operation.
    fn transaction(&mut self, random: &mut Random, compared: &mut Compared) {
        compared.transactions += 1;
        let databases = self.databases.as_ref().expect("they are open");
        let mut transactions = databases.each_ref().map(|it| it.begin_write().unwrap());
        let (mut model, mut savepoint) = (self.model.clone(), self.savepoint.clone());
        let touches_savepoint = random.chance(6);
        if touches_savepoint {
            match savepoint.take() {
                None => {
                    let numbers = transactions
                        .each_ref()
                        .map(|it| it.persistent_savepoint().unwrap());
                    savepoint = Some((numbers, model.clone()));
                }
                Some((numbers, then)) => {
                    for (transaction, number) in transactions.iter_mut().zip(numbers) {
                        restore(transaction, number).unwrap();
                    }
                    model = then;
                    compared.restored += 1;
                }
            }
        } else if random.chance(15) {
            for transaction in &mut transactions {
                transaction.set_durability(Durability::None).unwrap();
            }
        }
        let two_phase = random.chance(20);
        transactions
            .iter_mut()
            .for_each(|it| it.set_two_phase_commit(two_phase));
        let count = 1 + random.below(60);
        {
            let mut tables = transactions.each_ref().map(|transaction| {
                let table = transaction.open_table(TABLE).unwrap();
                (table, transaction.open_multimap_table(MULTIMAP).unwrap())
            });
            for _ in 0..count {
                let operation = Operation::random(random);
                let expected = operation.expected(&mut model);
                for (table, multimap) in &mut tables {
                    let answer = operation.perform(table, multimap).unwrap();
                    assert!(answer == expected, "operation {}", compared.operations);
                }
                compared.operations += 1;
            }
        }
        if random.chance(10) {
            transactions.into_iter().for_each(|it| it.abort().unwrap());
            return;
        }
        transactions.into_iter().for_each(|it| it.commit().unwrap());
        (self.model, self.savepoint) = (model, savepoint);
    }
}

fn restore(transaction: &mut WriteTransaction, number: u64) -> Result<(), Error> {
    let savepoint = transaction.get_persistent_savepoint(number)?;
    transaction.restore_savepoint(&savepoint)?;
    transaction.delete_persistent_savepoint(number)?;
    Ok(())
}

fn contents(database: &Database) -> Result<Model, Error> {
    let mut model = Model::default();
    let transaction = database.begin_read()?;
    // There are none before the first commit.
    if transaction.list_tables()?.count() > 0 {
        for row in transaction.open_table(TABLE)?.iter()? {
            let (key, value) = row?;
            model.table.insert(key.value(), value.value().to_vec());
        }
        for row in transaction.open_multimap_table(MULTIMAP)?.iter()? {
            let (key, values) = row?;
            for value in values {
                model.multimap.insert((key.value(), value?.value()));
            }
        }
    }
    Ok(model)
}

fn setup(world: &World, path: &Path) -> VolumeSetup {
    VolumeSetup {
        path: path.join("keyring"),
        ..world.setup(Arc::new(FileDirectory::open(path).unwrap()))
    }
}

const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("table");
const MULTIMAP: MultimapTableDefinition<u64, u64> = MultimapTableDefinition::new("multimap");
const KEYS: u64 = 500;
