//! The volume of this process.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use cofferdam_audit::{Actor, ActorKind, Clock, Source, UnixTime};
use cofferdam_cipher::PageSize;
use cofferdam_keys::{KeyUri, LeasePolicy, LeaseTerms, Leases, Pins, Suite};
use cofferdam_sealed_file::{
    AuditPlace, FileDirectory, Homing, NewStore, Opener, Recorded, Volume, VolumeSetup,
};
use cofferdam_vaults::Vaults;

/// The volume, made at the first use in the directory that `COFFERDAM_TEMP` names.
pub(crate) fn volume() -> &'static Volume {
    static VOLUME: OnceLock<Volume> = OnceLock::new();
    VOLUME.get_or_init(|| {
        let setup = setup();
        Volume::init(&setup, PageSize::DEFAULT).expect("a volume is made");
        Volume::open(&setup).expect("the volume opens")
    })
}

/// Where it is.
pub fn directory() -> PathBuf {
    place().join("volume")
}

fn place() -> &'static Path {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    PLACE.get_or_init(|| {
        let parent =
            std::env::var_os("COFFERDAM_TEMP").map_or_else(std::env::temp_dir, PathBuf::from);
        let place = tempfile::tempdir_in(parent).expect("a directory is made");
        // Whoever named the parent removes it: a static is never dropped.
        place.keep()
    })
}

fn setup() -> VolumeSetup {
    let vaults = Arc::new(Vaults::without_passphrases());
    let key = |name: &str| {
        let key = KeyUri::from_file_path(&place().join(name)).expect("the path is absolute");
        let file = vaults.file(&key).expect("a key file");
        file.create(None, clock()).expect("a key is made");
        key
    };
    let clock: Clock = clock;
    let opener = Opener {
        pins: Pins::none(),
        new_store: Some(NewStore {
            suite: Suite::Two,
            customer: key("customer.key"),
            infrastructure: Some(key("infrastructure.key")),
            room_for_second_layer: false,
        }),
        vaults,
        audit: AuditPlace::Nowhere,
        audit_required: false,
        actor: Actor::new(ActorKind::System, "test"),
        source: Source::default(),
        clock,
        leases: Leases::new(LeaseTerms {
            policy: LeasePolicy::default(),
            clock,
            monotonic: cofferdam_wiring::monotonic,
        }),
        recorded: Recorded::default(),
    };
    FileDirectory::create(&directory()).expect("a directory is made");
    VolumeSetup {
        directory: Arc::new(FileDirectory::open(&directory()).expect("the directory opens")),
        path: directory().join("keyring"),
        opener: Arc::new(opener),
        journal_len: 4 << 20,
        homing: Homing::InBackground,
        accept_damage: false,
        holder: "a test".to_owned(),
        monotonic: cofferdam_wiring::monotonic,
    }
}

fn clock() -> UnixTime {
    UnixTime {
        seconds: 1_800_000_000,
        nanos: 0,
    }
}
