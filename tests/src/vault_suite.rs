//! What every vault must do, whatever it is: the contract of [`KeyVault`].
//!
//! A new vault is finished when [`run`] is green for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use cofferdam_keys::{
    KeyState, KeyUri, KeyVault, KeyVersion, Keyring, KeysError, Layer, NewKeyring, Pins, Reason,
    Refusal, Revocation, Secret, StoreId, Suite, UncheckedKeyring, UnixTime, VaultSet,
    WRAPPED_ROOT_LEN, WrapContext, Wrapped,
};

/// One fresh key with one enabled version, and what its custodian can do to it.
pub trait VaultFixture {
    /// The vaults, of which one has the key.
    fn vaults(&self) -> &dyn VaultSet;
    /// The key.
    fn key(&self) -> KeyUri;
    /// Adds a version.
    fn rotate(&self);
    /// Switches the whole key on or off.
    fn enable_key(&self, enabled: bool);
    /// Switches one version on or off.
    fn enable_version(&self, version: &KeyVersion, enabled: bool);
    /// Takes the vault away, or brings it back.
    fn plug_in(&self, reachable: bool);
}

/// Runs every check, each with a fixture of its own.
///
/// # Panics
///
/// When the vault does not keep the contract; the message says which check it was.
pub fn run(new_fixture: &dyn Fn() -> Box<dyn VaultFixture>) {
    for (name, check) in CHECKS {
        println!("vault suite: {name}");
        check(&*new_fixture());
    }
}

type Check = fn(&dyn VaultFixture);

const CHECKS: [(&str, Check); 12] = [
    (
        "what was wrapped is given back, and nothing of it can be seen",
        gives_back_what_was_wrapped,
    ),
    (
        "a rotated key wraps anew and still unwraps the old",
        rotation_keeps_the_old_versions,
    ),
    (
        "a version unwraps only what it wrapped",
        a_version_unwraps_only_its_own,
    ),
    (
        "a disabled key is refused at the next call, and enabling heals it",
        a_disabled_key_is_refused_at_once,
    ),
    (
        "a disabled version is refused, the others are not",
        a_disabled_version_is_refused_alone,
    ),
    (
        "with no enabled version there is no wrap",
        no_enabled_version_means_no_wrap,
    ),
    (
        "an altered blob is corrupt, never revoked",
        an_altered_blob_is_corrupt,
    ),
    (
        "an unknown version is a refusal",
        an_unknown_version_is_refused,
    ),
    (
        "a vault that is away is unreachable, never revoked",
        an_outage_is_not_a_no,
    ),
    ("descriptions say what is there", descriptions_are_true),
    ("one key serves many threads", many_threads_share_a_key),
    (
        "a keyring lives through rotation and revocation",
        a_keyring_lives_with_the_vault,
    ),
];

fn gives_back_what_was_wrapped(fixture: &dyn VaultFixture) {
    let vault = vault(fixture);
    let root = root(1);
    let wrapped = vault.wrap(&root, &CONTEXT).expect("an enabled key wraps");
    assert!((1..=1024).contains(&wrapped.blob.len()));
    assert!(
        !wrapped
            .blob
            .windows(16)
            .any(|window| root.expose().windows(16).any(|part| part == window))
    );
    assert_eq!(unwrap(&*vault, &wrapped), Ok([1; WRAPPED_ROOT_LEN]));
    assert_eq!(
        unwrap(&*vault, &wrapped),
        Ok([1; WRAPPED_ROOT_LEN]),
        "as often as one likes"
    );
}

fn rotation_keeps_the_old_versions(fixture: &dyn VaultFixture) {
    let vault = vault(fixture);
    let old = vault.wrap(&root(1), &CONTEXT).expect("wraps");
    fixture.rotate();
    let new = vault.wrap(&root(1), &CONTEXT).expect("wraps");
    assert_ne!(old.version, new.version);
    assert_ne!(old.blob, new.blob);
    assert_eq!(unwrap(&*vault, &old), Ok([1; WRAPPED_ROOT_LEN]));
    assert_eq!(unwrap(&*vault, &new), Ok([1; WRAPPED_ROOT_LEN]));
}

fn a_version_unwraps_only_its_own(fixture: &dyn VaultFixture) {
    let vault = vault(fixture);
    let old = vault.wrap(&root(1), &CONTEXT).expect("wraps");
    fixture.rotate();
    let new = vault.wrap(&root(2), &CONTEXT).expect("wraps");
    let crossed = Wrapped {
        version: new.version,
        ..old
    };
    assert_refused(fixture, unwrap(&*vault, &crossed), Reason::Corrupt);
}

fn a_disabled_key_is_refused_at_once(fixture: &dyn VaultFixture) {
    let vault = vault(fixture);
    let wrapped = vault.wrap(&root(1), &CONTEXT).expect("wraps");
    unwrap(&*vault, &wrapped).expect("unwraps");
    fixture.enable_key(false);
    assert_refused(
        fixture,
        unwrap(&*vault, &wrapped),
        Reason::Revoked(Revocation::Disabled),
    );
    assert_refused(
        fixture,
        vault.wrap(&root(1), &CONTEXT),
        Reason::Revoked(Revocation::Disabled),
    );
    assert_eq!(
        vault
            .describe()
            .expect("that it is disabled is an answer")
            .state,
        KeyState::Disabled
    );
    assert!(vault.versions().is_ok());
    fixture.enable_key(true);
    assert_eq!(unwrap(&*vault, &wrapped), Ok([1; WRAPPED_ROOT_LEN]));
}

fn a_disabled_version_is_refused_alone(fixture: &dyn VaultFixture) {
    let vault = vault(fixture);
    let old = vault.wrap(&root(1), &CONTEXT).expect("wraps");
    fixture.rotate();
    let new = vault.wrap(&root(2), &CONTEXT).expect("wraps");
    fixture.enable_version(&new.version, false);
    assert_refused(
        fixture,
        unwrap(&*vault, &new),
        Reason::Revoked(Revocation::Version),
    );
    assert_eq!(unwrap(&*vault, &old), Ok([1; WRAPPED_ROOT_LEN]));
    assert_eq!(
        vault.wrap(&root(3), &CONTEXT).expect("wraps").version,
        old.version,
        "the newest usable version"
    );
    fixture.enable_version(&new.version, true);
    assert_eq!(unwrap(&*vault, &new), Ok([2; WRAPPED_ROOT_LEN]));
}

fn no_enabled_version_means_no_wrap(fixture: &dyn VaultFixture) {
    let vault = vault(fixture);
    let only = vault
        .describe()
        .expect("describes")
        .latest
        .expect("one enabled version");
    fixture.enable_version(&only, false);
    assert_refused(
        fixture,
        vault.wrap(&root(1), &CONTEXT),
        Reason::Revoked(Revocation::Disabled),
    );
    assert_eq!(vault.describe().expect("describes").latest, None);
}

fn an_altered_blob_is_corrupt(fixture: &dyn VaultFixture) {
    let vault = vault(fixture);
    let wrapped = vault.wrap(&root(1), &CONTEXT).expect("wraps");
    let refused = |blob: Vec<u8>| {
        let altered = Wrapped {
            blob,
            ..wrapped.clone()
        };
        assert_refused(fixture, unwrap(&*vault, &altered), Reason::Corrupt);
    };
    for index in 0..wrapped.blob.len() {
        let mut blob = wrapped.blob.clone();
        blob[index] ^= 1;
        refused(blob);
    }
    refused(Vec::new());
    refused(wrapped.blob[1..].to_vec());
    refused(wrapped.blob[..wrapped.blob.len() - 8].to_vec());
    refused([wrapped.blob.as_slice(), &[0; 8]].concat());
    refused(vec![0; 1024]);
}

fn an_unknown_version_is_refused(fixture: &dyn VaultFixture) {
    let vault = vault(fixture);
    let wrapped = vault.wrap(&root(1), &CONTEXT).expect("wraps");
    for text in ["0", "2", "01", "+1", " 1", "latest", "18446744073709551617"] {
        let version: KeyVersion = text.parse().expect("a version's name");
        let refusal = unwrap(
            &*vault,
            &Wrapped {
                version: version.clone(),
                ..wrapped.clone()
            },
        )
        .expect_err(text);
        let expected = [Reason::Revoked(Revocation::Version), Reason::Corrupt];
        assert!(expected.contains(&refusal.reason), "{text}: {refusal}");
        assert_eq!(refusal.version, Some(version));
    }
}

fn an_outage_is_not_a_no(fixture: &dyn VaultFixture) {
    let vault = vault(fixture);
    let wrapped = vault.wrap(&root(1), &CONTEXT).expect("wraps");
    fixture.plug_in(false);
    assert_refused(fixture, unwrap(&*vault, &wrapped), Reason::Unreachable);
    assert_refused(fixture, vault.wrap(&root(1), &CONTEXT), Reason::Unreachable);
    assert_refused(fixture, vault.describe(), Reason::Unreachable);
    assert_refused(fixture, vault.versions(), Reason::Unreachable);
    fixture.plug_in(true);
    assert_eq!(unwrap(&*vault, &wrapped), Ok([1; WRAPPED_ROOT_LEN]));
}

fn descriptions_are_true(fixture: &dyn VaultFixture) {
    let vault = vault(fixture);
    fixture.rotate();
    fixture.rotate();
    let versions = vault.versions().expect("lists");
    assert_eq!(versions.len(), 3);
    let described = vault.describe().expect("describes");
    assert_eq!(
        (described.key, described.version_count, described.state),
        (fixture.key(), 3, KeyState::Enabled)
    );
    assert!(described.strength_bits >= 112 && !described.kind.is_empty());
    assert_eq!(
        described.latest.as_ref(),
        Some(&versions[2].version),
        "oldest first"
    );
    assert_eq!(
        vault.wrap(&root(1), &CONTEXT).expect("wraps").version,
        versions[2].version
    );
    fixture.enable_version(&versions[1].version, false);
    let states: Vec<_> = vault
        .versions()
        .expect("lists")
        .iter()
        .map(|version| version.state)
        .collect();
    assert_eq!(
        states,
        [KeyState::Enabled, KeyState::Disabled, KeyState::Enabled]
    );
}

fn many_threads_share_a_key(fixture: &dyn VaultFixture) {
    let vault = vault(fixture);
    std::thread::scope(|scope| {
        for byte in 0..8 {
            let vault = &vault;
            scope.spawn(move || {
                for _ in 0..8 {
                    let wrapped = vault.wrap(&root(byte), &CONTEXT).expect("wraps");
                    assert_eq!(unwrap(&**vault, &wrapped), Ok([byte; WRAPPED_ROOT_LEN]));
                }
            });
        }
    });
}

fn a_keyring_lives_with_the_vault(fixture: &dyn VaultFixture) {
    let keys = BTreeMap::from([(Layer::Customer, fixture.key())]);
    let new = NewKeyring {
        store: CONTEXT.store,
        suite: Suite::One,
        keys,
        now: UnixTime::default(),
    };
    let (keyring, _) = Keyring::create(&new, fixture.vaults()).expect("creates");
    fixture.rotate();
    let rewrapped = keyring
        .rewrap(
            Layer::Customer,
            &fixture.key(),
            fixture.vaults(),
            UnixTime::default(),
        )
        .expect("wraps under the new version");
    let old_version = &keyring.wraps()[0].wrapped.version;
    assert_ne!(rewrapped.wraps()[0].wrapped.version, *old_version);
    fixture.enable_version(old_version, false);
    let unlock = |keyring: &Keyring| {
        let unchecked = UncheckedKeyring::parse(keyring.encode()).expect("parses");
        unchecked
            .unlock(fixture.vaults(), &Pins::none())
            .map(|_| ())
    };
    assert_eq!(unlock(&rewrapped), Ok(()));
    let Err(KeysError::Refused(refusal)) = unlock(&keyring) else {
        panic!("a disabled version opened a keyring")
    };
    assert_eq!(refusal.reason, Reason::Revoked(Revocation::Version));
}

fn vault(fixture: &dyn VaultFixture) -> Arc<dyn KeyVault> {
    fixture
        .vaults()
        .vault(&fixture.key())
        .expect("the fixture's vaults have the fixture's key")
}

fn root(byte: u8) -> Secret<WRAPPED_ROOT_LEN> {
    Secret::fill_with(|place| place.fill(byte))
}

/// Only tests compare what was unwrapped.
fn unwrap(vault: &dyn KeyVault, wrapped: &Wrapped) -> Result<[u8; WRAPPED_ROOT_LEN], Refusal> {
    vault.unwrap(wrapped, &CONTEXT).map(|root| *root.expose())
}

#[track_caller]
fn assert_refused<T>(fixture: &dyn VaultFixture, result: Result<T, Refusal>, expected: Reason) {
    let Err(refusal) = result else {
        panic!("expected {expected:?}, and it went through")
    };
    assert_eq!(
        (refusal.reason, &refusal.key),
        (expected, &fixture.key()),
        "{refusal}"
    );
    assert!(!refusal.detail.is_empty());
}

const CONTEXT: WrapContext = WrapContext {
    store: StoreId::from_bytes([5; 16]),
    layer: Layer::Customer,
};
