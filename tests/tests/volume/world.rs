//! Keys and setups for volumes.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_audit::{Actor, ActorKind, Source, UnixTime};
use cofferdam_keys::{KeyUri, Leases, Pins, Suite};
use cofferdam_sealed_file::{
    AuditPlace, Directory, Homing, NewStore, Opener, Recorded, VolumeSetup,
};
use cofferdam_tests::leases::quiet_leases;
use cofferdam_vaults::Vaults;
use tempfile::TempDir;

/// Keys in a directory of their own.
pub(crate) struct World {
    pub(crate) keys: TempDir,
    pub(crate) opener: Arc<Opener>,
}

impl World {
    pub(crate) fn new(suite: Suite) -> World {
        World::with(suite, quiet_leases(clock))
    }

    pub(crate) fn with(suite: Suite, leases: Leases) -> World {
        let dir = tempfile::tempdir().unwrap();
        let vaults = Arc::new(Vaults::without_passphrases());
        let make = |name: &str| {
            let key = KeyUri::from_file_path(&dir.path().join(name)).unwrap();
            vaults.file(&key).unwrap().create(None, clock()).unwrap();
            key
        };
        let (customer, infrastructure) = (make("customer.key"), make("infrastructure.key"));
        let opener = Arc::new(Opener {
            vaults,
            pins: Pins::none(),
            new_store: Some(NewStore {
                suite,
                customer,
                infrastructure: (suite.layer_count() == 2).then_some(infrastructure),
                room_for_second_layer: false,
            }),
            audit: AuditPlace::Nowhere,
            audit_required: false,
            actor: Actor::new(ActorKind::System, "test"),
            source: Source::default(),
            clock,
            leases,
            recorded: Recorded::default(),
        });
        World { keys: dir, opener }
    }

    /// Everything in one order, and a journal so short that it goes home often.
    pub(crate) fn setup(&self, directory: Arc<dyn Directory>) -> VolumeSetup {
        VolumeSetup {
            directory,
            path: self.keys.path().join("keyring"),
            opener: self.opener.clone(),
            journal_len: 0,
            homing: Homing::WhenFull,
            accept_damage: false,
            holder: "a test".to_owned(),
            monotonic: || Duration::ZERO,
        }
    }
}

pub(crate) fn clock() -> UnixTime {
    UnixTime {
        seconds: 1_800_000_000,
        nanos: 0,
    }
}
