//! Keys in Azure Key Vault and Managed HSM, over their REST interface.
//!
//! The way of a call: [`vault`] says what is asked, [`session`] logs in where it must ([`challenge`], [`credential`],
//! [`token`]), [`http`] asks, [`classify`] says what the answer means.
//!
//! No call is repeated, but for one whose token was refused. What an outage means is the caller's decision.

mod calls;
mod challenge;
mod classify;
mod credential;
mod date;
mod failure;
mod http;
mod key;
mod last_call;
mod resolver;
mod session;
mod settings;
mod token;
mod vault;
mod wire;

pub use settings::{AzureSettings, AzureSource};
pub use vault::AzureVault;
