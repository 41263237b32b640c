//! `cofferdam scrub` of a volume: every page of every file.

use std::path::Path;
use std::process::ExitCode;

use cofferdam_sealed_file::{Error, Scrubbed, Volume};
use serde_json::{Value, json};

use crate::args::Scrub;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{Answer, announce};
use crate::progress::Progress;
use crate::volume;

/// What was found of one file.
struct File {
    name: String,
    /// `None`: its record does not authenticate, so none of its pages can be found.
    found: Option<Scrubbed>,
}

impl File {
    fn is_sound(&self) -> bool {
        self.found
            .as_ref()
            .is_some_and(|found| found.bad.is_empty())
    }

    fn lines(&self) -> Vec<String> {
        match &self.found {
            None => vec![format!(
                "{}: its record was altered or made with another key; none of it opens",
                self.name
            )],
            Some(found) => {
                let line = |page| {
                    format!(
                        "{} page {page}: altered, or sealed with another key",
                        self.name
                    )
                };
                found.bad.iter().map(line).collect()
            }
        }
    }

    fn json(&self) -> Value {
        let bad: Option<Vec<u64>> = self
            .found
            .as_ref()
            .map(|found| found.bad.iter().map(|page| page.as_u64()).collect());
        json!({ "file": self.name, "record": self.found.is_some(), "bad": bad })
    }
}

/// Looks at every page.
pub(crate) fn run(context: &Context, options: &Scrub, path: &Path) -> Result<ExitCode, Failure> {
    if options.without_keys {
        return Err(Failure::usage(
            "--without-keys is for databases: what the pages of a volume are, its journal decides together with them",
        ));
    }
    announce(
        context.json,
        "opening every page of every file with its keys",
    );
    let volume = volume::open(context.opener()?, path, "scrub")?;
    let about = |error| Failure::from(error).about(path);
    let names = volume.file_names().map_err(about)?;
    let mut progress = Progress::new("scrubbing");
    let mut files = Vec::new();
    for (done, name) in names.iter().enumerate() {
        files.push(look(&volume, name).map_err(about)?);
        let _ = progress.at(done as u64 + 1, names.len() as u64);
    }
    volume.close().map_err(about)?;
    answer(path, &files).print(context.json)?;
    Ok(match files.iter().all(File::is_sound) {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(Exit::Integrity as u8),
    })
}

fn look(volume: &Volume, name: &[u8]) -> Result<File, Error> {
    let found = match volume
        .open_file(name)
        .and_then(|file| file.scrub(|_, _| {}))
    {
        Ok(found) => Some(found),
        Err(Error::RecordAltered { .. }) => None,
        Err(error) => return Err(error),
    };
    let name = name.escape_ascii().to_string();
    Ok(File { name, found })
}

fn answer(path: &Path, files: &[File]) -> Answer {
    let sum = |count: fn(&Scrubbed) -> u64| -> u64 {
        files
            .iter()
            .filter_map(|file| file.found.as_ref().map(count))
            .sum()
    };
    let (pages, unwritten) = (sum(|it| it.pages), sum(|it| it.unwritten));
    let bad: Vec<&File> = files.iter().filter(|file| !file.is_sound()).collect();
    let mut lines: Vec<String> = bad.iter().flat_map(|file| file.lines()).collect();
    let verdict = match bad.len() {
        0 => "all sound".to_owned(),
        count => format!("{count} files are not sound"),
    };
    lines.push(format!(
        "{} files with {pages} pages, {unwritten} of them never written: {verdict}",
        files.len()
    ));
    if !bad.is_empty() {
        lines.push(
            "everything else is sound; restore the volume from a backup, or copy what still opens"
                .to_owned(),
        );
    }
    Answer {
        text: lines.join("\n"),
        json: json!({
            "volume": path,
            "files": files.len(),
            "pages": pages,
            "unwritten": unwritten,
            "bad": bad.iter().map(|file| file.json()).collect::<Value>(),
        }),
    }
}
