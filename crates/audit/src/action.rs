//! What can happen to a key, and to what a key protects.

use crate::names::named;

named! {
    /// What happened, written as `group.verb`.
    Action {
        /// A key was created.
        KeyCreate = "key.create",
        /// A key came from outside.
        KeyImport = "key.import",
        /// A key was put into use.
        KeyActivate = "key.activate",
        /// A disabled key was enabled.
        KeyEnable = "key.enable",
        /// A key was disabled.
        KeyDisable = "key.disable",
        /// A key got a new version.
        KeyRotate = "key.rotate",
        /// A root or data key was wrapped again.
        KeyRewrap = "key.rewrap",
        /// A key expires soon.
        KeyExpireWarn = "key.expire_warn",
        /// A key expired.
        KeyExpire = "key.expire",
        /// A key was deleted, recoverably.
        KeyDelete = "key.delete",
        /// A deleted key was brought back.
        KeyRecover = "key.recover",
        /// A deleted key was removed for good.
        KeyPurge = "key.purge",
        /// A key was declared compromised.
        KeyCompromise = "key.compromise",
        /// A key was destroyed.
        KeyDestroy = "key.destroy",
        /// A key was backed up.
        KeyBackup = "key.backup",
        /// A key was restored from a backup.
        KeyRestore = "key.restore",
        /// A key was handed to another party.
        KeyRelease = "key.release",
        /// A key went from one state to another (NIST SP 800-57).
        KeyStateChanged = "key.state_changed",
        /// A vault wrapped.
        UseWrap = "use.wrap",
        /// A vault unwrapped.
        UseUnwrap = "use.unwrap",
        /// Canary unwraps that succeeded; aggregated.
        UseCanaryOk = "use.canary_ok",
        /// Canary unwraps that failed; aggregated.
        UseCanaryFail = "use.canary_fail",
        /// Someone was granted access to a key.
        AccessGranted = "access.granted",
        /// Someone lost access to a key.
        AccessRevoked = "access.revoked",
        /// Someone was refused.
        AccessDenied = "access.denied",
        /// Someone's role changed.
        AccessRoleChange = "access.role_change",
        /// A store serves.
        StateReady = "state.ready",
        /// A store serves without being able to reach its vault.
        StateDegraded = "state.degraded",
        /// A store stopped serving because of its key.
        StateInaccessible = "state.inaccessible",
        /// A store's keys were checked again by hand.
        StateRevalidated = "state.revalidated",
        /// Sessions were cut because of a key.
        StateFenced = "state.fenced",
        /// Keys were wiped from memory.
        StateZeroised = "state.zeroised",
        /// A store was moved to another key.
        ConfigKekChanged = "config.kek_changed",
        /// A store was moved to another vault.
        ConfigProviderChanged = "config.provider_changed",
        /// Layers or suite changed.
        ConfigPolicyChanged = "config.policy_changed",
        /// FIPS mode was switched.
        ConfigFipsToggle = "config.fips_toggle",
        /// An approval was asked for.
        ApprovalRequested = "approval.requested",
        /// An approval was given.
        ApprovalGranted = "approval.granted",
        /// An approval was refused.
        ApprovalRejected = "approval.rejected",
        /// A backup was made.
        BackupCreated = "backup.created",
        /// A backup was restored.
        BackupRestored = "backup.restored",
        /// A backup's keys were wrapped again.
        BackupRewrapped = "backup.rewrapped",
        /// The log was opened by a process.
        AuditStarted = "audit.started",
        /// The log was closed by a process.
        AuditStopped = "audit.stopped",
        /// Events may be missing here.
        AuditGap = "audit.gap",
        /// A checkpoint was handed out.
        AuditCheckpoint = "audit.checkpoint",
        /// The log was exported.
        AuditExport = "audit.export",
        /// The log was verified.
        AuditVerifyOk = "audit.verify_ok",
        /// The log did not verify.
        AuditVerifyFail = "audit.verify_fail",
        /// A custodian acknowledged their duties.
        CustodyAck = "custody.ack",
        /// A revocation drill was held.
        CustodyDrill = "custody.drill",
        /// A report was issued.
        CustodyReport = "custody.report",
    }
}

impl Action {
    /// The part of the name before the dot, the event's `category`.
    pub fn category(self) -> &'static str {
        self.name().split_once('.').map_or("", |(group, _)| group)
    }
}

named! {
    /// How it ended.
    Outcome {
        /// It was done.
        Success = "success",
        /// It was refused by whoever may refuse.
        Denied = "denied",
        /// It was tried and failed.
        Error = "error",
    }
}
