//! The person at the terminal.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};

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
    read_hidden(&terminal)
}

/// Reads up to the end of the line, key by key: a Ctrl-C that ended the process here would leave the terminal mute.
fn read_hidden(mut terminal: impl Read) -> io::Result<Zeroizing<String>> {
    // The whole room at once: a vector that grows leaves bytes behind.
    let mut line = Zeroizing::new(String::with_capacity(LINE_LEN_MAX));
    let mut key = Zeroizing::new(Vec::with_capacity(4));
    let mut byte = Zeroizing::new([0]);
    loop {
        terminal.read_exact(&mut *byte)?;
        match byte[0] {
            b'\r' | b'\n' => return Ok(line),
            CTRL_C => return Err(io::ErrorKind::Interrupted.into()),
            CTRL_D if line.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            BACKSPACE | DELETE => {
                line.pop();
            }
            other => key.push(other),
        }
        if let Ok(text) = std::str::from_utf8(&key) {
            if line.len() + text.len() <= LINE_LEN_MAX {
                line.push_str(text);
            }
            key.clear();
        } else if key.len() == 4 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
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
        let modes = LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        quiet.local_modes.remove(modes);
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

/// More than a passphrase may have, so that a longer one is refused and not cut off.
const LINE_LEN_MAX: usize = 1028;
const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const BACKSPACE: u8 = 8;
const DELETE: u8 = 127;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_line_is_what_was_typed_and_not_taken_back() {
        let typed = |bytes: &[u8]| read_hidden(bytes).map(|line| line.to_string());
        assert_eq!(typed(b"abc\n").unwrap(), "abc");
        assert_eq!(typed("gr\u{fc}n\r".as_bytes()).unwrap(), "gr\u{fc}n");
        assert_eq!(typed("ab\u{fc}\x7fc\n".as_bytes()).unwrap(), "abc");
        assert!(typed(b"ab\x03").is_err());
        assert!(typed(b"\x04").is_err());
        assert!(typed(b"no end").is_err());
    }
}
