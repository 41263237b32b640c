//! Operations with a version's secret, and random bytes.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use super::bundle::kid;
use super::{Call, Operation};
use crate::error::Refusal;
use crate::material::jwk::{base64url, from_base64};
use crate::material::{Cipher, Material};
use crate::vault::key::Use;
use crate::wire::Reply;

#[derive(Deserialize)]
struct CipherBody {
    alg: String,
    value: String,
    iv: Option<String>,
    aad: Option<String>,
    tag: Option<String>,
}

#[derive(Deserialize)]
struct SignBody {
    alg: String,
    value: String,
}

#[derive(Deserialize)]
struct VerifyBody {
    alg: String,
    digest: String,
    value: String,
}

#[derive(Deserialize)]
struct RandomBody {
    count: usize,
}

/// What one request of random bytes may ask for.
const RANDOM_COUNT_MAX: usize = 128;

/// POST /keys/{name}/{version}/encrypt, decrypt, wrapkey, unwrapkey
pub(super) fn cipher(call: &Call<'_>) -> Result<Reply, Refusal> {
    let what = match call.operation {
        Operation::Decrypt => Use::Decrypt,
        Operation::Encrypt => Use::Encrypt,
        Operation::UnwrapKey => Use::UnwrapKey,
        _ => Use::WrapKey,
    };
    let (kid, material) = permitted(call, what)?;
    let body: CipherBody = call.body()?;
    let optional = |member: &Option<String>, name| {
        member
            .as_deref()
            .map(|text| from_base64(text, name))
            .transpose()
    };
    let value = from_base64(&body.value, "value")?;
    let (iv, aad, tag) = (
        optional(&body.iv, "iv")?,
        optional(&body.aad, "aad")?,
        optional(&body.tag, "tag")?,
    );
    let input = Cipher {
        algorithm: &body.alg,
        value: &value,
        iv: iv.as_deref(),
        aad: aad.as_deref(),
        tag: tag.as_deref(),
    };
    let output = match what {
        Use::Decrypt => material.decrypt(&input),
        Use::Encrypt => material.encrypt(&input),
        Use::UnwrapKey => material.unwrap(&input),
        _ => material.wrap(&input),
    }?;
    let mut reply = json!({ "kid": kid, "value": base64url(&output.value) });
    if let Some(iv) = output.iv {
        reply["iv"] = json!(base64url(&iv));
    }
    if let Some(tag) = output.tag {
        reply["tag"] = json!(base64url(&tag));
        if let Some(aad) = body.aad {
            reply["aad"] = json!(aad);
        }
    }
    Ok(Reply::json(200, &reply))
}

/// POST /keys/{name}/{version}/sign
pub(super) fn sign(call: &Call<'_>) -> Result<Reply, Refusal> {
    let (kid, material) = permitted(call, Use::Sign)?;
    let body: SignBody = call.body()?;
    let signature = material.sign(&body.alg, &from_base64(&body.value, "value")?)?;
    let reply = json!({ "kid": kid, "value": base64url(&signature) });
    Ok(Reply::json(200, &reply))
}

/// POST /keys/{name}/{version}/verify
pub(super) fn verify(call: &Call<'_>) -> Result<Reply, Refusal> {
    let (_, material) = permitted(call, Use::Verify)?;
    let body: VerifyBody = call.body()?;
    let digest = from_base64(&body.digest, "digest")?;
    let verified = material.verify(&body.alg, &digest, &from_base64(&body.value, "value")?)?;
    Ok(Reply::json(200, &json!({ "value": verified })))
}

/// POST /rng
pub(super) fn random(call: &Call<'_>) -> Result<Reply, Refusal> {
    let RandomBody { count } = call.body()?;
    if !(1..=RANDOM_COUNT_MAX).contains(&count) {
        return Err(Refusal::bad_property("count"));
    }
    let mut bytes = vec![0; count];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Refusal::new(500, "InternalServerError", "The random generator failed."))?;
    Ok(Reply::json(200, &json!({ "value": base64url(&bytes) })))
}

/// The address and secret of the version that is asked for, when its state lets it do `what`. The secret is used
/// after the state is let go: a signature takes long enough to hold up everybody else.
fn permitted(call: &Call<'_>, what: Use) -> Result<(String, Arc<Material>), Refusal> {
    call.emulator.store.read(|vaults| {
        let vault = vaults.vault(call.vault)?;
        let version = vault.version(call.key, call.version, call.now)?;
        version.permit(what, call.now, vault.settings.wrap_when_disabled)?;
        let kid = kid(call.base_url, call.key, Some(&version.id));
        Ok((kid, Arc::clone(&version.material)))
    })
}
