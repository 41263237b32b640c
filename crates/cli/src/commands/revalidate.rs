//! `cofferdam revalidate`: asking the vaults by hand.

use cofferdam_sealed_file::Custodian;
use serde_json::json;

use crate::args::Store;
use crate::context::{Context, absolute};
use crate::failure::Failure;
use crate::output::Answer;

/// Unwraps every root, and puts on record that it could be done.
pub(crate) fn run(context: &Context, options: &Store) -> Result<Answer, Failure> {
    let path = absolute(&options.store);
    let opener = context.opener()?;
    let about = |error| Failure::from(error).about(&path);
    let custodian = Custodian::open(&opener, &path).map_err(about)?;
    custodian.revalidate().map_err(about)?;
    let mut lines = vec![format!("{}: every key may be used", path.display())];
    let mut layers = Vec::new();
    for wrap in custodian.keyring().wraps() {
        let version = &wrap.wrapped.version;
        lines.push(format!(
            "  {:<14}  {} version {version}",
            wrap.layer.to_string(),
            wrap.key
        ));
        layers.push(json!({
            "layer": wrap.layer.to_string(),
            "key": wrap.key.to_string(),
            "version": version.to_string(),
        }));
    }
    Ok(Answer {
        text: lines.join("\n"),
        json: json!({ "store": path, "usable": true, "layers": layers }),
    })
}
