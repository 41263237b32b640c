//! `cofferdam scrub`

use std::process::ExitCode;

use cofferdam_sealed_file::{FileDisk, Scrubbed, scrub, scrub_without_keys};
use serde_json::json;

use super::scrub_volume;
use crate::args::Scrub;
use crate::context::{Context, absolute};
use crate::failure::{Exit, Failure};
use crate::output::{Answer, announce};
use crate::progress::Progress;
use crate::{store, volume};

/// Looks at every page.
pub(crate) fn run(context: &Context, options: &Scrub) -> Result<ExitCode, Failure> {
    let path = absolute(&options.store);
    if volume::keyring(&path).is_some() {
        return scrub_volume::run(context, options, &path);
    }
    if options.accept_damage {
        return Err(Failure::usage(
            "--accept-damage is for volumes; a database has no journal of ours",
        ));
    }
    store::slots(&path)?;
    let mut progress = Progress::new("scrubbing");
    let tell = |done, total| {
        let _ = progress.at(done, total);
    };
    let found = if options.without_keys {
        announce(
            context.json,
            "comparing checksums; this finds decay, not malice",
        );
        let disk = FileDisk::open_read_only(&path).map_err(Failure::io(&path))?;
        scrub_without_keys(&disk, tell)
    } else {
        announce(context.json, "opening every page with its keys");
        let (_, mut file) = context
            .opener()?
            .open_main(&path)
            .map_err(|error| Failure::from(error).about(&path))?;
        scrub(&mut file, tell)
    };
    let found = found.map_err(|error| Failure::from(error).about(&path))?;
    answer(&found, options.without_keys).print(context.json)?;
    Ok(if found.bad.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(Exit::Integrity as u8)
    })
}

fn answer(found: &Scrubbed, without_keys: bool) -> Answer {
    let mut lines: Vec<String> = found
        .bad
        .iter()
        .map(|page| {
            let what = if without_keys {
                "its checksum does not match"
            } else {
                "altered, or sealed with another key"
            };
            format!("page {page}: {what}")
        })
        .collect();
    lines.push(format!(
        "{} pages, {} of them never written, {} bad",
        found.pages,
        found.unwritten,
        found.bad.len()
    ));
    if !found.bad.is_empty() {
        lines.push(
            "every other page is sound; restore the file from a backup, or copy what still opens"
                .to_owned(),
        );
    }
    let bad: Vec<u64> = found.bad.iter().map(|page| page.as_u64()).collect();
    Answer {
        text: lines.join("\n"),
        json: json!({ "pages": found.pages, "unwritten": found.unwritten, "bad": bad }),
    }
}
