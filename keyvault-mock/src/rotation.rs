//! Rotation policies, the scheduler that follows them on the virtual clock, and the events it emits.

mod events;
mod policy;
mod schedule;

pub use events::{Event, EventKind, Events};
pub use policy::{ActionJson, AttributesJson, Duration, Policy, PolicyJson, Trigger};
pub use schedule::{Rotated, is_due, rotated, run};
