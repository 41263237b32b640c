//! `cofferdam restore --accept-rollback`

use cofferdam_sealed_file::Custodian;
use serde_json::json;

use crate::args::Restore;
use crate::context::{Context, absolute};
use crate::failure::Failure;
use crate::output::{Answer, announce};

/// Declares an old copy the valid one.
pub(crate) fn run(context: &Context, options: &Restore) -> Result<Answer, Failure> {
    debug_assert!(options.accept_rollback);
    let path = absolute(&options.store);
    let opener = context.opener()?;
    let mut custodian = Custodian::open_rolled_back(&opener, &path)
        .map_err(|error| Failure::from(error).about(&path))?;
    announce(
        context.json,
        &format!(
            "declaring {} the valid copy of its store; every newer copy will be refused beside this log",
            path.display()
        ),
    );
    let sequence = custodian
        .accept_rollback()
        .map_err(|error| Failure::from(error).about(&path))?;
    let incarnation = custodian.keyring().incarnation();
    Ok(Answer {
        text: format!("accepted: keyring sequence {sequence}, incarnation {incarnation}"),
        json: json!({ "store": path, "keyring_sequence": sequence, "incarnation": incarnation }),
    })
}
