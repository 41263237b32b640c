//! The registered layer: what all its files share.

use std::collections::HashMap;
use std::ffi::{CString, c_int};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use cofferdam_keys::{DataKeys, Suite};
use cofferdam_sealed_file::{Disk, Error, Opener, Store};

use crate::base::{Base, BaseDisk, Code};
use crate::error::{code, remember};
use crate::ffi::{self, Api};
use crate::group::Group;

/// Reads a parameter of a database's URI.
pub type Parameters<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Gives the opener for one database, from the parameters of its URI.
///
/// It is called once for each database that is opened; answering the same opener each time is the normal case.
pub type OpenerSource = Box<dyn Fn(Parameters<'_>) -> Result<Arc<Opener>, String> + Send + Sync>;

/// What the files of one registered layer share. It lives as long as the process.
pub(crate) struct Layer {
    pub(crate) api: Api,
    pub(crate) base: Base,
    pub(crate) name: CString,
    pub(crate) source: OpenerSource,
    mains: Mutex<Mains>,
    /// Keys for temporary files, by suite.
    ephemeral: [OnceLock<Arc<DataKeys>>; 3],
    /// The strongest suite seen: temporary files hold what comes out of any database.
    suite: AtomicUsize,
}

/// The open databases.
#[derive(Default)]
struct Mains {
    /// By the address of the name that SQLite opened them with, which it also knows their journals by.
    /// With it, the address of the file that SQLite holds, if no other layer is between.
    by_name: HashMap<usize, (Weak<Group>, usize)>,
    by_path: HashMap<PathBuf, Vec<Weak<Group>>>,
}

impl Layer {
    pub(crate) fn new(api: Api, base: Base, name: CString, source: OpenerSource) -> Layer {
        Layer {
            api,
            base,
            name,
            source,
            mains: Mutex::default(),
            ephemeral: Default::default(),
            suite: AtomicUsize::new(0),
        }
    }

    fn mains(&self) -> MutexGuard<'_, Mains> {
        self.mains.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, name: usize, file: usize, group: &Arc<Group>) {
        let mut mains = self.mains();
        mains.by_name.insert(name, (Arc::downgrade(group), file));
        let groups = mains.by_path.entry(group.path.clone()).or_default();
        groups.retain(|other| other.strong_count() > 0);
        groups.push(Arc::downgrade(group));
    }

    pub(crate) fn remove(&self, name: usize, path: &Path) {
        let mut mains = self.mains();
        mains.by_name.remove(&name);
        if let Some(groups) = mains.by_path.get_mut(path) {
            groups.retain(|group| group.strong_count() > 0);
            if groups.is_empty() {
                crate::error::fence_ended(path);
                mains.by_path.remove(path);
            }
        }
    }

    /// The connection that opened a database under the name at this address, and the address of its file.
    pub(crate) fn by_name(&self, name: usize) -> Option<(Arc<Group>, usize)> {
        let mains = self.mains();
        let (group, file) = mains.by_name.get(&name)?;
        Some((group.upgrade()?, *file))
    }

    /// Every connection of this process to the database at a path.
    pub(crate) fn by_path(&self, path: &Path) -> Vec<Arc<Group>> {
        self.mains()
            .by_path
            .get(path)
            .map(|groups| groups.iter().filter_map(Weak::upgrade).collect())
            .unwrap_or_default()
    }

    /// Keys for a temporary file: of the strongest suite that this process has opened.
    pub(crate) fn ephemeral_keys(&self) -> Result<Arc<DataKeys>, Error> {
        let index = self.suite.load(Ordering::Relaxed);
        if let Some(keys) = self.ephemeral[index].get() {
            return Ok(keys.clone());
        }
        let suite = [Suite::One, Suite::Three, Suite::Two][index];
        let keys = Arc::new(DataKeys::ephemeral(suite)?);
        Ok(self.ephemeral[index].get_or_init(|| keys).clone())
    }

    /// A store was opened; temporary files are sealed no weaker from now on.
    pub(crate) fn saw(&self, store: Option<&Store>) {
        let index = match store.map(|store| store.keys.suite()) {
            Some(Suite::Two) => 2,
            Some(Suite::Three) => 1,
            _ => 0,
        };
        self.suite.fetch_max(index, Ordering::Relaxed);
    }

    /// Tells SQLite's log and [`crate::last_error`] what happened, and answers the code for SQLite.
    pub(crate) fn report(&self, path: &Path, error: &Error) -> c_int {
        let code = code(error);
        // A full disk or a failed read is SQLite's daily business; what we add is why a page was refused.
        self.say(code, &format!("cofferdam: {}: {error}", path.display()));
        code
    }

    pub(crate) fn say(&self, code: c_int, text: &str) {
        remember(text.to_owned());
        if let Ok(text) = CString::new(text) {
            // SAFETY: a format and the one string that it asks for.
            unsafe { (self.api.log)(code, c"%s".as_ptr(), text.as_ptr()) };
        }
    }
}

/// The database whose journal, log or super-journal a path names.
pub(crate) fn database_of(path: &Path) -> Option<PathBuf> {
    let text = path.to_str()?;
    let database = text
        .strip_suffix("-journal")
        .or_else(|| text.strip_suffix("-wal"))
        .or_else(|| {
            let at = text.len().checked_sub(SUPER_JOURNAL_SUFFIX_LEN)?;
            text.get(at..)?.starts_with("-mj").then(|| &text[..at])
        })?;
    Some(PathBuf::from(database))
}

/// Reads whether a file that nobody has opened yet is a sealed journal, and of which kind: the byte that its
/// record claims.
pub(crate) fn claimed_kind(disk: &BaseDisk) -> Result<Option<u8>, Error> {
    let mut head = [0; 11];
    let read = disk.read_at(&mut head, 0).map_err(|source| Error::Io {
        doing: "reading a file record",
        source,
    })?;
    Ok((read == head.len() && head.starts_with(b"CDAMFILE")).then(|| head[10]))
}

/// `-mj` and nine hexadecimal digits.
const SUPER_JOURNAL_SUFFIX_LEN: usize = 12;

/// A code of the layer underneath, as an error of ours.
pub(crate) fn base_error(doing: &'static str, code: Code) -> Error {
    Error::Io {
        doing,
        source: std::io::Error::other(code),
    }
}

/// The codes that the layer underneath answers are passed on; ours are reported first.
pub(crate) fn answer(layer: &Layer, path: &Path, result: Result<(), Error>) -> c_int {
    match result {
        Ok(()) => ffi::OK,
        Err(error) => layer.report(path, &error),
    }
}
