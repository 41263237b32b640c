//! Azure's built-in roles for keys, and what they contain.

use serde::{Deserialize, Serialize};

use super::Action;

/// A built-in role of Azure that has to do with keys
/// (<https://learn.microsoft.com/azure/role-based-access-control/built-in-roles/security>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Everything on keys.
    #[serde(rename = "Key Vault Administrator")]
    Administrator,
    /// Everything on keys and their rotation policies.
    #[serde(rename = "Key Vault Crypto Officer")]
    CryptoOfficer,
    /// Read, wrap and unwrap: what a database at rest is to have.
    #[serde(rename = "Key Vault Crypto Service Encryption User")]
    CryptoServiceEncryptionUser,
    /// Release exportable keys.
    #[serde(rename = "Key Vault Crypto Service Release User")]
    CryptoServiceReleaseUser,
    /// Use keys, change their attributes and back them up.
    #[serde(rename = "Key Vault Crypto User")]
    CryptoUser,
    /// Purge deleted vaults. It grants nothing on keys.
    #[serde(rename = "Key Vault Purge Operator")]
    PurgeOperator,
    /// Read what is no secret.
    #[serde(rename = "Key Vault Reader")]
    Reader,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 7] = [
        Role::Administrator,
        Role::CryptoOfficer,
        Role::CryptoServiceEncryptionUser,
        Role::CryptoServiceReleaseUser,
        Role::CryptoUser,
        Role::PurgeOperator,
        Role::Reader,
    ];

    /// Its name in Azure.
    pub fn name(self) -> &'static str {
        match self {
            Role::Administrator => "Key Vault Administrator",
            Role::CryptoOfficer => "Key Vault Crypto Officer",
            Role::CryptoServiceEncryptionUser => "Key Vault Crypto Service Encryption User",
            Role::CryptoServiceReleaseUser => "Key Vault Crypto Service Release User",
            Role::CryptoUser => "Key Vault Crypto User",
            Role::PurgeOperator => "Key Vault Purge Operator",
            Role::Reader => "Key Vault Reader",
        }
    }

    /// The id of its definition, the same in every tenant.
    pub fn definition_id(self) -> &'static str {
        match self {
            Role::Administrator => "00482a5a-887f-4fb3-b363-3b7fe8e74483",
            Role::CryptoOfficer => "14b46e9e-c2b7-41b4-b07b-48a6ebf60603",
            Role::CryptoServiceEncryptionUser => "e147488a-f6f5-4113-8e2d-b22465e65bf6",
            Role::CryptoServiceReleaseUser => "08bbd89e-9f13-488c-ac41-acfcb10c90ab",
            Role::CryptoUser => "12338af0-0e69-4776-bea7-57ae8d297424",
            Role::PurgeOperator => "a68e7c17-0ab2-4c09-9a58-125dae29748c",
            Role::Reader => "21090545-7ca7-4776-b22c-e363652d74d2",
        }
    }

    /// The role with this name or definition id; the leading `Key Vault` may be left out.
    pub fn named(text: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| {
            let short = role
                .name()
                .strip_prefix("Key Vault ")
                .unwrap_or(role.name());
            [role.name(), short, role.definition_id()]
                .iter()
                .any(|name| name.eq_ignore_ascii_case(text))
        })
    }

    /// Whether the role grants the action.
    pub fn grants(self, action: Action) -> bool {
        self.data_actions()
            .iter()
            .any(|pattern| matches(pattern, action.data_action()))
    }

    /// Whether the role may purge deleted vaults, a management action and no data action.
    pub fn purges_vaults(self) -> bool {
        self == Role::PurgeOperator
    }

    /// Its data actions on keys, as its definition lists them. A `*` stands for anything.
    pub fn data_actions(self) -> &'static [&'static str] {
        match self {
            Role::Administrator => &["Microsoft.KeyVault/vaults/*"],
            Role::CryptoOfficer => &[
                "Microsoft.KeyVault/vaults/keys/*",
                "Microsoft.KeyVault/vaults/keyrotationpolicies/*",
            ],
            Role::CryptoServiceEncryptionUser => &[
                "Microsoft.KeyVault/vaults/keys/read",
                "Microsoft.KeyVault/vaults/keys/wrap/action",
                "Microsoft.KeyVault/vaults/keys/unwrap/action",
            ],
            Role::CryptoServiceReleaseUser => &["Microsoft.KeyVault/vaults/keys/release/action"],
            Role::CryptoUser => &[
                "Microsoft.KeyVault/vaults/keys/read",
                "Microsoft.KeyVault/vaults/keys/update/action",
                "Microsoft.KeyVault/vaults/keys/backup/action",
                "Microsoft.KeyVault/vaults/keys/encrypt/action",
                "Microsoft.KeyVault/vaults/keys/decrypt/action",
                "Microsoft.KeyVault/vaults/keys/wrap/action",
                "Microsoft.KeyVault/vaults/keys/unwrap/action",
                "Microsoft.KeyVault/vaults/keys/sign/action",
                "Microsoft.KeyVault/vaults/keys/verify/action",
            ],
            Role::PurgeOperator => &[],
            Role::Reader => &["Microsoft.KeyVault/vaults/*/read"],
        }
    }
}

/// Whether a pattern with at most one `*` matches.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => {
            text.len() >= before.len() + after.len()
                && text.starts_with(before)
                && text.ends_with(after)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(role: Role) -> Vec<Action> {
        Action::ALL
            .into_iter()
            .filter(|action| role.grants(*action))
            .collect()
    }

    /// Goal: each role grants what Microsoft's table gives it and nothing else.
    #[test]
    fn roles_grant_what_azure_documents() {
        use Action::*;
        assert_eq!(granted(Role::Administrator), Action::ALL);
        assert_eq!(granted(Role::CryptoOfficer), Action::ALL);
        assert_eq!(
            granted(Role::CryptoServiceEncryptionUser),
            [Get, List, Random, UnwrapKey, WrapKey]
        );
        assert_eq!(granted(Role::CryptoServiceReleaseUser), [Release]);
        assert_eq!(
            granted(Role::CryptoUser),
            [
                Backup, Decrypt, Encrypt, Get, List, Random, Sign, UnwrapKey, Update, Verify,
                WrapKey
            ]
        );
        assert_eq!(granted(Role::PurgeOperator), []);
        assert_eq!(
            granted(Role::Reader),
            [Get, GetRotationPolicy, List, Random]
        );
    }

    /// Goal: a role is found by any of its names, and by no other.
    #[test]
    fn roles_are_found_by_name_and_by_id() {
        for role in Role::ALL {
            assert_eq!(Role::named(role.name()), Some(role));
            assert_eq!(Role::named(role.definition_id()), Some(role));
            let json = serde_json::to_value(role).unwrap();
            assert_eq!(json, role.name());
        }
        assert_eq!(Role::named("crypto officer"), Some(Role::CryptoOfficer));
        assert_eq!(Role::named("Owner"), None);
        assert_eq!(Role::named(""), None);
    }

    /// Goal: a star matches anything, also nothing, and both ends must fit without sharing letters.
    #[test]
    fn patterns() {
        assert!(matches("a/*", "a/b/c"));
        assert!(matches("a/*/read", "a/keys/read"));
        assert!(!matches("a/*/read", "a/read"));
        assert!(!matches("a/b", "a/b/c"));
        assert!(!matches("ab*ba", "aba"));
    }
}
