//! `cofferdam status`: what protects a store, and whether it opens.

use std::path::{Path, PathBuf};

use cofferdam_audit::{AuditLog, LogReader, LoggedEvent, VerifierKey};
use cofferdam_keys::{Keyring, KeyringSlots, RootWrap, Suite, Unlocked};
use cofferdam_sealed_file::Opener;
use serde_json::{Value, json};

use super::key::state_name;
use super::keys_list;
use crate::args::Store;
use crate::commands::sentence;
use crate::context::{Context, absolute};
use crate::failure::Failure;
use crate::output::{Answer, size, table, time};
use crate::store;
use crate::volume::{self, Overview};

/// Tells everything about a store. One whose keys are refused is described as far as its bytes claim, and the reason
/// is the command's failure.
pub(crate) fn run(context: &Context, options: &Store) -> Result<Answer, Failure> {
    let given = absolute(&options.store);
    let Some(keyring) = volume::keyring(&given) else {
        return tell(context, &given);
    };
    let overview = volume::overview(&given)?;
    let mut answer = tell(context, &keyring)?;
    let (text, json) = describe_volume(&overview);
    answer.text = format!("{}: a volume\n{text}\n\n{}", given.display(), answer.text);
    answer.json["volume"] = json;
    Ok(answer)
}

fn tell(context: &Context, path: &Path) -> Result<Answer, Failure> {
    let opener = context.opener()?;
    let slots = store::slots(path)?;
    match store::unlock(&opener, path) {
        Ok(unlocked) => opened(&opener, path, &unlocked),
        Err(failure) => {
            claimed(&opener, path, &slots).print(context.json)?;
            Err(failure)
        }
    }
}

fn opened(opener: &Opener, path: &Path, unlocked: &Unlocked) -> Result<Answer, Failure> {
    let keyring = &unlocked.keyring;
    let layers: Vec<(String, Value)> = keyring
        .wraps()
        .iter()
        .map(|wrap| layer(opener, keyring.suite(), wrap))
        .collect();
    let log = log_state(opener, path, unlocked)?;
    let (log_text, log_json) = describe_log(log.as_ref());
    let lines: Vec<String> = layers.iter().map(|(line, _)| line.clone()).collect();
    Ok(Answer {
        text: format!(
            "{}\n{}\n{}\n\n{}\n\n{log_text}",
            head(path, keyring),
            suite_in_words(keyring.suite()),
            lines.join("\n"),
            table(&keys_list::rows(keyring.deks())),
        ),
        json: json!({
            "store": path,
            "store_id": keyring.store_id().to_string(),
            "opens": true,
            "suite": keyring.suite().number(),
            "suite_in_words": suite_in_words(keyring.suite()),
            "created_at": keyring.created_at(),
            "keyring_sequence": keyring.sequence().number(),
            "incarnation": keyring.incarnation(),
            "layers": layers.into_iter().map(|(_, json)| json).collect::<Value>(),
            "data_keys": keys_list::list(keyring.deks()),
            "audit": log_json,
        }),
    })
}

fn describe_volume(overview: &Overview) -> (String, Value) {
    let open_by = match &overview.open_by {
        Some(who) => format!("open, by {who}"),
        None => "nobody has it open".to_owned(),
    };
    let text = format!(
        "{} files, {} on the disk; journal {}; {open_by}",
        overview.files,
        size(overview.bytes),
        size(overview.journal_bytes),
    );
    let json = json!({
        "files": overview.files,
        "bytes": overview.bytes,
        "journal_bytes": overview.journal_bytes,
        "open_by": overview.open_by,
    });
    (text, json)
}

fn head(path: &Path, keyring: &Keyring) -> String {
    format!(
        "{}: opens\nstore {}, made {}, keyring sequence {}, incarnation {}",
        path.display(),
        keyring.store_id(),
        time(keyring.created_at()),
        keyring.sequence().number(),
        keyring.incarnation()
    )
}

/// When nobody should need the versions before this wrap any more but old copies of the store: programs that had the store open look at
/// its keyring much more often.
fn safe_to_disable_at(wrap: &RootWrap) -> u64 {
    wrap.wrapped_at.saturating_add(DISABLE_MARGIN_S)
}

/// What a suite means.
pub(crate) fn suite_in_words(suite: Suite) -> String {
    let walls = match suite {
        Suite::One => "one wall: AES-256-GCM under the customer's key",
        Suite::Two => {
            "two walls: AES-256-GCM under the customer's key, within ChaCha20-Poly1305 from another library under the \
             infrastructure's key"
        }
        Suite::Three => {
            "two walls: AES-256-GCM under the customer's key, within AEGIS-256X2 under the infrastructure's key"
        }
    };
    format!("suite {}, {walls}", suite.number())
}

/// One layer, with what its vault says.
fn layer(opener: &Opener, suite: Suite, wrap: &RootWrap) -> (String, Value) {
    let algorithm = suite
        .algorithm(wrap.layer)
        .map_or_else(|| "?".to_owned(), |algorithm| algorithm.to_string());
    let version = &wrap.wrapped.version;
    let (answer, detail) = vault_answer(opener, wrap);
    let pin = store::pin(wrap);
    let pinned = pin
        .as_ref()
        .map(|pin| format!("\n                  pin {pin}"))
        .unwrap_or_default();
    let text = format!(
        "  {:<14}  {algorithm}\n                  {} version {version}, since {}; older versions are safe to disable from {}\n                  {answer}{pinned}",
        wrap.layer.to_string(),
        wrap.key,
        time(wrap.wrapped_at),
        time(safe_to_disable_at(wrap)),
    );
    let json = json!({
        "layer": wrap.layer.to_string(),
        "algorithm": algorithm,
        "key": wrap.key.to_string(),
        "version": version.to_string(),
        "wrapped_at": wrap.wrapped_at,
        "safe_to_disable_older_at": safe_to_disable_at(wrap),
        "pin": pin,
        "vault": detail,
    });
    (text, json)
}

fn vault_answer(opener: &Opener, wrap: &RootWrap) -> (String, Value) {
    let vault = match opener.vaults.vault(&wrap.key) {
        Ok(vault) => vault,
        Err(error) => return (error.to_string(), json!({ "refusal": error.to_string() })),
    };
    match vault.describe() {
        Ok(described) => {
            let latest = described.latest.as_ref().map(ToString::to_string);
            let state = state_name(described.state);
            let newer = match &latest {
                Some(latest) if *latest != wrap.wrapped.version.to_string() => {
                    format!("; version {latest} is newer: `cofferdam rotate kek` puts it into use")
                }
                _ => String::new(),
            };
            let text = format!(
                "the vault says: {state}, {}, {} bits of strength{newer}",
                described.kind, described.strength_bits
            );
            let json = json!({
                "state": state,
                "kind": described.kind,
                "strength_bits": described.strength_bits,
                "latest": latest,
            });
            (text, json)
        }
        Err(refusal) => (
            format!("the vault says: {refusal}"),
            json!({ "refusal": refusal.to_string() }),
        ),
    }
}

/// A store's log as `status` shows it.
struct LogState {
    dir: PathBuf,
    vkey: VerifierKey,
    size: u64,
    anchored: Option<u64>,
    last: Vec<LoggedEvent>,
}

fn log_state(
    opener: &Opener,
    path: &Path,
    unlocked: &Unlocked,
) -> Result<Option<LogState>, Failure> {
    let store = unlocked.keyring.store_id();
    let Some(dir) = opener.log_dir(path, store).filter(|dir| dir.is_dir()) else {
        return Ok(None);
    };
    let vkey = store::verifier(store, &unlocked.data_keys)?;
    let about = |failure: Failure| failure.about(&dir);
    let anchored = AuditLog::anchored_sequence(&dir, &store.to_string(), &vkey)
        .map_err(|error| about(error.into()))?;
    let mut reader = LogReader::open(&dir, &vkey).map_err(|error| about(error.into()))?;
    let size = reader.checkpoint().size();
    let mut last = Vec::new();
    for index in size.saturating_sub(LAST_EVENTS)..size {
        last.push(reader.event(index).map_err(|error| about(error.into()))?);
    }
    Ok(Some(LogState {
        dir,
        vkey,
        size,
        anchored,
        last,
    }))
}

fn describe_log(log: Option<&LogState>) -> (String, Value) {
    let Some(log) = log else {
        let text = "rollback NOT checked: there is no audit log, so an old copy put back would not be noticed";
        return (text.to_owned(), Value::Null);
    };
    let rollback = match log.anchored {
        Some(sequence) => format!("rollback checked: the log has seen keyring sequence {sequence}"),
        None => "rollback NOT checked: the log has seen no keyring of this store".to_owned(),
    };
    let events: Vec<String> = log.last.iter().map(sentence).collect();
    let text = format!(
        "audit log {}, {} events\nvkey {}\n{rollback}\nlast events:\n{}",
        log.dir.display(),
        log.size,
        log.vkey,
        events.join("\n")
    );
    let parsed = |event: &LoggedEvent| serde_json::from_slice(&event.to_json()).unwrap_or_default();
    let json = json!({
        "log": log.dir,
        "size": log.size,
        "vkey": log.vkey.to_string(),
        "rollback_checked_against": log.anchored,
        "last_events": log.last.iter().map(parsed).collect::<Vec<Value>>(),
    });
    (text, json)
}

/// What the bytes say of a store that does not open. Anyone may have written them.
fn claimed(opener: &Opener, path: &Path, slots: &KeyringSlots) -> Answer {
    let mut lines = vec![format!(
        "{}: does NOT open; what follows is what its bytes claim",
        path.display()
    )];
    let mut wraps = Vec::new();
    let mut id = None;
    if let Some((_, keyring)) = slots.candidates().first() {
        lines.push(format!(
            "store {}, keyring sequence {}",
            keyring.store_id(),
            keyring.sequence().number()
        ));
        id = Some(keyring.store_id().to_string());
        for wrap in keyring.wraps() {
            let (answer, json) = vault_answer(opener, wrap);
            lines.push(format!(
                "  {:<14}  {} version {}\n                  {answer}",
                wrap.layer.to_string(),
                wrap.key,
                wrap.wrapped.version
            ));
            wraps.push(json!({
                "layer": wrap.layer.to_string(),
                "key": wrap.key.to_string(),
                "version": wrap.wrapped.version.to_string(),
                "vault": json,
            }));
        }
    }
    Answer {
        text: lines.join("\n"),
        json: json!({ "store": path, "opens": false, "claimed": { "store_id": id, "layers": wraps } }),
    }
}

/// As Azure advises for its own databases: wait at least two hours.
const DISABLE_MARGIN_S: u64 = 2 * 3600;
/// How many events are shown.
const LAST_EVENTS: u64 = 5;
