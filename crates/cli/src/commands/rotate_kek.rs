//! `cofferdam rotate kek`

use cofferdam_keys::Layer;
use cofferdam_sealed_file::{Custodian, Rotated};
use serde_json::{Value, json};

use crate::args::{LayerChoice, RotateKek};
use crate::context::{Context, absolute};
use crate::failure::Failure;
use crate::output::{Answer, announce};

/// Wraps roots under the newest versions of their keys.
pub(crate) fn run(context: &Context, options: &RotateKek) -> Result<Answer, Failure> {
    let path = absolute(&options.store);
    let opener = context.opener()?;
    let mut custodian =
        Custodian::open(&opener, &path).map_err(|error| Failure::from(error).about(&path))?;
    let layers = chosen(custodian.keyring().suite().layers(), options.layer)?;
    announce(
        context.json,
        &format!(
            "wrapping the root of {} under the newest version of its key; no page of {} is touched",
            names(&layers),
            path.display()
        ),
    );
    let mut lines = Vec::new();
    let mut list = Vec::new();
    for layer in layers {
        let rotated = custodian
            .rotate_kek(layer)
            .map_err(|error| after(&lines, Failure::from(error).about(&path)))?;
        lines.push(line(&rotated));
        list.push(self::json(&rotated));
    }
    Ok(Answer {
        text: lines.join("\n"),
        json: json!({ "store": path, "rotated": list }),
    })
}

/// A rotation for a person.
pub(crate) fn line(rotated: &Rotated) -> String {
    format!(
        "{} layer: from version {} to version {}, keyring sequence {}",
        rotated.layer, rotated.from, rotated.to, rotated.keyring_sequence
    )
}

/// A rotation for a script.
pub(crate) fn json(rotated: &Rotated) -> Value {
    json!({
        "layer": rotated.layer.to_string(),
        "from": rotated.from.to_string(),
        "to": rotated.to.to_string(),
        "keyring_sequence": rotated.keyring_sequence,
    })
}

/// A failure at the second layer does not take the first one back.
pub(crate) fn after(done: &[String], failure: Failure) -> Failure {
    match done {
        [] => failure,
        done => Failure {
            text: format!("done: {}; then: {failure}", done.join("; ")),
            ..failure
        },
    }
}

fn chosen(there: &[Layer], choice: LayerChoice) -> Result<Vec<Layer>, Failure> {
    let wanted = match choice {
        LayerChoice::All => return Ok(there.to_vec()),
        LayerChoice::Customer => Layer::Customer,
        LayerChoice::Infrastructure => Layer::Infrastructure,
    };
    if there.contains(&wanted) {
        Ok(vec![wanted])
    } else {
        Err(Failure::usage(format!("this store has no {wanted} layer")))
    }
}

fn names(layers: &[Layer]) -> String {
    match layers {
        [layer] => format!("the {layer} layer"),
        _ => "each layer".to_owned(),
    }
}
