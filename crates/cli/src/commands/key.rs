//! `cofferdam key …`: what a key custodian does.

use std::sync::Arc;

use cofferdam_keys::{KeyState, KeyVault, KeyVersion};
use cofferdam_vaults::{Vaults, Which};
use serde_json::json;
use zeroize::Zeroizing;

use crate::args::{Key, KeyDisable, KeySwitch};
use crate::context::Context;
use crate::custody::Custody;
use crate::failure::Failure;
use crate::impact::{self, Impact};
use crate::output::{Answer, table, time};
use crate::terminal;

/// Runs one of them.
pub(crate) fn run(context: &Context, command: &Key) -> Result<Answer, Failure> {
    match command {
        Key::Create(name) => create(context, &name.key),
        Key::Versions(name) => versions(context, &name.key),
        Key::Rotate(name) => rotate(context, &name.key),
        Key::Disable(options) => disable(context, options),
        Key::Enable(switch) => set_enabled(context, switch, true),
    }
}

fn create(context: &Context, name: &str) -> Result<Answer, Failure> {
    let key = context.key(name)?;
    let passphrase = new_passphrase(context)?;
    // The new key's log wants the new passphrase, which nobody is to be asked for a third time.
    let known = passphrase.clone();
    let vaults = Vaults::new(Arc::new(move |_| known.clone()));
    let custody = Custody::of(&vaults, &key)?;
    let version = custody.create(passphrase.as_ref().map(|text| text.as_str()))?;
    let protection = match passphrase {
        Some(_) => "under a passphrase",
        None => "without a passphrase: whoever reads the file has the key",
    };
    let dir = custody.log_dir();
    Ok(Answer {
        text: format!(
            "made {key}, version {version}, {protection}\nits custodians' log is {}\nback it up: without it, what it \
             protects is gone",
            dir.display()
        ),
        json: json!({
            "key": key.to_string(),
            "version": version.to_string(),
            "passphrase": passphrase.is_some(),
            "audit": dir,
        }),
    })
}

/// From the terminal when asked for, otherwise from the environment when it is there.
fn new_passphrase(context: &Context) -> Result<Option<Zeroizing<String>>, Failure> {
    if !context.ask_passphrases {
        return Ok(cofferdam_wiring::passphrase_from_environment());
    }
    let ask = |question| {
        terminal::passphrase(question)
            .map_err(|error| Failure::refused(format!("no terminal to ask at: {error}")))
    };
    let first = ask("new passphrase: ")?;
    if *first != *ask("the same again: ")? {
        return Err(Failure::usage(
            "the two passphrases differ; nothing was made",
        ));
    }
    Ok(Some(first))
}

fn versions(context: &Context, name: &str) -> Result<Answer, Failure> {
    let key = context.key(name)?;
    let custody = Custody::of(&context.vaults, &key)?;
    let described = custody.vault().describe()?;
    let versions = custody.vault().versions()?;
    let mut rows = vec![["VERSION", "STATE", "CREATED"].map(str::to_owned).to_vec()];
    let mut list = Vec::new();
    for version in &versions {
        let state = state_name(version.state);
        let created = version.created_at.map_or(0, |at| at.seconds);
        rows.push(vec![
            version.version.to_string(),
            state.to_owned(),
            time(created),
        ]);
        list.push(
            json!({ "version": version.version.to_string(), "state": state, "created_at": created }),
        );
    }
    let state = state_name(described.state);
    Ok(Answer {
        text: format!("{key}: {state}, {}\n{}", described.kind, table(&rows)),
        json: json!({ "key": key.to_string(), "state": state, "versions": list }),
    })
}

fn rotate(context: &Context, name: &str) -> Result<Answer, Failure> {
    let key = context.key(name)?;
    let custody = Custody::of(&context.vaults, &key)?;
    let version = custody.rotate()?;
    Ok(Answer {
        text: format!(
            "{key} has version {version}, which wraps from now on\nstores use it after `cofferdam rotate kek STORE`, and at \
             their next question to the vault where a program has them open; keep the older versions enabled until then"
        ),
        json: json!({ "key": key.to_string(), "version": version.to_string() }),
    })
}

/// Shows what would stop, and stops it only when told to.
fn disable(context: &Context, options: &KeyDisable) -> Result<Answer, Failure> {
    let key = context.key(&options.switch.key)?;
    let version = options
        .switch
        .version
        .as_ref()
        .map(|version| parse_version(version))
        .transpose()?;
    let impacts = impact::of_disabling(&key, version.as_ref(), &options.stores)?;
    let lines: Vec<String> = impacts.iter().map(Impact::line).collect();
    if impacts.iter().any(Impact::stops) && !options.yes {
        return Err(Failure::refused(format!(
            "nothing was disabled, because something would stop; --yes does it all the same\n{}",
            lines.join("\n")
        )));
    }
    let mut answer = set_enabled(context, &options.switch, false)?;
    for line in lines {
        answer.text.push('\n');
        answer.text.push_str(&line);
    }
    answer.json["impact"] = impacts.iter().map(Impact::json).collect();
    Ok(answer)
}

fn parse_version(text: &str) -> Result<KeyVersion, Failure> {
    text.parse()
        .map_err(|error| Failure::usage(format!("--version {text:?}: {error}")))
}

fn set_enabled(context: &Context, switch: &KeySwitch, enabled: bool) -> Result<Answer, Failure> {
    let key = context.key(&switch.key)?;
    let custody = Custody::of(&context.vaults, &key)?;
    let (which, what) = match &switch.version {
        None => (Which::Key, key.to_string()),
        Some(version) => (
            Which::Version(parse_version(version)?),
            format!("version {version} of {key}"),
        ),
    };
    custody.set_enabled(&which, enabled)?;
    let state = if enabled { "enabled" } else { "disabled" };
    let meaning = if enabled {
        "what it protects opens again"
    } else {
        "what it protects no longer opens; programs that have it open close it at their next question to the vault"
    };
    Ok(Answer {
        text: format!("{what} is {state}: {meaning}"),
        json: json!({ "key": key.to_string(), "version": switch.version, "state": state }),
    })
}

/// A state's name.
pub(crate) fn state_name(state: KeyState) -> &'static str {
    match state {
        KeyState::Enabled => "enabled",
        _ => "disabled",
    }
}
