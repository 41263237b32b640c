//! The `cofferdam` command: it reads the clock, the environment and the terminal, and wires the crates together.

mod args;
mod commands;
mod context;
mod custody;
mod demo;
mod drill;
mod failure;
mod impact;
mod logs;
mod output;
mod progress;
mod role;
mod store;
mod terminal;
mod volume;

use std::env::VarError;
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;

use crate::args::{Cli, Command};
use crate::context::Context;
use crate::failure::Failure;
use crate::role::Role;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.global.json;
    let result = admit(&cli.command)
        .and_then(|()| Context::new(&cli.global))
        .and_then(|context| commands::run(&context, cli.command));
    match result {
        Ok(code) => code,
        Err(failure) => {
            complain(json, &failure);
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// Keeps people to their duty, where the environment says which that is.
fn admit(command: &Command) -> Result<(), Failure> {
    match std::env::var("COFFERDAM_ROLE") {
        Ok(role) => role.parse::<Role>()?.admit(command),
        Err(VarError::NotPresent) => Ok(()),
        Err(VarError::NotUnicode(_)) => Err(Failure::usage("COFFERDAM_ROLE: is not UTF-8")),
    }
}

fn complain(as_json: bool, failure: &Failure) {
    if as_json {
        let value = json!({ "error": failure.text, "exit_code": failure.exit as u8 });
        eprintln!("{value}");
    } else {
        eprintln!("cofferdam: {failure}");
    }
}
