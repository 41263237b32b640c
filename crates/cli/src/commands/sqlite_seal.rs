//! `cofferdam sqlite seal`

use std::path::PathBuf;

use cofferdam_cipher::PageSize;
use cofferdam_keys::Suite;
use cofferdam_sealed_file::Opener;
use cofferdam_sqlite::{Snapshot, Transfer, seal};
use serde_json::json;

use crate::args::Seal;
use crate::commands::suite_in_words;
use crate::context::{Context, absolute};
use crate::failure::Failure;
use crate::output::{Answer, announce, hex, size};
use crate::progress::Progress;
use crate::store;

/// Makes a sealed copy.
pub(crate) fn run(context: &Context, options: &Seal) -> Result<Answer, Failure> {
    let snapshot = Snapshot::of_plain(&options.source)?;
    let sealing = Sealing::new(context, options)?;
    let copy = sealing.copy(context, &snapshot)?;
    let left = format!(
        "the plain {} is still there; remove it when you have checked the copy",
        snapshot.path().display()
    );
    sealing.publish(copy, &left)
}

/// A copy to be made, under keys that were given.
pub(crate) struct Sealing {
    opener: Opener,
    pub(crate) suite: Suite,
    page_size: Option<PageSize>,
    pub(crate) target: PathBuf,
}

impl Sealing {
    pub(crate) fn new(context: &Context, options: &Seal) -> Result<Sealing, Failure> {
        let mut settings = context.settings.clone();
        if let Some(suite) = &options.suite {
            settings.set("suite", suite)?;
        }
        if settings.customer.is_none() {
            return Err(Failure::usage(
                "whose key? give --customer file:PATH, or set COFFERDAM_CUSTOMER; `cofferdam key create file:PATH` makes one",
            ));
        }
        let page_size = options
            .page_size
            .map(|bytes| PageSize::try_from(bytes).map_err(Failure::usage))
            .transpose()?;
        Ok(Sealing {
            suite: settings.suite()?,
            opener: settings.opener_with(context.vaults.clone())?,
            page_size,
            target: absolute(&options.target),
        })
    }

    /// Everything but the name.
    pub(crate) fn copy(&self, context: &Context, snapshot: &Snapshot) -> Result<Transfer, Failure> {
        announce(
            context.json,
            &format!(
                "sealing {} ({}) into {}: {}",
                snapshot.path().display(),
                size(snapshot.bytes()),
                self.target.display(),
                suite_in_words(self.suite),
            ),
        );
        let mut progress = Progress::interruptible("sealing");
        seal(
            snapshot,
            &self.opener,
            &self.target,
            self.page_size,
            &mut |done, total| progress.at(done, total),
        )
        .map_err(|error| Failure::from(error).about(&self.target))
    }

    /// Gives the copy its name, and tells about it and about what is `left` of the source.
    pub(crate) fn publish(&self, copy: Transfer, left: &str) -> Result<Answer, Failure> {
        let (bytes, sha256) = (copy.bytes(), hex(&copy.sha256()));
        copy.publish()?;
        let pins = store::pins(&self.target)?;
        let mut text = format!(
            "sealed {}: {} of database, read back and equal\nsha256 of the contents {sha256}\n{left}",
            self.target.display(),
            size(bytes),
        );
        if let Some(advice) = store::pins_in_words(&pins, "programs that open this database") {
            text.push('\n');
            text.push_str(&advice);
        }
        Ok(Answer {
            text,
            json: json!({
                "store": self.target,
                "suite": self.suite.number(),
                "bytes": bytes,
                "sha256": sha256,
                "pins": pins,
            }),
        })
    }
}
