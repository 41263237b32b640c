//! `cofferdam rekey`: another key for a store's roots.

use cofferdam_keys::Layer;
use cofferdam_sealed_file::Custodian;
use serde_json::json;

use super::rotate_kek;
use crate::args::Store;
use crate::context::{Context, absolute};
use crate::failure::Failure;
use crate::output::{Answer, announce};

/// Puts each layer for which a key was named on the command line under that key.
pub(crate) fn run(context: &Context, options: &Store) -> Result<Answer, Failure> {
    if context.named.is_empty() {
        return Err(Failure::usage(
            "name the new key: --customer KEY, --infrastructure KEY or both",
        ));
    }
    let path = absolute(&options.store);
    let opener = context.opener_of_source()?;
    let mut custodian =
        Custodian::open(&opener, &path).map_err(|error| Failure::from(error).about(&path))?;
    let there = custodian.keyring().suite().layers().to_vec();
    if let Some(layer) = context.named.keys().find(|layer| !there.contains(layer)) {
        return Err(Failure::usage(format!(
            "{} has no {layer} layer",
            path.display()
        )));
    }
    let mut lines = Vec::new();
    let mut list = Vec::new();
    for (&layer, key) in &context.named {
        announce(
            context.json,
            &format!(
                "wrapping the root of the {layer} layer of {} under {key}; no page is touched",
                path.display()
            ),
        );
        let rotated = custodian
            .rekey(layer, key)
            .map_err(|error| rotate_kek::after(&lines, Failure::from(error).about(&path)))?;
        lines.push(format!(
            "{layer} layer: under {key}, version {}, keyring sequence {}",
            rotated.to, rotated.keyring_sequence
        ));
        list.push(rotate_kek::json(&rotated));
    }
    if context.settings.customer != opener.pins.key(Layer::Customer).cloned()
        && opener.pins.key(Layer::Customer).is_some()
    {
        lines.push(
            "COFFERDAM_CUSTOMER still names the old key: programs that have it will refuse this store"
                .to_owned(),
        );
    }
    Ok(Answer {
        text: lines.join("\n"),
        json: json!({ "store": path, "rekeyed": list }),
    })
}
