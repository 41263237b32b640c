//! `cofferdam keys list`

use cofferdam_keys::{DekRecord, DekState};
use serde_json::{Value, json};

use crate::args::Store;
use crate::context::{Context, absolute};
use crate::failure::Failure;
use crate::output::{Answer, table, time};
use crate::store;

/// Every data key of a store.
pub(crate) fn run(context: &Context, options: &Store) -> Result<Answer, Failure> {
    let path = absolute(&options.store);
    let unlocked = store::unlock(&context.opener()?, &path)?;
    let deks = unlocked.keyring.deks();
    Ok(Answer {
        text: table(&rows(deks)),
        json: json!({ "store": path, "data_keys": list(deks) }),
    })
}

/// For a person.
pub(crate) fn rows(deks: &[DekRecord]) -> Vec<Vec<String>> {
    let mut rows = vec![
        ["DATA KEY", "STATE", "CREATED", "RETIRED", "DESTROYED"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(deks.iter().map(|dek| {
        vec![
            dek.id.to_string(),
            state(dek.state).to_owned(),
            time(dek.created_at),
            time(dek.retired_at),
            time(dek.destroyed_at),
        ]
    }));
    rows
}

/// For a script.
pub(crate) fn list(deks: &[DekRecord]) -> Value {
    deks.iter()
        .map(|dek| {
            json!({
                "id": dek.id.number(),
                "state": state(dek.state),
                "created_at": dek.created_at,
                "retired_at": dek.retired_at,
                "destroyed_at": dek.destroyed_at,
            })
        })
        .collect()
}

fn state(state: DekState) -> &'static str {
    match state {
        DekState::Active => "active",
        DekState::Retiring => "retiring",
        DekState::Destroyed => "destroyed",
    }
}
