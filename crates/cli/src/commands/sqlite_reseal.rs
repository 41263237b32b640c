//! `cofferdam sqlite reseal`

use std::sync::Arc;

use cofferdam_sqlite::{Sealed, Snapshot};

use crate::args::Seal;
use crate::commands::record_copy;
use crate::commands::sqlite_seal::Sealing;
use crate::context::{Context, absolute};
use crate::failure::Failure;
use crate::output::{Answer, announce};
use crate::store;

/// Makes a sealed copy of a sealed database, once that is on record.
pub(crate) fn run(context: &Context, options: &Seal) -> Result<Answer, Failure> {
    let source = absolute(&options.source);
    let opener = Arc::new(context.opener_of_source()?);
    // Whatever is wrong with keys and keyring is told in their own words before SQLite has a say.
    let layers = store::unlock(&opener, &source)?
        .keyring
        .suite()
        .layer_count();
    let sealing = Sealing::new(context, options)?;
    if sealing.suite.layer_count() < layers {
        announce(context.json, "the copy has one layer, its source two");
    }
    let sealed = Sealed::new(opener.clone()).map_err(Failure::from)?;
    let snapshot = Snapshot::of_sealed(&sealed, &source)?;
    let copy = sealing.copy(context, &snapshot)?;
    record_copy(&opener, &source, &sealing.target, &copy, "resealed")?;
    let left = format!(
        "{} is as it was, under its own keys; what was written to it since is not in the copy",
        snapshot.path().display()
    );
    sealing.publish(copy, &left)
}
