//! Who may do what: the separation of duties, as far as the command can keep it.
//!
//! Set `COFFERDAM_ROLE` where a person logs in. It keeps people from doing by mistake or on the side what is another's duty; what they *can* do is
//! decided by the vault's permissions and the files' owners, and `docs/keys.md` says how to set those.

use std::fmt;
use std::str::FromStr;

use crate::args::{Audit, Command, Key};
use crate::failure::Failure;

/// A person's duty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Owns keys: makes, rotates, disables, restores. Never sees data.
    Custodian,
    /// Runs the databases. Never changes a key.
    Operator,
    /// Reads what happened. Changes nothing and sees no data.
    Auditor,
}

/// What a command does that a role may or may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Power {
    /// Changes a key, or which key protects what.
    ChangeKeys,
    /// Shows or takes contents.
    SeeData,
    /// Opens a store without showing anything of it.
    RunStores,
    /// Asks the vaults whether all is well.
    AskVaults,
    /// Reads records, states and names.
    ReadRecords,
}

impl Role {
    #[cfg(test)]
    pub(crate) const ALL: [Role; 3] = [Role::Custodian, Role::Operator, Role::Auditor];

    /// Whether the role has a power.
    pub(crate) fn has(self, power: Power) -> bool {
        match self {
            Role::Custodian => matches!(
                power,
                Power::ChangeKeys | Power::AskVaults | Power::ReadRecords
            ),
            Role::Operator => matches!(
                power,
                Power::SeeData | Power::RunStores | Power::AskVaults | Power::ReadRecords
            ),
            Role::Auditor => power == Power::ReadRecords,
        }
    }

    /// Lets a command through, or not.
    ///
    /// # Errors
    /// Whose duty it is.
    pub(crate) fn admit(self, command: &Command) -> Result<(), Failure> {
        let Some(power) = power(command) else {
            return Ok(());
        };
        if self.has(power) {
            return Ok(());
        }
        let whose = match power {
            Power::ChangeKeys => "the key custodian's",
            Power::SeeData | Power::RunStores => "the operator's",
            Power::AskVaults => "the custodian's or the operator's",
            Power::ReadRecords => "everybody's",
        };
        Err(Failure::refused(format!(
            "you act as the {self} (COFFERDAM_ROLE), and this is {whose} duty"
        )))
    }
}

/// What a command does; `None` for one that touches nobody's keys or data.
pub(crate) fn power(command: &Command) -> Option<Power> {
    Some(match command {
        Command::Demo(_) => return None,
        Command::Key(Key::Versions(_))
        | Command::Status(_)
        | Command::Keys(_)
        | Command::Audit(
            Audit::Show(_)
            | Audit::Verify(_)
            | Audit::Prove(_)
            | Audit::Export(_)
            | Audit::Reconcile(_),
        ) => Power::ReadRecords,
        Command::Key(_) | Command::Rotate(_) | Command::Rekey(_) | Command::Restore(_) => {
            Power::ChangeKeys
        }
        Command::Sqlite(_) => Power::SeeData,
        Command::Scrub(_) | Command::Init(_) => Power::RunStores,
        Command::Revalidate(_) | Command::Drill(_) | Command::Doctor(_) => Power::AskVaults,
    })
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Custodian => "custodian",
            Role::Operator => "operator",
            Role::Auditor => "auditor",
        })
    }
}

impl FromStr for Role {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Role, Failure> {
        match text {
            "custodian" => Ok(Role::Custodian),
            "operator" => Ok(Role::Operator),
            "auditor" => Ok(Role::Auditor),
            _ => Err(Failure::usage(format!(
                "COFFERDAM_ROLE: {text:?} is no role; there are custodian, operator and auditor"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Cli;

    /// Every command, as it is typed.
    const COMMANDS: &[&[&str]] = &[
        &["demo"],
        &["key", "create", "file:k"],
        &["key", "versions", "file:k"],
        &["key", "rotate", "file:k"],
        &["key", "disable", "file:k"],
        &["key", "enable", "file:k"],
        &["sqlite", "seal", "a", "b"],
        &["sqlite", "unseal", "a", "b"],
        &["sqlite", "reseal", "a", "b"],
        &["sqlite", "shell", "a"],
        &["init", "a"],
        &["status", "a"],
        &["rotate", "kek", "a"],
        &["rekey", "a"],
        &["keys", "list", "a"],
        &["restore", "a", "--accept-rollback"],
        &["audit", "show", "a"],
        &["audit", "verify", "a"],
        &["audit", "prove", "a", "1"],
        &["scrub", "a"],
        &["revalidate", "a"],
        &["drill", "a"],
        &["doctor", "a"],
    ];

    #[test]
    fn no_role_can_both_change_a_key_and_see_data() {
        for role in Role::ALL {
            assert!(
                !(role.has(Power::ChangeKeys) && role.has(Power::SeeData)),
                "{role}"
            );
        }
    }

    #[test]
    fn the_matrix_of_commands_and_roles() {
        let mut table = String::new();
        for words in COMMANDS {
            let cli = Cli::parse_from(["cofferdam"].iter().chain(*words));
            let admitted = Role::ALL.map(|role| match role.admit(&cli.command) {
                Ok(()) => role.to_string().remove(0),
                Err(_) => '-',
            });
            let admitted: String = admitted.iter().collect();
            table.push_str(&format!("{admitted} {}\n", words.join(" ")));
        }
        assert_eq!(table, MATRIX);
    }

    /// c: custodian, o: operator, a: auditor.
    const MATRIX: &str = "\
coa demo
c-- key create file:k
coa key versions file:k
c-- key rotate file:k
c-- key disable file:k
c-- key enable file:k
-o- sqlite seal a b
-o- sqlite unseal a b
-o- sqlite reseal a b
-o- sqlite shell a
-o- init a
coa status a
c-- rotate kek a
c-- rekey a
coa keys list a
c-- restore a --accept-rollback
coa audit show a
coa audit verify a
coa audit prove a 1
-o- scrub a
co- revalidate a
co- drill a
co- doctor a
";
}
