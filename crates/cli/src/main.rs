//! The `cofferdam` command: it reads the clock, the environment and the terminal, and wires the crates together.

mod args;
mod commands;
mod context;
mod custody;
mod demo;
mod drill;
mod failure;
mod logs;
mod output;
mod progress;
mod store;
mod terminal;

use std::process::ExitCode;

use clap::Parser;
use serde_json::json;

use crate::args::Cli;
use crate::context::Context;
use crate::failure::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.global.json;
    let result = Context::new(&cli.global).and_then(|context| commands::run(&context, cli.command));
    match result {
        Ok(code) => code,
        Err(failure) => {
            complain(json, &failure);
            ExitCode::from(failure.exit as u8)
        }
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
