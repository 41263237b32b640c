//! What a server is started with.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::tokens::TokenOptions;
use crate::vault::Settings;

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen for HTTPS; port 0 is any free one.
    pub listen: SocketAddr,
    /// Where to listen for the admin API, which is plain HTTP: loopback only.
    pub admin_listen: SocketAddr,
    /// Where to keep the state; nowhere, when there is none.
    pub state: Option<PathBuf>,
    /// The vaults. Those of the state are there besides.
    pub vaults: Vec<Settings>,
    /// The vault that answers as `localhost` and by address.
    pub default_vault: String,
    /// The first client, and how tokens are made.
    pub tokens: TokenOptions,
    /// `resource` in the challenge; made from the port when there is none.
    pub resource: Option<String>,
    /// `authorization` in the challenge, without the tenant; this server when there is none.
    pub authority: Option<String>,
    /// The audit log's file; `audit.jsonl` beside the state when there is none.
    pub audit_log: Option<PathBuf>,
    /// How many audit events stay in memory.
    pub audit_capacity: usize,
    /// Where events are posted to, `http://HOST:PORT/PATH`.
    pub webhook: Option<String>,
}

impl Default for Config {
    /// One vault called `default` on free ports of 127.0.0.1, nothing kept.
    fn default() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Config {
            listen: any,
            admin_listen: any,
            state: None,
            vaults: vec![Settings::new("default")],
            default_vault: "default".to_owned(),
            tokens: TokenOptions::default(),
            resource: None,
            authority: None,
            audit_log: None,
            audit_capacity: 10_000,
            webhook: None,
        }
    }
}

impl Config {
    /// Refuses what cannot be.
    ///
    /// # Errors
    /// The setting, in words.
    pub(super) fn validate(&self) -> Result<(), String> {
        if !self.admin_listen.ip().is_loopback() {
            return Err(format!(
                "the admin API is plain HTTP, so it listens on loopback only, not on {}",
                self.admin_listen
            ));
        }
        if !self
            .vaults
            .iter()
            .any(|settings| settings.name == self.default_vault)
            && self.state.is_none()
        {
            return Err(format!(
                "the default vault '{}' is not among the vaults",
                self.default_vault
            ));
        }
        if let Some(url) = &self.webhook {
            super::webhook::Target::parse(url)?;
        }
        self.vaults.iter().try_for_each(check)
    }
}

/// Refuses settings that no vault has.
pub(super) fn check(settings: &Settings) -> Result<(), String> {
    let name = &settings.name;
    let letters = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let edges = name.starts_with(|first: char| first.is_ascii_lowercase()) && !name.ends_with('-');
    if !(3..=24).contains(&name.len()) || !letters || !edges {
        return Err(format!(
            "'{name}' is no name of a vault: 3 to 24 lower-case letters, digits and hyphens, beginning with a letter"
        ));
    }
    if !(7..=90).contains(&settings.retention_days) {
        return Err(format!(
            "vault {name}: {} days of retention; the service has 7 to 90",
            settings.retention_days
        ));
    }
    if settings.delete_lag_s < 0 || settings.version_list_lag_s < 0 {
        return Err(format!("vault {name}: a lag cannot be negative"));
    }
    if settings.purge_protection && !settings.soft_delete {
        return Err(format!("vault {name}: purge protection needs soft delete"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: settings that the service has not are refused at the start.
    #[test]
    fn settings_that_cannot_be() {
        let refused = |change: &dyn Fn(&mut Settings)| {
            let mut settings = Settings::new("tests");
            change(&mut settings);
            check(&settings).is_err()
        };
        assert!(!refused(&|_| {}));
        for name in [
            "",
            "ab",
            "1abc",
            "Prod",
            "a_bc",
            "abc-",
            "a.b.c",
            &"a".repeat(25),
        ] {
            assert!(
                refused(&|settings| settings.name = name.to_owned()),
                "{name}"
            );
        }
        for days in [0, 6, 91] {
            assert!(
                refused(&|settings| settings.retention_days = days),
                "{days}"
            );
        }
        assert!(refused(&|settings| settings.delete_lag_s = -1));
        assert!(refused(&|settings| settings.version_list_lag_s = -1));
        assert!(refused(&|settings| {
            settings.soft_delete = false;
            settings.purge_protection = true;
        }));
    }

    /// Goal: nobody but this machine reaches the admin API.
    #[test]
    fn the_admin_api_is_on_loopback() {
        let config = Config {
            admin_listen: ([0, 0, 0, 0], 0).into(),
            ..Config::default()
        };
        assert!(config.validate().is_err());
        assert!(Config::default().validate().is_ok());
    }
}
