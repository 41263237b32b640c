//! From a volume and a name to a database.

use cofferdam_sealed_file::{Error, Volume, VolumeFile};
use redb::{Builder, Database, DatabaseError};

use crate::backend::VolumeBackend;
use crate::error::OpenError;

/// Opens the database in the file `name` of a volume; makes it when there is none.
///
/// redb's page cache is off: what it holds is plaintext, and would be served on after the keys were taken away. So every read passes the volume's gate. Use
/// [`open_with`] to have one, and drop the database when the volume's lease closes.
///
/// # Errors
/// [`OpenError::Volume`] with what the volume says; [`OpenError::Database`], of which [`DatabaseError::DatabaseAlreadyOpen`] when somebody has it open.
pub fn open(volume: &Volume, name: &[u8]) -> Result<Database, OpenError> {
    open_with(Builder::new().set_cache_size(0), volume, name)
}

/// The same with redb's settings, such as the size of its cache.
///
/// # Errors
/// As [`open`].
pub fn open_with(builder: &Builder, volume: &Volume, name: &[u8]) -> Result<Database, OpenError> {
    match volume.open_file(name) {
        Ok(file) => Ok(builder.create_with_backend(VolumeBackend::new(file))?),
        Err(Error::NoSuchFile) => make(builder, volume, name),
        Err(error) => Err(error.into()),
    }
}

/// Makes a database under another name and gives it its own when it is whole: redb does not open a file whose making was cut off.
fn make(builder: &Builder, volume: &Volume, name: &[u8]) -> Result<Database, OpenError> {
    let unfinished = [name, UNFINISHED].concat();
    let file = open_or_create(volume, &unfinished)?;
    let backend = VolumeBackend::new(file.clone());
    if !backend.claim_alone() {
        return Err(DatabaseError::DatabaseAlreadyOpen.into());
    }
    // Whoever made it in the meantime had claimed its file, and gave it this name before that ended.
    match volume.open_file(name) {
        Ok(made) => {
            drop(backend);
            let _ = volume.remove_file(&unfinished);
            return Ok(builder.create_with_backend(VolumeBackend::new(made))?);
        }
        Err(Error::NoSuchFile) => {}
        Err(error) => return Err(error.into()),
    }
    file.set_len(0)?;
    let database = builder.create_with_backend(backend)?;
    volume.rename_file(&unfinished, name)?;
    volume.sync()?;
    Ok(database)
}

fn open_or_create(volume: &Volume, name: &[u8]) -> Result<VolumeFile, Error> {
    match volume.create_file(name) {
        Err(Error::NameTaken) => volume.open_file(name),
        result => result,
    }
}

/// Behind the name of a database that is being made.
const UNFINISHED: &[u8] = b".unfinished";
