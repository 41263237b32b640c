//! `cofferdam init`

use std::io::ErrorKind;

use cofferdam_cipher::PageSize;
use cofferdam_sealed_file::{FileDirectory, Part, Volume};
use serde_json::json;

use crate::args::Init;
use crate::commands::suite_in_words;
use crate::context::{Context, absolute};
use crate::failure::Failure;
use crate::output::Answer;
use crate::{store, volume};

/// Makes a volume.
pub(crate) fn run(context: &Context, options: &Init) -> Result<Answer, Failure> {
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
    let page_size = PageSize::try_from(options.page_size).map_err(Failure::usage)?;
    let opener = settings.opener_with(context.vaults.clone())?;
    let path = absolute(&options.volume);
    let directory = FileDirectory::create(&path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::refused(format!(
            "{}: there is something else already; a volume wants an empty directory, or one that does not exist",
            path.display()
        )),
        _ => Failure::io(&path)(error),
    })?;
    Volume::init(&volume::setup(opener, directory, "init"), page_size)
        .map_err(|error| Failure::from(error).about(&path))?;
    let keyring = path.join(Part::Keyring.file_name());
    let pins = store::pins(&keyring)?;
    let mut text = format!(
        "made the volume {}, pages of {} bytes: {}",
        path.display(),
        page_size.bytes(),
        suite_in_words(suite),
    );
    if let Some(advice) = store::pins_in_words(&pins, "programs that open this volume") {
        text.push('\n');
        text.push_str(&advice);
    }
    Ok(Answer {
        text,
        json: json!({
            "volume": path,
            "suite": suite.number(),
            "page_size": page_size.bytes(),
            "pins": pins,
        }),
    })
}
