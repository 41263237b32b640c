//! Calls that both sides know by an id.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::reconcile::ours::{CallId, Ids};
use crate::reconcile::vault_log::VaultOperation;
use crate::reconcile::{Matching, OurCall, VaultCall, earlier, later};
use crate::time::UnixTime;

pub(super) fn match_all(matching: &mut Matching<'_>) {
    single_calls(matching);
    // An id that is named says more than a session, whose aggregates take any call that is left.
    calls_of_other_events(matching);
    sessions(matching);
}

/// Events of one call: the call with its id on the same key. Of several, one with the same outcome; a call that was
/// tried again is there more than once.
fn single_calls(matching: &mut Matching<'_>) {
    let mut by_id: HashMap<&str, Vec<usize>> = HashMap::new();
    for (their, call) in matching.theirs.iter().enumerate() {
        if let Some(id) = call.request_id.as_deref() {
            by_id.entry(id).or_default().push(their);
        }
    }
    for (our, call) in matching.ours.iter().enumerate() {
        let Ids::One(ids) = &call.ids else { continue };
        let found = ids.iter().filter_map(|id| by_id.get(id.as_str())).flatten();
        let fitting = found.copied().filter(|&their| {
            let vaults = matching.theirs[their];
            !matching.taken[their] && is_of_same_key(call, vaults) && is_near(call, vaults)
        });
        let best = fitting.min_by_key(|&their| {
            let vaults = matching.theirs[their];
            (vaults.succeeded != call.succeeded(), vaults.time)
        });
        if let Some(their) = best
            && matching.open[our] > 0
        {
            matching.pair(our, their);
        }
    }
}

fn is_of_same_key(ours: &OurCall, vaults: &VaultCall) -> bool {
    let versions = (&ours.version, &vaults.version);
    ours.operation == vaults.operation
        && ours.key == vaults.key
        && match versions {
            (Some(ours), Some(vaults)) => ours == vaults,
            _ => true,
        }
}

/// Calls of one session on one version of a key that ended in one way.
type Kind<'a> = (u64, VaultOperation, &'a str, Option<&'a str>, bool);
/// By number; a call that was tried again has several records.
type Numbered = BTreeMap<u64, Vec<usize>>;

/// Aggregates. Those of one session are taken in its order, and each takes the newest calls up to its last. All that
/// agree on the outcome go first, successes before failures, so that a failed attempt of a call that
/// succeeded in the end is not taken for a call of its own.
fn sessions<'a>(matching: &mut Matching<'a>) {
    let theirs: Vec<&'a VaultCall> = matching.theirs.clone();
    let mut calls: HashMap<Kind<'a>, Numbered> = HashMap::new();
    for (their, call) in theirs.iter().enumerate() {
        let id = call.request_id.as_deref().and_then(CallId::parse);
        if let Some(id) = id.filter(|_| !matching.taken[their]) {
            let records = calls.entry(kind(id, call)).or_default();
            records.entry(id.number).or_default().push(their);
        }
    }
    let mut ours: Vec<(CallId, usize)> = Vec::new();
    for (our, call) in matching.ours.iter().enumerate() {
        if let Ids::Session(last) = call.ids {
            ours.push((last, our));
        }
    }
    ours.sort_unstable();
    for (agreeing, of_successes) in [(true, true), (true, false), (false, true), (false, false)] {
        for &(last, our) in &ours {
            if matching.ours[our].succeeded() == of_successes {
                take(matching, &mut calls, (last, our), of_successes == agreeing);
            }
        }
    }
}

fn kind(id: CallId, call: &VaultCall) -> Kind<'_> {
    let version = call.version.as_deref();
    (
        id.session,
        call.operation,
        &call.key,
        version,
        call.succeeded,
    )
}

fn take<'a>(
    matching: &mut Matching<'a>,
    calls: &mut HashMap<Kind<'a>, Numbered>,
    (last, our): (CallId, usize),
    succeeded: bool,
) {
    let ours: &'a [OurCall] = matching.ours;
    let call = &ours[our];
    for version in [call.version.as_deref(), None] {
        let of = |succeeded| {
            let key = call.key.as_str();
            (last.session, call.operation, key, version, succeeded)
        };
        while matching.open[our] > 0 {
            let Some(numbered) = calls.get_mut(&of(succeeded)) else {
                break;
            };
            let upto = numbered.range(..=last.number).rev();
            let found = upto.filter_map(|(number, records)| {
                let mut records = records.iter();
                let near = records.find(|&&their| is_near(call, matching.theirs[their]))?;
                Some((*number, *near))
            });
            let Some((number, their)) = { found }.next() else {
                break;
            };
            numbered.remove(&number);
            if let Some(attempts) = calls.get_mut(&of(!succeeded)).filter(|_| succeeded) {
                attempts.remove(&number);
            }
            matching.pair(our, their);
        }
    }
}

/// Rotations and the like name a call, too: it is ours, once for each operation.
fn calls_of_other_events(matching: &mut Matching<'_>) {
    let theirs = matching.theirs.clone();
    let mut claimed = HashSet::new();
    for (their, call) in theirs.iter().enumerate() {
        let Some(id) = call.request_id.as_deref() else {
            continue;
        };
        let since = matching.known.time_of_other(id);
        let near = since.is_some_and(|time| is_within(call.time, time, time));
        if near && !matching.taken[their] && call.succeeded && claimed.insert((id, call.operation))
        {
            matching.claim(their);
        }
    }
}

/// Ids are no secret. One that was ours long ago does not make a call ours today.
fn is_near(ours: &OurCall, vaults: &VaultCall) -> bool {
    is_within(vaults.time, ours.since, ours.time)
}

fn is_within(time: UnixTime, first: UnixTime, last: UnixTime) -> bool {
    earlier(first, ID_SECONDS) <= time && time <= later(last, ID_SECONDS)
}

/// How far apart the times of two calls with one id may be: a day, for clocks that are wrong.
const ID_SECONDS: u64 = 86_400;
