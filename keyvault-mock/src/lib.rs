//! An Azure Key Vault (keys) emulator that is good enough to test revocation, and a small self-hosted vault.
//!
//! It answers on HTTPS as the service does, down to the challenge, the error bodies and the quirks of the wire that
//! the SDKs rely on. It has what other emulators leave out: disabled, expired and deleted keys are refused the way
//! the service refuses them, callers have roles, time can be moved, and faults can be ordered.
//!
//! **It is no HSM.** Keys rest in a file, encrypted under a key in another file beside it.
//!
//!
//! The map: [`server`] accepts connections and hands a [`wire::Request`] to [`routes`], which ask [`tokens`] who is
//! calling and [`access`] whether they may, act on the keys in [`vault`] through [`material`], and answer with a
//! [`wire::Reply`]. Time is [`clock`] and nothing else. All times are whole seconds since 1970 unless their name
//! says otherwise.

pub mod access;
pub mod admin;
pub mod audit_event;
pub mod backup;
pub mod byok;
pub mod clock;
pub mod error;
pub mod faults;
pub mod material;
pub mod release;
pub mod rotation;
pub mod routes;
pub mod server;
pub mod state;
pub mod tls;
pub mod tokens;
pub mod vault;
pub mod wire;

pub use server::{Config, Emulator, Server, StartError};
