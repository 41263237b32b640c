//! The gate of one store, and who holds its keys.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::Duration;

use cofferdam_audit::UnixTime;

use super::LeaseTerms;
use super::keeper::Shared;
use super::machine::{Change, Machine, Standing};
use crate::random::fraction;
use crate::{DataKeys, KeyScheme, Reason, Refusal, StoreId};

/// Whoever holds a store's keys: an engine's connection, a volume.
pub trait Holder: Send + Sync {
    /// Asks the vaults whether the store's keys may still be used: unwraps what the newest keyring says, and throws it away.
    ///
    /// It may block for as long as vaults take to answer. `None` when this holder cannot ask, because its file is closed.
    ///
    /// # Errors
    ///
    /// A [`Refusal`]: the vault's answer. A disk that does not read is [`Reason::Unreachable`].
    fn probe(&self) -> Option<Result<(), Refusal>>;

    /// The vaults said *yes*: time to follow a rotation of the keys. Failures are the holder's to report; they change nothing about the
    /// lease.
    fn follow(&self);

    /// Flushes what is sealed already, then gives up every key and every copy of plaintext that it can reach. The gate is closed.
    ///
    /// Answers whether all of it is gone; otherwise it is called again.
    fn fence(&self) -> bool;

    /// Whoever puts a change on record: asked for before [`Holder::fence`], called when the keys are gone, and so made of no data key.
    fn recorder(&self) -> Option<Recorder>;
}

/// Puts a change on record; at a fence with what became of the keys.
pub type Recorder = Box<dyn FnOnce(&Change, Option<Wiped>) + Send>;

/// What became of the keys at a fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wiped {
    /// Whether no copy of the data keys was left in memory.
    pub complete: bool,
    /// From the closing of the gate until then.
    pub after: Duration,
}

/// A store is closed because of one of its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fenced {
    /// The vault's answer, with the key.
    pub refusal: Refusal,
    /// Since when.
    pub since: UnixTime,
}

/// Permission to hold the keys of one store.
pub struct Lease {
    store: StoreId,
    terms: LeaseTerms,
    shared: Weak<Shared>,
    /// Read at every access; what it stands for is in `state`.
    closed: AtomicBool,
    state: Mutex<State>,
    /// Held by whoever asks the vaults.
    probing: Mutex<()>,
    /// Held by whoever makes the gate what the machine says.
    settling: Mutex<()>,
}

struct State {
    machine: Machine,
    fenced: Option<Arc<Fenced>>,
    holders: Vec<Weak<dyn Holder>>,
    /// What was given out under this lease.
    keys: Vec<Weak<DataKeys>>,
    wiped: Option<Wiped>,
    last_probe: Duration,
}

impl Lease {
    pub(super) fn new(store: StoreId, terms: LeaseTerms, shared: Weak<Shared>) -> Lease {
        let now = (terms.monotonic)();
        let machine = Machine::new(terms.policy.clone(), now, fraction());
        Lease {
            store,
            terms,
            shared,
            closed: AtomicBool::new(false),
            state: Mutex::new(State {
                machine,
                fenced: None,
                holders: Vec::new(),
                keys: Vec::new(),
                wiped: None,
                last_probe: now,
            }),
            probing: Mutex::new(()),
            settling: Mutex::new(()),
        }
    }

    /// The store.
    #[must_use]
    pub fn store_id(&self) -> StoreId {
        self.store
    }

    /// How the lease stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.state().machine.standing().clone()
    }

    /// What became of the keys at the last fence.
    #[must_use]
    pub fn wiped(&self) -> Option<Wiped> {
        self.state().wiped
    }

    /// Adds somebody to ask through, and to fence.
    pub fn join(&self, holder: Weak<dyn Holder>) {
        let mut state = self.state();
        state.holders.retain(|other| other.strong_count() > 0);
        state.holders.push(holder);
        drop(state);
        self.wake_keeper();
    }

    /// Keys that must be gone when the lease ends.
    pub fn watch(&self, keys: &Arc<DataKeys>) {
        let mut state = self.state();
        state.keys.retain(|other| other.strong_count() > 0);
        if !state
            .keys
            .iter()
            .any(|other| std::ptr::eq(other.as_ptr(), Arc::as_ptr(keys)))
        {
            state.keys.push(Arc::downgrade(keys));
        }
    }

    /// Whether the store may be served. Costs next to nothing: for every access.
    ///
    /// # Errors
    ///
    /// [`Fenced`] says why not.
    pub fn admit(&self) -> Result<(), Arc<Fenced>> {
        match self.closed.load(Ordering::Acquire) {
            false => Ok(()),
            true => self.fenced(),
        }
    }

    /// The same, judged by the time as well, and with a knock: when the store is fenced and its vaults were not asked in the last
    /// moments, they are asked now. For the beginning of a transaction.
    ///
    /// # Errors
    ///
    /// [`Fenced`] says why not.
    pub fn admit_now(&self) -> Result<(), Arc<Fenced>> {
        if self.is_to_be_asked((self.terms.monotonic)())
            // Whoever is asking already will let everybody in.
            && let Some(guard) = self.try_probing()
        {
            self.probe(guard);
        }
        self.admit()
    }

    fn is_to_be_asked(&self, now: Duration) -> bool {
        let state = self.state();
        match state.machine.standing() {
            Standing::Inaccessible { refusal, .. } => {
                now >= state.last_probe + knock_after(refusal)
            }
            _ => state.machine.is_overdue(now),
        }
    }

    /// Asks the vaults now, and waits for the answer.
    pub fn revalidate(&self) -> Standing {
        let guard = self.probing.lock().unwrap_or_else(PoisonError::into_inner);
        self.probe(guard);
        self.standing()
    }

    /// A vault has just unwrapped the store's root for somebody else.
    pub(super) fn was_unwrapped(&self) {
        let mut state = self.state();
        if *state.machine.standing() != Standing::Ready {
            state.machine.ask_now((self.terms.monotonic)());
            drop(state);
            self.wake_keeper();
        }
    }

    /// How long until something is to be done; `None` while somebody does it, or when nobody is left to do it for.
    pub(super) fn wait(&self) -> Option<Duration> {
        if self.try_probing().is_none() || self.holders().is_empty() {
            return None;
        }
        let state = self.state();
        let wait = state
            .machine
            .next_event()
            .saturating_sub((self.terms.monotonic)());
        Some(match state.wiped {
            Some(wiped) if !wiped.complete => wait.min(WIPE_AGAIN_AFTER),
            _ => wait,
        })
    }

    /// Asks when it is time to, lets time do its work, and ends what a fence could not.
    pub(super) fn keep(&self) {
        if let Some(guard) = self.try_probing() {
            let now = (self.terms.monotonic)();
            if self.state().machine.next_probe() <= now {
                self.probe(guard);
            }
        }
        let change = self.state().machine.passed((self.terms.monotonic)());
        self.settle(change);
        self.wipe_again();
        // It may have looked while the lock was held.
        self.wake_keeper();
    }

    /// A panic of somebody who asked ends that question and not the asking.
    fn try_probing(&self) -> Option<MutexGuard<'_, ()>> {
        match self.probing.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn probe(&self, probing: MutexGuard<'_, ()>) {
        self.state().last_probe = (self.terms.monotonic)();
        let mut answer = None;
        for holder in self.holders() {
            answer = holder.probe();
            if answer == Some(Ok(())) && !self.closed.load(Ordering::Acquire) {
                holder.follow();
            }
            if answer.is_some() {
                break;
            }
        }
        let now = (self.terms.monotonic)();
        let change = match answer {
            Some(answer) => self.state().machine.answered(now, answer, fraction()),
            None => {
                self.state().machine.postpone(now);
                None
            }
        };
        self.settle(change);
        // The keeper looks only at leases that nobody is asking about.
        drop(probing);
        self.wake_keeper();
    }

    /// Makes the gate what the machine says now, whoever comes last: another answer may have overtaken the one that led here.
    fn settle(&self, change: Option<Change>) {
        let _settling = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = self.standing();
        let closed = self.closed.load(Ordering::Acquire);
        match (&standing, closed) {
            (Standing::Inaccessible { refusal, .. }, false) => {
                let change = self.change(change, Standing::Ready, &standing);
                self.close(refusal, &change);
            }
            (Standing::Inaccessible { refusal, .. }, true) => {
                if let Some(fenced) = &mut self.state().fenced {
                    let since = fenced.since;
                    *fenced = Arc::new(Fenced {
                        refusal: refusal.clone(),
                        since,
                    });
                }
            }
            (_, true) => {
                let from = Standing::Inaccessible {
                    since: (self.terms.monotonic)(),
                    refusal: match self.fenced() {
                        Err(fenced) => fenced.refusal.clone(),
                        Ok(()) => return,
                    },
                };
                let change = self.change(change, from, &standing);
                self.open(&change);
            }
            (_, false) => {
                if let (Some(change), Some(record)) = (change, self.recorder()) {
                    record(&change, None);
                }
            }
        }
    }

    /// The change that led to a standing, or one as good.
    fn change(&self, change: Option<Change>, from: Standing, to: &Standing) -> Change {
        change.filter(|change| change.to == *to).unwrap_or(Change {
            from,
            to: to.clone(),
            at: (self.terms.monotonic)(),
        })
    }

    fn close(&self, refusal: &Refusal, change: &Change) {
        let began = (self.terms.monotonic)();
        {
            let mut state = self.state();
            let since = (self.terms.clock)();
            state.fenced = Some(Arc::new(Fenced {
                refusal: refusal.clone(),
                since,
            }));
            state.wiped = None;
            self.closed.store(true, Ordering::Release);
        }
        let recorder = self.recorder();
        let wiped = self.wipe(began);
        self.state().wiped = Some(wiped);
        // The record waits for a disk and for other processes, the keys for nobody.
        if let Some(record) = recorder {
            record(change, Some(wiped));
        }
    }

    fn open(&self, change: &Change) {
        {
            let mut state = self.state();
            state.fenced = None;
            self.closed.store(false, Ordering::Release);
        }
        if let Some(record) = self.recorder() {
            record(change, None);
        }
    }

    /// What held out against a fence is asked again until it is gone.
    fn wipe_again(&self) {
        let unfinished = {
            let state = self.state();
            state.wiped.filter(|wiped| !wiped.complete)
        };
        if let Some(wiped) = unfinished
            && self.closed.load(Ordering::Acquire)
        {
            let now = (self.terms.monotonic)();
            let again = self.wipe(now);
            let after = wiped.after + WIPE_AGAIN_AFTER + again.after;
            self.state().wiped = Some(Wiped { after, ..again });
        }
    }

    /// Fences every holder. Calls that were under way when the gate closed end within moments, and their keys with them.
    fn wipe(&self, began: Duration) -> Wiped {
        loop {
            let mut all = true;
            for holder in self.holders() {
                all &= holder.fence();
            }
            let complete = all
                && self
                    .state()
                    .keys
                    .iter()
                    .all(|keys| keys.strong_count() == 0);
            let after = (self.terms.monotonic)().saturating_sub(began);
            if complete || after >= WIPE_WAIT_MAX {
                return Wiped { complete, after };
            }
            std::thread::sleep(WIPE_POLL);
        }
    }

    fn recorder(&self) -> Option<Recorder> {
        self.holders().iter().find_map(|holder| holder.recorder())
    }

    fn fenced(&self) -> Result<(), Arc<Fenced>> {
        match &self.state().fenced {
            Some(fenced) => Err(fenced.clone()),
            None => Ok(()),
        }
    }

    fn holders(&self) -> Vec<Arc<dyn Holder>> {
        self.state()
            .holders
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }

    fn wake_keeper(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Fenced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "closed since {} because of its key, and open again by itself when the key may be used: {}",
            self.since, self.refusal
        )
    }
}

impl std::error::Error for Fenced {}

/// How long after a probe somebody who knocks has the vault asked again: at once where asking costs nothing, later where many programs may
/// be knocking at one service, and last where asking means waiting.
fn knock_after(refusal: &Refusal) -> Duration {
    match (refusal.reason, refusal.key.scheme()) {
        (Reason::Unreachable | Reason::Throttled, _) => Duration::from_secs(2),
        (_, KeyScheme::File) => Duration::from_millis(100),
        _ => Duration::from_secs(1),
    }
}

/// How long the fence waits for calls that were under way.
const WIPE_WAIT_MAX: Duration = Duration::from_secs(1);
/// How soon what held out is asked again.
const WIPE_AGAIN_AFTER: Duration = Duration::from_millis(200);
const WIPE_POLL: Duration = Duration::from_millis(1);
