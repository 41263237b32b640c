//! What is wrong with a key before anything hangs on it.

use cofferdam_audit::UnixTime;

use crate::{KeyDescription, KeyState};

/// One thing that is wrong, or soon will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// A word for scripts, which stays: `expired`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

impl Finding {
    /// Something that works, and may cost the data one day.
    #[must_use]
    pub fn warning(code: &'static str, what: String, fix: &str) -> Finding {
        Finding {
            code,
            severity: Severity::Warning,
            what,
            fix: fix.to_owned(),
        }
    }

    /// A key that cannot be used, or must not be.
    #[must_use]
    pub fn error(code: &'static str, what: String, fix: &str) -> Finding {
        Finding {
            severity: Severity::Error,
            ..Finding::warning(code, what, fix)
        }
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It works, and may cost the data one day.
    Warning,
    /// The key cannot be used, or must not be.
    Error,
}

/// Clocks that are further apart than this many seconds do not judge dates: the keys of a machine whose clock is wrong are
/// not expired.
pub const CLOCK_SKEW_MAX_S: u64 = 300;

/// Looks at what a vault says about a key. That the key may really be used, only a wrap and an unwrap prove.
///
/// `now` is the caller's clock. What the vault does not say is not judged.
pub fn preflight(key: &KeyDescription, now: UnixTime) -> Vec<Finding> {
    let mut findings = Vec::new();
    if key.state != KeyState::Enabled {
        findings.push(Finding::error(
            "disabled",
            "the key is disabled".to_owned(),
            "enable it",
        ));
    } else if key.latest.is_none() {
        findings.push(Finding::error(
            "no-usable-version",
            "no version of the key can wrap".to_owned(),
            "enable a version, or add one",
        ));
    }
    check_dates(key, now, &mut findings);
    check_operations(key, &mut findings);
    check_recovery(key, &mut findings);
    check_strength(key, &mut findings);
    findings
}

fn check_dates(key: &KeyDescription, now: UnixTime, findings: &mut Vec<Finding>) {
    if let Some(vault_time) = key.vault_time {
        let skew = vault_time.seconds.abs_diff(now.seconds);
        if skew > CLOCK_SKEW_MAX_S {
            findings.push(Finding::error(
                "clock-skew",
                format!(
                    "this machine's clock and the vault's are {skew} s apart, so the key's dates are not judged"
                ),
                "synchronise the clock of this machine",
            ));
            return;
        }
    }
    if let Some(not_before) = key.not_before.filter(|&not_before| not_before > now) {
        findings.push(Finding::error(
            "not-yet-valid",
            format!("the key may not be used before {not_before}"),
            "wait, or move its activation date",
        ));
    }
    match key.expires_at {
        Some(expires_at) if expires_at <= now => findings.push(Finding::error(
            "expired",
            format!("the key expired at {expires_at}"),
            "extend its expiry first, then rotate it",
        )),
        Some(expires_at) if expires_at.seconds - now.seconds < EXPIRY_WARNING_S => {
            findings.push(Finding::warning(
                "expires-soon",
                format!("the key expires at {expires_at}, and stores under it then stop"),
                "rotate the key and run `cofferdam rotate kek`, or extend its expiry",
            ));
        }
        _ => {}
    }
}

fn check_operations(key: &KeyDescription, findings: &mut Vec<Finding>) {
    let Some(operations) = &key.operations else {
        return;
    };
    for needed in ["wrapKey", "unwrapKey"] {
        if !operations.iter().any(|operation| operation == needed) {
            findings.push(Finding::error(
                "operation-missing",
                format!("the key does not permit {needed}"),
                "add it to the key's permitted operations",
            ));
        }
    }
}

/// Azure Database for PostgreSQL asks for the same three: soft delete, purge protection, 90 days.
fn check_recovery(key: &KeyDescription, findings: &mut Vec<Finding>) {
    let Some(recovery) = key.recovery else {
        return;
    };
    if !recovery.soft_delete {
        findings.push(Finding::error(
            "no-soft-delete",
            "a deleted key is gone at once, and with it every store under it".to_owned(),
            "enable soft delete on the vault",
        ));
        return;
    }
    if !recovery.purge_protection {
        findings.push(Finding::error(
            "no-purge-protection",
            "a deleted key can be purged, and with it every store under it".to_owned(),
            "enable purge protection on the vault",
        ));
    }
    match recovery.days {
        Some(days) if days < RETENTION_DAYS_MIN => findings.push(Finding::error(
            "retention-short",
            format!("a deleted key can be recovered for {days} days only"),
            "set the vault's retention to 90 days",
        )),
        Some(days) if days < RETENTION_DAYS_GOOD => findings.push(Finding::warning(
            "retention-short",
            format!("a deleted key can be recovered for {days} days"),
            "set the vault's retention to 90 days",
        )),
        _ => {}
    }
}

/// PCI DSS 3.6.1 wants key-encryption keys that are at least as strong as what they protect, which is AES-256 here.
fn check_strength(key: &KeyDescription, findings: &mut Vec<Finding>) {
    if key.strength_bits < STRENGTH_BITS_MIN {
        findings.push(Finding::error(
            "too-weak",
            format!("{} has a strength of {} bits", key.kind, key.strength_bits),
            "use an AES-256 key, or RSA of at least 3072 bits",
        ));
    } else if key.strength_bits < STRENGTH_BITS_GOOD {
        findings.push(Finding::warning(
            "weaker-than-data-keys",
            format!(
                "{} has a strength of {} bits and protects keys of 256",
                key.kind, key.strength_bits
            ),
            "use an AES-256 key where the vault has them; among RSA keys 4096 bits are the strongest",
        ));
    }
}

const EXPIRY_WARNING_S: u64 = 30 * 24 * 3600;
const RETENTION_DAYS_MIN: u16 = 7;
const RETENTION_DAYS_GOOD: u16 = 90;
/// NIST SP 800-57 part 1 table 4: 112 bits are the least that may protect anything.
const STRENGTH_BITS_MIN: u16 = 112;
const STRENGTH_BITS_GOOD: u16 = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recovery;

    const NOW: UnixTime = at(1_800_000_000);

    const fn at(seconds: u64) -> UnixTime {
        UnixTime { seconds, nanos: 0 }
    }

    fn good() -> KeyDescription {
        KeyDescription {
            key: "https://shop.vault.azure.net/keys/customer"
                .parse()
                .unwrap(),
            kind: "AES-256".to_owned(),
            strength_bits: 256,
            state: KeyState::Enabled,
            created_at: Some(at(1_700_000_000)),
            version_count: 1,
            latest: Some("1".parse().unwrap()),
            not_before: Some(NOW),
            expires_at: Some(at(NOW.seconds + EXPIRY_WARNING_S)),
            recovery: Some(Recovery {
                soft_delete: true,
                purge_protection: true,
                days: Some(90),
            }),
            operations: Some(vec!["wrapKey".to_owned(), "unwrapKey".to_owned()]),
            vault_time: Some(at(NOW.seconds + CLOCK_SKEW_MAX_S)),
        }
    }

    fn codes(change: impl FnOnce(&mut KeyDescription)) -> Vec<(&'static str, Severity)> {
        let mut key = good();
        change(&mut key);
        preflight(&key, NOW)
            .iter()
            .map(|finding| (finding.code, finding.severity))
            .collect()
    }

    #[test]
    fn a_good_key_has_no_findings_and_silence_is_not_judged() {
        assert_eq!(codes(|_| {}), []);
        let silent = |key: &mut KeyDescription| {
            key.not_before = None;
            key.expires_at = None;
            key.recovery = None;
            key.operations = None;
            key.vault_time = None;
        };
        assert_eq!(codes(silent), []);
    }

    #[test]
    fn each_fault_has_its_finding() {
        use Severity::{Error, Warning};
        assert_eq!(
            codes(|key| key.state = KeyState::Disabled),
            [("disabled", Error)]
        );
        assert_eq!(
            codes(|key| key.latest = None),
            [("no-usable-version", Error)]
        );
        assert_eq!(
            codes(|key| key.not_before = Some(at(NOW.seconds + 1))),
            [("not-yet-valid", Error)]
        );
        assert_eq!(
            codes(|key| key.expires_at = Some(NOW)),
            [("expired", Error)]
        );
        assert_eq!(
            codes(|key| key.expires_at = Some(at(NOW.seconds + 1))),
            [("expires-soon", Warning)]
        );
        assert_eq!(
            codes(|key| key.operations = Some(vec!["wrapKey".to_owned()])),
            [("operation-missing", Error)]
        );
        let recovery = |soft_delete, purge_protection, days| {
            codes(|key| {
                key.recovery = Some(Recovery {
                    soft_delete,
                    purge_protection,
                    days,
                })
            })
        };
        assert_eq!(recovery(false, false, None), [("no-soft-delete", Error)]);
        assert_eq!(
            recovery(true, false, Some(90)),
            [("no-purge-protection", Error)]
        );
        assert_eq!(recovery(true, true, Some(6)), [("retention-short", Error)]);
        assert_eq!(
            recovery(true, true, Some(7)),
            [("retention-short", Warning)]
        );
        assert_eq!(
            recovery(true, true, Some(89)),
            [("retention-short", Warning)]
        );
        assert_eq!(codes(|key| key.strength_bits = 111), [("too-weak", Error)]);
        assert_eq!(
            codes(|key| key.strength_bits = 128),
            [("weaker-than-data-keys", Warning)]
        );
    }

    #[test]
    fn clocks_that_disagree_judge_no_dates() {
        let skewed = |seconds| {
            codes(|key| {
                key.vault_time = Some(at(seconds));
                key.expires_at = Some(at(1));
            })
        };
        let refused = [("clock-skew", Severity::Error)];
        assert_eq!(skewed(NOW.seconds + CLOCK_SKEW_MAX_S + 1), refused);
        assert_eq!(skewed(NOW.seconds - CLOCK_SKEW_MAX_S - 1), refused);
        assert_eq!(skewed(NOW.seconds), [("expired", Severity::Error)]);
    }
}
