//! The slot, the AAD and the checksum (format sections 3.1 and 3.2).

use core::ops::Range;

use cofferdam_keys::{Algorithm, DekId, FileId, Layer, StoreId};
use crc_fast::{CrcAlgorithm, Digest};

use crate::geometry::{PageNumber, PageSize, SLOT_LEN, SlotCount};

/// Bytes of an IV.
pub(crate) const IV_LEN: usize = 12;
/// Bytes of a salt.
pub(crate) const SALT_LEN: usize = 16;
/// Bytes of a tag.
pub(crate) const TAG_LEN: usize = 16;

/// The clear head of a slot: everything before the salt.
pub(crate) const HEAD: Range<usize> = 0..16;
/// The salt.
pub(crate) const SALT: Range<usize> = HEAD.end..HEAD.end + SALT_LEN;
/// The IV.
pub(crate) const IV: Range<usize> = SALT.end..SALT.end + IV_LEN;
/// The tag.
pub(crate) const TAG: Range<usize> = IV.end..IV.end + TAG_LEN;
/// The checksum.
pub(crate) const CRC: Range<usize> = TAG.end..TAG.end + 4;
const _: () = assert!(CRC.end == SLOT_LEN);

/// Salt, IV and tag: what a second layer seals of the first layer's slot.
pub(crate) const SECRETS: Range<usize> = SALT.start..TAG.end;
/// Bytes of them.
pub(crate) const SECRETS_LEN: usize = SECRETS.end - SECRETS.start;
const _: () = assert!(SECRETS_LEN == 44);

/// Where IV and tag lie within [`SECRETS`].
pub(crate) const SECRETS_IV: Range<usize> = IV.start - SALT.start..IV.end - SALT.start;
/// See [`SECRETS_IV`].
pub(crate) const SECRETS_TAG: Range<usize> = TAG.start - SALT.start..TAG.end - SALT.start;

/// The head of a slot that was sealed with this algorithm and key, as this version of its page.
pub(crate) fn head(algorithm: Algorithm, dek: DekId, version: u64) -> [u8; HEAD.end] {
    let mut head = [0; HEAD.end];
    head[HEAD_FORMAT] = FORMAT;
    head[HEAD_ALGORITHM] = algorithm as u8;
    head[HEAD_DEK].copy_from_slice(&dek.to_le_bytes());
    head[HEAD_VERSION].copy_from_slice(&version.to_le_bytes());
    head
}

/// The DEK id of a slot's head; `None` when any other byte differs from what the policy,
/// the expected version and the format say.
pub(crate) fn parse_head(
    found: &[u8; HEAD.end],
    algorithm: Algorithm,
    version: u64,
) -> Option<DekId> {
    let dek = DekId::new(u32::from_le_bytes(array(&found[HEAD_DEK])))?;
    (*found == head(algorithm, dek, version)).then_some(dek)
}

/// The version that a slot claims; nothing has checked it.
pub(crate) fn claimed_version(slot: &[u8; SLOT_LEN]) -> u64 {
    u64::from_le_bytes(array(&slot[HEAD_VERSION]))
}

/// What all pages of a file share in their AAD, for one layer and key.
#[derive(Clone)]
pub(crate) struct AadTemplate([u8; AAD_LEN]);

impl AadTemplate {
    pub(crate) fn new(
        layer: Layer,
        algorithm: Algorithm,
        page_size: PageSize,
        store: StoreId,
        file: FileId,
    ) -> AadTemplate {
        let mut aad = [0; AAD_LEN];
        aad[AAD_MAGIC].copy_from_slice(b"CDP1");
        aad[AAD_LAYER] = layer as u8;
        aad[AAD_ALGORITHM] = algorithm as u8;
        aad[AAD_PAGE_SIZE] = page_size.log2();
        aad[AAD_FORMAT] = FORMAT;
        aad[AAD_STORE].copy_from_slice(store.as_bytes());
        aad[AAD_FILE].copy_from_slice(file.as_bytes());
        AadTemplate(aad)
    }

    /// The AAD of one page. Flags and reserved bytes are zero, and a slot that says otherwise was
    /// refused before it came here.
    pub(crate) fn of(&self, page: PageNumber, version: u64, dek: DekId) -> [u8; AAD_LEN] {
        let mut aad = self.0;
        aad[AAD_PAGE].copy_from_slice(&page.as_u64().to_le_bytes());
        aad[AAD_VERSION].copy_from_slice(&version.to_le_bytes());
        aad[AAD_DEK].copy_from_slice(&dek.to_le_bytes());
        aad
    }
}

/// Whether the checksum of a frame matches, for a scrub that has no keys.
///
/// It finds decay, not malice. A frame too short for its slots does not match, nor does one whose
/// slots are all zero.
#[must_use]
pub fn crc_matches(frame: &[u8], slot_count: SlotCount) -> bool {
    if frame.len() <= slot_count.bytes() {
        return false;
    }
    let slots = &frame[frame.len() - slot_count.bytes()..];
    let end = match slots
        .chunks_exact(SLOT_LEN)
        .rposition(|slot| slot != EMPTY_SLOT)
    {
        Some(index) => frame.len() - slots.len() + (index + 1) * SLOT_LEN,
        None => return false,
    };
    let field = end - CRC.len()..end;
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&frame[..field.start]);
    digest.update(&[0; 4]);
    digest.update(&frame[field.end..]);
    digest.finalize() == u64::from(u32::from_le_bytes(array(&frame[field])))
}

/// Writes the checksum of a frame whose checksum field, at `field`, is zero.
pub(crate) fn write_crc(frame: &mut [u8], field: Range<usize>) {
    debug_assert!(frame[field.clone()] == [0; 4]);
    let crc = crc_fast::crc32_iscsi(frame);
    frame[field].copy_from_slice(&crc.to_le_bytes());
}

/// The bytes of a range whose length is known to be `N`.
pub(crate) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes
        .try_into()
        .expect("callers pass ranges of a constant length")
}

/// A slot of a layer that the policy does not have.
pub(crate) const EMPTY_SLOT: &[u8] = &[0; SLOT_LEN];

const FORMAT: u8 = 1;

const HEAD_FORMAT: usize = 0;
const HEAD_ALGORITHM: usize = 1;
const HEAD_FLAGS: Range<usize> = 2..4;
const HEAD_DEK: Range<usize> = HEAD_FLAGS.end..HEAD_FLAGS.end + 4;
const HEAD_VERSION: Range<usize> = HEAD_DEK.end..HEAD_DEK.end + 8;
const _: () = assert!(HEAD_VERSION.end == HEAD.end);

const AAD_MAGIC: Range<usize> = 0..4;
const AAD_LAYER: usize = 4;
const AAD_ALGORITHM: usize = 5;
const AAD_PAGE_SIZE: usize = 6;
const AAD_FORMAT: usize = 7;
const AAD_STORE: Range<usize> = 8..24;
const AAD_FILE: Range<usize> = AAD_STORE.end..AAD_STORE.end + 16;
const AAD_PAGE: Range<usize> = AAD_FILE.end..AAD_FILE.end + 8;
const AAD_VERSION: Range<usize> = AAD_PAGE.end..AAD_PAGE.end + 8;
const AAD_DEK: Range<usize> = AAD_VERSION.end..AAD_VERSION.end + 4;
const AAD_FLAGS: Range<usize> = AAD_DEK.end..AAD_DEK.end + 2;
const AAD_RESERVED: Range<usize> = AAD_FLAGS.end..AAD_FLAGS.end + 2;
/// Bytes of the AAD.
pub(crate) const AAD_LEN: usize = 64;
const _: () = assert!(AAD_RESERVED.end == AAD_LEN);
