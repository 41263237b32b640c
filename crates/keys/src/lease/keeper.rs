//! One thread that sees to it that the vaults are asked in time.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use super::{Lease, LeaseTerms};
use crate::StoreId;

/// All leases of a program. A store has one, however often it is opened.
///
/// The thread that keeps them starts with the first lease and ends with this value.
pub struct Leases {
    terms: LeaseTerms,
    shared: Arc<Shared>,
}

/// What the keeper and the leases share.
pub(super) struct Shared {
    book: Mutex<Book>,
    changed: Condvar,
}

#[derive(Default)]
struct Book {
    leases: HashMap<StoreId, Weak<Lease>>,
    keeper_runs: bool,
    ended: bool,
    news: bool,
}

impl Leases {
    /// Leases under these terms.
    #[must_use]
    pub fn new(terms: LeaseTerms) -> Leases {
        let shared = Shared {
            book: Mutex::default(),
            changed: Condvar::new(),
        };
        Leases {
            terms,
            shared: Arc::new(shared),
        }
    }

    /// The terms.
    #[must_use]
    pub fn terms(&self) -> &LeaseTerms {
        &self.terms
    }

    /// The lease of a store whose keys a vault has just unwrapped: a new one, or the one that there is already, which hears of
    /// it.
    pub fn take(&self, store: StoreId) -> Arc<Lease> {
        if let Some(lease) = self.find(store) {
            lease.was_unwrapped();
            return lease;
        }
        let mut book = self.shared.book();
        if let Some(lease) = book.leases.get(&store).and_then(Weak::upgrade) {
            return lease;
        }
        let lease = Arc::new(Lease::new(
            store,
            self.terms.clone(),
            Arc::downgrade(&self.shared),
        ));
        book.leases.retain(|_, other| other.strong_count() > 0);
        book.leases.insert(store, Arc::downgrade(&lease));
        if !book.keeper_runs {
            book.keeper_runs = self.start_keeper();
        }
        lease
    }

    /// The lease of a store that is open.
    #[must_use]
    pub fn find(&self, store: StoreId) -> Option<Arc<Lease>> {
        self.shared
            .book()
            .leases
            .get(&store)
            .and_then(Weak::upgrade)
    }

    /// Without the thread, leases are judged by the time at each transaction: nothing is served longer, it is only noticed later.
    fn start_keeper(&self) -> bool {
        let shared = self.shared.clone();
        thread::Builder::new()
            .name("cofferdam lease".to_owned())
            .spawn(move || shared.keep())
            .is_ok()
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        self.shared.book().ended = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    /// Something is due at another time than before.
    pub(super) fn wake(&self) {
        self.book().news = true;
        self.changed.notify_all();
    }

    fn keep(&self) {
        loop {
            let mut wait = IDLE_WAIT;
            for lease in self.live() {
                match lease.wait() {
                    Some(Duration::ZERO) => keep_apart(&lease),
                    Some(until) => wait = wait.min(until),
                    None => {}
                }
            }
            let book = self.book();
            if book.ended {
                return;
            }
            let (mut book, _) = self
                .changed
                .wait_timeout_while(book, wait, |book| !book.news && !book.ended)
                .unwrap_or_else(PoisonError::into_inner);
            book.news = false;
        }
    }

    fn live(&self) -> Vec<Arc<Lease>> {
        self.book()
            .leases
            .values()
            .filter_map(Weak::upgrade)
            .collect()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A vault that takes its time must not keep the keeper from the other stores.
fn keep_apart(lease: &Arc<Lease>) {
    let kept = lease.clone();
    let started = thread::Builder::new()
        .name("cofferdam probe".to_owned())
        .spawn(move || kept.keep());
    if started.is_err() {
        lease.keep();
    }
}

/// The keeper looks at least this often, also after the machine has slept.
const IDLE_WAIT: Duration = Duration::from_secs(10);
