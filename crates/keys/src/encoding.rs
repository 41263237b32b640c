//! The bytes of a keyring (format section 6), with nothing said about whether they are authentic.

use std::fmt;
use std::ops::Range;

use crate::{DekId, KeyUri, KeyVersion, KeysError, Layer, StoreId, Suite, WrapAlgorithm, Wrapped};

/// The size of a keyring's slot, and the most that a keyring has.
pub const KEYRING_LEN: usize = 16384;
/// The most data keys in a keyring.
pub const DEK_COUNT_MAX: usize = 64;
/// The most wrapped roots in a keyring.
pub const WRAP_COUNT_MAX: usize = 16;
/// The most bytes that a vault may make of a root.
pub const BLOB_LEN_MAX: usize = 1024;

/// How many times a store's keyring has been written, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(u64);

impl Sequence {
    /// The sequence of a new store's keyring.
    pub const FIRST: Self = Self(1);

    /// The sequence with this number, or `None` for 0.
    pub const fn new(number: u64) -> Option<Self> {
        if number == 0 {
            None
        } else {
            Some(Self(number))
        }
    }

    /// The number.
    pub const fn number(self) -> u64 {
        self.0
    }

    pub(crate) fn next(self) -> Result<Self, KeysError> {
        self.0
            .checked_add(1)
            .map(Self)
            .ok_or(KeysError::SequenceExhausted)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One wrapped root.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RootWrap {
    /// The layer whose root it is.
    pub layer: Layer,
    /// The key that wrapped it.
    pub key: KeyUri,
    /// What the vault made of it, and with which version.
    pub wrapped: Wrapped,
    /// When, in seconds since 1970.
    pub wrapped_at: u64,
    /// The public commitment to the root.
    pub commitment: [u8; 32],
}

/// What a keyring says about one data key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DekRecord {
    /// The data key.
    pub id: DekId,
    /// What it may be used for.
    pub state: DekState,
    /// When it was made, in seconds since 1970.
    pub created_at: u64,
    /// When another became the active one, or 0.
    pub retired_at: u64,
    /// When it was destroyed, or 0.
    pub destroyed_at: u64,
    /// In the order of the suite's layers.
    pub(crate) layers: Vec<WrappedDek>,
}

/// One data key of one layer, wrapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WrappedDek {
    /// Zeros when the data key was destroyed.
    pub(crate) wrapped: [u8; WRAPPED_DEK_LEN],
    pub(crate) commitment: [u8; 32],
}

/// What a data key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DekState {
    /// New pages are sealed under it.
    Active = 1,
    /// Old pages open under it.
    Retiring = 2,
    /// It is gone.
    Destroyed = 3,
}

/// Everything that a keyring says, its MACs apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) suite: Suite,
    pub(crate) store: StoreId,
    pub(crate) sequence: Sequence,
    pub(crate) incarnation: u64,
    pub(crate) created_at: u64,
    pub(crate) active_dek: DekId,
    /// Sorted by layer; within a layer in the order in which vaults are asked.
    pub(crate) wraps: Vec<RootWrap>,
    /// Sorted by id.
    pub(crate) deks: Vec<DekRecord>,
}

impl Contents {
    /// Reads a slot. Returns what the MACs are made over, and the MACs, as ranges of the slot.
    pub(crate) fn parse(slot: &[u8; KEYRING_LEN]) -> Result<(Self, Range<usize>), KeysError> {
        let mut reader = Reader { rest: slot };
        check(reader.array()? == *MAGIC, "magic")?;
        check(reader.u16()? == FORMAT, "format")?;
        let suite = Suite::from_number(reader.u8()?)?;
        check(
            usize::from(reader.u8()?) == suite.layer_count(),
            "layer_count",
        )?;
        let total_len = usize::try_from(reader.u32()?).map_err(|_| structure("total_len"))?;
        let store = StoreId::from_bytes(reader.array()?);
        let sequence = Sequence::new(reader.u64()?).ok_or(structure("sequence"))?;
        let incarnation = reader.u64()?;
        check(incarnation >= 1, "incarnation")?;
        let created_at = reader.u64()?;
        let wrap_count = usize::from(reader.u16()?);
        check((1..=WRAP_COUNT_MAX).contains(&wrap_count), "wrap_count")?;
        let dek_count = usize::from(reader.u16()?);
        check((1..=DEK_COUNT_MAX).contains(&dek_count), "dek_count")?;
        let active_dek = DekId::new(reader.u32()?).ok_or(structure("active DEK id"))?;
        let wraps = (0..wrap_count)
            .map(|_| read_wrap(&mut reader))
            .collect::<Result<Vec<_>, _>>()?;
        let deks = (0..dek_count)
            .map(|_| read_dek(&mut reader, suite))
            .collect::<Result<Vec<_>, _>>()?;
        let body_len = KEYRING_LEN - reader.rest.len();
        reader.bytes(suite.layer_count() * MAC_LEN)?;
        check(KEYRING_LEN - reader.rest.len() == total_len, "total_len")?;
        check(is_zero(reader.rest), "bytes after the keyring")?;
        let contents = Self {
            suite,
            store,
            sequence,
            incarnation,
            created_at,
            active_dek,
            wraps,
            deks,
        };
        contents.check()?;
        // One keyring, one encoding: whatever the checks above let through has to survive this one.
        check(contents.encode()? == slot[..body_len], "encoding")?;
        Ok((contents, body_len..total_len))
    }

    /// The bytes up to the MACs.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, KeysError> {
        let mut bytes = Vec::with_capacity(KEYRING_LEN);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.push(self.suite.number());
        bytes.push(u8::try_from(self.suite.layer_count()).map_err(|_| KeysError::Full)?);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(self.store.as_bytes());
        bytes.extend_from_slice(&self.sequence.number().to_le_bytes());
        bytes.extend_from_slice(&self.incarnation.to_le_bytes());
        bytes.extend_from_slice(&self.created_at.to_le_bytes());
        bytes.extend_from_slice(&len_u16(self.wraps.len())?);
        bytes.extend_from_slice(&len_u16(self.deks.len())?);
        bytes.extend_from_slice(&self.active_dek.to_le_bytes());
        self.wraps
            .iter()
            .try_for_each(|wrap| write_wrap(&mut bytes, wrap))?;
        self.deks.iter().for_each(|dek| write_dek(&mut bytes, dek));
        let total_len = bytes.len() + self.suite.layer_count() * MAC_LEN;
        if total_len > KEYRING_LEN {
            return Err(KeysError::Full);
        }
        let total_len = u32::try_from(total_len).map_err(|_| KeysError::Full)?;
        bytes[TOTAL_LEN].copy_from_slice(&total_len.to_le_bytes());
        Ok(bytes)
    }

    /// What concerns more than one field.
    fn check(&self) -> Result<(), KeysError> {
        check(
            self.wraps.is_sorted_by_key(|wrap| wrap.layer),
            "wraps that are not sorted",
        )?;
        check(
            self.wraps
                .iter()
                .all(|wrap| self.suite.layers().contains(&wrap.layer)),
            "wrap of another layer",
        )?;
        for &layer in self.suite.layers() {
            let mut commitments = self.wraps_of(layer).map(|wrap| wrap.commitment);
            let first = commitments
                .next()
                .ok_or(structure("layer without a wrap"))?;
            check(
                commitments.all(|commitment| commitment == first),
                "two commitments for one root",
            )?;
        }
        check(
            self.deks.is_sorted_by(|one, next| one.id < next.id),
            "DEKs that are not sorted",
        )?;
        let mut active = self.deks.iter().filter(|dek| dek.state == DekState::Active);
        check(
            active.next().is_some_and(|dek| dek.id == self.active_dek),
            "active DEK",
        )?;
        check(active.next().is_none(), "second active DEK")
    }

    pub(crate) fn wraps_of(&self, layer: Layer) -> impl Iterator<Item = &RootWrap> {
        self.wraps.iter().filter(move |wrap| wrap.layer == layer)
    }
}

fn read_wrap(reader: &mut Reader<'_>) -> Result<RootWrap, KeysError> {
    let layer = Layer::from_number(reader.u8()?).ok_or(structure("layer of a wrap"))?;
    check(reader.u8()? == WRAP_KIND_ROOT, "wrap kind")?;
    let algorithm = WrapAlgorithm::from_number(reader.u8()?).ok_or(structure("wrap algorithm"))?;
    check(reader.u8()? == 0, "reserved byte of a wrap")?;
    let uri_len = usize::from(reader.u16()?);
    let version_len = usize::from(reader.u16()?);
    let blob_len = usize::from(reader.u16()?);
    check(reader.u16()? == 0, "reserved bytes of a wrap")?;
    let wrapped_at = reader.u64()?;
    let commitment = reader.array()?;
    let key: KeyUri = reader
        .text(uri_len)?
        .parse()
        .map_err(|_| structure("uri"))?;
    let version: KeyVersion = reader
        .text(version_len)?
        .parse()
        .map_err(|_| structure("version"))?;
    check((1..=BLOB_LEN_MAX).contains(&blob_len), "blob_len")?;
    check(algorithm.allows_blob_len(blob_len), "blob_len")?;
    let blob = reader.bytes(blob_len)?.to_vec();
    Ok(RootWrap {
        layer,
        key,
        wrapped: Wrapped {
            version,
            algorithm,
            blob,
        },
        wrapped_at,
        commitment,
    })
}

fn write_wrap(bytes: &mut Vec<u8>, wrap: &RootWrap) -> Result<(), KeysError> {
    let (uri, version, blob) = (
        wrap.key.as_str(),
        wrap.wrapped.version.as_str(),
        &wrap.wrapped.blob,
    );
    bytes.extend_from_slice(&[
        wrap.layer.number(),
        WRAP_KIND_ROOT,
        wrap.wrapped.algorithm.number(),
        0,
    ]);
    bytes.extend_from_slice(&len_u16(uri.len())?);
    bytes.extend_from_slice(&len_u16(version.len())?);
    bytes.extend_from_slice(&len_u16(blob.len())?);
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&wrap.wrapped_at.to_le_bytes());
    bytes.extend_from_slice(&wrap.commitment);
    bytes.extend_from_slice(uri.as_bytes());
    bytes.extend_from_slice(version.as_bytes());
    bytes.extend_from_slice(blob);
    Ok(())
}

fn read_dek(reader: &mut Reader<'_>, suite: Suite) -> Result<DekRecord, KeysError> {
    let id = DekId::new(reader.u32()?).ok_or(structure("DEK id"))?;
    let state = match reader.u8()? {
        1 => DekState::Active,
        2 => DekState::Retiring,
        3 => DekState::Destroyed,
        _ => return Err(structure("DEK state")),
    };
    check(
        usize::from(reader.u8()?) == suite.layer_count(),
        "layer_count of a DEK",
    )?;
    check(reader.u16()? == 0, "reserved bytes of a DEK")?;
    let (created_at, retired_at, destroyed_at) = (reader.u64()?, reader.u64()?, reader.u64()?);
    check(
        state != DekState::Active || retired_at == 0,
        "retired_at of an active DEK",
    )?;
    check(
        state == DekState::Destroyed || destroyed_at == 0,
        "destroyed_at of a DEK that is not",
    )?;
    let mut layers = Vec::with_capacity(suite.layer_count());
    for _ in suite.layers() {
        let layer = WrappedDek {
            wrapped: reader.array()?,
            commitment: reader.array()?,
        };
        check(
            is_zero(&layer.wrapped) == (state == DekState::Destroyed),
            "wrapped DEK",
        )?;
        layers.push(layer);
    }
    Ok(DekRecord {
        id,
        state,
        created_at,
        retired_at,
        destroyed_at,
        layers,
    })
}

fn write_dek(bytes: &mut Vec<u8>, dek: &DekRecord) {
    bytes.extend_from_slice(&dek.id.to_le_bytes());
    let layer_count = u8::try_from(dek.layers.len()).expect("a suite has at most two layers");
    bytes.extend_from_slice(&[dek.state as u8, layer_count, 0, 0]);
    for time in [dek.created_at, dek.retired_at, dek.destroyed_at] {
        bytes.extend_from_slice(&time.to_le_bytes());
    }
    for layer in &dek.layers {
        bytes.extend_from_slice(&layer.wrapped);
        bytes.extend_from_slice(&layer.commitment);
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], KeysError> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(structure("length"))?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], KeysError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(structure("length"))?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn text(&mut self, len: usize) -> Result<&'a str, KeysError> {
        std::str::from_utf8(self.bytes(len)?).map_err(|_| structure("text that is not UTF-8"))
    }

    fn u8(&mut self) -> Result<u8, KeysError> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, KeysError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, KeysError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, KeysError> {
        self.array().map(u64::from_le_bytes)
    }
}

fn check(holds: bool, field: &'static str) -> Result<(), KeysError> {
    if holds { Ok(()) } else { Err(structure(field)) }
}

fn structure(field: &'static str) -> KeysError {
    KeysError::Structure { field }
}

fn len_u16(len: usize) -> Result<[u8; 2], KeysError> {
    u16::try_from(len)
        .map(u16::to_le_bytes)
        .map_err(|_| KeysError::Full)
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

pub(crate) const MAC_LEN: usize = 32;
pub(crate) const WRAPPED_DEK_LEN: usize = 40;

const MAGIC: &[u8; 8] = b"CDAMKEYS";
const FORMAT: u16 = 1;
const TOTAL_LEN: Range<usize> = 12..16;
const WRAP_KIND_ROOT: u8 = 1;
