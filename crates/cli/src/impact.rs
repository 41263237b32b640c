//! What stops when a key, or one version of it, is disabled.

use std::path::PathBuf;

use cofferdam_keys::{KeyUri, KeyVersion};
use serde_json::{Value, json};

use crate::context::absolute;
use crate::failure::Failure;
use crate::store;

/// What disabling means for one store.
pub(crate) struct Impact {
    store: PathBuf,
    /// Layers whose root this key, or this version, wraps now.
    layers: Vec<String>,
    /// A keyring in the other slot still names it, as older copies of the store do.
    before: bool,
}

/// Looks into stores. Nothing is unlocked: which key wraps is not secret.
///
/// # Errors
/// A store that cannot be read.
pub(crate) fn of_disabling(
    key: &KeyUri,
    version: Option<&KeyVersion>,
    stores: &[PathBuf],
) -> Result<Vec<Impact>, Failure> {
    let mut impacts = Vec::new();
    for store in stores {
        let path = absolute(store);
        let slots = store::slots(&path)?;
        let mut layers = Vec::new();
        let mut before = false;
        for (index, (_, keyring)) in slots.candidates().into_iter().enumerate() {
            for wrap in keyring.wraps() {
                let concerned = wrap.key == *key
                    && version.is_none_or(|version| *version == wrap.wrapped.version);
                if concerned && index == 0 {
                    layers.push(wrap.layer.to_string());
                }
                before |= concerned && index > 0;
            }
        }
        impacts.push(Impact {
            store: path,
            layers,
            before,
        });
    }
    Ok(impacts)
}

impl Impact {
    /// Whether the store stops.
    pub(crate) fn stops(&self) -> bool {
        !self.layers.is_empty()
    }

    /// For a person.
    pub(crate) fn line(&self) -> String {
        let store = self.store.display();
        match (self.stops(), self.before) {
            (true, _) => format!(
                "  {store}: STOPS, its {} layer is wrapped under it",
                self.layers.join(" and ")
            ),
            (false, true) => {
                format!("  {store}: goes on; copies from before the last change of keys stop")
            }
            (false, false) => format!("  {store}: goes on"),
        }
    }

    /// For a script.
    pub(crate) fn json(&self) -> Value {
        json!({ "store": self.store, "stops": self.stops(), "layers": self.layers })
    }
}
