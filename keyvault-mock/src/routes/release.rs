//! Release and attestation.

use super::Call;
use crate::error::Refusal;
use crate::release;
use crate::wire::Reply;

/// POST /keys/{name}/{version}/release
pub(super) fn release(call: &Call<'_>) -> Result<Reply, Refusal> {
    release::release(call)
}

/// GET /keys/{name}/{version}/attestation
pub(super) fn attestation(call: &Call<'_>) -> Result<Reply, Refusal> {
    call.emulator.store.read(|vaults| {
        vaults
            .vault(call.vault)?
            .version(call.key, call.version, call.now)
            .map(|_| ())
    })?;
    Err(Refusal::not_emulated(
        "Key attestation is a hardware security module's signature over where a key was made. This emulator has no \
         such hardware, so it does not sign one.",
    ))
}
