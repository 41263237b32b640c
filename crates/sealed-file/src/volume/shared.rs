//! What a volume and the handles of its files have together: the journal, the catalogue, and the keys while they may be held.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use cofferdam_keys::{FileId, Holder, Lease};

use super::catalogue::Catalogue;
use super::directory::DirectoryLock;
use super::entry::Entry;
use super::journal::Journal;
use super::journaled_disk::JournaledDisk;
use super::layers::{Layers, Stage};
use super::opened::Opened;
use crate::disk::Disk;
use crate::error::Error;
use crate::file::SealedFile;
use crate::opener::{Opener, Store};

/// One open volume. Locks are taken in this order: catalogue, open files, a file, the journal.
pub(crate) struct Shared {
    pub(super) journal: Journal,
    pub(super) opener: Arc<Opener>,
    /// Where the keyring is, for the audit log and for people.
    pub(super) path: PathBuf,
    pub(super) keyring: Arc<dyn Disk>,
    /// The layers of the keyring file.
    layers: Arc<Layers>,
    pub(super) store: Mutex<Option<Store>>,
    lease: OnceLock<Arc<Lease>>,
    /// Counts operations.
    uses: AtomicU32,
    pub(super) catalogue: Mutex<Option<Catalogue>>,
    pub(super) open: Mutex<HashMap<u64, Weak<Opened>>>,
    this: Weak<Shared>,
    _lock: DirectoryLock,
}

impl Shared {
    pub(super) fn new(
        journal: Journal,
        opener: Arc<Opener>,
        path: PathBuf,
        keyring: Arc<dyn Disk>,
        lock: DirectoryLock,
    ) -> Result<Arc<Shared>, Error> {
        let layers = journal
            .file(0)
            .map_err(Error::io("opening the catalogue"))?;
        Ok(Arc::new_cyclic(|this| Shared {
            journal,
            opener,
            path,
            keyring,
            layers,
            store: Mutex::new(None),
            lease: OnceLock::new(),
            uses: AtomicU32::new(0),
            catalogue: Mutex::new(None),
            open: Mutex::new(HashMap::new()),
            this: this.clone(),
            _lock: lock,
        }))
    }

    /// Whether the volume may be served.
    pub(super) fn admit(&self) -> Result<(), Error> {
        match self.lease.get() {
            Some(lease) => Ok(lease.admit()?),
            None => Ok(()),
        }
    }

    pub(super) fn lease(&self) -> Option<&Arc<Lease>> {
        self.lease.get()
    }

    /// The store with its keys; unlocked anew when a fence has passed. No lock may be held: it may take as long as vaults do, and
    /// the fence may come on this very thread.
    pub(super) fn store(&self) -> Result<Store, Error> {
        if let Some(lease) = self.lease.get() {
            let uses = self.uses.fetch_add(1, Ordering::Relaxed);
            // The lease has a thread of its own that looks at the time; should it not, nothing is served much longer.
            if uses.is_multiple_of(USES_PER_LOOK) || lease.admit().is_err() {
                lease.admit_now()?;
            }
        }
        self.store_without_asking()
    }

    /// The same without a knock: for what the lease itself calls.
    pub(super) fn store_without_asking(&self) -> Result<Store, Error> {
        // In a child of the process the system has wiped the keys: to use them would be a panic.
        self.journal.check_process()?;
        self.admit()?;
        if let Some(store) = lock(&self.store).clone() {
            return Ok(store);
        }
        let not_sealed = Error::NotSealed {
            plain_sqlite: false,
        };
        let store = self.opener.open_store(&self.keyring, &self.path)?;
        let store = store.ok_or(not_sealed)?;
        let lease = self.lease.get_or_init(|| {
            let holder: Weak<dyn Holder> = self.this.clone();
            store.lease.join(holder);
            store.lease.clone()
        });
        *lock(&self.store) = Some(store.clone());
        // The fence may have come between the vault's answer and now.
        if let Err(fenced) = lease.admit() {
            *lock(&self.store) = None;
            return Err(fenced.into());
        }
        Ok(store)
    }

    /// Looks into the catalogue.
    pub(super) fn catalogue<R>(
        &self,
        look: impl FnOnce(&mut Catalogue) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let (_, mut guard) = self.unlocked_catalogue()?;
        look(guard.as_mut().expect("it was just loaded"))
    }

    /// Changes the catalogue, and what the change says of files with it, as one step of the journal. What `change` answers is held
    /// until the step is published.
    pub(super) fn change<R>(
        &self,
        change: impl FnOnce(&mut Catalogue, &mut Step) -> Result<R, Error>,
    ) -> Result<R, Error> {
        self.journal.make_way()?;
        let (store, catalogue) = self.unlocked_catalogue()?;
        let mut step = Step {
            store,
            staged: Vec::new(),
            removed: Vec::new(),
        };
        let mut changing = Changing {
            catalogue,
            layers: &self.layers,
            published: false,
        };
        let catalogue = changing.catalogue.as_mut().expect("it was just loaded");
        let done = change(catalogue, &mut step)?;
        // An open file leaves the list after its removal is published.
        catalogue.compact_if_worth_it(|number| lock(&self.open).contains_key(&number))?;
        self.publish(&step)?;
        changing.published = true;
        Ok(done)
    }

    fn publish(&self, step: &Step) -> Result<(), Error> {
        // V6. Whoever has a file open that loses its name keeps it until then. None of them may go before this is published: what their
        // going removes would be gone before the name was.
        let lookup = |number: &u64| {
            let opened = lock(&self.open).get(number).and_then(Weak::upgrade);
            (*number, opened)
        };
        let removed: Vec<(u64, Option<Arc<Opened>>)> = step.removed.iter().map(lookup).collect();
        let gone = removed.iter().filter(|(_, opened)| opened.is_none());
        let gone: Vec<u64> = gone.map(|(number, _)| *number).collect();
        let mut staged = vec![&self.layers];
        staged.extend(&step.staged);
        self.journal.publish(&staged, &gone)?;
        for opened in removed.into_iter().filter_map(|(_, opened)| opened) {
            opened.removed.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn unlocked_catalogue(&self) -> Result<(Store, MutexGuard<'_, Option<Catalogue>>), Error> {
        if let Some(lease) = self.lease.get() {
            lease.admit_now()?;
        }
        let store = self.store()?;
        let mut guard = lock(&self.catalogue);
        // As for files: a fence closes the gate first.
        self.admit()?;
        if guard.is_none() {
            let disk = JournaledDisk::new(self.layers.clone());
            let file = SealedFile::open(disk, self.opener.main_setup(&store))?;
            *guard = Some(Catalogue::load(file)?);
        }
        Ok((store, guard))
    }

    /// The shared part of a file's handles.
    pub(super) fn opened(&self, catalogue: &Catalogue, number: u64) -> Result<Arc<Opened>, Error> {
        let file_id = catalogue.tree().file_id(number);
        let file_id = file_id.ok_or(Error::NoSuchFile)?;
        let opened = lock(&self.open).get(&number).and_then(Weak::upgrade);
        if let Some(opened) = opened {
            return Ok(opened);
        }
        let layers = self.journal.file(number);
        let layers = layers.map_err(Error::io("opening a file"))?;
        self.enter(catalogue, file_id, layers)
    }

    /// The same for a file that is being made.
    pub(super) fn made(&self, catalogue: &Catalogue, number: u64) -> Result<Arc<Opened>, Error> {
        let layers = Layers::make(&self.journal.homes, number);
        self.enter(catalogue, FileId::random()?, Arc::new(layers))
    }

    fn enter(
        &self,
        catalogue: &Catalogue,
        file_id: FileId,
        layers: Arc<Layers>,
    ) -> Result<Arc<Opened>, Error> {
        let size = catalogue.page_size().ok_or(Error::CatalogueAltered)?;
        let this = self.this.upgrade().expect("its caller holds the volume");
        let opened = Opened::new(&this, layers, file_id, size, catalogue.slot_count());
        let opened = Arc::new(opened);
        lock(&self.open).insert(opened.number, Arc::downgrade(&opened));
        Ok(opened)
    }

    /// Cuts a file to nothing. It is another file afterwards, with the same name: no page that it had opens any more (V5).
    pub(super) fn empty(&self, opened: &Arc<Opened>) -> Result<(), Error> {
        let emptied = self.change(|catalogue, step| {
            let mut staging = opened.staging();
            let file = staging.sealed(&step.store)?;
            if file.is_empty()? {
                staging.keep();
                return Ok(None);
            }
            file.set_len(0)?;
            let file_id = staging.make_record(&step.store)?;
            let number = opened.number;
            // One that has no name is open here alone, and nobody looks for it again.
            if catalogue.tree().has_file(number) {
                catalogue.append(vec![Entry::File { number, file_id }])?;
            }
            step.staged.push(opened.layers.clone());
            Ok(Some(staging))
        })?;
        if let Some(staging) = emptied {
            staging.keep();
        }
        Ok(())
    }

    /// The last handle of a file is gone.
    pub(super) fn closed(&self, opened: &Opened) {
        let mut open = lock(&self.open);
        // Somebody may have opened it anew.
        if open
            .get(&opened.number)
            .is_some_and(|it| it.strong_count() == 0)
        {
            open.remove(&opened.number);
        }
        drop(open);
        self.journal.let_go(&opened.layers);
    }

    pub(super) fn close(&self) {
        self.journal.close();
    }
}

/// The catalogue while it is changed.
struct Changing<'a> {
    catalogue: MutexGuard<'a, Option<Catalogue>>,
    layers: &'a Layers,
    published: bool,
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        if !self.published {
            // Nothing of it counts. The catalogue is loaded again as it was before.
            self.layers.discard(Stage::Staged);
            *self.catalogue = None;
        }
    }
}

/// What a change of the catalogue does to files.
pub(super) struct Step {
    /// The volume's keys.
    pub(super) store: Store,
    /// Files with something staged.
    pub(super) staged: Vec<Arc<Layers>>,
    /// Files that have lost their name.
    pub(super) removed: Vec<u64>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Operations between two looks at the time.
const USES_PER_LOOK: u32 = 64;
