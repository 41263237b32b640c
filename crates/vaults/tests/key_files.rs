//! What a key file must survive, and what it must refuse.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cofferdam_keys::{
    KeyScheme, KeyState, KeyUri, KeyVault, Layer, NoSuchVault, Reason, Refusal, Revocation, Secret,
    StoreId, UnixTime, VaultSet, WRAPPED_ROOT_LEN, WrapContext, Wrapped,
};
use cofferdam_vaults::{FileVault, Vaults, VaultsError, Which};
use tempfile::TempDir;
use zeroize::Zeroizing;

#[test]
fn no_byte_of_a_key_file_can_be_changed() {
    let key = Key::new(None);
    let wrapped = key.wrap();
    let good = fs::read(&key.path).unwrap();
    for index in 0..good.len() {
        let mut altered = good.clone();
        altered[index] ^= 1;
        fs::write(&key.path, &altered).unwrap();
        // A flipped protection byte makes it a file with a passphrase, whose fields are then out of range.
        assert_eq!(
            key.unwrap(&wrapped).unwrap_err().reason,
            Reason::Corrupt,
            "byte {index}"
        );
    }
    for len in 0..good.len() {
        fs::write(&key.path, &good[..len]).unwrap();
        assert_eq!(
            key.unwrap(&wrapped).unwrap_err().reason,
            Reason::Corrupt,
            "cut at {len}"
        );
    }
    fs::write(&key.path, &good).unwrap();
    assert!(key.unwrap(&wrapped).is_ok());
}

#[test]
fn no_byte_of_a_key_file_with_a_passphrase_can_be_changed_without_it() {
    let key = Key::new(Some("correct horse"));
    let wrapped = key.wrap();
    let good = fs::read(&key.path).unwrap();
    // Salt and parameters cost a run of Argon2id each; a few of their bytes stand for all.
    for index in (0..40).chain([41, 56, 79]).chain(80..good.len()) {
        let mut altered = good.clone();
        altered[index] ^= 1;
        fs::write(&key.path, &altered).unwrap();
        let reason = key.unwrap(&wrapped).unwrap_err().reason;
        assert!(
            matches!(reason, Reason::Corrupt | Reason::AuthBroken),
            "byte {index}: {reason:?}"
        );
    }
    fs::write(&key.path, &good).unwrap();
    assert!(key.unwrap(&wrapped).is_ok());
}

#[test]
fn a_thousand_opens_cost_one_run_of_argon2_and_a_change_on_disk_still_counts() {
    let key = Key::new(Some("correct horse"));
    let wrapped = key.wrap();
    let asked = key.asked.load(Ordering::Relaxed);
    for _ in 0..1000 {
        key.unwrap(&wrapped).unwrap();
    }
    assert_eq!(key.asked.load(Ordering::Relaxed), asked);
    // Somebody else, in another process, disables the key.
    key.another_process()
        .set_enabled(&Which::Key, false)
        .unwrap();
    assert_eq!(
        key.unwrap(&wrapped).unwrap_err().reason,
        Reason::Revoked(Revocation::Disabled)
    );
    key.another_process()
        .set_enabled(&Which::Key, true)
        .unwrap();
    assert!(key.unwrap(&wrapped).is_ok());
    assert_eq!(key.asked.load(Ordering::Relaxed), asked);
}

#[test]
fn a_wrong_passphrase_or_none_is_refused_and_not_remembered() {
    let key = Key::new(Some("correct horse"));
    let wrapped = key.wrap();
    for passphrase in [None, Some("battery staple"), Some("")] {
        let refusal = key
            .with_passphrase(passphrase)
            .unwrap(&wrapped, &CONTEXT)
            .err()
            .unwrap();
        assert_eq!(refusal.reason, Reason::AuthBroken, "{passphrase:?}");
    }
    // The first answer is wrong, the second right: a person who mistyped.
    let attempts = AtomicUsize::new(0);
    let answer = move |_: &KeyUri| {
        let first = attempts.fetch_add(1, Ordering::Relaxed) == 0;
        Some(Zeroizing::new(
            if first {
                "correct house"
            } else {
                "correct horse"
            }
            .to_owned(),
        ))
    };
    let vault = FileVault::new(&key.uri, Arc::new(answer)).unwrap();
    assert!(vault.unwrap(&wrapped, &CONTEXT).is_err());
    assert!(vault.unwrap(&wrapped, &CONTEXT).is_ok());
}

#[test]
fn a_changed_passphrase_opens_the_same_keys_and_the_old_one_opens_nothing() {
    let key = Key::new(None);
    let wrapped = key.wrap();
    assert_eq!(key.vault.has_passphrase(), Ok(false));
    key.vault.change_passphrase(Some("first")).unwrap();
    assert_eq!(key.vault.has_passphrase(), Ok(true));
    assert!(
        key.with_passphrase(Some("first"))
            .unwrap(&wrapped, &CONTEXT)
            .is_ok()
    );
    let custodian = key.with_passphrase(Some("first"));
    custodian.change_passphrase(Some("second")).unwrap();
    assert!(
        custodian.unwrap(&wrapped, &CONTEXT).is_ok(),
        "whoever changed it need not be asked again"
    );
    let refusal = key
        .with_passphrase(Some("first"))
        .unwrap(&wrapped, &CONTEXT)
        .err()
        .unwrap();
    assert_eq!(refusal.reason, Reason::AuthBroken);
    key.with_passphrase(Some("second"))
        .change_passphrase(None)
        .unwrap();
    assert!(key.unwrap(&wrapped).is_ok());
    for length in [0, 1025] {
        let refused = key.vault.change_passphrase(Some(&"x".repeat(length)));
        assert!(matches!(refused, Err(VaultsError::PassphraseLength { len }) if len == length));
    }
}

#[test]
fn a_passphrase_changed_by_another_process_is_asked_for_anew() {
    // Goal: what is remembered belongs to the old salt, and a running process goes on with the new passphrase.
    let key = Key::new(Some("first"));
    let wrapped = key.wrap();
    let current = Arc::new(std::sync::Mutex::new("first"));
    let answers = Arc::clone(&current);
    let answer = move |_: &KeyUri| Some(Zeroizing::new(answers.lock().unwrap().to_string()));
    let running = FileVault::new(&key.uri, Arc::new(answer)).unwrap();
    assert!(running.unwrap(&wrapped, &CONTEXT).is_ok());
    key.another_process()
        .change_passphrase(Some("second"))
        .unwrap();
    let refusal = running.unwrap(&wrapped, &CONTEXT).err().unwrap();
    assert_eq!(refusal.reason, Reason::AuthBroken);
    *current.lock().unwrap() = "second";
    assert!(running.unwrap(&wrapped, &CONTEXT).is_ok());
}

#[test]
fn a_file_that_others_can_reach_is_refused_with_the_command_that_helps() {
    let key = Key::new(None);
    let wrapped = key.wrap();
    for mode in [0o640, 0o604, 0o660, 0o602, 0o644, 0o610] {
        fs::set_permissions(&key.path, PermissionsExt::from_mode(mode)).unwrap();
        let refusal = key.unwrap(&wrapped).unwrap_err();
        assert_eq!(refusal.reason, Reason::PolicyMismatch, "{mode:o}");
        assert!(
            refusal
                .to_string()
                .contains(&format!("chmod 600 {}", key.path.display())),
            "{refusal}"
        );
    }
    fs::set_permissions(&key.path, PermissionsExt::from_mode(0o400)).unwrap();
    assert!(key.unwrap(&wrapped).is_ok());
}

#[test]
fn a_key_is_never_overwritten() {
    let key = Key::new(None);
    let before = fs::read(&key.path).unwrap();
    assert!(matches!(
        key.vault.create(None, NOW),
        Err(VaultsError::Exists { .. })
    ));
    assert_eq!(fs::read(&key.path).unwrap(), before);
    fs::write(&key.path, b"").unwrap();
    assert!(matches!(
        key.vault.create(None, NOW),
        Err(VaultsError::Exists { .. })
    ));
}

#[test]
fn what_is_missing_is_unreachable_and_what_is_no_key_file_is_corrupt() {
    let key = Key::new(None);
    let wrapped = key.wrap();
    fs::remove_file(&key.path).unwrap();
    assert_eq!(
        key.unwrap(&wrapped).unwrap_err().reason,
        Reason::Unreachable
    );
    fs::create_dir(&key.path).unwrap();
    assert_eq!(key.unwrap(&wrapped).unwrap_err().reason, Reason::Corrupt);
    fs::remove_dir(&key.path).unwrap();
    fs::write(&key.path, vec![0; 1 << 20]).unwrap();
    fs::set_permissions(&key.path, PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(key.unwrap(&wrapped).unwrap_err().reason, Reason::Corrupt);
    let parent = key.directory.path().to_owned();
    drop(key.directory);
    assert!(!parent.exists());
    let refusal = key.vault.unwrap(&wrapped, &CONTEXT).err().unwrap();
    assert_eq!(
        (refusal.reason, refusal.version),
        (Reason::Unreachable, Some(wrapped.version))
    );
}

#[test]
fn a_replaced_file_keeps_its_mode_and_its_link_and_leaves_nothing_behind() {
    let key = Key::new(None);
    let link = key.directory.path().join("link.key");
    std::os::unix::fs::symlink(&key.path, &link).unwrap();
    let inode = fs::metadata(&key.path).unwrap().ino();
    let vault =
        FileVault::new(&KeyUri::from_file_path(&link).unwrap(), Arc::new(|_| None)).unwrap();
    vault.rotate(NOW).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let metadata = fs::metadata(&key.path).unwrap();
    assert_ne!(
        metadata.ino(),
        inode,
        "replaced as a whole, not written in place"
    );
    assert_eq!(metadata.mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(key.directory.path()).unwrap().count(), 2);
    assert_eq!(key.vault.versions().unwrap().len(), 2);
}

#[test]
fn custodians_who_act_at_once_do_not_undo_each_other() {
    let key = Key::new(None);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..8 {
                    key.another_process().rotate(NOW).unwrap();
                }
            });
        }
    });
    assert_eq!(key.vault.versions().unwrap().len(), 33);
}

#[test]
fn a_full_key_file_refuses_another_version_and_keeps_the_others() {
    let key = Key::new(None);
    for _ in 1..256 {
        key.vault.rotate(NOW).unwrap();
    }
    let wrapped = key.wrap();
    assert_eq!(wrapped.version.as_str(), "256");
    assert!(matches!(key.vault.rotate(NOW), Err(VaultsError::Full)));
    assert!(key.unwrap(&wrapped).is_ok());
}

#[test]
fn an_unknown_version_cannot_be_disabled() {
    let key = Key::new(None);
    for name in ["0", "2", "01", "latest"] {
        let version = name.parse().unwrap();
        let refused = key.vault.set_enabled(&Which::Version(version), false);
        assert!(
            matches!(refused, Err(VaultsError::NoSuchVersion { .. })),
            "{name}"
        );
    }
    assert_eq!(key.vault.versions().unwrap()[0].state, KeyState::Enabled);
}

#[test]
fn a_key_without_passphrase_hides_nothing_and_one_with_a_passphrase_hides_the_keys() {
    // Goal: no key of a protected file stands in it in the clear, also not after rotation.
    let key = Key::new(None);
    let plain = fs::read(&key.path).unwrap();
    let kek = plain[112 + 24..112 + 56].to_vec();
    key.vault.change_passphrase(Some("correct horse")).unwrap();
    let locked = fs::read(&key.path).unwrap();
    assert!(
        !locked
            .windows(8)
            .any(|window| kek.windows(8).any(|part| part == window))
    );
}

#[test]
fn keys_elsewhere_are_answered_clearly() {
    let vaults = Vaults::without_passphrases();
    for (text, scheme) in [
        (
            "https://shop.vault.azure.net/keys/customer",
            KeyScheme::AzureKeyVault,
        ),
        (
            "vault+https://bao.internal/transit/keys/db",
            KeyScheme::Transit,
        ),
        (
            "awskms:///arn:aws:kms:eu-central-1:1:key/1",
            KeyScheme::AwsKms,
        ),
        ("pkcs11:token=hsm", KeyScheme::Pkcs11),
        ("kmip://kmip.internal/1", KeyScheme::Kmip),
    ] {
        let key: KeyUri = text.parse().unwrap();
        let Err(NoSuchVault { key: named }) = vaults.vault(&key) else {
            panic!("{text} has a vault")
        };
        assert_eq!((named.scheme(), named), (scheme, key));
    }
}

#[test]
fn the_seed_of_a_keys_log_outlives_whatever_its_custodians_do() {
    let key = Key::new(None);
    let seed = || *key.another_process().audit_seed().unwrap().expose();
    let (before, id) = (seed(), key.vault.key_id().unwrap());
    key.vault.rotate(NOW).unwrap();
    key.vault.set_enabled(&Which::Key, false).unwrap();
    let first = Which::Version("1".parse().unwrap());
    key.vault.set_enabled(&first, false).unwrap();
    assert_eq!(seed(), before);
    key.vault.change_passphrase(Some("correct horse")).unwrap();
    let with = key.with_passphrase(Some("correct horse"));
    assert_eq!(*with.audit_seed().unwrap().expose(), before);
    assert_eq!(with.key_id().unwrap(), id);
    assert!(key.with_passphrase(Some("wrong")).audit_seed().is_err());

    let other = Key::new(None);
    assert_ne!(*other.vault.audit_seed().unwrap().expose(), before);
    assert_ne!(other.vault.key_id().unwrap(), id);
}

struct Key {
    directory: TempDir,
    path: PathBuf,
    uri: KeyUri,
    vault: FileVault,
    passphrase: Option<&'static str>,
    asked: Arc<AtomicUsize>,
}

impl Key {
    fn new(passphrase: Option<&'static str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("customer.key");
        let uri = KeyUri::from_file_path(&path).unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let answer = move |_: &KeyUri| {
            count.fetch_add(1, Ordering::Relaxed);
            passphrase.map(|text| Zeroizing::new(text.to_owned()))
        };
        let vault = FileVault::new(&uri, Arc::new(answer)).unwrap();
        vault.create(passphrase, NOW).unwrap();
        Self {
            directory,
            path,
            uri,
            vault,
            passphrase,
            asked,
        }
    }

    /// A vault that remembers nothing.
    fn with_passphrase(&self, passphrase: Option<&'static str>) -> FileVault {
        let answer = move |_: &KeyUri| passphrase.map(|text| Zeroizing::new(text.to_owned()));
        FileVault::new(&self.uri, Arc::new(answer)).unwrap()
    }

    fn another_process(&self) -> FileVault {
        self.with_passphrase(self.passphrase)
    }

    fn wrap(&self) -> Wrapped {
        self.vault
            .wrap(&Secret::fill_with(|place| place.fill(7)), &CONTEXT)
            .unwrap()
    }

    fn unwrap(&self, wrapped: &Wrapped) -> Result<[u8; WRAPPED_ROOT_LEN], Refusal> {
        self.vault
            .unwrap(wrapped, &CONTEXT)
            .map(|root| *root.expose())
    }
}

const CONTEXT: WrapContext = WrapContext {
    store: StoreId::from_bytes([5; 16]),
    layer: Layer::Customer,
};
const NOW: UnixTime = UnixTime {
    seconds: 1_800_000_000,
    nanos: 0,
};
