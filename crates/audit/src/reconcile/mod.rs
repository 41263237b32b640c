//! Our log beside the vault's own: who used our keys, and did both sides see the same?
//!
//! A credential that was stolen is used where we do not see it; but the vault does, and writes it down. Both logs
//! together show calls that we did not make, calls of ours that the vault does not know, and calls that each side
//! remembers differently.
//!
//! Invariants:
//!
//! 1. A call in the vault's log is matched by at most one of ours, and one of ours by at most as many as it covers.
//! 2. Two calls that both have an id are matched by it or not at all; the time decides only where an id is missing.
//!    Ids are no secret, so one that is used again on another day matches nothing.
//! 3. Calls that agree on the outcome are matched before calls that do not.

mod by_id;
mod by_time;
mod ours;
mod vault_log;

use std::collections::HashSet;

pub use ours::{OurCall, OurCalls};
pub use vault_log::{Caller, VaultCall, VaultLog, VaultLogError, VaultOperation};

use crate::time::UnixTime;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Only calls from then on are held against anyone.
    pub from: Option<UnixTime>,
    /// Only calls before then.
    pub to: Option<UnixTime>,
    /// How far both clocks may be apart, and how long an answer may take, in seconds.
    pub skew_seconds: u64,
}

impl Default for Period {
    /// All of time, with two minutes of skew.
    fn default() -> Period {
        Period {
            from: None,
            to: None,
            skew_seconds: 120,
        }
    }
}

impl Period {
    fn has(&self, time: UnixTime) -> bool {
        self.from.is_none_or(|from| time >= from) && self.to.is_none_or(|to| time < to)
    }

    /// Whether the vault's log of this period must have all calls that were made between these instants.
    fn surely_has(&self, first: UnixTime, last: UnixTime) -> bool {
        self.from
            .is_none_or(|from| first >= later(from, self.skew_seconds))
            && self.to.is_none_or(|to| later(last, self.skew_seconds) < to)
    }
}

/// What the comparison of two logs shows. Lists are in the order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reconciliation {
    /// Calls that both sides have.
    pub matched: u64,
    /// Calls in the vault's log, on our keys, that we did not make: possibly a stolen credential.
    pub not_ours: Vec<VaultCall>,
    /// Calls of ours that the vault answered, as we say, and that its log does not have.
    pub missing: Vec<Unmatched>,
    /// Calls that succeeded on one side only.
    pub disagreements: Vec<Disagreement>,
    /// Calls of ours that failed and that the vault does not know: they need not have reached it.
    pub never_arrived: Vec<Unmatched>,
    /// Refusals and failures under the id of a call that was matched: the same call, tried again.
    pub retries: u64,
    /// Calls of ours about which a log of this period cannot say anything, because they were made at its edges.
    pub at_the_edges: u64,
    /// Calls in the vault's log on keys that our log never speaks of.
    pub other_keys: u64,
}

impl Reconciliation {
    /// Whether both sides say the same.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.not_ours.is_empty() && self.missing.is_empty() && self.disagreements.is_empty()
    }
}

/// One of our events, some calls of which the vault's log does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmatched {
    /// The event.
    pub call: OurCall,
    /// How many of its calls.
    pub count: u64,
}

/// Two sides of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// Ours.
    pub ours: OurCall,
    /// The vault's.
    pub vaults: VaultCall,
}

/// Compares our calls with those in the vault's log.
#[must_use]
pub fn reconcile(ours: &OurCalls, theirs: &VaultLog, period: &Period) -> Reconciliation {
    let mut matching = Matching::new(ours, theirs);
    by_id::match_all(&mut matching);
    by_time::match_all(&mut matching, period.skew_seconds);
    matching.report(period)
}

/// Who is matched with whom so far.
struct Matching<'a> {
    ours: &'a [OurCall],
    theirs: Vec<&'a VaultCall>,
    known: &'a OurCalls,
    /// How many calls each of ours still waits for.
    open: Vec<u64>,
    /// Which of theirs are spoken for.
    taken: Vec<bool>,
    pairs: Vec<(usize, usize)>,
    claimed: u64,
    other_keys: u64,
}

impl<'a> Matching<'a> {
    fn new(ours: &'a OurCalls, theirs: &'a VaultLog) -> Matching<'a> {
        let of_our_keys = theirs.calls().iter().filter(|call| ours.knows(&call.key));
        let theirs_of_ours: Vec<&VaultCall> = of_our_keys.collect();
        Matching {
            ours: ours.calls(),
            known: ours,
            open: ours.calls().iter().map(|call| call.count).collect(),
            taken: vec![false; theirs_of_ours.len()],
            other_keys: (theirs.calls().len() - theirs_of_ours.len()) as u64,
            theirs: theirs_of_ours,
            pairs: Vec::new(),
            claimed: 0,
        }
    }

    /// Invariant 1 stands on this being the only way to match.
    fn pair(&mut self, our: usize, their: usize) {
        assert!(
            self.open[our] > 0,
            "a call is matched as often as it covers"
        );
        assert!(!self.taken[their], "a call is matched once");
        self.open[our] -= 1;
        self.taken[their] = true;
        self.pairs.push((our, their));
    }

    /// A call that is ours without being one that an event stands for.
    fn claim(&mut self, their: usize) {
        assert!(!self.taken[their], "a call is claimed once");
        self.taken[their] = true;
        self.claimed += 1;
    }

    fn report(mut self, period: &Period) -> Reconciliation {
        let mut report = Reconciliation {
            matched: self.pairs.len() as u64 + self.claimed,
            other_keys: self.other_keys,
            retries: self.set_retries_aside(),
            ..Reconciliation::default()
        };
        for &(our, their) in &self.pairs {
            let (ours, vaults) = (&self.ours[our], self.theirs[their]);
            if ours.succeeded() != vaults.succeeded && period.has(vaults.time) {
                report.disagreements.push(Disagreement {
                    ours: ours.clone(),
                    vaults: vaults.clone(),
                });
            }
        }
        for (their, call) in self.theirs.iter().enumerate() {
            if !self.taken[their] && period.has(call.time) {
                report.not_ours.push((*call).clone());
            }
        }
        for (call, &count) in self.ours.iter().zip(&self.open) {
            if count == 0 || !period.has(call.time) {
                continue;
            }
            let unmatched = Unmatched {
                call: call.clone(),
                count,
            };
            if !period.surely_has(call.since, call.time) {
                report.at_the_edges = report.at_the_edges.saturating_add(count);
            } else if call.may_not_have_arrived() {
                report.never_arrived.push(unmatched);
            } else {
                report.missing.push(unmatched);
            }
        }
        report.not_ours.sort_by_key(|call| call.time);
        report.disagreements.sort_by_key(|pair| pair.vaults.time);
        report.missing.sort_by_key(|unmatched| unmatched.call.time);
        report
            .never_arrived
            .sort_by_key(|unmatched| unmatched.call.time);
        report
    }

    /// A call that is tried again keeps its id. Only refusals and failures are put down to that: a second success
    /// under one id is somebody using a key.
    fn set_retries_aside(&mut self) -> u64 {
        let taken = self.theirs.iter().zip(&self.taken);
        let ids: HashSet<&str> = taken
            .filter(|(_, taken)| **taken)
            .filter_map(|(call, _)| call.request_id.as_deref())
            .collect();
        let mut count = 0;
        for (their, call) in self.theirs.iter().enumerate() {
            let id = call.request_id.as_deref();
            let again = !call.succeeded && id.is_some_and(|id| ids.contains(id));
            if !self.taken[their] && again {
                self.taken[their] = true;
                count += 1;
            }
        }
        count
    }
}

fn later(time: UnixTime, seconds: u64) -> UnixTime {
    let seconds = time.seconds.saturating_add(seconds);
    UnixTime { seconds, ..time }
}

fn earlier(time: UnixTime, seconds: u64) -> UnixTime {
    let seconds = time.seconds.saturating_sub(seconds);
    UnixTime { seconds, ..time }
}
