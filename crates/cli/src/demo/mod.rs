//! `cofferdam demo`: the whole story, each step checking its own result.

mod acts;
mod cloud;
mod data;
mod records;
mod revocation;
mod stage;
mod telling;

use std::process::ExitCode;

use crate::args::Demo;
use crate::failure::{Exit, Failure};

use stage::Stage;
use telling::Telling;

/// Tells the story; the exit code is that of its checks.
pub(crate) fn run(options: &Demo) -> Result<ExitCode, Failure> {
    let mut telling = Telling::begin();
    let mut stage = Stage::build()?;
    let told = acts::all(&mut stage, &mut telling, options.input.as_deref());
    if let Err(failure) = told {
        telling.check(false, &format!("the story ends here: {failure}"));
    }
    telling.end(&stage, options.keep);
    stage.clear(options.keep);
    Ok(if telling.conclude() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(Exit::Integrity as u8)
    })
}
