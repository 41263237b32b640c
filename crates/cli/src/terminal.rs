//! The person at the terminal.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Whether messages go to a person who sees colours.
pub(crate) fn has_colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Asks for a passphrase, which is not shown.
///
/// # Errors
/// There is no terminal, or it cannot be read.
pub(crate) fn passphrase(question: &str) -> io::Result<Zeroizing<String>> {
    let terminal = File::options().read(true).write(true).open("/dev/tty")?;
    (&terminal).write_all(question.as_bytes())?;
    let _quiet = Quiet::begin(&terminal)?;
    let mut line = Zeroizing::new(String::with_capacity(1026));
    BufReader::new(&terminal).read_line(&mut line)?;
    let len = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(len);
    Ok(line)
}

/// Asks a question that is answered with yes or no; no terminal is a no.
pub(crate) fn confirm(question: &str) -> bool {
    let Ok(terminal) = File::options().read(true).write(true).open("/dev/tty") else {
        return false;
    };
    if !io::stdin().is_terminal() || (&terminal).write_all(question.as_bytes()).is_err() {
        return false;
    }
    let mut line = String::new();
    let read = BufReader::new(&terminal).read_line(&mut line);
    read.is_ok() && matches!(line.trim(), "y" | "yes")
}

/// No echo, until dropped.
struct Quiet<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn begin(terminal: &'a File) -> io::Result<Quiet<'a>> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Quiet { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
        let _ = (&*self.terminal).write_all(b"\n");
    }
}
