//! Volumes, as the command opens them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cofferdam_sealed_file::{Directory, FileDirectory, Homing, Opener, Part, Volume, VolumeSetup};
use cofferdam_wiring::monotonic;

use crate::failure::Failure;

/// Where the keyring of the volume in a directory is; `None` when the path is something else.
pub(crate) fn keyring(path: &Path) -> Option<PathBuf> {
    let keyring = path.join(Part::Keyring.file_name());
    (path.is_dir() && keyring.is_file()).then_some(keyring)
}

/// What it takes to make or open a volume.
pub(crate) fn setup(opener: Opener, directory: FileDirectory, doing: &str) -> VolumeSetup {
    VolumeSetup {
        path: directory.path().join(Part::Keyring.file_name()),
        directory: Arc::new(directory),
        opener: Arc::new(opener),
        journal_len: JOURNAL_LEN,
        homing: Homing::InBackground,
        accept_damage: false,
        holder: format!("cofferdam {doing}, process {}", std::process::id()),
        monotonic,
    }
}

/// Opens a volume, which nobody else may have open.
///
/// # Errors
/// Who has it open; a damaged journal; the keys.
pub(crate) fn open(
    opener: Opener,
    path: &Path,
    doing: &str,
    accept_damage: bool,
) -> Result<Volume, Failure> {
    let directory = FileDirectory::open(path).map_err(Failure::io(path))?;
    let setup = VolumeSetup {
        accept_damage,
        ..setup(opener, directory, doing)
    };
    Volume::open(&setup).map_err(|error| Failure::from(error).about(path))
}

/// What can be said of a volume without opening it.
pub(crate) struct Overview {
    /// Files that are at home.
    pub(crate) files: usize,
    /// Their bytes on the disk, sealed.
    pub(crate) bytes: u64,
    /// Bytes of the journal.
    pub(crate) journal_bytes: u64,
    /// Who has it open, in their own words.
    pub(crate) open_by: Option<String>,
}

/// Looks at the parts of a volume.
///
/// # Errors
/// What the system says.
pub(crate) fn overview(path: &Path) -> Result<Overview, Failure> {
    let io = |error| Failure::io(path)(error);
    let directory = FileDirectory::open(path).map_err(io)?;
    let len = |part: Part| match std::fs::metadata(path.join(part.file_name())) {
        Ok(metadata) => Ok(metadata.len()),
        // Removed since it was listed, or never made.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(io(error)),
    };
    let numbers = directory.files().map_err(io)?;
    let mut bytes = 0;
    for number in &numbers {
        bytes += len(Part::File(*number))?;
    }
    Ok(Overview {
        files: numbers.len(),
        bytes,
        journal_bytes: len(Part::Segment(0))? + len(Part::Segment(1))?,
        open_by: directory.holder().map_err(io)?,
    })
}

/// Bytes of a segment of the journal.
const JOURNAL_LEN: u64 = 16 << 20;
