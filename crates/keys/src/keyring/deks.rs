//! Data keys, wrapped under roots: AES-256-KW, RFC 3394.

use aws_lc_rs::key_wrap;
use cofferdam_audit::UnixTime;
use key_wrap::KeyWrap;
use zeroize::Zeroize;

use crate::encoding::{WRAPPED_DEK_LEN, WrappedDek};
use crate::{DekId, DekRecord, DekState, KeysError, Layer, Secret, StoreId, derive};

/// A data key that is made now, wrapped under each layer's root.
pub(super) fn new_dek(
    id: DekId,
    layers: &[Layer],
    store: StoreId,
    roots: &[Secret<32>],
    now: UnixTime,
) -> Result<DekRecord, KeysError> {
    let mut wrapped = Vec::with_capacity(layers.len());
    for (&layer, root) in layers.iter().zip(roots) {
        let dek = Secret::random()?;
        let commitment = derive::dek_commitment(&dek, layer, store, id);
        let wrapping_key = derive::key_wrapping_key(root, layer, store);
        wrapped.push(WrappedDek {
            wrapped: wrap_dek(&wrapping_key, &dek),
            commitment,
        });
    }
    Ok(DekRecord {
        id,
        state: DekState::Active,
        created_at: now.seconds,
        retired_at: 0,
        destroyed_at: 0,
        layers: wrapped,
    })
}

fn wrap_dek(wrapping_key: &Secret<32>, dek: &Secret<32>) -> [u8; WRAPPED_DEK_LEN] {
    let mut wrapped = [0; WRAPPED_DEK_LEN];
    let len = kek(wrapping_key)
        .wrap(dek.expose(), &mut wrapped)
        .expect("32 bytes wrap to 40")
        .len();
    assert_eq!(len, WRAPPED_DEK_LEN);
    wrapped
}

/// A data key of one layer, as it was wrapped.
pub(super) fn unwrap_dek(
    wrapping_key: &Secret<32>,
    wrapped: &[u8; WRAPPED_DEK_LEN],
) -> Result<Secret<32>, KeysError> {
    // The module wants room for the integrity block too.
    let mut room = [0; WRAPPED_DEK_LEN];
    let dek = match kek(wrapping_key).unwrap(wrapped, &mut room) {
        Ok(dek) if dek.len() == 32 => Ok(Secret::fill_with(|place| place.copy_from_slice(dek))),
        _ => Err(KeysError::NotAuthentic),
    };
    room.zeroize();
    dek
}

fn kek(key: &Secret<32>) -> key_wrap::AesKek {
    key_wrap::AesKek::new(&key_wrap::AES_256, key.expose()).expect("32 bytes are an AES-256 key")
}
