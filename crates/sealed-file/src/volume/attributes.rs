//! What a node of a volume is, beside its names and bytes.

/// A moment, before or after the beginning of 1970 (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// Whole seconds.
    pub seconds: i64,
    /// Nanoseconds after that, below 1,000,000,000.
    pub nanos: u32,
}

/// Permissions, owner and times. The volume keeps them, and leaves it to others what they mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Permissions, with the bits for set-user-id, set-group-id and sticky: 12 bits.
    pub mode: u16,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// When it was read last.
    pub read: Time,
    /// When its bytes changed last.
    pub written: Time,
    /// When its bytes or attributes changed last.
    pub changed: Time,
}

impl Default for Attributes {
    fn default() -> Attributes {
        Attributes {
            mode: 0o600,
            uid: 0,
            gid: 0,
            read: Time::default(),
            written: Time::default(),
            changed: Time::default(),
        }
    }
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// It has bytes.
    File,
    /// It has names in it.
    Directory,
    /// It points to a path.
    Link,
}

/// A node, as it stands in the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Its number; none is used twice. 0 is the directory at the top.
    pub number: u64,
    /// What it is.
    pub kind: NodeKind,
    /// How many names it has.
    pub names: u32,
    /// How many directories are in it, if it is one.
    pub directories: u32,
    /// Its attributes; those of nobody when it was never given any.
    pub attributes: Attributes,
}
