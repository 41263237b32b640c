//! Leases: keys stay in memory only while their vaults go on saying *yes*.
//!
//! A [`Lease`] belongs to one open store. Every so often it has a holder of the store's keys unwrap what the vaults
//! wrapped (a *probe*: a real unwrap, because neither reading a key's attributes nor wrapping proves that we may still use it).
//! What the answers lead to is decided by one table:
//!
//! | Answer | Ready, Degraded | Inaccessible |
//! | --- | --- | --- |
//! | usable | Ready | Ready |
//! | revoked, policy mismatch, corrupt | asked again at once; Inaccessible when it is confirmed, or `revoke_deadline` after the first *no* | stays |
//! | credentials not accepted | Degraded; the third time in a row it is a *no* | stays |
//! | unreachable, throttled | Degraded; Inaccessible when `outage_grace` has passed | stays |
//!
//! Entering Inaccessible closes the gate first, then every [`Holder`] flushes what is sealed, drops its keys and its
//! caches. Leaving it needs no hand: the probe goes on, and also happens when somebody knocks.
//!
//! Invariants:
//!
//! 1. After the gate has closed, [`Lease::admit`] refuses until a probe has succeeded.
//! 2. *No* and *cannot reach* are kept apart: an outage alone never fences before `outage_grace`.
//! 3. A keeper that stopped asking is an outage: [`Lease::admit_now`] judges by the time as well.

mod gate;
mod keeper;
mod machine;
mod policy;

pub use gate::{Fenced, Holder, Lease, Recorder, Wiped};
pub use keeper::Leases;
pub use machine::{Change, Standing};
pub use policy::{LeasePolicy, LeaseTerms, Monotonic, NotAPolicy};
