//! A redb database on a sealed volume, from nothing: makes the volume when there is none, and adds a patient at each run.
//!
//! ```sh
//! cofferdam key create file:customer.key
//! COFFERDAM_CUSTOMER=file:customer.key cargo run -p cofferdam-redb --example clinic -- clinic.volume
//! ```

// A program of its own, which reads its command line itself.
#![allow(clippy::disallowed_methods)]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use cofferdam_cipher::PageSize;
use cofferdam_sealed_file::{FileDirectory, Homing, Volume, VolumeSetup};
use cofferdam_wiring::{Settings, monotonic};
use redb::{ReadableDatabase, ReadableTable, TableDefinition};

const PATIENTS: TableDefinition<u64, &str> = TableDefinition::new("patients");

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("usage: clinic DIRECTORY, with COFFERDAM_CUSTOMER=file:PATH")?;
    let volume = volume(Path::new(&path))?;
    let database = cofferdam_redb::open(&volume, b"clinic.redb")?;

    let transaction = database.begin_write()?;
    {
        let mut patients = transaction.open_table(PATIENTS)?;
        let next = patients.last()?.map_or(1, |(number, _)| number.value() + 1);
        patients.insert(next, format!("patient {next}").as_str())?;
    }
    transaction.commit()?;

    for patient in database
        .begin_read()?
        .open_table(PATIENTS)?
        .range::<u64>(..)?
    {
        let (number, name) = patient?;
        println!("{}: {}", number.value(), name.value());
    }
    drop(database);
    Ok(volume.close()?)
}

fn volume(path: &Path) -> Result<Volume, Box<dyn Error>> {
    let is_new = !path.join("keyring").exists();
    let directory = match is_new {
        true => FileDirectory::create(path)?,
        false => FileDirectory::open(path)?,
    };
    let setup = VolumeSetup {
        directory: Arc::new(directory),
        path: std::path::absolute(path)?.join("keyring"),
        opener: Arc::new(Settings::from_environment()?.opener()?),
        journal_len: 16 << 20,
        homing: Homing::InBackground,
        accept_damage: false,
        holder: format!("clinic, process {}", std::process::id()),
        monotonic,
    };
    if is_new {
        Volume::init(&setup, PageSize::try_from(4096)?)?;
    }
    Ok(Volume::open(&setup)?)
}
