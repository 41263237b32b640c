//! Which operation a request asks for, and what every operation goes through before it is carried out: the version
//! of the API, the vault, the caller's right.

mod api_version;
mod backups;
mod bundle;
mod crypto;
mod deleted;
mod keys;
mod operation;
mod page;
mod policies;
mod release;
mod update;

use serde::de::DeserializeOwned;

use crate::error::Refusal;
use crate::faults::KeyCost;
use crate::material::Kind;
use crate::server::Emulator;
use crate::tokens::Caller;
use crate::vault::Settings;
use crate::wire::{Reply, Request};
pub use api_version::ApiVersion;
pub use operation::{Operation, Route};

/// An operation with everything it needs to know.
pub(crate) struct Call<'a> {
    pub(crate) emulator: &'a Emulator,
    pub(crate) request: &'a Request,
    pub(crate) operation: Operation,
    pub(crate) vault: &'a str,
    /// The key's name; empty for operations on the whole vault.
    pub(crate) key: &'a str,
    pub(crate) version: Option<&'a str>,
    pub(crate) api: ApiVersion,
    /// The beginning of every address in replies: scheme, host and port as the client wrote them.
    pub(crate) base_url: &'a str,
    pub(crate) now: i64,
}

impl Call<'_> {
    /// The body in the operation's form.
    ///
    /// # Errors
    /// A body that is not JSON or has another form.
    fn body<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        serde_json::from_slice(&self.request.body).map_err(|error| {
            Refusal::bad_parameter(format!("The body is not what the operation takes: {error}"))
        })
    }

    /// The settings of the vault.
    fn settings(&self) -> Result<Settings, Refusal> {
        self.emulator
            .store
            .read(|vaults| vaults.vault(self.vault).map(|vault| vault.settings.clone()))
    }
}

/// Carries out what an authenticated caller asks for.
///
/// # Errors
/// Everything that the service refuses.
pub(crate) fn carry_out(
    emulator: &Emulator,
    request: &Request,
    route: &Route,
    vault: &str,
    caller: &Caller,
) -> Result<Reply, Refusal> {
    let api = ApiVersion::of(request)?;
    let now = emulator.clock.now();
    let base_url = format!("https://{}", request.host());
    emulator
        .store
        .read(|vaults| vaults.vault(vault).map(|_| ()))?;
    let key = route.key.as_deref();
    emulator
        .access
        .allowed(
            caller,
            vault,
            key,
            route.operation.action(),
            request.peer.ip(),
            now,
        )
        .map_err(|denied| Refusal::forbidden(denied.inner_code, denied.message))?;
    if let Some(key) = key {
        check_name(key)?;
    }
    throttle(emulator, request, route, vault, now)?;
    api.offers(route.operation)?;
    let call = Call {
        emulator,
        request,
        operation: route.operation,
        vault,
        key: key.unwrap_or_default(),
        version: route.version.as_deref(),
        api,
        base_url: &base_url,
        now,
    };
    match route.operation {
        Operation::Attestation => release::attestation(&call),
        Operation::Backup => backups::backup(&call),
        Operation::Create => keys::create(&call),
        Operation::Decrypt | Operation::Encrypt | Operation::UnwrapKey | Operation::WrapKey => {
            crypto::cipher(&call)
        }
        Operation::Delete => deleted::delete(&call),
        Operation::Get => keys::get(&call),
        Operation::GetDeleted => deleted::get(&call),
        Operation::GetRotationPolicy => policies::get(&call),
        Operation::Import => keys::import(&call),
        Operation::List => keys::list(&call),
        Operation::ListDeleted => deleted::list(&call),
        Operation::ListVersions => keys::list_versions(&call),
        Operation::Purge => deleted::purge(&call),
        Operation::Random => crypto::random(&call),
        Operation::Recover => deleted::recover(&call),
        Operation::Release => release::release(&call),
        Operation::Restore => backups::restore(&call),
        Operation::Rotate => policies::rotate(&call),
        Operation::SetRotationPolicy => policies::set(&call),
        Operation::Sign => crypto::sign(&call),
        Operation::Update => update::update(&call),
        Operation::Verify => crypto::verify(&call),
    }
}

/// Counts the request against the limits of the service, when they are switched on.
fn throttle(
    emulator: &Emulator,
    request: &Request,
    route: &Route,
    vault: &str,
    now: i64,
) -> Result<(), Refusal> {
    if !emulator.faults.throttle.is_on() {
        return Ok(());
    }
    let creates = matches!(route.operation, Operation::Create | Operation::Import);
    let rsa_bits = |kind| match kind {
        Kind::Rsa { bits } => bits,
        _ => 0,
    };
    let held = emulator.store.read(|vaults| {
        let version =
            vaults
                .vault(vault)
                .ok()?
                .version(route.key.as_deref()?, route.version.as_deref(), now);
        version
            .map(|version| (version.hsm, rsa_bits(version.material.kind())))
            .ok()
    });
    // A key that is not there yet says in its body what it will be.
    let will_be_hsm = || {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let kty = body["kty"].as_str().or(body["key"]["kty"].as_str());
        kty.is_some_and(|kty| kty.ends_with("-HSM"))
    };
    let (hsm, rsa_bits) = match (creates, held) {
        (false, Some(held)) => held,
        _ => (will_be_hsm(), 0),
    };
    let cost = KeyCost {
        hsm,
        creates,
        rsa_bits,
    };
    emulator
        .faults
        .throttle
        .admit(vault, cost, emulator.clock.now_ms())
        .map_err(Refusal::throttled)
}

/// Names are `^[0-9a-zA-Z-]{1,127}$`.
fn check_name(name: &str) -> Result<(), Refusal> {
    let fits = (1..=127).contains(&name.len());
    if fits
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        return Ok(());
    }
    Err(Refusal::bad_parameter(format!(
        "The request URI contains an invalid name: {name}. A name has 1 to 127 letters, digits and hyphens."
    )))
}
