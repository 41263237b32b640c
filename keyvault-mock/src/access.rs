//! Who may do what: roles or access policies of a vault, its firewall, and the words of a denial.
//!
//! A vault has one of two permission models, as in Azure: roles (RBAC), which are assigned on the vault or on one
//! key, or access policies, which list permissions. Both are given and taken away with a delay when one is set,
//! because real ones take minutes to be seen everywhere. The firewall is judged first and without delay.
//!
//! The texts of the denials are the service's own, down to the line ends, because people search logs for them.

mod action;
mod firewall;
mod role;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

pub use action::Action;
pub use firewall::{Firewall, IpRule};
pub use role::Role;

use crate::tokens::Caller;

/// The access rules of every vault.
#[derive(Debug)]
pub struct Access {
    names: ResourceNames,
    rules: Mutex<AccessRules>,
}

/// What the emulator pretends its vaults are called in Azure. Denials and audit records name it.
#[derive(Clone, Debug)]
pub struct ResourceNames {
    /// The subscription's id.
    pub subscription: String,
    /// The resource group.
    pub resource_group: String,
    /// The region, such as `westeurope`.
    pub location: String,
}

impl Default for ResourceNames {
    fn default() -> Self {
        ResourceNames {
            subscription: "00000000-0000-0000-0000-000000000000".into(),
            resource_group: "keyvault-mock".into(),
            location: "localhost".into(),
        }
    }
}

impl ResourceNames {
    /// The resource id of a vault, in the lower case that denials have it in.
    pub fn vault(&self, vault: &str) -> String {
        format!(
            "/subscriptions/{}/resourcegroups/{}/providers/microsoft.keyvault/vaults/{}",
            self.subscription,
            self.resource_group,
            vault.to_ascii_lowercase()
        )
    }
}

/// The rules of all vaults, as they are kept between starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessRules {
    /// How long a change of roles or policies takes to be seen, in seconds.
    pub propagation_delay_s: i64,
    /// The rules of each vault by the vault's name.
    pub vaults: BTreeMap<String, VaultRules>,
}

/// The rules of one vault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VaultRules {
    /// Which of the two lists below counts.
    pub model: Model,
    /// Roles, when the model is `rbac`.
    pub assignments: Vec<Grant<Assignment>>,
    /// Access policies, when the model is `policy`.
    pub policies: Vec<Grant<Policy>>,
    /// Who may reach the vault.
    pub firewall: Firewall,
}

/// A vault's permission model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Model {
    /// Access policies (`enableRbacAuthorization: false`).
    Policy,
    /// Azure roles, which new vaults have.
    #[default]
    Rbac,
}

/// A right and the time in which it holds, in seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant<T> {
    /// What is granted.
    #[serde(flatten)]
    pub right: T,
    /// From when on.
    pub from: i64,
    /// From when on no longer, if that is known.
    pub until: Option<i64>,
}

impl<T> Grant<T> {
    fn holds(&self, now: i64) -> bool {
        self.from <= now && self.until.is_none_or(|until| now < until)
    }
}

/// A role given to a principal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The principal's object id.
    pub principal: String,
    /// The role.
    pub role: Role,
    /// The one key that it is given on; without one, all of the vault.
    #[serde(default)]
    pub key: Option<String>,
}

/// The permissions of one principal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The principal's object id.
    pub principal: String,
    /// Permissions such as `get` and `wrapKey`, or `all`.
    pub permissions: Vec<String>,
}

/// Why a caller may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// `innererror.code` of the reply.
    pub inner_code: &'static str,
    /// `message` of the reply.
    pub message: String,
}

impl Access {
    /// No vault has any rules; a vault without rules lets nobody do anything.
    pub fn new(names: ResourceNames) -> Self {
        Self::with_rules(names, AccessRules::default())
    }

    /// Goes on with rules that [`Access::rules`] gave.
    pub fn with_rules(names: ResourceNames, rules: AccessRules) -> Self {
        Access {
            names,
            rules: Mutex::new(rules),
        }
    }

    /// What vaults are called in Azure.
    pub fn names(&self) -> &ResourceNames {
        &self.names
    }

    /// A copy of all rules.
    pub fn rules(&self) -> AccessRules {
        self.locked().clone()
    }

    /// How long changes take from now on, in seconds. Negative delays are none.
    pub fn set_propagation_delay(&self, seconds: i64) {
        self.locked().propagation_delay_s = seconds.max(0);
    }

    /// Which permission model a vault has.
    pub fn set_model(&self, vault: &str, model: Model) {
        self.vault(vault, |rules| rules.model = model);
    }

    /// Replaces a vault's firewall.
    pub fn set_firewall(&self, vault: &str, firewall: Firewall) {
        self.vault(vault, |rules| rules.firewall = firewall);
    }

    /// Gives a role. Giving one that already holds for good changes nothing.
    pub fn assign(&self, vault: &str, assignment: Assignment, now: i64) {
        let from = now.saturating_add(self.locked().propagation_delay_s);
        self.vault(vault, |rules| {
            let known = rules
                .assignments
                .iter()
                .any(|grant| grant.until.is_none() && grant.right == assignment);
            if !known {
                rules.assignments.push(Grant {
                    right: assignment,
                    from,
                    until: None,
                });
            }
        });
    }

    /// Takes a role away, and says whether there was one to take.
    pub fn unassign(&self, vault: &str, assignment: &Assignment, now: i64) -> bool {
        let until = now.saturating_add(self.locked().propagation_delay_s);
        self.vault(vault, |rules| {
            end(&mut rules.assignments, until, |right| right == assignment)
        })
    }

    /// Replaces a principal's access policy. An empty list of permissions removes it.
    ///
    /// # Errors
    /// A permission that Key Vault does not have, by name.
    pub fn set_policy(&self, vault: &str, policy: Policy, now: i64) -> Result<(), String> {
        if let Some(unknown) = policy
            .permissions
            .iter()
            .find(|permission| !Action::is_permission(permission))
        {
            return Err(format!(
                "`{unknown}` is no permission on keys; there are all and {}",
                Action::ALL.map(Action::permission).join(", ")
            ));
        }
        let from = now.saturating_add(self.locked().propagation_delay_s);
        self.vault(vault, |rules| {
            end(&mut rules.policies, from, |right| {
                right.principal == policy.principal
            });
            if !policy.permissions.is_empty() {
                rules.policies.push(Grant {
                    right: policy,
                    from,
                    until: None,
                });
            }
        });
        Ok(())
    }

    /// Forgets a vault's rules, with the vault.
    pub fn forget(&self, vault: &str) {
        self.locked().vaults.remove(&vault.to_ascii_lowercase());
    }

    /// Whether the caller may do this now. `key` is absent when the request is about the vault as a whole.
    ///
    /// # Errors
    /// The denial to answer with.
    pub fn allowed(
        &self,
        caller: &Caller,
        vault: &str,
        key: Option<&str>,
        action: Action,
        peer: IpAddr,
        now: i64,
    ) -> Result<(), Denied> {
        let rules = self.locked();
        let none = VaultRules::default();
        let rules = rules
            .vaults
            .get(&vault.to_ascii_lowercase())
            .unwrap_or(&none);
        if !rules.firewall.public_network_access {
            return Err(self.by_connection(caller, vault));
        }
        if !rules.firewall.lets_in(peer) {
            return Err(self.by_firewall(caller, vault, peer));
        }
        match rules.model {
            Model::Rbac if has_role(rules, caller, key, action, now) => Ok(()),
            Model::Rbac => Err(self.by_rbac(caller, vault, key, action)),
            Model::Policy if has_permission(rules, caller, action, now) => Ok(()),
            Model::Policy => Err(self.by_policy(caller, vault, action)),
        }
    }

    /// Whether a principal, by its object id, may purge the deleted vault: a right that no data role contains.
    pub fn may_purge_vault(&self, principal: &str, vault: &str, now: i64) -> bool {
        let rules = self.locked();
        rules
            .vaults
            .get(&vault.to_ascii_lowercase())
            .is_some_and(|rules| {
                rules.assignments.iter().any(|grant| {
                    grant.holds(now)
                        && grant.right.principal == principal
                        && grant.right.role.purges_vaults()
                })
            })
    }

    fn by_rbac(&self, caller: &Caller, vault: &str, key: Option<&str>, action: Action) -> Denied {
        let mut resource = self.names.vault(vault);
        if let Some(key) = key {
            resource.push_str("/keys/");
            resource.push_str(&key.to_ascii_lowercase());
        }
        Denied {
            inner_code: "ForbiddenByRbac",
            message: format!(
                "Caller is not authorized to perform action on resource.\r\n\
                 If role assignments, deny assignments or role definitions were changed recently, please observe propagation time.\r\n\
                 Caller: {}\r\n\
                 Action: '{}'\r\n\
                 Resource: '{resource}'\r\n\
                 Assignment: (not found)\r\n\
                 DenyAssignmentId: null\r\n\
                 DecisionReason: 'DeniedWithNoValidRBAC' \r\n\
                 Vault: {vault};location={}\r\n",
                named(caller),
                action.data_action(),
                self.names.location
            ),
        }
    }

    fn by_policy(&self, caller: &Caller, vault: &str, action: Action) -> Denied {
        Denied {
            inner_code: "ForbiddenByPolicy",
            message: format!(
                "The user, group or application 'appid={};oid={};numgroups=0;iss={}' does not have keys {} permission \
                 on key vault '{vault};location={}'. For help resolving this issue, please see \
                 https://go.microsoft.com/fwlink/?linkid=2125287",
                caller.appid,
                caller.oid,
                caller.issuer,
                action.permission().to_ascii_lowercase(),
                self.names.location
            ),
        }
    }

    fn by_firewall(&self, caller: &Caller, vault: &str, peer: IpAddr) -> Denied {
        Denied {
            inner_code: "ForbiddenByFirewall",
            message: format!(
                "Client address is not authorized and caller is not a trusted service.\r\n\
                 Client address: {}\r\n\
                 Caller: {}\r\n\
                 Vault: {vault};location={}",
                peer.to_canonical(),
                named(caller),
                self.names.location
            ),
        }
    }

    fn by_connection(&self, caller: &Caller, vault: &str) -> Denied {
        Denied {
            inner_code: "ForbiddenByConnection",
            message: format!(
                "Public network access is disabled and request is not from a trusted service nor via an approved private link.\r\n\
                 Caller: {}\r\n\
                 Vault: {vault};location={}",
                named(caller),
                self.names.location
            ),
        }
    }

    /// Changes a vault's rules, which begin empty. Vault names are the same in any case of letters.
    fn vault<T>(&self, vault: &str, change: impl FnOnce(&mut VaultRules) -> T) -> T {
        let mut rules = self.locked();
        change(rules.vaults.entry(vault.to_ascii_lowercase()).or_default())
    }

    /// No change leaves the rules half made, so a lock that a panicking thread held is as good as any.
    fn locked(&self) -> MutexGuard<'_, AccessRules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The caller as denials name it.
fn named(caller: &Caller) -> String {
    format!(
        "appid={};oid={};iss={}",
        caller.appid, caller.oid, caller.issuer
    )
}

/// Lets the matching grants end at `until`, and says whether there was one.
fn end<T>(grants: &mut Vec<Grant<T>>, until: i64, matches: impl Fn(&T) -> bool) -> bool {
    let mut found = false;
    for grant in grants.iter_mut() {
        if grant.until.is_none() && matches(&grant.right) {
            grant.until = Some(until);
            found = true;
        }
    }
    // One that was to begin only after its end never holds.
    grants.retain(|grant| grant.until.is_none_or(|until| grant.from < until));
    found
}

fn has_role(
    rules: &VaultRules,
    caller: &Caller,
    key: Option<&str>,
    action: Action,
    now: i64,
) -> bool {
    rules.assignments.iter().any(|grant| {
        let in_scope = match (&grant.right.key, key) {
            (None, _) => true,
            (Some(scope), Some(key)) => scope.eq_ignore_ascii_case(key),
            (Some(_), None) => false,
        };
        grant.holds(now)
            && in_scope
            && grant.right.principal == caller.oid
            && grant.right.role.grants(action)
    })
}

fn has_permission(rules: &VaultRules, caller: &Caller, action: Action, now: i64) -> bool {
    rules.policies.iter().any(|grant| {
        grant.holds(now)
            && grant.right.principal == caller.oid
            && grant.right.permissions.iter().any(|permission| {
                permission.eq_ignore_ascii_case("all")
                    || permission.eq_ignore_ascii_case(action.permission())
            })
    })
}

#[cfg(test)]
mod tests;
