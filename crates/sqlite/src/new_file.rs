//! A file that gets its name when it is whole.
//!
//! Invariant: until [`NewFile::publish`] nothing stands under the final name, and whatever ends the process
//! leaves no name behind on systems that have nameless files.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};

/// A file without its final name. Dropping it removes it.
pub(crate) struct NewFile {
    file: File,
    target: PathBuf,
    /// The name it has meanwhile, where the system has no nameless files.
    temporary: Option<PathBuf>,
}

impl NewFile {
    /// A new file, readable by its owner alone, in the directory that `target` will be in.
    pub(crate) fn beside(target: &Path) -> io::Result<NewFile> {
        let directory = directory_of(target);
        if let Some(file) = nameless(directory)? {
            return Ok(NewFile {
                file,
                target: target.to_owned(),
                temporary: None,
            });
        }
        let mut name = target
            .file_name()
            .ok_or(ErrorKind::InvalidFilename)?
            .to_owned();
        name.push(format!(".unfinished-{}", std::process::id()));
        let temporary = directory.join(name);
        let mut options = File::options();
        options.read(true).write(true).create_new(true).mode(0o600);
        Ok(NewFile {
            file: options.open(&temporary)?,
            target: target.to_owned(),
            temporary: Some(temporary),
        })
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Lets others than the owner reach the file, as the bits say.
    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.file
            .set_permissions(Permissions::from_mode(mode & 0o777))
    }

    /// Gives the file its name, durably, and never in the place of another file.
    pub(crate) fn publish(mut self) -> io::Result<()> {
        match &self.temporary {
            None => {
                let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                rustix::fs::linkat(CWD, path, CWD, &self.target, AtFlags::SYMLINK_FOLLOW)?;
            }
            Some(temporary) => {
                let flags = RenameFlags::NOREPLACE;
                match rustix::fs::renameat_with(CWD, temporary, CWD, &self.target, flags) {
                    Ok(()) => self.temporary = None,
                    // Older file systems do not know the flag; a link replaces nothing either.
                    Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                        fs::hard_link(temporary, &self.target)?;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        File::open(directory_of(&self.target))?.sync_all()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = fs::remove_file(temporary);
        }
    }
}

/// A file without a name, or `None` where there are none.
fn nameless(directory: &Path) -> io::Result<Option<File>> {
    use rustix::io::Errno;
    if !Path::new("/proc/self/fd").is_dir() {
        return Ok(None);
    }
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR) {
        Ok(descriptor) => Ok(Some(File::from(descriptor))),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn names(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all_and_replaces_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("new");
        let new = NewFile::beside(&target).unwrap();
        new.file().write_all(b"bytes").unwrap();
        assert!(!target.exists());
        new.publish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"bytes");

        let second = NewFile::beside(&target).unwrap();
        let error = second.publish().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&target).unwrap(), b"bytes");
        assert_eq!(names(directory.path()), 1);
    }

    #[test]
    fn a_file_with_a_temporary_name_keeps_the_same_promises() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("new");
        let named = || {
            let temporary = directory.path().join("temporary");
            NewFile {
                file: File::create_new(&temporary).unwrap(),
                target: target.clone(),
                temporary: Some(temporary),
            }
        };
        drop(named());
        assert_eq!(names(directory.path()), 0);
        named().publish().unwrap();
        assert!(named().publish().is_err());
        assert_eq!(names(directory.path()), 1);
    }
}
