//! A key gets new versions, when asked and by its policy.

use super::*;

impl Run {
    pub(crate) async fn rotate(&mut self, key: &Named) -> Outcome {
        let wrapped = self.wrap(key, &[9; 32]).await?;
        let rotated = named(
            &self
                .client
                .rotate_key(&key.name, None)
                .await?
                .into_model()?,
        )?;
        self.check(rotated.version != key.version, "a new version");
        self.check(
            named(&self.get(&key.name, None).await?)?.version == rotated.version,
            "the latest is the new one",
        );
        self.check(
            self.unwrap(key, &wrapped).await? == [9; 32],
            "the old version unwraps what it wrapped",
        );
        let refusal = self.unwrap(&rotated, &wrapped).await;
        self.refused(
            "a blob of the old version",
            refusal,
            StatusCode::BadRequest,
            "BadParameter",
            None,
        )?;
        let mut versions = BTreeSet::new();
        let mut pager = self
            .client
            .list_key_properties_versions(&key.name, None)?
            .into_stream();
        while let Some(known) = pager.try_next().await? {
            versions.extend(known.resource_id()?.version);
        }
        self.check(
            versions == BTreeSet::from([key.version.clone(), rotated.version.clone()]),
            &format!("versions {versions:?}"),
        );
        self.set_rotation_policy(&key.name).await
    }

    pub(crate) async fn set_rotation_policy(&mut self, name: &str) -> Outcome {
        let policy = KeyRotationPolicy {
            attributes: Some(KeyRotationPolicyAttributes {
                expiry_time: Some("P90D".into()),
                ..Default::default()
            }),
            lifetime_actions: Some(vec![LifetimeAction {
                action: Some(LifetimeActionType {
                    type_prop: Some(KeyRotationPolicyAction::Rotate),
                }),
                trigger: Some(LifetimeActionTrigger {
                    time_after_create: Some("P30D".into()),
                    time_before_expiry: None,
                }),
            }]),
            ..Default::default()
        };
        self.client
            .update_key_rotation_policy(name, policy.try_into()?, None)
            .await?;
        let read = self
            .client
            .get_key_rotation_policy(name, None)
            .await?
            .into_model()?;
        let expiry = read.attributes.and_then(|known| known.expiry_time);
        self.check(expiry.as_deref() == Some("P90D"), &format!("{expiry:?}"));
        let rotates = read
            .lifetime_actions
            .unwrap_or_default()
            .into_iter()
            .filter_map(|action| action.trigger?.time_after_create)
            .collect::<Vec<_>>();
        self.check(rotates == ["P30D"], &format!("{rotates:?}"));
        Ok(())
    }
}
