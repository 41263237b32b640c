//! Every key that is derived from another, and every label (format section 2).

use aws_lc_rs::{digest, hkdf, hmac};

use crate::{Algorithm, DekId, FileId, Layer, Secret, StoreId};

/// What one page key is for. Another value in any field gives an unrelated key.
#[derive(Clone, Copy, Debug)]
pub struct PageKeyContext {
    /// The layer that seals.
    pub layer: Layer,
    /// What the layer seals with.
    pub algorithm: Algorithm,
    /// The store.
    pub store: StoreId,
    /// The file within the store.
    pub file: FileId,
    /// The data key.
    pub dek_id: DekId,
    /// The salt of the writer's epoch.
    pub salt: [u8; 16],
}

/// What one value key is for. Another value in any field gives an unrelated key.
#[derive(Clone, Copy, Debug)]
pub struct ValueKeyContext {
    /// The layer that seals.
    pub layer: Layer,
    /// What the layer seals with.
    pub algorithm: Algorithm,
    /// The store.
    pub store: StoreId,
    /// Where the value belongs, such as a column.
    pub scope: [u8; 16],
    /// The data key.
    pub dek_id: DekId,
    /// The salt of the writer's epoch.
    pub salt: [u8; 16],
}

/// KWK: wraps the data keys of a layer.
pub(crate) fn key_wrapping_key(root: &Secret<32>, layer: Layer, store: StoreId) -> Secret<32> {
    expand(root, &[LABEL_KWK, &[layer.number()], store.as_bytes()])
}

/// HMK: authenticates the keyring and the file records.
pub(crate) fn mac_key(root: &Secret<32>, layer: Layer, store: StoreId) -> hmac::Key {
    let key = expand(root, &[LABEL_HMK, &[layer.number()], store.as_bytes()]);
    hmac::Key::new(hmac::HMAC_SHA256, key.expose())
}

/// CMT: the public commitment to a root.
pub(crate) fn root_commitment(root: &Secret<32>, layer: Layer, store: StoreId) -> [u8; 32] {
    *expand(root, &[LABEL_COMMIT, &[layer.number()], store.as_bytes()]).expose()
}

/// AUDIT: the seed of the store's audit log. The root is the customer's.
pub(crate) fn audit_seed(root: &Secret<32>, store: StoreId) -> Secret<32> {
    expand(
        root,
        &[LABEL_AUDIT, &[Layer::Customer.number()], store.as_bytes()],
    )
}

/// DCMT: the public commitment to a data key.
pub(crate) fn dek_commitment(
    dek: &Secret<32>,
    layer: Layer,
    store: StoreId,
    id: DekId,
) -> [u8; 32] {
    let id = id.to_le_bytes();
    *expand(
        dek,
        &[LABEL_DEK_COMMIT, &[layer.number()], store.as_bytes(), &id],
    )
    .expose()
}

/// PAGE: what pages are sealed with, for one file, data key and salt.
pub(crate) fn page_key(dek: &Secret<32>, context: &PageKeyContext) -> Secret<32> {
    let id = context.dek_id.to_le_bytes();
    let head = [context.layer.number(), context.algorithm.number()];
    let names = [context.store.as_bytes(), context.file.as_bytes()];
    expand(
        dek,
        &[LABEL_PAGE, &head, names[0], names[1], &id, &context.salt],
    )
}

/// VALUE: what values are sealed with, for one scope, data key and salt.
pub(crate) fn value_key(dek: &Secret<32>, context: &ValueKeyContext) -> Secret<32> {
    let id = context.dek_id.to_le_bytes();
    let head = [context.layer.number(), context.algorithm.number()];
    expand(
        dek,
        &[
            LABEL_VALUE,
            &head,
            context.store.as_bytes(),
            &context.scope,
            &id,
            &context.salt,
        ],
    )
}

/// What ties a wrapped root to its store and layer (format section 6.2).
pub(crate) fn root_binding(layer: Layer, store: StoreId) -> [u8; 48] {
    let mut hash = digest::Context::new(&digest::SHA384);
    hash.update(LABEL_ROOT);
    hash.update(&[layer.number()]);
    hash.update(store.as_bytes());
    let mut binding = [0; 48];
    binding.copy_from_slice(hash.finish().as_ref());
    binding
}

/// The label under which a keyring is authenticated.
pub(crate) const LABEL_KEYRING_MAC: &[u8; 16] = &label("cofferdam keys");
/// The label under which a file record is authenticated.
pub(crate) const LABEL_RECORD_MAC: &[u8; 16] = &label("cofferdam record");

const LABEL_KWK: &[u8; 16] = &label("cofferdam kwk");
const LABEL_HMK: &[u8; 16] = &label("cofferdam hmk");
const LABEL_COMMIT: &[u8; 16] = &label("cofferdam commit");
const LABEL_AUDIT: &[u8; 16] = &label("cofferdam audit");
const LABEL_DEK_COMMIT: &[u8; 16] = &label("cofferdam dekcmt");
const LABEL_PAGE: &[u8; 16] = &label("cofferdam page");
const LABEL_VALUE: &[u8; 16] = &label("cofferdam value");
const LABEL_ROOT: &[u8; 16] = &label("cofferdam root");

/// HKDF-Expand with SHA-256, RFC 5869 section 2.3. The key is uniformly random, so nothing is extracted.
fn expand(key: &Secret<32>, info: &[&[u8]]) -> Secret<32> {
    let key = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, key.expose());
    Secret::fill_with(|place| {
        key.expand(info, hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(place))
            .expect("32 bytes are within HKDF's limit");
    })
}

/// Sixteen bytes: the text, padded with NUL.
const fn label(text: &str) -> [u8; 16] {
    let text = text.as_bytes();
    let mut label = [0; 16];
    let mut index = 0;
    while index < text.len() {
        label[index] = text[index];
        index += 1;
    }
    label
}
