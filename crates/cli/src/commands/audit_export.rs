//! `cofferdam audit export`

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cofferdam_audit::{
    Action, Event, Filter, Format, LogReader, LoggedEvent, Object, ObjectKind, Outcome, Sink,
    verify,
};
use serde_json::json;
use tempfile::NamedTempFile;

use crate::args::AuditExport;
use crate::context::{Context, absolute};
use crate::failure::{Exit, Failure};
use crate::logs::{self, Found};
use crate::output::{Answer, announce, instant};
use crate::progress::Progress;

/// Writes the events of a log that was checked.
pub(crate) fn run(context: &Context, options: &AuditExport) -> Result<ExitCode, Failure> {
    let format = Format::from_name(&options.format)
        .ok_or_else(|| Failure::usage(format!("--format {:?} is unknown", options.format)))?;
    let since = Since::parse(options.since.as_deref())?;
    let found = logs::find(context, &options.log.log, options.log.vkey.as_deref())?;
    announce(
        context.json,
        &format!(
            "checking {} against {}",
            found.dir.display(),
            found.trust.words()
        ),
    );
    let about = |error| Failure::from(error).about(&found.dir);
    // As of now, so that the record of this export is not in it.
    let reader = LogReader::open(&found.dir, &found.vkey).map_err(about)?;
    verify(&found.dir, &found.vkey, None).map_err(about)?;
    let mut export = Export {
        found: &found,
        reader,
        format,
        since,
        first: None,
        last: None,
        count: 0,
    };
    match &options.output {
        None => export.print_all(),
        Some(path) => export.publish(&absolute(path))?.print(context.json),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// From where on.
enum Since {
    Index(u64),
    Filter(Filter),
}

impl Since {
    fn parse(text: Option<&str>) -> Result<Since, Failure> {
        let Some(text) = text else {
            return Ok(Since::Index(0));
        };
        if let Ok(index) = text.parse() {
            return Ok(Since::Index(index));
        }
        Ok(Since::Filter(Filter {
            from: Some(instant("--since", text)?),
            ..Filter::default()
        }))
    }

    fn has(&self, event: &LoggedEvent) -> bool {
        match self {
            Since::Index(index) => event.index >= *index,
            Since::Filter(filter) => filter.matches(event),
        }
    }
}

struct Export<'a> {
    found: &'a Found,
    reader: LogReader,
    format: Format,
    since: Since,
    first: Option<u64>,
    last: Option<u64>,
    count: u64,
}

impl Export<'_> {
    /// On record before the first line is out.
    fn print_all(&mut self) -> Result<(), Failure> {
        if let Recorded::No(why) = self.record("-", None) {
            eprintln!("{why}");
        }
        let mut out = BufWriter::new(io::stdout().lock());
        let written = self.write(&mut out, None);
        match written.and_then(|()| out.flush().map_err(Stop::Io)) {
            Ok(()) => Ok(()),
            // A reader who has left is no error.
            Err(Stop::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(stop) => Err(stop.into_failure(Path::new("the standard output"))),
        }
    }

    /// The file gets its name when all of it is durable and the export is on record.
    fn publish(&mut self, path: &Path) -> Result<Answer, Failure> {
        if path.symlink_metadata().is_ok() {
            return Err(Failure::refused(format!(
                "{} exists, and is not replaced",
                path.display()
            )));
        }
        let (dir, name) = (parent(path), path.file_name().unwrap_or_default());
        let prefix = format!(".{}.partial-", name.to_string_lossy());
        let temporary = tempfile::Builder::new()
            .prefix(&prefix)
            .tempfile_in(&dir)
            .map_err(Failure::io(path))?;
        let mut out = BufWriter::new(temporary);
        let mut progress = Progress::interruptible("exporting");
        self.write(&mut out, Some(&mut progress))
            .map_err(|stop| stop.into_failure(path))?;
        let temporary = out
            .into_inner()
            .map_err(|error| Failure::io(path)(error.into_error()))?;
        let bytes = publishable(&temporary).map_err(Failure::io(path))?;
        let recorded = self.record(&path.display().to_string(), Some(bytes));
        temporary
            .persist_noclobber(path)
            .map_err(|error| Failure::io(path)(error.error))?;
        File::open(&dir)
            .and_then(|dir| dir.sync_all())
            .map_err(Failure::io(path))?;
        Ok(self.answer(path, bytes, &recorded))
    }

    fn write(
        &mut self,
        out: &mut impl Write,
        mut progress: Option<&mut Progress>,
    ) -> Result<(), Stop> {
        let total = self.reader.checkpoint().size();
        let origin = self.reader.checkpoint().origin().to_owned();
        for event in self.reader.events(Filter::default()) {
            let event =
                event.map_err(|error| Stop::Failed(Failure::from(error).about(&self.found.dir)))?;
            if let Some(progress) = &mut progress
                && progress.at(event.index, total) == ControlFlow::Break(())
            {
                let text = "interrupted; nothing was left behind";
                return Err(Stop::Failed(Failure::new(Exit::Interrupted, text)));
            }
            if self.since.has(&event) {
                writeln!(out, "{}", self.format.line(&origin, &event)).map_err(Stop::Io)?;
                self.first = self.first.or(Some(event.index));
                self.last = Some(event.index);
                self.count += 1;
            }
        }
        Ok(())
    }

    fn record(&self, target: &str, bytes: Option<u64>) -> Recorded {
        let object = Object {
            id: Some(self.found.vkey.origin().to_owned()),
            path: Some(target.to_owned()),
            bytes,
            ..Object::new(ObjectKind::Log)
        };
        let event = Event::new(Action::AuditExport, Outcome::Success)
            .with_reason(self.format.name())
            .with_object(object);
        let log = match self.found.append() {
            Ok(Some(log)) => log,
            Ok(None) => return Recorded::No(NO_KEY.to_owned()),
            Err(failure) => return Recorded::cannot(&failure),
        };
        match log.record(&event) {
            Ok(recorded) => Recorded::At(recorded.index),
            Err(error) => Recorded::cannot(&error.into()),
        }
    }

    fn answer(&self, path: &Path, bytes: u64, recorded: &Recorded) -> Answer {
        let (index, note) = match recorded {
            Recorded::At(index) => (Some(*index), format!("recorded as event {index}")),
            Recorded::No(why) => (None, why.clone()),
        };
        Answer {
            text: format!(
                "wrote {} events of {} to {} as {}\n{note}",
                self.count,
                self.reader.checkpoint().origin(),
                path.display(),
                self.format
            ),
            json: json!({
                "log": self.found.dir,
                "vkey": self.found.vkey.to_string(),
                "format": self.format.name(),
                "output": path,
                "events": self.count,
                "first": self.first,
                "last": self.last,
                "size": self.reader.checkpoint().size(),
                "bytes": bytes,
                "recorded": index,
            }),
        }
    }
}

/// Whether the export is in the log itself.
enum Recorded {
    At(u64),
    No(String),
}

impl Recorded {
    /// Reading a log that one cannot write to is an auditor's daily business.
    fn cannot(failure: &Failure) -> Recorded {
        Recorded::No(format!("this export is not recorded: {failure}"))
    }
}

/// Why writing stopped.
enum Stop {
    Failed(Failure),
    Io(io::Error),
}

impl Stop {
    fn into_failure(self, path: &Path) -> Failure {
        match self {
            Stop::Failed(failure) => failure,
            Stop::Io(error) => Failure::io(path)(error),
        }
    }
}

fn publishable(file: &NamedTempFile) -> io::Result<u64> {
    file.as_file().sync_all()?;
    Ok(file.as_file().metadata()?.len())
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

const NO_KEY: &str = "this export is not recorded: only whoever opens the database or the key file can write to its log";
