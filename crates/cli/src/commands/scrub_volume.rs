//! `cofferdam scrub` of a volume: every page of every file.

use std::path::Path;
use std::process::ExitCode;

use cofferdam_sealed_file::{Error, Recovered, Scrubbed, Volume};
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
    /// Or why none of its pages can be found, in words.
    found: Result<Scrubbed, String>,
}

impl File {
    fn is_sound(&self) -> bool {
        self.found.as_ref().is_ok_and(|found| found.bad.is_empty())
    }

    fn lines(&self) -> Vec<String> {
        match &self.found {
            Err(why) => vec![format!("{}: {why}", self.name)],
            Ok(found) => {
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
        let found = self.found.as_ref();
        let pages = |it: &Scrubbed| it.bad.iter().map(|page| page.as_u64()).collect();
        let bad: Option<Vec<u64>> = found.ok().map(pages);
        json!({ "file": self.name, "record": found.is_ok(), "why": found.err(), "bad": bad })
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
    let volume = volume::open(context.opener()?, path, "scrub", options.accept_damage)?;
    let about = |error| Failure::from(error).about(path);
    let names = volume.file_names().map_err(about)?;
    let mut progress = Progress::new("scrubbing");
    let mut files = Vec::new();
    for (done, name) in names.iter().enumerate() {
        files.push(look(&volume, name).map_err(about)?);
        let _ = progress.at(done as u64 + 1, names.len() as u64);
    }
    let recovered = volume.recovered().clone();
    volume.close().map_err(about)?;
    answer(path, &files, &recovered).print(context.json)?;
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
        Ok(found) => Ok(found),
        Err(Error::RecordAltered { .. }) => {
            Err("its record was altered or made with another key; none of it opens".to_owned())
        }
        // A disk that does not read one file may read the others.
        Err(error @ Error::Io { .. }) => Err(error.to_string()),
        Err(error) => return Err(error),
    };
    let name = name.escape_ascii().to_string();
    Ok(File { name, found })
}

/// What the opening found that the files do not show.
fn notes(recovered: &Recovered) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(damage) = &recovered.damage {
        notes.push(format!(
            "accepted: groups {} to {} of the journal are lost",
            damage.first_missing,
            damage.last_seen.max(damage.first_missing)
        ));
    }
    if let Some(tail) = &recovered.ignored {
        notes.push(format!(
            "journal-{} ended in a group of {} bytes that was not whole: after a power cut or a kill nobody was told that it is durable; \
             otherwise the disk has lost what was synced last",
            tail.segment, tail.len
        ));
    }
    if recovered.unknown_files > 0 {
        notes.push(format!(
            "{} files in the directory have no name and were not removed; they stay where they are, unused",
            recovered.unknown_files
        ));
    }
    notes
}

fn answer(path: &Path, files: &[File], recovered: &Recovered) -> Answer {
    let sum = |count: fn(&Scrubbed) -> u64| -> u64 {
        files
            .iter()
            .filter_map(|file| file.found.as_ref().ok().map(count))
            .sum()
    };
    let (pages, unwritten) = (sum(|it| it.pages), sum(|it| it.unwritten));
    let bad: Vec<&File> = files.iter().filter(|file| !file.is_sound()).collect();
    let mut lines: Vec<String> = bad.iter().flat_map(|file| file.lines()).collect();
    lines.extend(notes(recovered));
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
            "notes": notes(recovered),
        }),
    }
}
