//! Calls of which one side has no id: matched by key, version and operation, within the skew.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::reconcile::ours::Ids;
use crate::reconcile::vault_log::VaultOperation;
use crate::reconcile::{Matching, earlier, later};
use crate::time::UnixTime;

pub(super) fn match_all(matching: &mut Matching<'_>, skew_seconds: u64) {
    for same_outcome in [true, false] {
        for version_known in [true, false] {
            for ours_without_id in [true, false] {
                let round = Round {
                    same_outcome,
                    version_known,
                    ours_without_id,
                };
                round.run(matching, skew_seconds);
            }
        }
    }
}

/// Who may be matched with whom in one round.
struct Round {
    same_outcome: bool,
    /// Whether the vault's records name the version; a record without one fits any.
    version_known: bool,
    /// Ours without an id fit any record; those with one only records without.
    ours_without_id: bool,
}

/// Calls that may be matched with each other.
#[derive(PartialEq, Eq, Hash)]
struct Kind<'a> {
    operation: VaultOperation,
    key: &'a str,
    version: Option<&'a str>,
    succeeded: bool,
}

#[derive(Default)]
struct Side {
    /// When the call may have been made, and which of ours it is.
    ours: Vec<(UnixTime, UnixTime, usize)>,
    theirs: Vec<(UnixTime, usize)>,
}

impl Round {
    fn run(&self, matching: &mut Matching<'_>, skew_seconds: u64) {
        let ours = matching.ours;
        let theirs = matching.theirs.clone();
        let mut kinds: HashMap<Kind<'_>, Side> = HashMap::new();
        for (our, call) in ours.iter().enumerate() {
            if matching.open[our] > 0 && (call.ids == Ids::None) == self.ours_without_id {
                let kind = Kind {
                    operation: call.operation,
                    key: &call.key,
                    version: call.version.as_deref().filter(|_| self.version_known),
                    succeeded: call.succeeded() == self.same_outcome,
                };
                let window = (
                    earlier(call.since, skew_seconds),
                    later(call.time, skew_seconds),
                    our,
                );
                kinds.entry(kind).or_default().ours.push(window);
            }
        }
        for (their, call) in theirs.iter().enumerate() {
            let fits = self.ours_without_id || call.request_id.is_none();
            if !matching.taken[their] && fits && call.version.is_some() == self.version_known {
                let kind = Kind {
                    operation: call.operation,
                    key: &call.key,
                    version: call.version.as_deref(),
                    succeeded: call.succeeded,
                };
                if let Some(side) = kinds.get_mut(&kind) {
                    side.theirs.push((call.time, their));
                }
            }
        }
        for side in kinds.into_values() {
            side.pair(matching);
        }
    }
}

impl Side {
    /// Each record goes to the one of ours whose window closes first: no other order matches more.
    fn pair(mut self, matching: &mut Matching<'_>) {
        self.ours.sort_unstable();
        self.theirs.sort_unstable();
        let mut coming = self.ours.into_iter().peekable();
        let mut open = BinaryHeap::new();
        for (time, their) in self.theirs {
            while let Some((_, end, our)) = coming.next_if(|(start, _, _)| *start <= time) {
                open.push(Reverse((end, our)));
            }
            while open.peek().is_some_and(|Reverse((end, _))| *end < time) {
                open.pop();
            }
            let Some(&Reverse((_, our))) = open.peek() else {
                continue;
            };
            matching.pair(our, their);
            if matching.open[our] == 0 {
                open.pop();
            }
        }
    }
}
