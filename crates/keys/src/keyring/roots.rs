//! Roots in the hands of vaults.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use cofferdam_audit::UnixTime;

use crate::encoding::Contents;
use crate::{
    BLOB_LEN_MAX, KeyUri, KeysError, Layer, Reason, Refusal, RootWrap, Secret, StoreId, VaultSet,
    WRAPPED_ROOT_LEN, WrapContext, derive,
};

/// Unwraps one layer's root, and checks that it is this store's and this layer's.
pub(super) fn open_root(
    contents: &Contents,
    layer: Layer,
    vaults: &dyn VaultSet,
) -> Result<Secret<32>, KeysError> {
    let context = WrapContext {
        store: contents.store,
        layer,
    };
    let mut outage = None;
    for wrap in contents.wraps_of(layer) {
        match vaults.vault(&wrap.key)?.unwrap(&wrap.wrapped, &context) {
            Ok(bound_root) => return check_root(&bound_root, wrap, contents.store),
            Err(refusal) if matches!(refusal.reason, Reason::Unreachable | Reason::Throttled) => {
                outage = outage.or(Some(refusal));
            }
            Err(refusal) => return Err(refusal.into()),
        }
    }
    Err(outage.map_or(
        KeysError::Structure {
            field: "layer without a wrap",
        },
        KeysError::Refused,
    ))
}

/// The root within what a vault unwrapped. Both comparisons are made, in constant time.
fn check_root(
    bound_root: &Secret<WRAPPED_ROOT_LEN>,
    wrap: &RootWrap,
    store: StoreId,
) -> Result<Secret<32>, KeysError> {
    let (root, binding) = bound_root.expose().split_at(32);
    let root = Secret::fill_with(|place| place.copy_from_slice(root));
    let bound = verify_slices_are_equal(binding, &derive::root_binding(wrap.layer, store));
    let committed = verify_slices_are_equal(
        &derive::root_commitment(&root, wrap.layer, store),
        &wrap.commitment,
    );
    match (bound, committed) {
        (Ok(()), Ok(())) => Ok(root),
        _ => Err(KeysError::NotAuthentic),
    }
}

/// Has a vault wrap a root, and unwrap it again: a wrap that does not open would be found out too late.
pub(super) fn wrap_root(
    root: &Secret<32>,
    layer: Layer,
    store: StoreId,
    key: &KeyUri,
    vaults: &dyn VaultSet,
    now: UnixTime,
) -> Result<RootWrap, KeysError> {
    let bound_root = Secret::fill_with(|place| {
        place[..32].copy_from_slice(root.expose());
        place[32..].copy_from_slice(&derive::root_binding(layer, store));
    });
    let context = WrapContext { store, layer };
    let vault = vaults.vault(key)?;
    let wrapped = vault.wrap(&bound_root, &context)?;
    let unwrapped = vault.unwrap(&wrapped, &context)?;
    let same = verify_slices_are_equal(unwrapped.expose(), bound_root.expose()).is_ok();
    if !same || !(1..=BLOB_LEN_MAX).contains(&wrapped.blob.len()) {
        return Err(KeysError::Refused(Refusal {
            reason: Reason::Corrupt,
            key: key.clone(),
            version: Some(wrapped.version),
            detail: "the vault did not give back what it had just wrapped".to_owned(),
            retry_after: None,
        }));
    }
    let commitment = derive::root_commitment(root, layer, store);
    Ok(RootWrap {
        layer,
        key: key.clone(),
        wrapped,
        wrapped_at: now.seconds,
        commitment,
    })
}
