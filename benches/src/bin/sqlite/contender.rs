//! Processes that run the same SQL on different SQLites.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use cofferdam_keys::{KeyUri, Suite};
use cofferdam_sqlite::Sealed;
use cofferdam_vaults::Vaults;
use cofferdam_wiring::Settings;
use rusqlite::Connection;

use crate::server::serve;

/// A running contender.
pub(crate) struct Contender {
    /// What it is called in tables.
    pub(crate) name: String,
    /// The contender, by its place in the list, that is the same without encryption.
    pub(crate) baseline: usize,
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    dir: PathBuf,
    database: usize,
}

/// What a phase cost, in nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Cost {
    pub(crate) cpu: f64,
    pub(crate) wall: f64,
    /// The answer, which must be the same for all contenders.
    pub(crate) last: String,
}

impl Contender {
    /// Starts one. Its databases go below `dir`.
    pub(crate) fn start(
        name: &str,
        baseline: usize,
        command: &mut Command,
        dir: &Path,
    ) -> Result<Contender, String> {
        let dir = dir.join(name.replace(' ', "-"));
        fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{name}: {command:?}: {error}"))?;
        let input = process.stdin.take().expect("the standard input is piped");
        let output = BufReader::new(process.stdout.take().expect("the standard output is piped"));
        Ok(Contender {
            name: name.to_owned(),
            baseline,
            process,
            input,
            output,
            dir,
            database: 0,
        })
    }

    /// Opens the next database, without the files of the one before. Answers SQLite's version.
    pub(crate) fn open_new(&mut self) -> Result<String, String> {
        self.database += 1;
        let version = self.reopen();
        let before = format!("{}.db", self.database - 1);
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&before) {
                let path = entry.path();
                let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
            }
        }
        version
    }

    /// Opens the current database again.
    pub(crate) fn reopen(&mut self) -> Result<String, String> {
        let path = self.dir.join(format!("{}.db", self.database));
        self.ask(&format!("open {}\n", path.display()))
    }

    /// Runs statements.
    pub(crate) fn run(&mut self, statements: &[String]) -> Result<Cost, String> {
        let mut text = format!("run {}\n", statements.len());
        for statement in statements {
            text.push_str(statement);
            text.push('\n');
        }
        let answer = self.ask(&text)?;
        let mut words = answer.splitn(3, ' ');
        let mut number = || words.next().and_then(|word| word.parse().ok());
        let (Some(cpu), Some(wall)) = (number(), number()) else {
            return Err(format!("{}: {answer:?}", self.name));
        };
        let last = words.next().unwrap_or_default().to_owned();
        Ok(Cost { cpu, wall, last })
    }

    fn ask(&mut self, text: &str) -> Result<String, String> {
        // A contender that ended says why in its last line, whether or not it took the question.
        let _ = self
            .input
            .write_all(text.as_bytes())
            .and_then(|()| self.input.flush());
        let mut line = String::new();
        let read = self.output.read_line(&mut line);
        read.map_err(|error| format!("{}: {error}", self.name))?;
        match line.trim_end().strip_prefix("ok ") {
            Some(answer) => Ok(answer.to_owned()),
            None => Err(format!("{} answers {line:?}", self.name)),
        }
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves as a contender of this program's own: `plain`, or the number of a suite.
pub(crate) fn serve_as(name: &str, keys: &Path) -> Result<(), String> {
    if name == "plain" {
        return serve(|path| Connection::open(path).map_err(|error| error.to_string()));
    }
    let number = name.parse().map_err(|_| format!("{name:?} is no suite"))?;
    let suite = Suite::from_number(number).map_err(|error| error.to_string())?;
    let sealed = sealed(suite, keys)?;
    serve(|path| sealed.open(path).map_err(|error| error.to_string()))
}

/// Everything as the command does it, with new keys.
fn sealed(suite: Suite, keys: &Path) -> Result<Sealed, String> {
    fs::create_dir_all(keys).map_err(|error| error.to_string())?;
    let vaults = Arc::new(Vaults::without_passphrases());
    let make = |name: &str| {
        let key = KeyUri::from_file_path(&keys.join(name)).map_err(|error| error.to_string())?;
        let vault = vaults.file(&key).map_err(|error| error.to_string())?;
        vault
            .create(None, cofferdam_wiring::now())
            .map_err(|error| error.to_string())?;
        Ok::<_, String>(key)
    };
    let settings = Settings {
        customer: Some(make("customer.key")?),
        infrastructure: match suite.layer_count() {
            1 => None,
            _ => Some(make("infrastructure.key")?),
        },
        suite: Some(suite),
        audit_required: true,
        ..Settings::default()
    };
    let opener = settings
        .opener_with(vaults)
        .map_err(|error| error.to_string())?;
    Sealed::new(Arc::new(opener)).map_err(|error| error.to_string())
}
