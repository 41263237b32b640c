//! `cofferdam sqlite seal`

use cofferdam_cipher::PageSize;
use cofferdam_sqlite::{Snapshot, seal};
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
    let mut settings = context.settings.clone();
    if let Some(suite) = &options.suite {
        settings.set("suite", suite)?;
    }
    if settings.customer.is_none() {
        return Err(Failure::usage(
            "whose key? give --customer file:PATH, or set COFFERDAM_CUSTOMER; `cofferdam key create file:PATH` makes one",
        ));
    }
    let suite = settings.suite()?;
    let page_size = options
        .page_size
        .map(|bytes| PageSize::try_from(bytes).map_err(Failure::usage))
        .transpose()?;
    let opener = settings.opener_with(context.vaults.clone())?;
    let target = absolute(&options.target);
    let snapshot = Snapshot::of_plain(&options.source)?;
    announce(
        context.json,
        &format!(
            "sealing {} ({}) into {}: {}",
            snapshot.path().display(),
            size(snapshot.bytes()),
            target.display(),
            suite_in_words(suite),
        ),
    );
    let mut progress = Progress::interruptible("sealing");
    let copy = seal(
        &snapshot,
        &opener,
        &target,
        page_size,
        &mut |done, total| progress.at(done, total),
    )
    .map_err(|error| Failure::from(error).about(&target))?;
    let (bytes, sha256) = (copy.bytes(), hex(&copy.sha256()));
    copy.publish()?;
    let pins = store::pins(&target)?;
    let mut text = format!(
        "sealed {}: {} of database, read back and equal\nsha256 of the contents {sha256}\nthe plain {} is still there; \
         remove it when you have checked the copy",
        target.display(),
        size(bytes),
        snapshot.path().display(),
    );
    if !pins.is_empty() {
        text.push_str(&format!(
            "\nthe key is of RSA, under which anyone can wrap who has its public half: give programs that open this database\n\
             COFFERDAM_PIN={}",
            pins.join(",")
        ));
    }
    Ok(Answer {
        text,
        json: json!({
            "store": target,
            "suite": suite.number(),
            "bytes": bytes,
            "sha256": sha256,
            "pins": pins,
        }),
    })
}
