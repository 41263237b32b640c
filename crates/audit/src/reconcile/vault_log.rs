//! The log of an Azure key vault, as Azure Monitor exports it.
//!
//! <https://learn.microsoft.com/azure/key-vault/general/logging>. `resultType` says `Success` for requests that were
//! answered with a refusal, too, so the outcome is read from the HTTP status.

use std::collections::HashSet;
use std::fmt;
use std::io::{BufRead, BufReader, Read};

use serde_json::Value;

use crate::time::UnixTime;

/// Calls of a vault's log that wrapped or unwrapped with a key.
#[derive(Clone, Debug, Default)]
pub struct VaultLog {
    calls: Vec<VaultCall>,
    seen: HashSet<VaultCall>,
    duplicates: u64,
    others: u64,
}

/// One call, as the vault remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct VaultCall {
    /// When it was answered, by the vault's clock.
    pub time: UnixTime,
    /// What was asked for.
    pub operation: VaultOperation,
    /// The key, without its version, in lower case.
    pub key: String,
    /// The version, in lower case.
    pub version: Option<String>,
    /// The id that the client sent along (or that the vault made up), in lower case.
    pub request_id: Option<String>,
    /// Whether the key was used.
    pub succeeded: bool,
    /// What the vault answered, in its own words, such as `OK` and `Forbidden`.
    pub result: String,
    /// Who asked, and from where.
    pub caller: Caller,
}

/// Who made a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Caller {
    /// The address the call came from.
    pub ip: Option<String>,
    /// Name of a person, in the form of an e-mail address.
    pub user: Option<String>,
    /// Id of the application.
    pub application: Option<String>,
    /// Id of the person or service principal in the directory.
    pub object: Option<String>,
}

/// What a vault was asked to do with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VaultOperation {
    /// `KeyUnwrap`
    Unwrap,
    /// `KeyWrap`
    Wrap,
}

impl VaultOperation {
    /// As the vault's log has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            VaultOperation::Unwrap => "KeyUnwrap",
            VaultOperation::Wrap => "KeyWrap",
        }
    }

    fn from_name(name: &str) -> Option<VaultOperation> {
        match name.to_ascii_lowercase().as_str() {
            "keyunwrap" => Some(VaultOperation::Unwrap),
            "keywrap" => Some(VaultOperation::Wrap),
            _ => None,
        }
    }
}

impl VaultLog {
    /// Adds what a file holds: records one a line, a list of them, `{"records": […]}`, or several of these one after
    /// the other. A record that is there twice counts once, because Azure may deliver it twice.
    ///
    /// # Errors
    /// [`VaultLogError`]: the file cannot be read, is cut off, or is another log.
    pub fn add(&mut self, file: impl Read) -> Result<(), VaultLogError> {
        let mut file = BufReader::new(file);
        // What Azure's storage hands out may begin with the mark of UTF-8.
        if file.fill_buf().map_err(VaultLogError::Io)?.starts_with(BOM) {
            file.consume(BOM.len());
        }
        let mut number = 0;
        for value in serde_json::Deserializer::from_reader(file).into_iter::<Value>() {
            let value = value.map_err(VaultLogError::of_json)?;
            let records = match value {
                Value::Array(records) => records,
                Value::Object(mut members) => match members.remove("records") {
                    Some(Value::Array(records)) => records,
                    Some(other) => vec![other],
                    None => vec![Value::Object(members)],
                },
                other => vec![other],
            };
            for record in records {
                number += 1;
                self.record(&record)
                    .ok_or(VaultLogError::Record { number })?;
            }
        }
        Ok(())
    }

    /// The calls, in the order of the files.
    #[must_use]
    pub fn calls(&self) -> &[VaultCall] {
        &self.calls
    }

    /// How many records were there before.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// How many records neither wrap nor unwrap.
    #[must_use]
    pub fn other_operations(&self) -> u64 {
        self.others
    }

    fn record(&mut self, record: &Value) -> Option<()> {
        let operation = record.get("operationName")?.as_str()?;
        let Some(operation) = VaultOperation::from_name(operation) else {
            self.others += 1;
            return Some(());
        };
        let call = call(record, operation)?;
        if self.seen.insert(call.clone()) {
            self.calls.push(call);
        } else {
            self.duplicates += 1;
        }
        Some(())
    }
}

fn call(record: &Value, operation: VaultOperation) -> Option<VaultCall> {
    let text = |at: &str| {
        let text = record.pointer(at).and_then(Value::as_str);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let (key, version) = key_and_version(&text("/properties/id")?)?;
    let claim = |names: &[&str]| {
        let claims = record.pointer("/identity/claim")?;
        let mut found = names.iter().filter_map(|name| claims.get(name)?.as_str());
        found.next().map(str::to_owned)
    };
    let signature = text("/resultSignature");
    let status = record.pointer("/properties/httpStatusCode");
    let status = status.and_then(|status| match status {
        Value::String(text) => text.parse().ok(),
        status => status.as_u64(),
    });
    let result = match (&signature, status) {
        (Some(signature), _) => signature.clone(),
        (None, Some(status)) => status.to_string(),
        (None, None) => text("/resultType")?,
    };
    let succeeded = match status {
        Some(status) => (200..300).contains(&status),
        None => ["ok", "200", "success"].contains(&result.to_ascii_lowercase().as_str()),
    };
    Some(VaultCall {
        time: UnixTime::parse_rfc3339(&text("/time")?)?,
        operation,
        key,
        version,
        request_id: text("/correlationId").map(|id| id.to_lowercase()),
        succeeded,
        result,
        caller: Caller {
            ip: text("/callerIpAddress"),
            user: claim(&[
                "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn",
                "upn",
            ]),
            application: claim(&["appid", "azp"]),
            object: claim(&[
                "http://schemas.microsoft.com/identity/claims/objectidentifier",
                "oid",
            ]),
        },
    })
}

/// `https://prod.vault.azure.net/keys/orders/0a1b` as key and version. Names in Azure do not differ by case.
pub(super) fn key_and_version(id: &str) -> Option<(String, Option<String>)> {
    let id = id.trim_end_matches('/').to_lowercase();
    let (host, path) = id.strip_prefix("https://")?.split_once('/')?;
    let host = host.strip_suffix(":443").unwrap_or(host);
    let mut parts = path.strip_prefix("keys/")?.splitn(2, '/');
    let name = parts.next().filter(|name| !name.is_empty())?;
    let version = parts.next().map(str::to_owned);
    Some((format!("https://{host}/keys/{name}"), version))
}

/// Why a file was not taken for a vault's log.
#[derive(Debug)]
#[non_exhaustive]
pub enum VaultLogError {
    /// The disk refused.
    Io(std::io::Error),
    /// From here on it is not JSON, or it ends in the middle of it.
    Json {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A record without what every record of a vault's log has: an operation, and for a use of a key its time, key and
    /// result.
    Record {
        /// Number of the record in its file, from 1.
        number: u64,
    },
}

impl VaultLogError {
    fn of_json(error: serde_json::Error) -> VaultLogError {
        match error.is_io() {
            true => VaultLogError::Io(error.into()),
            false => VaultLogError::Json {
                line: error.line(),
                what: error.to_string(),
            },
        }
    }
}

impl fmt::Display for VaultLogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VaultLogError::Io(error) => write!(f, "cannot read the vault's log: {error}"),
            VaultLogError::Json { line, what } => write!(
                f,
                "the vault's log is cut off or damaged in line {line} ({what}); export it again"
            ),
            VaultLogError::Record { number } => write!(
                f,
                "record {number} is not from the log of an Azure key vault (category AuditEvent)"
            ),
        }
    }
}

impl std::error::Error for VaultLogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            VaultLogError::Io(error) => Some(error),
            _ => None,
        }
    }
}

const BOM: &[u8] = b"\xef\xbb\xbf";
