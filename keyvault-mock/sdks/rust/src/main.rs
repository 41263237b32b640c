//! The Azure SDK for Rust against keyvault-mock, with the challenge verification that it does by default.
//!
//! Reads the environment that `keyvault-mock --print-env` prints, and `SDK_VAULT_URL`, an address of the form
//! `https://NAME.vault.localhost:PORT`. Ends with the number of checks made; the first failure ends it.

mod emulator;
mod lifecycle;
mod rotation;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    UnparsedPublicKey,
};
use azure_core::error::{ErrorKind, ErrorResponse};
use azure_core::http::{ClientOptions, RetryOptions, StatusCode, Transport};
use azure_security_keyvault_keys::models::{
    CreateKeyParameters, CurveName, EncryptionAlgorithm, ImportKeyParameters, JsonWebKey, Key,
    KeyAttributes, KeyClientGetKeyOptions, KeyClientListKeyPropertiesOptions,
    KeyClientUpdateKeyPropertiesOptions, KeyClientWrapKeyOptions, KeyOperationParameters,
    KeyRotationPolicy, KeyRotationPolicyAction, KeyRotationPolicyAttributes, KeyType,
    LifetimeAction, LifetimeActionTrigger, LifetimeActionType, RestoreKeyParameters,
    SignParameters, SignatureAlgorithm, UpdateKeyPropertiesParameters,
};
use azure_security_keyvault_keys::{KeyClient, KeyClientOptions, ResourceExt};
use emulator::Emulator;
use futures::TryStreamExt;
use serde_json::json;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let emulator = Arc::new(Emulator::from_environment()?);
    let mut run = Run {
        client: client(&emulator, RetryOptions::none())?,
        prefix: format!("rs-{:08x}", std::process::id()),
        emulator,
        made: 0,
    };
    let key = run.create_and_read().await?;
    run.wrap_and_unwrap(&key).await?;
    run.import_a_key().await?;
    run.rotate(&key).await?;
    run.disable(&key).await?;
    run.delete_recover_purge().await?;
    run.backup_and_restore().await?;
    run.pages().await?;
    run.rights_and_faults(&key).await?;
    println!("rust: {} checks", run.made);
    Ok(())
}

fn client(emulator: &Arc<Emulator>, retry: RetryOptions) -> Outcome<KeyClient> {
    let options = KeyClientOptions {
        client_options: ClientOptions {
            retry,
            transport: Some(Transport::new(Arc::new(emulator.http.clone()))),
            ..Default::default()
        },
        ..Default::default()
    };
    Ok(KeyClient::new(
        &emulator.vault_url,
        emulator.clone(),
        Some(options),
    )?)
}

struct Run {
    client: KeyClient,
    emulator: Arc<Emulator>,
    prefix: String,
    made: usize,
}

/// A version of a key, by its two names.
struct Named {
    name: String,
    version: String,
}

impl Run {
    fn check(&mut self, holds: bool, what: &str) {
        self.made += 1;
        assert!(holds, "{what}");
    }

    /// The result has to be a refusal with this status, code and inner code.
    fn refused<T>(
        &mut self,
        what: &str,
        result: azure_core::Result<T>,
        status: StatusCode,
        code: &str,
        inner: Option<&str>,
    ) -> Outcome {
        let Err(error) = result else {
            return Err(format!("{what} was not refused").into());
        };
        match error.kind() {
            ErrorKind::HttpResponse { status: found, .. } => {
                self.check(*found == status, &format!("{what}: status {found}"));
            }
            other => return Err(format!("{what}: {other}: {error}").into()),
        }
        // Not `error_code` of the error itself: the SDK gives the status there when the message has line ends, as the
        // service's denials do.
        let detail = ErrorResponse::try_from(error)?.error.ok_or("no error")?;
        self.check(
            detail.code.as_deref() == Some(code),
            &format!("{what}: code {:?}", detail.code),
        );
        let found = detail.inner_error.and_then(|inner| inner.code);
        self.check(
            found.as_deref() == inner,
            &format!("{what}: inner code {found:?}"),
        );
        Ok(())
    }

    fn name(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.prefix)
    }

    async fn create(&self, suffix: &str, parameters: CreateKeyParameters) -> Outcome<Key> {
        let reply = self
            .client
            .create_key(&self.name(suffix), parameters.try_into()?, None)
            .await?;
        Ok(reply.into_model()?)
    }

    async fn wrap(&self, key: &Named, dek: &[u8]) -> azure_core::Result<Vec<u8>> {
        let options = KeyClientWrapKeyOptions {
            key_version: Some(key.version.clone()),
            ..Default::default()
        };
        let reply = self
            .client
            .wrap_key(&key.name, operation(dek).try_into()?, Some(options))
            .await?
            .into_model()?;
        Ok(reply.result.unwrap_or_default())
    }

    async fn unwrap(&self, key: &Named, wrapped: &[u8]) -> azure_core::Result<Vec<u8>> {
        let reply = self
            .client
            .unwrap_key(
                &key.name,
                &key.version,
                operation(wrapped).try_into()?,
                None,
            )
            .await?
            .into_model()?;
        Ok(reply.result.unwrap_or_default())
    }

    async fn create_and_read(&mut self) -> Outcome<Named> {
        let mut parameters = rsa();
        parameters.tags = Some(HashMap::from([("owner".into(), "tests".into())]));
        let key = self.create("rsa", parameters).await?;
        let id = key.resource_id()?;
        let named = named(&key)?;
        self.check(
            id.vault_url.trim_end_matches('/') == self.emulator.vault_url,
            &format!("vault {}", id.vault_url),
        );
        self.check(
            named.version.len() == 32,
            &format!("version {}", named.version),
        );
        let modulus = key
            .key
            .as_ref()
            .and_then(|jwk| jwk.n.clone())
            .unwrap_or_default();
        self.check(modulus.len() == 256, "an RSA key of 2048 bits");
        let attributes = key.attributes.ok_or("attributes")?;
        self.check(attributes.enabled == Some(true), "enabled");
        self.check(attributes.recoverable_days == Some(90), "90 days");
        let level = attributes.recovery_level.map(|level| level.to_string());
        self.check(
            level.as_deref() == Some("Recoverable+Purgeable"),
            &format!("{level:?}"),
        );
        let tags = key.tags.unwrap_or_default();
        self.check(
            tags.get("owner").map(String::as_str) == Some("tests"),
            "tagged",
        );
        let read = self.get(&named.name, None).await?;
        self.check(
            read.resource_id()?.version.as_deref() == Some(&named.version),
            "the latest",
        );
        let missing = self.client.get_key("nowhere", None).await;
        self.refused(
            "a key that is not there",
            missing,
            StatusCode::NotFound,
            "KeyNotFound",
            None,
        )?;
        Ok(named)
    }

    async fn get(&self, name: &str, version: Option<&str>) -> azure_core::Result<Key> {
        let options = KeyClientGetKeyOptions {
            key_version: version.map(str::to_owned),
            ..Default::default()
        };
        self.client.get_key(name, Some(options)).await?.into_model()
    }

    async fn wrap_and_unwrap(&mut self, key: &Named) -> Outcome {
        let dek = [7; 32];
        let wrapped = self.wrap(key, &dek).await?;
        self.check(wrapped.len() == 256, "wrapped there");
        self.check(self.unwrap(key, &wrapped).await? == dek, "unwrapped there");
        // Without a version the SDK asks for `/keys/NAME//unwrapkey`, which means the latest one.
        let latest = Named {
            name: key.name.clone(),
            version: String::new(),
        };
        self.check(
            self.unwrap(&latest, &wrapped).await? == dek,
            "by the latest version",
        );
        let unversioned = self
            .client
            .wrap_key(&key.name, operation(&dek).try_into()?, None)
            .await?
            .into_model()?;
        let kid = unversioned.kid.unwrap_or_default();
        self.check(kid.ends_with(&key.version), &format!("wrapped by {kid}"));
        let mut altered = wrapped.clone();
        altered[10] ^= 1;
        let refusal = self.unwrap(key, &altered).await;
        self.refused(
            "an altered blob",
            refusal,
            StatusCode::BadRequest,
            "BadParameter",
            None,
        )?;
        let encrypted = self
            .client
            .encrypt(&key.name, operation(b"plain").try_into()?, None)
            .await?
            .into_model()?
            .result
            .unwrap_or_default();
        let decrypted = self
            .client
            .decrypt(
                &key.name,
                &key.version,
                operation(&encrypted).try_into()?,
                None,
            )
            .await?
            .into_model()?
            .result;
        self.check(decrypted.as_deref() == Some(b"plain"), "encrypt, decrypt");
        Ok(())
    }

    async fn import_a_key(&mut self) -> Outcome {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let private: EcPrivateKeyBin<'static> = pair.private_key().as_be_bytes()?;
        // An uncompressed point: 4, x, y.
        let point = pair.public_key().as_ref().to_vec();
        let jwk = JsonWebKey {
            kty: Some(KeyType::Ec),
            crv: Some(CurveName::P256),
            key_ops: Some(vec!["sign".into(), "verify".into()]),
            x: Some(point[1..33].to_vec()),
            y: Some(point[33..].to_vec()),
            d: Some(private.as_ref().to_vec()),
            ..Default::default()
        };
        let parameters = ImportKeyParameters {
            key: Some(jwk),
            ..Default::default()
        };
        let name = self.name("imported");
        let key = self
            .client
            .import_key(&name, parameters.try_into()?, None)
            .await?
            .into_model()?;
        let public = key.key.ok_or("key")?;
        self.check(
            public.d.is_none() && public.x.as_deref() == Some(&point[1..33]),
            "the public half and nothing else comes back",
        );
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"message");
        let parameters = SignParameters {
            algorithm: Some(SignatureAlgorithm::Es256),
            value: Some(digest.as_ref().to_vec()),
        };
        let signature = self
            .client
            .sign(&name, parameters.try_into()?, None)
            .await?
            .into_model()?
            .result
            .unwrap_or_default();
        let verifies = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point)
            .verify(b"message", &signature)
            .is_ok();
        self.check(verifies, "signed there, verified here");
        Ok(())
    }

    async fn pages(&mut self) -> Outcome {
        let mut names = BTreeSet::new();
        for index in 0..7 {
            let suffix = format!("page-{index}");
            let parameters = CreateKeyParameters {
                kty: Some(KeyType::Ec),
                curve: Some(CurveName::P256),
                ..Default::default()
            };
            self.create(&suffix, parameters).await?;
            names.insert(self.name(&suffix));
        }
        let options = KeyClientListKeyPropertiesOptions {
            maxresults: Some(3),
            ..Default::default()
        };
        let mut pages = self.client.list_key_properties(Some(options))?.into_pages();
        let (mut seen, mut page_count) = (BTreeSet::new(), 0);
        while let Some(page) = pages.try_next().await? {
            let page = page.into_model()?.value;
            page_count += 1;
            self.check(page.len() <= 3, &format!("a page of {}", page.len()));
            for known in page {
                let name = known.resource_id()?.name;
                self.check(seen.insert(name.clone()), &format!("{name} twice"));
            }
        }
        self.check(
            page_count >= 3 && names.is_subset(&seen),
            &format!("{page_count} pages"),
        );
        Ok(())
    }

    async fn rights_and_faults(&mut self, key: &Named) -> Outcome {
        let emulator = self.emulator.clone();
        let vault = format!("/vaults/{}", emulator.vault);
        let firewall = format!("{vault}/firewall");
        emulator
            .admin("PUT", &firewall, json!({ "default_allow": false }))
            .await?;
        let refusal = self.get(&key.name, None).await;
        self.refused(
            "an address that is kept out",
            refusal,
            StatusCode::Forbidden,
            "Forbidden",
            Some("ForbiddenByFirewall"),
        )?;
        emulator
            .admin("PUT", &firewall, json!({ "default_allow": true }))
            .await?;
        let model = format!("{vault}/model");
        emulator
            .admin("PUT", &model, json!({ "model": "policy" }))
            .await?;
        let refusal = self.get(&key.name, None).await;
        self.refused(
            "nobody has a policy",
            refusal,
            StatusCode::Forbidden,
            "Forbidden",
            Some("ForbiddenByPolicy"),
        )?;
        emulator
            .admin("PUT", &model, json!({ "model": "rbac" }))
            .await?;
        let condition = json!({ "key": key.name });
        let throttled = json!({ "match": condition, "fault": { "kind": "status", "status": 429, "retry_after_s": 1 }, "count": 1 });
        emulator.admin("POST", "/faults", throttled).await?;
        let refusal = self.get(&key.name, None).await;
        self.refused(
            "throttled",
            refusal,
            StatusCode::TooManyRequests,
            "Throttled",
            None,
        )?;
        let reset = json!({ "match": condition, "fault": { "kind": "reset" }, "count": 1 });
        emulator.admin("POST", "/faults", reset).await?;
        let refusal = self.get(&key.name, None).await;
        let kind = refusal.err().map(|error| error.kind().clone());
        self.check(
            matches!(kind, Some(ErrorKind::Io | ErrorKind::Connection)),
            &format!("reset: {kind:?}"),
        );
        let patient = client(&emulator, RetryOptions::default())?;
        let unavailable =
            json!({ "match": condition, "fault": { "kind": "status", "status": 503 }, "count": 1 });
        emulator.admin("POST", "/faults", unavailable).await?;
        self.check(
            patient.get_key(&key.name, None).await.is_ok(),
            "an SDK that retries gets over a 503",
        );
        emulator.admin("DELETE", "/faults", json!(null)).await?;
        Ok(())
    }
}

fn rsa() -> CreateKeyParameters {
    CreateKeyParameters {
        kty: Some(KeyType::Rsa),
        key_size: Some(2048),
        ..Default::default()
    }
}

fn operation(value: &[u8]) -> KeyOperationParameters {
    KeyOperationParameters {
        algorithm: Some(EncryptionAlgorithm::RsaOaep256),
        value: Some(value.to_vec()),
        ..Default::default()
    }
}

fn named(key: &Key) -> Outcome<Named> {
    let id = key.resource_id()?;
    Ok(Named {
        name: id.name,
        version: id.version.ok_or("a version")?,
    })
}
