//! What is said about one happening.
//!
//! Nothing here can carry key bytes: a key is named by its URI and version, never by its value.

use crate::action::{Action, Outcome};
use crate::names::named;

/// One happening, as its author tells it. The log adds number, id and time when it records it.
///
/// ```
/// use cofferdam_audit::{Action, Event, EventKey, Outcome};
///
/// let event = Event::new(Action::KeyRotate, Outcome::Success)
///     .with_key(EventKey { uri: Some("file:/keys/customer.key".into()), ..EventKey::default() })
///     .with_reason("cryptoperiod");
/// assert_eq!(event.action.name(), "key.rotate");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub action: Action,
    /// How it ended.
    pub outcome: Outcome,
    /// A short code for the reason, such as `permission` or `cryptoperiod`.
    pub reason_code: Option<String>,
    /// Who did it.
    pub actor: Option<Actor>,
    /// For whom it was done.
    pub on_behalf_of: Option<String>,
    /// Where it was done.
    pub source: Option<Source>,
    /// The kind of vault that was asked, such as `file` or `azure`.
    pub provider: Option<String>,
    /// The key it was about.
    pub key: Option<EventKey>,
    /// The thing it was about.
    pub object: Option<Object>,
    /// The cluster it belongs to.
    pub cluster: Option<String>,
    /// The server it belongs to.
    pub server: Option<String>,
    /// The tenant it belongs to.
    pub tenant: Option<String>,
    /// How many happenings this event stands for, when it is an aggregate.
    pub count: Option<u64>,
    /// The vault's own id for the request; with a session in [`Event::correlation_id`], the id we sent with the
    /// last call that this event covers.
    pub request_id: Option<String>,
    /// The id we sent to the vault with the one call that this event is about, such as `x-ms-client-request-id`.
    ///
    /// An event that covers `count` calls has instead the 16 lower-case hex digits of the process's session. The ids of
    /// those calls are UUIDs: the session is their first 64 bits, the last 64 rise from call to call, and
    /// [`Event::request_id`] is the id of the last of them (format section 9.7).
    pub correlation_id: Option<String>,
    /// Why it was done, in the words of whoever did it.
    pub justification: Option<Justification>,
    /// Who approved it: ids of actors.
    pub approvals: Vec<String>,
    /// The policy that decided.
    pub policy: Option<Policy>,
    /// The validated module in use.
    pub fips: Option<Fips>,
}

impl Event {
    /// An event with nothing but what happened and how it ended.
    pub fn new(action: Action, outcome: Outcome) -> Event {
        Event {
            action,
            outcome,
            reason_code: None,
            actor: None,
            on_behalf_of: None,
            source: None,
            provider: None,
            key: None,
            object: None,
            cluster: None,
            server: None,
            tenant: None,
            count: None,
            request_id: None,
            correlation_id: None,
            justification: None,
            approvals: Vec::new(),
            policy: None,
            fips: None,
        }
    }

    /// The same event with a reason code.
    pub fn with_reason(mut self, reason_code: impl Into<String>) -> Event {
        self.reason_code = Some(reason_code.into());
        self
    }

    /// The same event with its actor.
    pub fn with_actor(mut self, actor: Actor) -> Event {
        self.actor = Some(actor);
        self
    }

    /// The same event with the place it was done at.
    pub fn with_source(mut self, source: Source) -> Event {
        self.source = Some(source);
        self
    }

    /// The same event with the kind of vault that was asked.
    pub fn with_provider(mut self, provider: impl Into<String>) -> Event {
        self.provider = Some(provider.into());
        self
    }

    /// The same event with its key.
    pub fn with_key(mut self, key: EventKey) -> Event {
        self.key = Some(key);
        self
    }

    /// The same event with the thing it was about.
    pub fn with_object(mut self, object: Object) -> Event {
        self.object = Some(object);
        self
    }

    /// The same event standing for `count` happenings.
    pub fn with_count(mut self, count: u64) -> Event {
        self.count = Some(count);
        self
    }

    /// The same event with the vault's own id for the request, or that of the last call of a session.
    pub fn with_request(mut self, request_id: impl Into<String>) -> Event {
        self.request_id = Some(request_id.into());
        self
    }

    /// The same event with the id that was sent to the vault, or the session whose calls it covers.
    pub fn with_correlation(mut self, correlation_id: impl Into<String>) -> Event {
        self.correlation_id = Some(correlation_id.into());
        self
    }

    /// The same event with a justification.
    pub fn with_justification(mut self, justification: Justification) -> Event {
        self.justification = Some(justification);
        self
    }

    /// The store and sequence this event anchors: a success that names a store's keyring sequence.
    pub(crate) fn anchors(&self) -> Option<(&str, u64)> {
        let object = self.object.as_ref()?;
        let (store, sequence) = (object.id.as_deref()?, object.keyring_sequence?);
        (self.outcome == Outcome::Success && object.kind == ObjectKind::Store)
            .then_some((store, sequence))
    }
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// What the actor is; `type` in JSON.
    pub kind: ActorKind,
    /// The actor's name where it is known by it.
    pub id: String,
    /// How the actor proved who they are.
    pub auth_method: Option<String>,
    /// The session it happened in.
    pub session: Option<String>,
}

impl Actor {
    /// An actor known by kind and id only.
    pub fn new(kind: ActorKind, id: impl Into<String>) -> Actor {
        Actor {
            kind,
            id: id.into(),
            auth_method: None,
            session: None,
        }
    }
}

named! {
    /// What an actor is.
    ActorKind {
        /// A program acting on its own.
        Service = "service",
        /// Cofferdam itself.
        System = "system",
        /// A person.
        User = "user",
    }
}

/// Where it was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Name of the host.
    pub host: Option<String>,
    /// Address of the client.
    pub ip: Option<String>,
    /// Id of the process.
    pub pid: Option<u32>,
}

/// The key it was about: names and facts, never a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventKey {
    /// The key's name in its vault's own form, without the version.
    pub uri: Option<String>,
    /// The version.
    pub version: Option<String>,
    /// Hash of the public part, where the vault has one.
    pub thumbprint: Option<String>,
    /// What the key is for.
    pub role: Option<KeyRole>,
    /// The layer it protects: 1 customer, 2 infrastructure.
    pub layer: Option<u8>,
    /// Algorithm; `alg` in JSON.
    pub algorithm: Option<String>,
    /// Strength in bits.
    pub bits: Option<u32>,
    /// State before the event.
    pub state_before: Option<KeyState>,
    /// State after the event.
    pub state_after: Option<KeyState>,
}

named! {
    /// What a key is for.
    KeyRole {
        /// Data key; `version` is its number in the keyring.
        Dek = "DEK",
        /// Key in a vault; wraps roots.
        Kek = "KEK",
        /// Root of a store and layer; wraps data keys.
        Root = "ROOT",
    }
}

named! {
    /// State of a key in the words of NIST SP 800-57 part 1, section 7. A retiring data key is
    /// deactivated: it opens and no longer seals.
    KeyState {
        /// Not used yet.
        PreActivation = "pre-activation",
        /// In use.
        Active = "active",
        /// Disabled, may come back.
        Suspended = "suspended",
        /// Opens or unwraps only.
        Deactivated = "deactivated",
        /// Known or suspected to be in other hands.
        Compromised = "compromised",
        /// Gone.
        Destroyed = "destroyed",
    }
}

/// The thing it was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// What the thing is; `type` in JSON.
    pub kind: ObjectKind,
    /// Its id; for a store the 32 lower-case hex digits of the store id.
    pub id: Option<String>,
    /// Where it lies.
    pub path: Option<String>,
    /// Sequence of the store's keyring that is durable on disk when the event is recorded. Only for a
    /// store with an id; a success with it moves the store's anchor.
    pub keyring_sequence: Option<u64>,
    /// How many pages were touched.
    pub pages: Option<u64>,
    /// How many bytes were touched.
    pub bytes: Option<u64>,
}

impl Object {
    /// An object of which nothing but the kind is known.
    pub fn new(kind: ObjectKind) -> Object {
        Object {
            kind,
            id: None,
            path: None,
            keyring_sequence: None,
            pages: None,
            bytes: None,
        }
    }

    /// A store by its id in hex.
    pub fn store(store_id_hex: impl Into<String>) -> Object {
        Object {
            id: Some(store_id_hex.into()),
            ..Object::new(ObjectKind::Store)
        }
    }

    /// The same object with the sequence of its keyring.
    pub fn with_keyring_sequence(mut self, sequence: u64) -> Object {
        self.keyring_sequence = Some(sequence);
        self
    }

    /// The same object with its path.
    pub fn with_path(mut self, path: impl Into<String>) -> Object {
        self.path = Some(path.into());
        self
    }
}

named! {
    /// What a thing is.
    ObjectKind {
        /// A copy of a store.
        Backup = "backup",
        /// One file of a store.
        File = "file",
        /// An audit log.
        Log = "log",
        /// A report.
        Report = "report",
        /// Anything that has a keyring.
        Store = "store",
        /// A vault.
        Vault = "vault",
    }
}

/// Why it was done, in the words of whoever did it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Justification {
    /// A code from the operator's own list.
    pub code: Option<String>,
    /// Free text.
    pub text: Option<String>,
    /// Number of a ticket.
    pub ticket: Option<String>,
}

/// The policy that decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Its id.
    pub id: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// What it decided.
    pub decision: Option<String>,
}

/// The validated module in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fips {
    /// Name of the module.
    pub module: Option<String>,
    /// Version of the module.
    pub version: Option<String>,
    /// Mode it runs in.
    pub mode: Option<String>,
}
