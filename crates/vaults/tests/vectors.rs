//! The stored keyrings and key files of `tests/vectors`: what must open gives the keys that another
//! implementation found (`tests/crosscheck/keyring.py`), everything else is refused, for the right reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap};
use cofferdam_keys::{
    DataKeys, DekId, FileId, KEYRING_LEN, KeyDescription, KeyUri, KeyVault, KeyVersion, Keyring,
    KeysError, Layer, NewKeyring, NoSuchVault, PageKeyContext, Pins, Reason, Refusal, Revocation,
    Secret, Sequence, StoreId, Suite, UncheckedKeyring, UnixTime, ValueKeyContext, VaultSet,
    VersionDescription, WRAPPED_ROOT_LEN, WrapAlgorithm, WrapContext, Wrapped,
};
use cofferdam_vaults::{FileVault, UncheckedKeyFile};
use proptest::prelude::*;
use zeroize::Zeroizing;

#[test]
fn every_keyring_vector_gets_its_answer() {
    let mut accepted = 0;
    let vectors = read_vectors("keyring");
    for (path, vector) in &vectors {
        let slot = slot(&hex(vector.one("slot")));
        let vaults = Set(Arc::new(Keks::from(vector)));
        match UncheckedKeyring::parse(&slot)
            .and_then(|keyring| keyring.unlock(&vaults, &Pins::none()))
        {
            Ok((keyring, data_keys)) => {
                assert_eq!(vector.one("expect"), "accepted", "{}", path.display());
                assert_eq!(keyring.encode(), &slot);
                for (name, value) in derived(&keyring, &data_keys) {
                    assert_eq!(vector.one(&name), value, "{name} of {}", path.display());
                }
                accepted += 1;
            }
            Err(error) => {
                assert_eq!(
                    vector.one("expect"),
                    "rejected",
                    "{}: {error}",
                    path.display()
                );
                assert_eq!(
                    vector.one("reason"),
                    keyring_reason(&error),
                    "{}: {error}",
                    path.display()
                );
            }
        }
    }
    println!("{} vectors, {accepted} of them accepted", vectors.len());
    assert!(accepted > 0 && vectors.len() > accepted);
}

#[test]
fn every_key_file_vector_gets_its_answer() {
    let directory = tempfile::tempdir().unwrap();
    let mut accepted = 0;
    let vectors = read_vectors("keyfile");
    for (index, (path, vector)) in vectors.iter().enumerate() {
        let place = directory.path().join(format!("{index}.key"));
        write_key_file(&place, &hex(vector.one("file")));
        let vault = file_vault(
            &place,
            vector.0.get("passphrase").map(|values| values[0].clone()),
        );
        let wrapped = Wrapped {
            version: vector.one("version").parse().unwrap(),
            algorithm: WrapAlgorithm::Aes256Kw,
            blob: hex(vector.one("blob")),
        };
        match vault.unwrap(&wrapped, &CONTEXT) {
            Ok(root) => {
                assert_eq!(vector.one("expect"), "accepted", "{}", path.display());
                assert_eq!(
                    root.expose().as_slice(),
                    hex(vector.one("root")),
                    "{}",
                    path.display()
                );
                accepted += 1;
            }
            Err(refusal) => {
                assert_eq!(
                    vector.one("expect"),
                    "rejected",
                    "{}: {refusal}",
                    path.display()
                );
                assert_eq!(
                    vector.one("reason"),
                    key_file_reason(refusal.reason),
                    "{}: {refusal}",
                    path.display()
                );
            }
        }
    }
    println!("{} vectors, {accepted} of them accepted", vectors.len());
    assert!(accepted > 0 && vectors.len() > accepted);
}

/// Writes what this implementation makes, so that the other one has to open it.
#[test]
#[ignore = "writes vectors anew, which only a new version of the format needs"]
fn write_the_vectors_that_are_made_here() {
    for suite in Suite::ALL {
        let vaults = Set(Arc::new(Keks::random(suite)));
        let names = vaults.0.0.keys().map(|(uri, _)| uri.clone());
        let keys = suite.layers().iter().copied().zip(names).collect();
        let new = NewKeyring {
            store: StoreId::random().unwrap(),
            suite,
            keys,
            now: NOW,
        };
        let (keyring, _) = Keyring::create(&new, &vaults).unwrap();
        let keyring = keyring.add_dek(NOW).unwrap().add_dek(NOW).unwrap();
        let keyring = keyring.destroy_dek(DekId::FIRST, NOW).unwrap();
        let keyring = keyring.accept_rollback(Sequence::new(40).unwrap()).unwrap();
        let mut text = format!(
            "expect: accepted\nsection: 6\ncomment: made by Cofferdam, suite {}\n",
            suite.number()
        );
        for ((uri, version), kek) in &vaults.0.0 {
            text += &format!("kek: {uri} {version} {}\n", to_hex(kek));
        }
        let used = keyring
            .encode()
            .iter()
            .rposition(|&byte| byte != 0)
            .unwrap()
            + 1;
        text += &format!("slot: {}\n", to_hex(&keyring.encode()[..used]));
        for (name, value) in derived(&keyring, &keyring.data_keys().unwrap()) {
            text += &format!("{name}: {value}\n");
        }
        fs::write(
            vector_directory("keyring").join(format!("made-here-{}.txt", suite.number())),
            text,
        )
        .unwrap();
    }
    for (name, passphrase) in [("plain", None), ("passphrase", Some("correct horse"))] {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("a.key");
        let vault = file_vault(&place, passphrase.map(str::to_owned));
        vault.create(passphrase, NOW).unwrap();
        vault.rotate(NOW).unwrap();
        let root = Secret::random().unwrap();
        let wrapped = vault.wrap(&root, &CONTEXT).unwrap();
        let mut text =
            format!("expect: accepted\nsection: 8\ncomment: made by Cofferdam, {name}\n");
        text += &passphrase
            .map(|passphrase| format!("passphrase: {passphrase}\n"))
            .unwrap_or_default();
        text += &format!(
            "file: {}\nversion: {}\n",
            to_hex(&fs::read(&place).unwrap()),
            wrapped.version
        );
        text += &format!(
            "blob: {}\nroot: {}\n",
            to_hex(&wrapped.blob),
            to_hex(root.expose())
        );
        fs::write(
            vector_directory("keyfile").join(format!("made-here-{name}.txt")),
            text,
        )
        .unwrap();
    }
}

proptest! {
    #[test]
    fn no_damage_to_a_vector_makes_a_parser_panic(
        choice in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        len in any::<prop::sample::Index>(),
    ) {
        // The equivalent of the fuzz targets `keyring`, `key_file` and `key_uri`.
        let (_, vector) = choice.get(&VECTORS);
        let mut bytes = hex(vector.one(if vector.0.contains_key("slot") { "slot" } else { "file" }));
        for (index, byte) in damage.iter().filter(|_| !bytes.is_empty()).collect::<Vec<_>>() {
            let index = index.index(bytes.len());
            bytes[index] = *byte;
        }
        bytes.truncate(len.index(bytes.len() * 4 + 1));
        if let Ok(file) = UncheckedKeyFile::parse(&bytes) {
            let _ = file.check_unprotected();
        }
        if let Ok(text) = std::str::from_utf8(&bytes) {
            let _ = text.parse::<KeyUri>();
        }
        if bytes.len() <= KEYRING_LEN {
            let _ = UncheckedKeyring::parse(&slot(&bytes));
        }
    }

    #[test]
    fn whatever_parses_as_the_name_of_a_key_is_its_own_name(
        text in "(file:|https://|vault\\+https://|kmip://|awskms:///arn:|pkcs11:)[a-z0-9/:.=@ %?#A-Z-]{0,40}",
    ) {
        if let Ok(uri) = text.parse::<KeyUri>() {
            prop_assert_eq!(uri.as_str().parse::<KeyUri>(), Ok(uri.clone()));
            prop_assert!(uri.as_str() == text || text.starts_with("file:///"));
        }
    }
}

static VECTORS: LazyLock<Vec<(PathBuf, Vector)>> = LazyLock::new(|| {
    [read_vectors("keyring"), read_vectors("keyfile")]
        .into_iter()
        .flatten()
        .collect()
});

/// What a keyring gives, as the vectors name it.
fn derived(keyring: &Keyring, keys: &DataKeys) -> Vec<(String, String)> {
    let (store, dek_id, salt) = (keys.store_id(), keys.active_dek(), [8; 16]);
    let mut fields = vec![
        ("suite".to_owned(), keys.suite().number().to_string()),
        ("active-dek".to_owned(), dek_id.to_string()),
    ];
    for &layer in keys.suite().layers() {
        let algorithm = keys.suite().algorithm(layer).unwrap();
        let dek = keys.dek(layer, dek_id).unwrap();
        let page = PageKeyContext {
            layer,
            algorithm,
            store,
            file: FileId::from_bytes([6; 16]),
            dek_id,
            salt,
        };
        let value = ValueKeyContext {
            layer,
            algorithm,
            store,
            scope: [6; 16],
            dek_id,
            salt,
        };
        let number = layer.number();
        fields.push((
            format!("page-key-{number}"),
            to_hex(dek.page_key(&page).expose()),
        ));
        fields.push((
            format!("value-key-{number}"),
            to_hex(dek.value_key(&value).expose()),
        ));
    }
    let usable = |id: &DekId| {
        keys.suite()
            .layers()
            .iter()
            .all(|&layer| keys.dek(layer, *id).is_some())
    };
    let usable: Vec<_> = keyring
        .deks()
        .iter()
        .map(|dek| dek.id)
        .filter(usable)
        .map(|id| id.to_string())
        .collect();
    fields.push(("audit-seed".to_owned(), to_hex(keys.audit_seed().expose())));
    fields.push((
        "record-macs".to_owned(),
        to_hex(&keys.record_macs(&[3; 448])),
    ));
    fields.push(("usable-deks".to_owned(), usable.join(" ")));
    fields
}

fn keyring_reason(error: &KeysError) -> &'static str {
    match error {
        KeysError::NotAuthentic => "not-authentic",
        KeysError::Refused(_) => "refused",
        KeysError::Structure { .. } | KeysError::UnknownSuite(_) => "structure",
        other => panic!("{other}"),
    }
}

fn key_file_reason(reason: Reason) -> &'static str {
    match reason {
        Reason::AuthBroken => "auth",
        Reason::Corrupt => "corrupt",
        Reason::Revoked(Revocation::Disabled) => "disabled",
        Reason::Revoked(Revocation::Version) => "version",
        other => panic!("{other:?}"),
    }
}

/// The lines of a vector; a name may come more than once.
struct Vector(BTreeMap<String, Vec<String>>);

impl Vector {
    fn one(&self, name: &str) -> &str {
        self.0
            .get(name)
            .map(|values| values[0].as_str())
            .unwrap_or_else(|| panic!("no {name}"))
    }
}

fn read_vectors(kind: &str) -> Vec<(PathBuf, Vector)> {
    let paths = fs::read_dir(vector_directory(kind)).unwrap();
    let mut paths: Vec<_> = paths.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let mut fields = BTreeMap::<String, Vec<String>>::new();
        for line in fs::read_to_string(&path).unwrap().lines() {
            let (name, value) = line.split_once(": ").unwrap();
            fields
                .entry(name.to_owned())
                .or_default()
                .push(value.to_owned());
        }
        (path, Vector(fields))
    };
    paths.into_iter().map(read).collect()
}

fn vector_directory(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/vectors")
        .join(kind)
}

fn slot(bytes: &[u8]) -> [u8; KEYRING_LEN] {
    let mut slot = [0; KEYRING_LEN];
    slot[..bytes.len()].copy_from_slice(bytes);
    slot
}

fn file_vault(place: &Path, passphrase: Option<String>) -> FileVault {
    let source = Arc::new(move |_: &KeyUri| passphrase.clone().map(Zeroizing::new));
    FileVault::new(&KeyUri::from_file_path(place).unwrap(), source).unwrap()
}

fn write_key_file(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

fn hex(text: &str) -> Vec<u8> {
    assert_eq!(text.len() % 2, 0);
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Given keys, by name and version.
struct Keks(BTreeMap<(KeyUri, KeyVersion), [u8; 32]>);

/// A vault of given keys.
struct Set(Arc<Keks>);

impl Keks {
    fn random(suite: Suite) -> Self {
        let key = |layer: &Layer| {
            let mut kek = [0; 32];
            aws_lc_rs::rand::fill(&mut kek).unwrap();
            (
                (
                    format!("file:/keys/{layer}.key").parse().unwrap(),
                    "1".parse().unwrap(),
                ),
                kek,
            )
        };
        Self(suite.layers().iter().map(key).collect())
    }
}

impl From<&Vector> for Keks {
    fn from(vector: &Vector) -> Self {
        let read = |line: &String| {
            let [uri, version, kek]: [&str; 3] =
                line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            (
                (uri.parse().unwrap(), version.parse().unwrap()),
                hex(kek).try_into().unwrap(),
            )
        };
        Self(vector.0["kek"].iter().map(read).collect())
    }
}

impl VaultSet for Set {
    fn vault(&self, key: &KeyUri) -> Result<Arc<dyn KeyVault>, NoSuchVault> {
        Ok(Arc::new(Kek {
            key: key.clone(),
            keks: Arc::clone(&self.0),
        }))
    }
}

struct Kek {
    key: KeyUri,
    keks: Arc<Keks>,
}

impl Kek {
    fn kek(&self, version: &KeyVersion) -> Result<AesKek, Refusal> {
        let kek = self.keks.0.get(&(self.key.clone(), version.clone()));
        let kek = kek.ok_or_else(|| self.refuse(Reason::Revoked(Revocation::Version), version))?;
        Ok(AesKek::new(&AES_256, kek).unwrap())
    }

    fn refuse(&self, reason: Reason, version: &KeyVersion) -> Refusal {
        Refusal {
            reason,
            key: self.key.clone(),
            version: Some(version.clone()),
            detail: String::new(),
            retry_after: None,
        }
    }
}

impl KeyVault for Kek {
    fn describe(&self) -> Result<KeyDescription, Refusal> {
        unreachable!("the keyring asks for no description")
    }

    fn wrap(&self, root: &Secret<WRAPPED_ROOT_LEN>, _: &WrapContext) -> Result<Wrapped, Refusal> {
        let version: KeyVersion = "1".parse().unwrap();
        let mut blob = vec![0; 88];
        self.kek(&version)?.wrap(root.expose(), &mut blob).unwrap();
        Ok(Wrapped {
            version,
            algorithm: WrapAlgorithm::Aes256Kw,
            blob,
        })
    }

    fn unwrap(
        &self,
        wrapped: &Wrapped,
        _: &WrapContext,
    ) -> Result<Secret<WRAPPED_ROOT_LEN>, Refusal> {
        let kek = self.kek(&wrapped.version)?;
        let mut room = vec![0; wrapped.blob.len()];
        match kek.unwrap(&wrapped.blob, &mut room) {
            Ok(root) if root.len() == WRAPPED_ROOT_LEN => {
                Ok(Secret::fill_with(|place| place.copy_from_slice(root)))
            }
            _ => Err(self.refuse(Reason::Corrupt, &wrapped.version)),
        }
    }

    fn versions(&self) -> Result<Vec<VersionDescription>, Refusal> {
        unreachable!("the keyring asks for no versions")
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
