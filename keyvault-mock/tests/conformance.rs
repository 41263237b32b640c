//! The contract of the emulator, over HTTPS, against a server in this process: every operation, every refusal, every
//! state. Each answer that is judged is a case; the last line says how many there were.

#[path = "conformance/access.rs"]
mod access;
#[path = "conformance/backups.rs"]
mod backups;
#[path = "conformance/client.rs"]
mod client;
#[path = "conformance/crypto.rs"]
mod crypto;
#[path = "conformance/faults.rs"]
mod faults;
#[path = "conformance/imports.rs"]
mod imports;
#[path = "conformance/keys.rs"]
mod keys;
#[path = "conformance/lifecycle.rs"]
mod lifecycle;
#[path = "conformance/release.rs"]
mod release;
#[path = "conformance/restart.rs"]
mod restart;
#[path = "conformance/rotation.rs"]
mod rotation;
#[path = "conformance/states.rs"]
mod states;
#[path = "conformance/vectors.rs"]
mod vectors;
#[path = "conformance/wire.rs"]
mod wire;

use std::process::ExitCode;

use client::cases;

/// A name, and what it does.
type Part = (&'static str, fn());

fn main() -> ExitCode {
    // Test runners ask every binary for its tests; this one is run as a whole.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let parts: [Part; 12] = [
        ("wire", wire::run),
        ("keys", keys::run),
        ("crypto", crypto::run),
        ("states", states::run),
        ("lifecycle", lifecycle::run),
        ("imports", imports::run),
        ("backups", backups::run),
        ("rotation", rotation::run),
        ("access", access::run),
        ("faults", faults::run),
        ("release", release::run),
        ("restart", restart::run),
    ];
    for (name, part) in parts {
        let before = cases();
        // A panic ends the process with a code that is no success, and says which case failed.
        part();
        println!("{name}: {} cases", cases() - before);
    }
    println!("keyvault-conformance: {} cases", cases());
    ExitCode::SUCCESS
}
