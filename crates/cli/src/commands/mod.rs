//! The commands, one file each.

mod audit_export;
mod audit_prove;
mod audit_reconcile;
mod audit_show;
mod audit_verify;
mod doctor;
mod drill;
mod init;
mod key;
mod keys_list;
mod rekey;
mod restore;
mod revalidate;
mod rotate_kek;
mod scrub;
mod scrub_volume;
mod shell;
mod sqlite_reseal;
mod sqlite_seal;
mod sqlite_unseal;
mod status;

use std::process::ExitCode;

use crate::args::{Audit, Command, Keys, Rotate, Sqlite};
use crate::context::Context;
use crate::demo;
use crate::failure::Failure;

pub(crate) use audit_show::sentence;
pub(crate) use sqlite_unseal::record as record_copy;
pub(crate) use status::suite_in_words;

/// Runs a command.
///
/// # Errors
/// Why it did not do what was asked.
pub(crate) fn run(context: &Context, command: Command) -> Result<ExitCode, Failure> {
    let answer = match command {
        Command::Demo(options) => return demo::run(&options),
        Command::Sqlite(Sqlite::Shell(options)) => return shell::run(context, &options),
        Command::Doctor(options) => return doctor::run(context, &options),
        Command::Scrub(options) => return scrub::run(context, &options),
        Command::Audit(Audit::Show(options)) => return audit_show::run(context, &options),
        Command::Audit(Audit::Reconcile(options)) => {
            return audit_reconcile::run(context, &options);
        }
        Command::Audit(Audit::Export(options)) => return audit_export::run(context, &options),
        Command::Audit(Audit::Prove(options)) => return audit_prove::run(context, &options),
        Command::Key(command) => key::run(context, &command)?,
        Command::Sqlite(Sqlite::Seal(options)) => sqlite_seal::run(context, &options)?,
        Command::Sqlite(Sqlite::Reseal(options)) => sqlite_reseal::run(context, &options)?,
        Command::Sqlite(Sqlite::Unseal(options)) => sqlite_unseal::run(context, &options)?,
        Command::Init(options) => init::run(context, &options)?,
        Command::Status(options) => status::run(context, &options)?,
        Command::Rotate(Rotate::Kek(options)) => rotate_kek::run(context, &options)?,
        Command::Keys(Keys::List(options)) => keys_list::run(context, &options)?,
        Command::Restore(options) => restore::run(context, &options)?,
        Command::Rekey(options) => rekey::run(context, &options)?,
        Command::Revalidate(options) => revalidate::run(context, &options)?,
        Command::Drill(options) => drill::run(context, &options)?,
        Command::Audit(Audit::Verify(options)) => audit_verify::run(context, &options)?,
    };
    answer.print(context.json)?;
    Ok(ExitCode::SUCCESS)
}
