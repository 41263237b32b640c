//! From a volume and a name to a database.

use std::sync::{Mutex, PoisonError};

use cofferdam_sealed_file::{Error, Volume};
use redb::{Builder, Database};

use crate::backend::VolumeBackend;
use crate::error::OpenError;

/// Opens the database in the file `name` of a volume; makes it when there is none.
///
/// redb's page cache is off: what it holds is plaintext, and would be served on after the keys were taken away. So every read passes the volume's gate. Use
/// [`open_with`] to have one, and drop the database when the volume's lease closes.
///
/// # Errors
/// [`OpenError::Volume`] with what the volume says; [`OpenError::Database`], of which [`redb::DatabaseError::DatabaseAlreadyOpen`] when somebody has it open.
pub fn open(volume: &Volume, name: &[u8]) -> Result<Database, OpenError> {
    open_with(Builder::new().set_cache_size(0), volume, name)
}

/// The same with redb's settings, such as the size of its cache.
///
/// # Errors
/// As [`open`].
pub fn open_with(builder: &Builder, volume: &Volume, name: &[u8]) -> Result<Database, OpenError> {
    if name.ends_with(UNFINISHED) {
        let what = "a database's name does not end in .unfinished: those that are being made are called so, and emptied when they are left over";
        return Err(Error::Misuse { what }.into());
    }
    match volume.open_file(name) {
        Ok(file) => Ok(builder.create_with_backend(VolumeBackend::new(file))?),
        Err(Error::NoSuchFile) => make(builder, volume, name),
        Err(error) => Err(error.into()),
    }
}

/// Makes a database under another name and gives it its own when it is whole: redb does not open a file whose making was cut off.
fn make(builder: &Builder, volume: &Volume, name: &[u8]) -> Result<Database, OpenError> {
    let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    match volume.open_file(name) {
        // Somebody made it in the meantime.
        Ok(file) => return Ok(builder.create_with_backend(VolumeBackend::new(file))?),
        Err(Error::NoSuchFile) => {}
        Err(error) => return Err(error.into()),
    }
    let unfinished = [name, UNFINISHED].concat();
    let file = match volume.create_file(&unfinished) {
        Err(Error::NameTaken) => volume.open_file(&unfinished)?,
        result => result?,
    };
    file.set_len(0)?;
    let database = builder.create_with_backend(VolumeBackend::new(file))?;
    volume.rename_file(&unfinished, name)?;
    volume.sync()?;
    Ok(database)
}

/// Held by whoever makes a database. No other process has the volume open, so nobody else's unfinished file is in the way.
static MAKING: Mutex<()> = Mutex::new(());

/// Behind the name of a database that is being made.
const UNFINISHED: &[u8] = b".unfinished";
