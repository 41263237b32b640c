//! `cofferdam restore --accept-rollback`

use cofferdam_keys::Layer;
use cofferdam_sealed_file::{Custodian, Opener};
use serde_json::json;

use super::rotate_kek;
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
    let mut lines = vec![format!(
        "accepted: keyring sequence {sequence}, incarnation {incarnation}"
    )];
    let mut list = Vec::new();
    for layer in layers_to_rewrap(&opener, &custodian, options.keep_wraps)? {
        let rotated = custodian
            .rotate_kek(layer)
            .map_err(|error| rotate_kek::after(&lines, Failure::from(error).about(&path)))?;
        lines.push(rotate_kek::line(&rotated));
        list.push(rotate_kek::json(&rotated));
    }
    Ok(Answer {
        text: lines.join("\n"),
        json: json!({
            "store": path,
            "keyring_sequence": custodian.keyring().sequence().number(),
            "incarnation": incarnation,
            "rotated": list,
        }),
    })
}

/// The layers whose root an older version wraps, which may be about to be disabled.
fn layers_to_rewrap(
    opener: &Opener,
    custodian: &Custodian<'_>,
    keep: bool,
) -> Result<Vec<Layer>, Failure> {
    let mut layers = Vec::new();
    for wrap in custodian.keyring().wraps() {
        let latest = opener.vaults.vault(&wrap.key)?.describe()?.latest;
        if !keep && latest.is_some_and(|latest| latest != wrap.wrapped.version) {
            layers.push(wrap.layer);
        }
    }
    Ok(layers)
}
