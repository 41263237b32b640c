//! A key is switched off, deleted, brought back, purged and kept in backups.

use super::*;

impl Run {
    pub(crate) async fn set_enabled(&self, key: &Named, enabled: bool) -> Outcome<Key> {
        let parameters = UpdateKeyPropertiesParameters {
            key_attributes: Some(KeyAttributes {
                enabled: Some(enabled),
                ..Default::default()
            }),
            ..Default::default()
        };
        let options = KeyClientUpdateKeyPropertiesOptions {
            key_version: Some(key.version.clone()),
            ..Default::default()
        };
        let reply = self
            .client
            .update_key_properties(&key.name, parameters.try_into()?, Some(options))
            .await?;
        Ok(reply.into_model()?)
    }

    pub(crate) async fn disable(&mut self, key: &Named) -> Outcome {
        let wrapped = self.wrap(key, &[5; 32]).await?;
        let disabled = self.set_enabled(key, false).await?;
        self.check(
            disabled.attributes.and_then(|known| known.enabled) == Some(false),
            "disabled",
        );
        let refusal = self.unwrap(key, &wrapped).await;
        self.refused(
            "unwrapping with a disabled key",
            refusal,
            StatusCode::Forbidden,
            "Forbidden",
            Some("KeyDisabled"),
        )?;
        let refusal = self.wrap(key, &[5; 32]).await;
        self.refused(
            "wrapping with a disabled key",
            refusal,
            StatusCode::Forbidden,
            "Forbidden",
            Some("KeyDisabled"),
        )?;
        let audit = self
            .emulator
            .admin("GET", "/audit?operation=KeyUnwrap", json!(null))
            .await?;
        let last = audit["records"]
            .as_array()
            .and_then(|list| list.last())
            .cloned()
            .unwrap_or_default();
        self.check(
            last["properties"]["httpStatusCode"] == 403,
            "the refusal is in the audit log",
        );
        self.set_enabled(key, true).await?;
        self.check(
            self.unwrap(key, &wrapped).await? == [5; 32],
            "enabled again, it unwraps",
        );
        // An expired key wraps no more, and still unwraps: the service's rule, and a trap for its users.
        let path = format!(
            "/vaults/{}/keys/{}/{}",
            self.emulator.vault, key.name, key.version
        );
        self.emulator
            .admin("PATCH", &path, json!({ "exp": 1_000_000_000 }))
            .await?;
        self.check(
            self.unwrap(key, &wrapped).await? == [5; 32],
            "expired, it unwraps",
        );
        let expired = self.wrap(key, &[5; 32]).await;
        let status = expired.err().and_then(|error| error.http_status());
        self.check(
            status == Some(StatusCode::Forbidden),
            &format!("expired, it wrapped: {status:?}"),
        );
        self.emulator
            .admin("PATCH", &path, json!({ "exp": null }))
            .await?;
        Ok(())
    }

    pub(crate) async fn delete_recover_purge(&mut self) -> Outcome {
        let key = named(&self.create("gone", rsa()).await?)?;
        let deleted = self
            .client
            .delete_key(&key.name, None)
            .await?
            .into_model()?;
        let recovery_id = format!("{}/deletedkeys/{}", self.emulator.vault_url, key.name);
        self.check(
            deleted.recovery_id.as_deref() == Some(&recovery_id),
            &format!("{:?}", deleted.recovery_id),
        );
        self.check(
            deleted.scheduled_purge_date > deleted.deleted_date,
            "it will be purged later",
        );
        let refusal = self.get(&key.name, None).await;
        self.refused(
            "a deleted key",
            refusal,
            StatusCode::NotFound,
            "KeyNotFound",
            None,
        )?;
        let refusal = self
            .client
            .create_key(&key.name, rsa().try_into()?, None)
            .await;
        self.refused(
            "a name that a deleted key has",
            refusal,
            StatusCode::Conflict,
            "Conflict",
            Some("ObjectIsDeletedButRecoverable"),
        )?;
        let recovered = self
            .client
            .recover_deleted_key(&key.name, None)
            .await?
            .into_model()?;
        self.check(
            named(&recovered)?.version == key.version,
            "recovered with its version",
        );
        self.client.delete_key(&key.name, None).await?;
        self.client.purge_deleted_key(&key.name, None).await?;
        let refusal = self.client.get_deleted_key(&key.name, None).await;
        self.refused(
            "a purged key",
            refusal,
            StatusCode::NotFound,
            "KeyNotFound",
            None,
        )?;
        let next = named(&self.create("gone", rsa()).await?)?;
        self.check(next.version != key.version, "the name is free");
        Ok(())
    }

    pub(crate) async fn backup_and_restore(&mut self) -> Outcome {
        let key = named(&self.create("backup", rsa()).await?)?;
        let wrapped = self.wrap(&key, &[3; 32]).await?;
        let blob = self
            .client
            .backup_key(&key.name, None)
            .await?
            .into_model()?
            .value;
        let parameters = RestoreKeyParameters { key_backup: blob };
        let refusal = self
            .client
            .restore_key(parameters.clone().try_into()?, None)
            .await;
        let status = refusal.err().and_then(|error| error.http_status());
        self.check(
            status == Some(StatusCode::Conflict),
            "a backup does not replace its key",
        );
        self.client.delete_key(&key.name, None).await?;
        self.client.purge_deleted_key(&key.name, None).await?;
        let restored = self
            .client
            .restore_key(parameters.try_into()?, None)
            .await?
            .into_model()?;
        self.check(
            named(&restored)?.version == key.version,
            "the version comes back under its id",
        );
        self.check(self.unwrap(&key, &wrapped).await? == [3; 32], "and unwraps");
        Ok(())
    }
}
