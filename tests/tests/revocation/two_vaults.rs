//! A database under two keys, in two vaults that know nothing of each other.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use cofferdam_audit::{Actor, ActorKind, Source};
use cofferdam_keys::{
    Lease, LeasePolicy, LeaseTerms, Leases, Pins, Reason, Revocation, StoreId, Suite,
};
use cofferdam_sealed_file::{AuditPlace, NewStore, Opener, Recorded};
use cofferdam_sqlite::Sealed;
use cofferdam_tests::vault_suite::VaultFixture;
use cofferdam_vaults::Vaults;
use keyvault_mock::access::Role;
use keyvault_mock::material::Kind;
use tempfile::TempDir;

use crate::mock::{Mock, now};
use crate::watched::Watched;

pub(crate) struct TwoVaults {
    pub(crate) customer: Mock,
    pub(crate) infrastructure: Mock,
    pub(crate) watched: Watched,
    pub(crate) opener: Arc<Opener>,
    pub(crate) sealed: Sealed,
    pub(crate) path: PathBuf,
    _directory: TempDir,
}

/// How a custodian takes a key away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Disabled,
    PermissionRemoved,
    Expired,
    Deleted,
}

impl Way {
    pub(crate) const ALL: [Way; 4] = [
        Way::Disabled,
        Way::PermissionRemoved,
        Way::Expired,
        Way::Deleted,
    ];

    /// What the vault's answer must be taken for.
    pub(crate) fn reason(self) -> Reason {
        Reason::Revoked(match self {
            Way::Disabled => Revocation::Disabled,
            Way::PermissionRemoved => Revocation::Permission,
            Way::Expired => Revocation::Expired,
            Way::Deleted => Revocation::Deleted,
        })
    }
}

impl TwoVaults {
    pub(crate) fn new() -> TwoVaults {
        let customer = Mock::new(Kind::Rsa { bits: 3072 });
        let infrastructure = Mock::new(Kind::Oct { bits: 256 });
        let (customer_key, infrastructure_key) = (customer.uri(), infrastructure.uri());
        let settings = {
            let infrastructure_key = infrastructure_key.clone();
            let (mut ours, mut theirs) = (customer.settings(), infrastructure.settings());
            for settings in [&mut ours, &mut theirs] {
                settings.connect_timeout = Duration::from_millis(500);
                settings.total_timeout = Duration::from_secs(5);
            }
            move |key: &_| match *key == infrastructure_key {
                true => theirs.clone(),
                false => ours.clone(),
            }
        };
        let vaults = Vaults::without_passphrases().with_azure(Arc::new(settings), now);
        let watched = Watched::over(Arc::new(vaults));
        let directory = tempfile::tempdir().unwrap();
        let opener = Arc::new(Opener {
            vaults: Arc::new(watched.clone()),
            pins: Pins::none(),
            new_store: Some(NewStore {
                suite: Suite::Two,
                customer: customer_key,
                infrastructure: Some(infrastructure_key),
                room_for_second_layer: true,
            }),
            audit: AuditPlace::Below(directory.path().join("audit")),
            audit_required: true,
            actor: Actor::new(ActorKind::System, "test"),
            source: Source::default(),
            clock: now,
            leases: Leases::new(LeaseTerms {
                policy: LeasePolicy {
                    probe_interval: Duration::from_millis(200),
                    outage_grace: OUTAGE_GRACE,
                    revoke_deadline: Duration::from_secs(2),
                    ..LeasePolicy::default()
                },
                clock: now,
                monotonic,
            }),
            recorded: Recorded::default(),
        });
        let sealed = Sealed::new(opener.clone()).unwrap();
        TwoVaults {
            customer,
            infrastructure,
            watched,
            opener,
            sealed,
            path: directory.path().join("app.db"),
            _directory: directory,
        }
    }

    pub(crate) fn lease(&self) -> Arc<Lease> {
        let bytes = std::fs::read(&self.path).unwrap();
        let store = StoreId::from_bytes(bytes[16..32].try_into().unwrap());
        self.opener.leases.find(store).unwrap()
    }

    pub(crate) fn take_away(&self, way: Way, customer: bool) {
        let vault = self.vault(customer);
        match way {
            Way::Disabled => vault.enable_key(false),
            Way::PermissionRemoved => vault.unassign(Role::CryptoServiceEncryptionUser),
            Way::Expired => {
                let past = vault.time() - 60;
                vault.set(None, |attributes| attributes.exp = Some(past));
            }
            Way::Deleted => vault.delete(),
        }
    }

    pub(crate) fn give_back(&self, way: Way, customer: bool) {
        let vault = self.vault(customer);
        match way {
            Way::Disabled => vault.enable_key(true),
            Way::PermissionRemoved => vault.assign(Role::CryptoServiceEncryptionUser),
            Way::Expired => vault.set(None, |attributes| attributes.exp = None),
            Way::Deleted => vault.recover(),
        }
    }

    /// The customer's vault is there and does not answer, or answers again.
    pub(crate) fn fall_silent(&self, silent: bool) {
        self.customer.plug_in(!silent);
    }

    fn vault(&self, customer: bool) -> &Mock {
        match customer {
            true => &self.customer,
            false => &self.infrastructure,
        }
    }
}

fn monotonic() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

/// How long the database is served while a vault is silent.
pub(crate) const OUTAGE_GRACE: Duration = Duration::from_secs(8);
