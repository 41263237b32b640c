//! What the vault refuses, word for word as the service does: HTTP status, code, inner code and message.
//!
//! The shapes are those recorded from the service; where the service's inner code is not known from a recording,
//! the constructor says so.

use serde_json::json;

use crate::faults::THROTTLED_MESSAGE;
use crate::wire::Reply;

/// A request that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// `error.code`.
    pub code: &'static str,
    /// `error.innererror.code`.
    pub inner: Option<&'static str>,
    /// `error.message`.
    pub message: String,
    /// `Retry-After` in seconds.
    pub retry_after_s: Option<u64>,
}

impl Refusal {
    /// Any refusal without an inner code.
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal {
            status,
            code,
            inner: None,
            message: message.into(),
            retry_after_s: None,
        }
    }

    fn with_inner(mut self, inner: &'static str) -> Refusal {
        self.inner = Some(inner);
        self
    }

    /// 400: a value that cannot be.
    pub fn bad_parameter(message: impl Into<String>) -> Refusal {
        Refusal::new(400, "BadParameter", message)
    }

    /// 400: a named property that cannot be.
    pub fn bad_property(name: &str) -> Refusal {
        Refusal::bad_parameter(format!(
            "Property has invalid value (Property name: '{name}')"
        ))
    }

    /// 400: a request that cannot be understood at all.
    pub fn bad_request(message: impl Into<String>) -> Refusal {
        Refusal::new(400, "BadRequest", message)
    }

    /// 401: the caller is not known. The challenge goes into the headers.
    pub fn unauthorized(message: impl Into<String>) -> Refusal {
        Refusal::new(401, "Unauthorized", message)
    }

    /// 403, `inner` being one of ForbiddenByRbac, ForbiddenByPolicy, ForbiddenByFirewall and ForbiddenByConnection.
    pub fn forbidden(inner: &'static str, message: impl Into<String>) -> Refusal {
        Refusal::new(403, "Forbidden", message).with_inner(inner)
    }

    /// 403: the key is disabled.
    pub fn key_disabled(operation: &str) -> Refusal {
        let message = format!("Operation {operation} is not allowed on a disabled key.");
        Refusal::forbidden("KeyDisabled", message)
    }

    /// 403: `exp` has passed. The inner code is not confirmed by a recording.
    pub fn key_expired(operation: &str) -> Refusal {
        let message = format!("Operation {operation} is not allowed on an expired key.");
        Refusal::forbidden("KeyExpired", message)
    }

    /// 403: `nbf` lies ahead. The inner code is not confirmed by a recording.
    pub fn key_not_yet_valid(operation: &str) -> Refusal {
        let message =
            format!("Operation {operation} is not allowed on a key that is not yet valid.");
        Refusal::forbidden("KeyNotYetValid", message)
    }

    /// 403: `key_ops` does not hold the operation. The inner code is not confirmed by a recording.
    pub fn key_operation_forbidden(operation: &str) -> Refusal {
        let message = format!("Operation {operation} is not permitted on this key.");
        Refusal::forbidden("KeyOperationForbidden", message)
    }

    /// 403: purge protection is on.
    pub fn purge_protected() -> Refusal {
        Refusal::new(
            403,
            "Forbidden",
            "Operation is not allowed. Operation: \"purge\" is not permitted because purge protection is enabled for the vault.",
        )
    }

    /// 404: no such key or version; `id` is `name` or `name/version`.
    pub fn key_not_found(id: &str) -> Refusal {
        let message = format!(
            "A key with (name/id) {id} was not found in this key vault. If you recently deleted this key you may be \
             able to recover it using the correct recovery command. For help resolving this issue, please see \
             https://go.microsoft.com/fwlink/?linkid=2125182"
        );
        Refusal::new(404, "KeyNotFound", message)
    }

    /// 404: no deleted key of that name.
    pub fn deleted_key_not_found(name: &str) -> Refusal {
        Refusal::new(404, "KeyNotFound", format!("Deleted Key not found: {name}"))
    }

    /// 404: the vault is not there, or was deleted.
    pub fn vault_not_found(vault: &str) -> Refusal {
        let message =
            format!("The vault '{vault}' was not found on this server, or it is deleted.");
        Refusal::new(404, "VaultNotFound", message)
    }

    /// 404: no such route.
    pub fn no_route(method: &str, target: &str) -> Refusal {
        Refusal::new(
            404,
            "NotFound",
            format!("There is no operation {method} {target}."),
        )
    }

    /// 405: the path is there, the method is not.
    pub fn method_not_allowed(method: &str) -> Refusal {
        let message = format!("The requested resource does not support http method '{method}'.");
        Refusal::new(405, "MethodNotAllowed", message)
    }

    /// 409: deletion is under way.
    pub fn being_deleted() -> Refusal {
        Refusal::new(409, "Conflict", "Key is currently being deleted.")
            .with_inner("ObjectIsBeingDeleted")
    }

    /// 409: recovery is under way.
    pub fn being_recovered() -> Refusal {
        Refusal::new(409, "Conflict", "Key is currently being recovered.")
            .with_inner("ObjectIsBeingRecovered")
    }

    /// 409: the name belongs to a deleted key.
    pub fn deleted_but_recoverable(name: &str) -> Refusal {
        let message = format!(
            "Key {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this \
             state, the key can only be recovered or purged."
        );
        Refusal::new(409, "Conflict", message).with_inner("ObjectIsDeletedButRecoverable")
    }

    /// 409: the name is taken.
    pub fn already_exists(name: &str) -> Refusal {
        let message = format!(
            "Key {name} already exists in this key vault, or a deleted key of that name does."
        );
        Refusal::new(409, "Conflict", message)
    }

    /// 429: the vault's limit is reached.
    pub fn throttled(retry_after_s: u64) -> Refusal {
        Refusal {
            retry_after_s: Some(retry_after_s),
            ..Refusal::new(429, "Throttled", THROTTLED_MESSAGE)
        }
    }

    /// 500: the change could not be made durable, so it was not made.
    pub fn not_durable(reason: &str) -> Refusal {
        Refusal::new(
            500,
            "InternalServerError",
            format!("The change was not stored: {reason}"),
        )
    }

    /// 501: what this emulator does not do, said plainly.
    pub fn not_emulated(what: &str) -> Refusal {
        Refusal::new(501, "NotImplemented", what)
    }

    /// The reply that carries it.
    pub fn reply(&self) -> Reply {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(inner) = self.inner {
            error["innererror"] = json!({ "code": inner });
        }
        let reply = Reply::json(self.status, &json!({ "error": error }));
        match self.retry_after_s {
            Some(seconds) => reply.with_header("retry-after", seconds.to_string()),
            None => reply,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the body is the one the SDKs parse, with `innererror` in lower case and only where there is one.
    #[test]
    fn bodies_are_the_services() {
        let reply = Refusal::key_disabled("unwrapKey").reply();
        assert_eq!(reply.status, 403);
        assert_eq!(
            String::from_utf8(reply.body).unwrap(),
            r#"{"error":{"code":"Forbidden","message":"Operation unwrapKey is not allowed on a disabled key.","innererror":{"code":"KeyDisabled"}}}"#
        );
        let plain = String::from_utf8(Refusal::deleted_key_not_found("n").reply().body).unwrap();
        assert_eq!(
            plain,
            r#"{"error":{"code":"KeyNotFound","message":"Deleted Key not found: n"}}"#
        );
    }
}
