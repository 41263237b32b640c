//! What a caller can ask of a vault, by the names that Azure gives it.

/// One kind of request on keys, as permissions tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Back up a key.
    Backup,
    /// Create a key, or a version of one.
    Create,
    /// Decrypt with a key.
    Decrypt,
    /// Delete a key.
    Delete,
    /// Encrypt with a key.
    Encrypt,
    /// Read a key's public part and attributes, or a deleted key.
    Get,
    /// Read a key's rotation policy.
    GetRotationPolicy,
    /// Import a key.
    Import,
    /// List keys, versions or deleted keys.
    List,
    /// Purge a deleted key.
    Purge,
    /// Take random bytes.
    Random,
    /// Recover a deleted key.
    Recover,
    /// Release an exportable key.
    Release,
    /// Restore a key from a backup.
    Restore,
    /// Make a new version of a key.
    Rotate,
    /// Write a key's rotation policy.
    SetRotationPolicy,
    /// Sign with a key.
    Sign,
    /// Unwrap a key.
    UnwrapKey,
    /// Change a key's attributes, operations, tags or release policy.
    Update,
    /// Verify a signature.
    Verify,
    /// Wrap a key.
    WrapKey,
}

impl Action {
    /// Every action.
    pub const ALL: [Action; 21] = [
        Action::Backup,
        Action::Create,
        Action::Decrypt,
        Action::Delete,
        Action::Encrypt,
        Action::Get,
        Action::GetRotationPolicy,
        Action::Import,
        Action::List,
        Action::Purge,
        Action::Random,
        Action::Recover,
        Action::Release,
        Action::Restore,
        Action::Rotate,
        Action::SetRotationPolicy,
        Action::Sign,
        Action::UnwrapKey,
        Action::Update,
        Action::Verify,
        Action::WrapKey,
    ];

    /// The permission of an access policy that grants it, as the policy's JSON has it. Listing and reading are
    /// permissions of their own there, which they are not among the roles.
    pub fn permission(self) -> &'static str {
        match self {
            Action::Backup => "backup",
            Action::Create => "create",
            Action::Decrypt => "decrypt",
            Action::Delete => "delete",
            Action::Encrypt => "encrypt",
            Action::Get | Action::Random => "get",
            Action::GetRotationPolicy => "getrotationpolicy",
            Action::Import => "import",
            Action::List => "list",
            Action::Purge => "purge",
            Action::Recover => "recover",
            Action::Release => "release",
            Action::Restore => "restore",
            Action::Rotate => "rotate",
            Action::SetRotationPolicy => "setrotationpolicy",
            Action::Sign => "sign",
            Action::UnwrapKey => "unwrapKey",
            Action::Update => "update",
            Action::Verify => "verify",
            Action::WrapKey => "wrapKey",
        }
    }

    /// The data action of Azure's roles that grants it
    /// (<https://learn.microsoft.com/azure/role-based-access-control/permissions/security#microsoftkeyvault>).
    /// Random bytes have none in a vault, only in a managed HSM; whoever may read keys may have them here.
    pub fn data_action(self) -> &'static str {
        match self {
            Action::Backup => "Microsoft.KeyVault/vaults/keys/backup/action",
            Action::Create => "Microsoft.KeyVault/vaults/keys/create/action",
            Action::Decrypt => "Microsoft.KeyVault/vaults/keys/decrypt/action",
            Action::Delete => "Microsoft.KeyVault/vaults/keys/delete",
            Action::Encrypt => "Microsoft.KeyVault/vaults/keys/encrypt/action",
            Action::Get | Action::List | Action::Random => "Microsoft.KeyVault/vaults/keys/read",
            Action::GetRotationPolicy => "Microsoft.KeyVault/vaults/keyrotationpolicies/read",
            Action::Import => "Microsoft.KeyVault/vaults/keys/import/action",
            Action::Purge => "Microsoft.KeyVault/vaults/keys/purge/action",
            Action::Recover => "Microsoft.KeyVault/vaults/keys/recover/action",
            Action::Release => "Microsoft.KeyVault/vaults/keys/release/action",
            Action::Restore => "Microsoft.KeyVault/vaults/keys/restore/action",
            Action::Rotate => "Microsoft.KeyVault/vaults/keys/rotate/action",
            Action::SetRotationPolicy => "Microsoft.KeyVault/vaults/keyrotationpolicies/write",
            Action::Sign => "Microsoft.KeyVault/vaults/keys/sign/action",
            Action::UnwrapKey => "Microsoft.KeyVault/vaults/keys/unwrap/action",
            Action::Update => "Microsoft.KeyVault/vaults/keys/update/action",
            Action::Verify => "Microsoft.KeyVault/vaults/keys/verify/action",
            Action::WrapKey => "Microsoft.KeyVault/vaults/keys/wrap/action",
        }
    }

    /// Whether `permission` is one that an access policy for keys can hold, in any case of letters.
    pub fn is_permission(permission: &str) -> bool {
        permission.eq_ignore_ascii_case("all")
            || Action::ALL
                .iter()
                .any(|action| action.permission().eq_ignore_ascii_case(permission))
    }
}
