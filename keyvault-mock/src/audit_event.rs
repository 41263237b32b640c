//! The vaults' diagnostic log: one `AuditEvent` for each request, in the schema of Azure Monitor
//! (<https://learn.microsoft.com/azure/key-vault/general/logging>), so that queries written for real vaults run on it.
//!
//! Two things surprise readers of the real log and are so here: `resultType` is `Success` for a request that was
//! answered with a refusal, too (`resultSignature` and `httpStatusCode` tell), and `durationMs` is a string.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::access::ResourceNames;
use crate::clock::iso8601_ticks;
use crate::tokens::{Caller, random_id};

/// One request on a vault, as Azure logs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    /// When it was answered, ISO 8601 in UTC with seven decimals.
    pub time: String,
    /// The vault's resource id in upper case.
    pub resource_id: String,
    /// Such as `KeyUnwrap`.
    pub operation_name: String,
    /// The API version that the client asked for.
    pub operation_version: String,
    /// Always `AuditEvent`.
    pub category: String,
    /// Always `Success`: the request has been answered.
    pub result_type: String,
    /// The name of the HTTP status, such as `OK` and `Not Found`.
    pub result_signature: String,
    /// The message of a refusal.
    pub result_description: String,
    /// Milliseconds from the request to the reply.
    pub duration_ms: String,
    /// Where the request came from.
    pub caller_ip_address: String,
    /// The client's `x-ms-client-request-id`; made up when it sent none.
    pub correlation_id: String,
    /// Who asked.
    pub identity: Identity,
    /// The rest.
    pub properties: Properties,
}

/// Who asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The claims of the token.
    pub claim: Claim,
}

/// The claims of a caller's token. All of them are absent when it had no good one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The object id.
    #[serde(
        rename = "http://schemas.microsoft.com/identity/claims/objectidentifier",
        skip_serializing_if = "Option::is_none"
    )]
    pub object_identifier: Option<String>,
    /// The object id, under its short name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oid: Option<String>,
    /// The application id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub appid: Option<String>,
}

/// What belongs to this kind of event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Properties {
    /// The client's `User-Agent`.
    pub client_info: String,
    /// The whole address that was asked for.
    pub request_uri: String,
    /// The key or version that was asked for, or the vault.
    pub id: String,
    /// The status of the reply.
    pub http_status_code: u16,
}

/// What the server knows of a request once it has answered it.
#[derive(Clone, Debug)]
pub struct Answered<'a> {
    /// When, in milliseconds since the epoch.
    pub time_ms: i64,
    /// What vaults are called in Azure.
    pub names: &'a ResourceNames,
    /// The vault's name.
    pub vault: &'a str,
    /// Such as `KeyUnwrap`.
    pub operation: &'a str,
    /// The API version that was asked for, empty if none was.
    pub api_version: &'a str,
    /// The status of the reply.
    pub status: u16,
    /// The message of a refusal, else empty.
    pub description: &'a str,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Where the request came from.
    pub peer: IpAddr,
    /// `x-ms-client-request-id`.
    pub client_request_id: Option<&'a str>,
    /// Who asked, if that is known.
    pub caller: Option<&'a Caller>,
    /// `User-Agent`, or empty.
    pub user_agent: &'a str,
    /// The whole address that was asked for.
    pub request_uri: &'a str,
    /// The key or version that was asked for, or the vault.
    pub id: &'a str,
}

impl From<Answered<'_>> for AuditEvent {
    fn from(answered: Answered<'_>) -> AuditEvent {
        let claim = answered.caller.map(|caller| Claim {
            object_identifier: Some(caller.oid.clone()),
            oid: Some(caller.oid.clone()),
            appid: Some(caller.appid.clone()),
        });
        AuditEvent {
            time: iso8601_ticks(answered.time_ms),
            resource_id: answered.names.vault(answered.vault).to_ascii_uppercase(),
            operation_name: answered.operation.to_owned(),
            operation_version: answered.api_version.to_owned(),
            category: "AuditEvent".into(),
            result_type: "Success".into(),
            result_signature: reason(answered.status),
            result_description: answered.description.to_owned(),
            duration_ms: answered.duration_ms.to_string(),
            caller_ip_address: answered.peer.to_canonical().to_string(),
            correlation_id: match answered.client_request_id {
                Some(id) if !id.is_empty() => id.to_owned(),
                _ => random_id(),
            },
            identity: Identity {
                claim: claim.unwrap_or_default(),
            },
            properties: Properties {
                client_info: answered.user_agent.to_owned(),
                request_uri: answered.request_uri.to_owned(),
                id: answered.id.to_owned(),
                http_status_code: answered.status,
            },
        }
    }
}

/// The log: the last events in memory, and all of them in a file if there is one.
#[derive(Debug)]
pub struct AuditLog(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    capacity: usize,
    recent: VecDeque<AuditEvent>,
    recorded_count: u64,
    file: Option<File>,
    file_error: Option<String>,
}

impl AuditLog {
    /// A log that keeps at most `capacity` events in memory, and appends each as a line of JSON to the file.
    ///
    /// # Errors
    /// A file that cannot be opened for appending, in words.
    pub fn open(file: Option<&Path>, capacity: usize) -> Result<AuditLog, String> {
        let open = |path: &Path| {
            File::options()
                .append(true)
                .create(true)
                .open(path)
                .map_err(|error| format!("audit log {}: {error}", path.display()))
        };
        Ok(AuditLog(Mutex::new(Inner {
            capacity,
            recent: VecDeque::new(),
            recorded_count: 0,
            file: file.map(open).transpose()?,
            file_error: None,
        })))
    }

    /// Adds an event. A file that takes no more is left alone from then on, and [`AuditLog::file_error`] says why.
    pub fn record(&self, event: AuditEvent) {
        let mut inner = self.locked();
        if inner.file_error.is_none()
            && let Some(file) = &mut inner.file
        {
            let mut line = serde_json::to_vec(&event).expect("its fields are strings and a number");
            line.push(b'\n');
            // One write, so that lines of two processes do not mix.
            inner.file_error = file.write_all(&line).err().map(|error| error.to_string());
        }
        inner.recorded_count += 1;
        inner.recent.push_back(event);
        while inner.recent.len() > inner.capacity {
            inner.recent.pop_front();
        }
    }

    /// The last events, oldest first.
    pub fn recent(&self) -> Vec<AuditEvent> {
        self.locked().recent.iter().cloned().collect()
    }

    /// How many events there have been, those included that memory has dropped.
    pub fn recorded_count(&self) -> u64 {
        self.locked().recorded_count
    }

    /// Why the file takes no more, if it does not.
    pub fn file_error(&self) -> Option<String> {
        self.locked().file_error.clone()
    }

    /// Empties the memory. The file keeps what it has.
    pub fn clear(&self) {
        self.locked().recent.clear();
    }

    /// An event is whole before it is put in, so a lock that a panicking thread held is as good as any.
    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of a status, as the log has it.
fn reason(status: u16) -> String {
    let name = match status {
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        other => return other.to_string(),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answered<'a>(names: &'a ResourceNames, caller: Option<&'a Caller>) -> Answered<'a> {
        Answered {
            time_ms: 1_700_000_000_123,
            names,
            vault: "prod",
            operation: "KeyUnwrap",
            api_version: "2025-07-01",
            status: 403,
            description: "Operation unwrapKey is not allowed on a disabled key.",
            duration_ms: 12,
            peer: "::ffff:127.0.0.1".parse().unwrap(),
            client_request_id: Some("c0ffee"),
            caller,
            user_agent: "azsdk-python",
            request_uri: "https://prod.vault.localhost/keys/k/v/unwrapkey?api-version=2025-07-01",
            id: "https://prod.vault.localhost/keys/k/v",
        }
    }

    /// Goal: the JSON is the schema's, name by name, and nothing besides.
    #[test]
    fn events_have_the_schema_of_azure_monitor() {
        let caller = Caller {
            oid: "o".into(),
            appid: "a".into(),
            tenant: "t".into(),
            issuer: "i".into(),
            name: "n".into(),
            roles: Vec::new(),
        };
        let names = ResourceNames::default();
        let event = AuditEvent::from(answered(&names, Some(&caller)));
        let expected = json!({
            "time": "2023-11-14T22:13:20.1230000Z",
            "resourceId": "/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000000/RESOURCEGROUPS/KEYVAULT-MOCK/PROVIDERS/MICROSOFT.KEYVAULT/VAULTS/PROD",
            "operationName": "KeyUnwrap",
            "operationVersion": "2025-07-01",
            "category": "AuditEvent",
            "resultType": "Success",
            "resultSignature": "Forbidden",
            "resultDescription": "Operation unwrapKey is not allowed on a disabled key.",
            "durationMs": "12",
            "callerIpAddress": "127.0.0.1",
            "correlationId": "c0ffee",
            "identity": { "claim": {
                "http://schemas.microsoft.com/identity/claims/objectidentifier": "o", "oid": "o", "appid": "a",
            } },
            "properties": {
                "clientInfo": "azsdk-python",
                "requestUri": "https://prod.vault.localhost/keys/k/v/unwrapkey?api-version=2025-07-01",
                "id": "https://prod.vault.localhost/keys/k/v",
                "httpStatusCode": 403,
            },
        });
        assert_eq!(serde_json::to_value(&event).unwrap(), expected);
    }

    /// Goal: without a caller there are no claims, and without an id of the client's there is one of ours.
    #[test]
    fn strangers_leave_an_event_too() {
        let names = ResourceNames::default();
        let mut stranger = answered(&names, None);
        stranger.client_request_id = Some("");
        let event = AuditEvent::from(stranger);
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["identity"], json!({ "claim": {} }));
        assert_eq!(event.correlation_id.len(), 36);
    }

    /// Goal: memory is bounded and keeps the last; the file keeps all, also over a restart.
    #[test]
    fn memory_forgets_and_the_file_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let names = ResourceNames::default();
        let mut times = Vec::new();
        for round in 0..2 {
            let log = AuditLog::open(Some(&path), 2).unwrap();
            for step in 0..3 {
                let mut one = answered(&names, None);
                one.time_ms = round * 10_000 + step * 1000;
                let event = AuditEvent::from(one);
                times.push(event.time.clone());
                log.record(event);
            }
            assert_eq!(log.recorded_count(), 3);
            let kept: Vec<String> = log.recent().into_iter().map(|event| event.time).collect();
            assert_eq!(kept, times[times.len() - 2..]);
            assert_eq!(log.file_error(), None);
            log.clear();
            assert!(log.recent().is_empty());
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let read: Vec<String> = text
            .lines()
            .map(|line| serde_json::from_str::<AuditEvent>(line).unwrap().time)
            .collect();
        assert_eq!(read, times);
    }

    /// Goal: a file that cannot be opened is told of at once, and one that fills up does not stop the vault.
    #[test]
    fn files_that_fail() {
        let refusal = AuditLog::open(Some(Path::new("/nonexistent/audit")), 1).unwrap_err();
        assert!(refusal.contains("/nonexistent/audit"), "{refusal}");
        let full = AuditLog::open(Some(Path::new("/dev/full")), 1).unwrap();
        let names = ResourceNames::default();
        full.record(answered(&names, None).into());
        full.record(answered(&names, None).into());
        assert!(full.file_error().is_some());
        assert_eq!(full.recorded_count(), 2);
    }
}
