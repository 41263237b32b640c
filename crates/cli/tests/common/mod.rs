//! The real command, run in a directory of its own.
#![allow(missing_docs, unreachable_pub, dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rusqlite::Connection;

/// Stands in every row.
pub const MARKER: &str = "HIPPOPOTAMUS-MARKER";

pub struct World {
    dir: tempfile::TempDir,
}

/// What a command did.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl World {
    pub fn new() -> World {
        World {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// With both keys, and a plain database `plain.db`.
    pub fn with_database() -> World {
        let world = World::new();
        world.ok(&["key", "create", "file:customer.key"]);
        world.ok(&["key", "create", "file:infrastructure.key"]);
        world.plain("plain.db", 300);
        world
    }

    /// The same, sealed under the customer's key as `sealed.db`.
    pub fn sealed() -> World {
        let world = World::with_database();
        world.ok(&[
            "sqlite",
            "seal",
            "plain.db",
            "sealed.db",
            "--customer",
            "file:customer.key",
        ]);
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
        command.args(arguments).current_dir(self.dir.path());
        for variable in [
            "COFFERDAM_CUSTOMER",
            "COFFERDAM_INFRASTRUCTURE",
            "COFFERDAM_AUDIT",
            "COFFERDAM_PIN",
            "COFFERDAM_ROLE",
            "COFFERDAM_PASSPHRASE",
            "COFFERDAM_PASSPHRASE_FILE",
            "AZURE_TENANT_ID",
            "AZURE_CLIENT_ID",
            "AZURE_CLIENT_SECRET",
            "AZURE_FEDERATED_TOKEN_FILE",
            "AZURE_AUTHORITY_HOST",
            "IDENTITY_ENDPOINT",
            "IDENTITY_HEADER",
            "SSL_CERT_FILE",
        ] {
            command.env_remove(variable);
        }
        command.stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        finished(self.command(arguments).output().unwrap())
    }

    /// Runs a command that must succeed, and gives what it printed.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.out, ran.err);
        ran.out
    }

    /// Runs a command that must fail with this code and say this.
    #[track_caller]
    pub fn refused(&self, arguments: &[&str], code: i32, says: &str) {
        let ran = self.run(arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}{}", ran.out, ran.err);
        assert!(
            ran.err.contains(says),
            "{arguments:?}: {} lacks {says:?}",
            ran.err
        );
    }

    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        serde_json::from_str(&self.ok(&all)).unwrap()
    }

    pub fn plain(&self, name: &str, rows: i64) -> Connection {
        let connection = Connection::open(self.path(name)).unwrap();
        connection
            .execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT); BEGIN")
            .unwrap();
        for _ in 0..rows {
            connection
                .execute(
                    "INSERT INTO t(text) VALUES(?1 || hex(randomblob(100)))",
                    [MARKER],
                )
                .unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
        connection
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub fn flip(&self, name: &str, at: usize) {
        let mut bytes = self.bytes(name);
        bytes[at] ^= 1;
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Names in the directory.
    pub fn names(&self) -> Vec<String> {
        names(self.dir.path())
    }
}

pub fn finished(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
