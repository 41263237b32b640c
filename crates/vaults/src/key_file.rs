//! The bytes of a key file (format section 8).
//!
//! Invariant: a [`KeyFile`] exists only where the MAC over the whole file verified, or where it was made here.

use std::ops::Range;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{hkdf, hmac, key_wrap};
use cofferdam_keys::{KeyState, Secret};
use key_wrap::KeyWrap;
use zeroize::{Zeroize, Zeroizing};

use crate::passphrase::{Argon2Parameters, PassphraseKey};

/// The most versions that a key file holds.
pub const VERSION_COUNT_MAX: usize = 256;
/// The most bytes that a key file has.
pub const KEY_FILE_LEN_MAX: usize = HEAD_LEN + VERSION_COUNT_MAX * VERSION_LEN + MAC_LEN;

/// A key file as read from disk. It has a key file's structure; nothing else is known about it.
pub struct UncheckedKeyFile {
    bytes: Zeroizing<Vec<u8>>,
    protection: Option<Protection>,
}

/// What stands between the file and its keys, when it has a passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// How the passphrase becomes a key.
    pub parameters: Argon2Parameters,
    /// Random, drawn anew with every new passphrase.
    pub salt: [u8; 24],
}

/// An authentic key file.
pub(crate) struct KeyFile {
    pub(crate) key_id: [u8; 16],
    pub(crate) sequence: u64,
    pub(crate) state: KeyState,
    pub(crate) protection: Option<Protection>,
    /// Numbered from 1 without a gap.
    pub(crate) versions: Vec<Version>,
}

/// One version of the key.
pub(crate) struct Version {
    pub(crate) state: KeyState,
    pub(crate) created_at: u64,
    pub(crate) kek: Secret<32>,
}

/// Why bytes are no usable key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The bytes do not authenticate: they were damaged or altered.
    Altered,
    /// The file has a passphrase and none was given, or the other way round.
    Protection,
    /// A field has a value that the format does not allow.
    Structure {
        /// The field.
        field: &'static str,
    },
    /// This is not the passphrase, or the bytes that tell were damaged.
    WrongPassphrase,
}

impl UncheckedKeyFile {
    /// Reads a key file's structure.
    ///
    /// # Errors
    ///
    /// [`KeyFileError::Structure`] for bytes that the format does not allow.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyFileError> {
        check(
            bytes.len() > HEAD_LEN + MAC_LEN && bytes.len() <= KEY_FILE_LEN_MAX,
            "length",
        )?;
        check(bytes[MAGIC] == *b"CDAMKEYF", "magic")?;
        check(u16_at(bytes, FORMAT) == 1, "format")?;
        read_state(bytes[KEY_STATE.start])?;
        let version_count = usize::from(u16_at(bytes, VERSION_COUNT));
        check(
            (1..=VERSION_COUNT_MAX).contains(&version_count),
            "version_count",
        )?;
        check(
            bytes.len() == HEAD_LEN + version_count * VERSION_LEN + MAC_LEN,
            "length",
        )?;
        check(
            is_zero(&bytes[RESERVED_1]) && is_zero(&bytes[RESERVED_2]),
            "reserved bytes",
        )?;
        check(u64_at(bytes, SEQUENCE) >= 1, "sequence")?;
        let protection = match bytes[PROTECTION.start] {
            0 => {
                check(
                    is_zero(&bytes[MEMORY.start..HEAD_LEN]),
                    "passphrase fields without a passphrase",
                )?;
                None
            }
            1 => Some(read_protection(bytes)?),
            _ => {
                return Err(KeyFileError::Structure {
                    field: "protection",
                });
            }
        };
        let (versions, _) = bytes[HEAD_LEN..].as_chunks::<VERSION_LEN>();
        for (index, version) in versions.iter().take(version_count).enumerate() {
            check(
                usize::try_from(u32_at(version, NUMBER)).is_ok_and(|number| number == index + 1),
                "version number",
            )?;
            read_state(version[STATE.start])?;
            check(
                is_zero(&version[RESERVED_3]) && is_zero(&version[RESERVED_4]),
                "reserved bytes of a version",
            )?;
            check(
                protection.is_some() || is_zero(&version[KEK_PADDING]),
                "padding of a key",
            )?;
        }
        Ok(Self {
            bytes: Zeroizing::new(bytes.to_vec()),
            protection,
        })
    }

    /// What a passphrase has to go through, or `None` when the file has none.
    pub fn protection(&self) -> Option<&Protection> {
        self.protection.as_ref()
    }

    /// Opens a file without a passphrase and gives its number of versions.
    ///
    /// # Errors
    ///
    /// [`KeyFileError::Protection`] when the file has a passphrase, [`KeyFileError::Altered`] when it is damaged.
    pub fn check_unprotected(&self) -> Result<usize, KeyFileError> {
        self.open(None).map(|file| file.versions.len())
    }

    pub(crate) fn open(
        &self,
        passphrase_key: Option<&PassphraseKey>,
    ) -> Result<KeyFile, KeyFileError> {
        let key_id = *self.bytes[KEY_ID].first_chunk().expect("16 bytes");
        let (body, mac) = self.bytes.split_at(self.bytes.len() - MAC_LEN);
        let protector = match (self.protection, passphrase_key) {
            (Some(_), Some(key)) => {
                let protector = Protector::new(key, &key_id);
                verify_slices_are_equal(&protector.commitment, &self.bytes[COMMITMENT])
                    .map_err(|_| KeyFileError::WrongPassphrase)?;
                // Authenticate first: no key of an altered file is unwrapped.
                verify(&protector.mac_key, body, mac)?;
                Some(protector)
            }
            (None, None) => {
                let first = body[HEAD_LEN..]
                    .first_chunk::<VERSION_LEN>()
                    .expect("parse saw a version");
                verify(&unprotected_mac_key(&copy_kek(first), &key_id), body, mac)?;
                None
            }
            _ => return Err(KeyFileError::Protection),
        };
        let (versions, _) = body[HEAD_LEN..].as_chunks::<VERSION_LEN>();
        let versions = versions
            .iter()
            .map(|version| read_version(version, protector.as_ref()));
        Ok(KeyFile {
            key_id,
            sequence: u64_at(body, SEQUENCE),
            state: read_state(body[KEY_STATE.start])?,
            protection: self.protection,
            versions: versions.collect::<Result<_, _>>()?,
        })
    }
}

impl KeyFile {
    /// AUDIT: the seed of the log that the key's custodians write to. It stays for the life of the key, whatever
    /// becomes of versions, states and the passphrase.
    pub(crate) fn audit_seed(&self) -> Secret<32> {
        let first = self.versions.first().expect("parse saw a version");
        expand(&first.kek, LABEL_AUDIT, &self.key_id)
    }

    /// The bytes of the file. The passphrase key is the one that belongs to `protection`.
    pub(crate) fn encode(&self, passphrase_key: Option<&PassphraseKey>) -> Zeroizing<Vec<u8>> {
        let fits = match (&self.protection, passphrase_key) {
            (Some(protection), Some(key)) => key.is_for(protection),
            (None, None) => true,
            _ => false,
        };
        assert!(fits, "the key is the one that the protection gives");
        let protector = passphrase_key.map(|key| Protector::new(key, &self.key_id));
        let mut bytes = Zeroizing::new(vec![0; HEAD_LEN + self.versions.len() * VERSION_LEN]);
        let (head, versions) = bytes.split_at_mut(HEAD_LEN);
        self.write_head(head, protector.as_ref());
        let (places, _) = versions.as_chunks_mut::<VERSION_LEN>();
        for ((place, version), number) in places.iter_mut().zip(&self.versions).zip(1u32..) {
            place[NUMBER].copy_from_slice(&number.to_le_bytes());
            place[STATE].copy_from_slice(&[write_state(version.state)]);
            place[CREATED_AT].copy_from_slice(&version.created_at.to_le_bytes());
            match &protector {
                Some(protector) => wrap_kek(
                    &protector.wrapping_key,
                    &version.kek,
                    &mut place[KEK.start..],
                ),
                None => place[KEK.start..KEK_PADDING.start].copy_from_slice(version.kek.expose()),
            }
        }
        let mac_key = match protector {
            Some(protector) => protector.mac_key,
            None => unprotected_mac_key(&self.versions[0].kek, &self.key_id),
        };
        let mac = authenticate(&mac_key, &bytes);
        // The vector would leave unzeroed bytes behind if it moved while growing.
        let mut whole = Zeroizing::new(Vec::with_capacity(bytes.len() + MAC_LEN));
        whole.extend_from_slice(&bytes);
        whole.extend_from_slice(mac.as_ref());
        whole
    }

    fn write_head(&self, head: &mut [u8], protector: Option<&Protector>) {
        head[MAGIC].copy_from_slice(b"CDAMKEYF");
        head[FORMAT].copy_from_slice(&1u16.to_le_bytes());
        head[PROTECTION].copy_from_slice(&[u8::from(protector.is_some())]);
        head[KEY_STATE].copy_from_slice(&[write_state(self.state)]);
        let version_count = u16::try_from(self.versions.len()).expect("at most 256 versions");
        head[VERSION_COUNT].copy_from_slice(&version_count.to_le_bytes());
        head[KEY_ID].copy_from_slice(&self.key_id);
        head[SEQUENCE].copy_from_slice(&self.sequence.to_le_bytes());
        if let (Some(Protection { parameters, salt }), Some(protector)) =
            (&self.protection, protector)
        {
            head[MEMORY].copy_from_slice(&parameters.memory_kib().to_le_bytes());
            head[PASSES].copy_from_slice(&parameters.passes().to_le_bytes());
            head[LANES].copy_from_slice(&parameters.lanes().to_le_bytes());
            head[SALT].copy_from_slice(salt);
            head[COMMITMENT].copy_from_slice(&protector.commitment);
        }
    }
}

/// The keys that a passphrase gives to one key file.
struct Protector {
    commitment: [u8; 32],
    wrapping_key: Secret<32>,
    mac_key: hmac::Key,
}

impl Protector {
    fn new(key: &PassphraseKey, key_id: &[u8; 16]) -> Self {
        let pass = key.secret();
        Self {
            commitment: *expand(pass, LABEL_COMMITMENT, key_id).expose(),
            wrapping_key: expand(pass, LABEL_WRAP, key_id),
            mac_key: hmac::Key::new(
                hmac::HMAC_SHA256,
                expand(pass, LABEL_PASSPHRASE_MAC, key_id).expose(),
            ),
        }
    }
}

fn read_protection(bytes: &[u8]) -> Result<Protection, KeyFileError> {
    let [memory_kib, passes, lanes] = [MEMORY, PASSES, LANES].map(|range| u32_at(bytes, range));
    let parameters =
        Argon2Parameters::new(memory_kib, passes, lanes).ok_or(KeyFileError::Structure {
            field: "Argon2id parameters",
        })?;
    Ok(Protection {
        parameters,
        salt: *bytes[SALT].first_chunk().expect("24 bytes"),
    })
}

fn read_version(
    bytes: &[u8; VERSION_LEN],
    protector: Option<&Protector>,
) -> Result<Version, KeyFileError> {
    let kek = match protector {
        Some(protector) => unwrap_kek(&protector.wrapping_key, &bytes[KEK])?,
        None => copy_kek(bytes),
    };
    Ok(Version {
        state: read_state(bytes[STATE.start])?,
        created_at: u64_at(bytes, CREATED_AT),
        kek,
    })
}

fn copy_kek(version: &[u8; VERSION_LEN]) -> Secret<32> {
    Secret::fill_with(|place| place.copy_from_slice(&version[KEK.start..KEK_PADDING.start]))
}

fn wrap_kek(wrapping_key: &Secret<32>, kek: &Secret<32>, place: &mut [u8]) {
    let wrapped = aes_kw(wrapping_key)
        .wrap(kek.expose(), place)
        .expect("32 bytes wrap to 40");
    assert_eq!(wrapped.len(), KEK.end - KEK.start);
}

fn unwrap_kek(wrapping_key: &Secret<32>, wrapped: &[u8]) -> Result<Secret<32>, KeyFileError> {
    let mut room = [0; KEK.end - KEK.start];
    let kek = match aes_kw(wrapping_key).unwrap(wrapped, &mut room) {
        Ok(kek) if kek.len() == 32 => Ok(Secret::fill_with(|place| place.copy_from_slice(kek))),
        _ => Err(KeyFileError::Altered),
    };
    room.zeroize();
    kek
}

pub(crate) fn aes_kw(key: &Secret<32>) -> key_wrap::AesKek {
    key_wrap::AesKek::new(&key_wrap::AES_256, key.expose()).expect("32 bytes are an AES-256 key")
}

fn unprotected_mac_key(first_kek: &Secret<32>, key_id: &[u8; 16]) -> hmac::Key {
    hmac::Key::new(
        hmac::HMAC_SHA256,
        expand(first_kek, LABEL_PLAIN_MAC, key_id).expose(),
    )
}

fn verify(key: &hmac::Key, body: &[u8], mac: &[u8]) -> Result<(), KeyFileError> {
    verify_slices_are_equal(authenticate(key, body).as_ref(), mac)
        .map_err(|_| KeyFileError::Altered)
}

fn authenticate(key: &hmac::Key, body: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(LABEL_FILE);
    context.update(body);
    context.sign()
}

/// HKDF-Expand with SHA-256, RFC 5869 section 2.3.
fn expand(key: &Secret<32>, label: &[u8; 16], key_id: &[u8; 16]) -> Secret<32> {
    let key = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, key.expose());
    Secret::fill_with(|place| {
        key.expand(&[label, key_id], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(place))
            .expect("32 bytes are within HKDF's limit");
    })
}

fn read_state(byte: u8) -> Result<KeyState, KeyFileError> {
    match byte {
        1 => Ok(KeyState::Enabled),
        2 => Ok(KeyState::Disabled),
        _ => Err(KeyFileError::Structure { field: "state" }),
    }
}

/// Whatever is not enabled is written as disabled.
fn write_state(state: KeyState) -> u8 {
    if state == KeyState::Enabled { 1 } else { 2 }
}

fn check(holds: bool, field: &'static str) -> Result<(), KeyFileError> {
    if holds {
        Ok(())
    } else {
        Err(KeyFileError::Structure { field })
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

fn u16_at(bytes: &[u8], range: Range<usize>) -> u16 {
    u16::from_le_bytes(*bytes[range].first_chunk().expect("the range is two bytes"))
}

fn u32_at(bytes: &[u8], range: Range<usize>) -> u32 {
    u32::from_le_bytes(*bytes[range].first_chunk().expect("the range is four bytes"))
}

fn u64_at(bytes: &[u8], range: Range<usize>) -> u64 {
    u64::from_le_bytes(
        *bytes[range]
            .first_chunk()
            .expect("the range is eight bytes"),
    )
}

const MAGIC: Range<usize> = 0..8;
const FORMAT: Range<usize> = MAGIC.end..MAGIC.end + 2;
const PROTECTION: Range<usize> = FORMAT.end..FORMAT.end + 1;
const KEY_STATE: Range<usize> = PROTECTION.end..PROTECTION.end + 1;
const VERSION_COUNT: Range<usize> = KEY_STATE.end..KEY_STATE.end + 2;
const RESERVED_1: Range<usize> = VERSION_COUNT.end..VERSION_COUNT.end + 2;
const KEY_ID: Range<usize> = RESERVED_1.end..RESERVED_1.end + 16;
const SEQUENCE: Range<usize> = KEY_ID.end..KEY_ID.end + 8;
const MEMORY: Range<usize> = SEQUENCE.end..SEQUENCE.end + 4;
const PASSES: Range<usize> = MEMORY.end..MEMORY.end + 4;
const LANES: Range<usize> = PASSES.end..PASSES.end + 4;
const RESERVED_2: Range<usize> = LANES.end..LANES.end + 4;
const SALT: Range<usize> = RESERVED_2.end..RESERVED_2.end + 24;
const COMMITMENT: Range<usize> = SALT.end..SALT.end + 32;
const HEAD_LEN: usize = 112;
const _: () = assert!(COMMITMENT.end == HEAD_LEN);

const NUMBER: Range<usize> = 0..4;
const STATE: Range<usize> = NUMBER.end..NUMBER.end + 1;
const RESERVED_3: Range<usize> = STATE.end..STATE.end + 3;
const CREATED_AT: Range<usize> = RESERVED_3.end..RESERVED_3.end + 8;
const RESERVED_4: Range<usize> = CREATED_AT.end..CREATED_AT.end + 8;
const KEK: Range<usize> = RESERVED_4.end..RESERVED_4.end + 40;
const KEK_PADDING: Range<usize> = KEK.start + 32..KEK.end;
const VERSION_LEN: usize = 64;
const _: () = assert!(KEK.end == VERSION_LEN);
const MAC_LEN: usize = 32;

const LABEL_FILE: &[u8; 16] = b"cofferdam kfile\0";
const LABEL_AUDIT: &[u8; 16] = b"cofferdam kaudit";
const LABEL_COMMITMENT: &[u8; 16] = b"cofferdam pwcmt\0";
const LABEL_WRAP: &[u8; 16] = b"cofferdam pwwrap";
const LABEL_PASSPHRASE_MAC: &[u8; 16] = b"cofferdam pwmac\0";
const LABEL_PLAIN_MAC: &[u8; 16] = b"cofferdam plmac\0";
