//! The operations of the service, and the methods and paths that ask for them.

use crate::access::Action;
use crate::error::Refusal;
use crate::wire::Request;

/// An operation on keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "they are the service's operations, by its names"
)]
pub enum Operation {
    Attestation,
    Backup,
    Create,
    Decrypt,
    Delete,
    Encrypt,
    Get,
    GetDeleted,
    GetRotationPolicy,
    Import,
    List,
    ListDeleted,
    ListVersions,
    Purge,
    Random,
    Recover,
    Release,
    Restore,
    Rotate,
    SetRotationPolicy,
    Sign,
    UnwrapKey,
    Update,
    Verify,
    WrapKey,
}

impl Operation {
    /// `operationName` in the audit log.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Attestation => "KeyGetAttestation",
            Operation::Backup => "KeyBackup",
            Operation::Create => "KeyCreate",
            Operation::Decrypt => "KeyDecrypt",
            Operation::Delete => "KeyDelete",
            Operation::Encrypt => "KeyEncrypt",
            Operation::Get => "KeyGet",
            Operation::GetDeleted => "KeyGetDeleted",
            Operation::GetRotationPolicy => "KeyRotationPolicyGet",
            Operation::Import => "KeyImport",
            Operation::List => "KeyList",
            Operation::ListDeleted => "KeyListDeleted",
            Operation::ListVersions => "KeyListVersions",
            Operation::Purge => "KeyPurge",
            Operation::Random => "RandomBytesGet",
            Operation::Recover => "KeyRecover",
            Operation::Release => "KeyRelease",
            Operation::Restore => "KeyRestore",
            Operation::Rotate => "KeyRotate",
            Operation::SetRotationPolicy => "KeyRotationPolicySet",
            Operation::Sign => "KeySign",
            Operation::UnwrapKey => "KeyUnwrap",
            Operation::Update => "KeyUpdate",
            Operation::Verify => "KeyVerify",
            Operation::WrapKey => "KeyWrap",
        }
    }

    /// The right it takes.
    pub fn action(self) -> Action {
        match self {
            Operation::Attestation | Operation::Get | Operation::GetDeleted => Action::Get,
            Operation::Backup => Action::Backup,
            Operation::Create => Action::Create,
            Operation::Decrypt => Action::Decrypt,
            Operation::Delete => Action::Delete,
            Operation::Encrypt => Action::Encrypt,
            Operation::GetRotationPolicy => Action::GetRotationPolicy,
            Operation::Import => Action::Import,
            Operation::List | Operation::ListDeleted | Operation::ListVersions => Action::List,
            Operation::Purge => Action::Purge,
            Operation::Random => Action::Random,
            Operation::Recover => Action::Recover,
            Operation::Release => Action::Release,
            Operation::Restore => Action::Restore,
            Operation::Rotate => Action::Rotate,
            Operation::SetRotationPolicy => Action::SetRotationPolicy,
            Operation::Sign => Action::Sign,
            Operation::UnwrapKey => Action::UnwrapKey,
            Operation::Update => Action::Update,
            Operation::Verify => Action::Verify,
            Operation::WrapKey => Action::WrapKey,
        }
    }
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The operation.
    pub operation: Operation,
    /// The key's name, when the path has one.
    pub key: Option<String>,
    /// The version's id, when the path has one.
    pub version: Option<String>,
}

impl Route {
    /// The operation of a request. Fixed segments are compared without regard to case, as the service does.
    ///
    /// # Errors
    /// 404 for a path that is none, 405 for a method that the path does not have.
    pub fn of(request: &Request) -> Result<Route, Refusal> {
        let segments = request.segments();
        let lower: Vec<String> = segments
            .iter()
            .map(|segment| segment.to_ascii_lowercase())
            .collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        let (candidates, key, version) = candidates(&lower);
        let operation = candidates
            .iter()
            .find(|(method, _)| *method == request.method)
            .map(|(_, operation)| *operation);
        match operation {
            Some(Operation::Restore) => Ok(Route {
                operation: Operation::Restore,
                key: None,
                version: None,
            }),
            Some(operation) => Ok(Route {
                operation,
                key: key.map(|at| segments[at].to_owned()),
                version: version.map(|at| segments[at].to_owned()),
            }),
            None if candidates.is_empty() => {
                Err(Refusal::no_route(&request.method, &request.target))
            }
            None => Err(Refusal::method_not_allowed(&request.method)),
        }
    }
}

/// Methods with their operations, and where the key's name and the version stand in the path.
type Candidates = (
    &'static [(&'static str, Operation)],
    Option<usize>,
    Option<usize>,
);

fn candidates(path: &[&str]) -> Candidates {
    use Operation as Op;
    match path {
        ["rng"] => (&[("POST", Op::Random)], None, None),
        ["keys"] => (&[("GET", Op::List)], None, None),
        ["deletedkeys"] => (&[("GET", Op::ListDeleted)], None, None),
        ["deletedkeys", _] => (
            &[("GET", Op::GetDeleted), ("DELETE", Op::Purge)],
            Some(1),
            None,
        ),
        ["deletedkeys", _, "recover"] => (&[("POST", Op::Recover)], Some(1), None),
        ["keys", "restore"] => (
            &[
                ("POST", Op::Restore),
                ("GET", Op::Get),
                ("PUT", Op::Import),
                ("PATCH", Op::Update),
                ("DELETE", Op::Delete),
            ],
            Some(1),
            None,
        ),
        ["keys", _] => (
            &[
                ("GET", Op::Get),
                ("PUT", Op::Import),
                ("PATCH", Op::Update),
                ("DELETE", Op::Delete),
            ],
            Some(1),
            None,
        ),
        ["keys", _, "versions"] => (&[("GET", Op::ListVersions)], Some(1), None),
        ["keys", _, "rotationpolicy"] => (
            &[
                ("GET", Op::GetRotationPolicy),
                ("PUT", Op::SetRotationPolicy),
            ],
            Some(1),
            None,
        ),
        ["keys", _, "create"] => (&[("POST", Op::Create)], Some(1), None),
        ["keys", _, "backup"] => (&[("POST", Op::Backup)], Some(1), None),
        ["keys", _, "rotate"] => (&[("POST", Op::Rotate)], Some(1), None),
        ["keys", _, operation] => match with_secret(operation) {
            // What a client writes that has no version: `/keys/n//wrapkey`.
            Some(candidates) => (candidates, Some(1), None),
            None => (&[("GET", Op::Get), ("PATCH", Op::Update)], Some(1), Some(2)),
        },
        ["keys", _, _, operation] => match with_secret(operation) {
            Some(candidates) => (candidates, Some(1), Some(2)),
            None => (&[], None, None),
        },
        _ => (&[], None, None),
    }
}

/// The operations that use a version's secret, by the last segment of their path.
fn with_secret(segment: &str) -> Option<&'static [(&'static str, Operation)]> {
    Some(match segment {
        "attestation" => &[("GET", Operation::Attestation)],
        "decrypt" => &[("POST", Operation::Decrypt)],
        "encrypt" => &[("POST", Operation::Encrypt)],
        "release" => &[("POST", Operation::Release)],
        "sign" => &[("POST", Operation::Sign)],
        "unwrapkey" => &[("POST", Operation::UnwrapKey)],
        "verify" => &[("POST", Operation::Verify)],
        "wrapkey" => &[("POST", Operation::WrapKey)],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(method: &str, target: &str) -> Result<Route, Refusal> {
        Route::of(&Request::new(
            method,
            target,
            vec![],
            vec![],
            ([127, 0, 0, 1], 1).into(),
        ))
    }

    /// Goal: every route of the service, in the spellings of its clients.
    #[test]
    fn routes_and_their_spellings() {
        use Operation as Op;
        for (method, target, operation, key, version) in [
            ("POST", "/keys/n/create", Op::Create, Some("n"), None),
            ("PUT", "/keys/n", Op::Import, Some("n"), None),
            ("GET", "/keys/n/", Op::Get, Some("n"), None),
            ("GET", "/keys/n/0a1b", Op::Get, Some("n"), Some("0a1b")),
            ("PATCH", "/keys/n", Op::Update, Some("n"), None),
            ("PATCH", "/keys/n/0a1b", Op::Update, Some("n"), Some("0a1b")),
            ("DELETE", "/keys/n", Op::Delete, Some("n"), None),
            ("GET", "/keys", Op::List, None, None),
            ("GET", "/keys/n/versions", Op::ListVersions, Some("n"), None),
            ("GET", "/deletedkeys", Op::ListDeleted, None, None),
            ("GET", "/deletedkeys/n", Op::GetDeleted, Some("n"), None),
            ("DELETE", "/deletedkeys/n", Op::Purge, Some("n"), None),
            (
                "POST",
                "/deletedkeys/n/recover",
                Op::Recover,
                Some("n"),
                None,
            ),
            ("POST", "/keys/n/backup", Op::Backup, Some("n"), None),
            (
                "POST",
                "/keys/n/0a1b/wrapkey",
                Op::WrapKey,
                Some("n"),
                Some("0a1b"),
            ),
            (
                "POST",
                "/keys/n/0a1b/unwrapKey",
                Op::UnwrapKey,
                Some("n"),
                Some("0a1b"),
            ),
            ("POST", "/keys/n//wrapkey", Op::WrapKey, Some("n"), None),
            (
                "POST",
                "/Keys/N/0A1B/EnCrypt",
                Op::Encrypt,
                Some("N"),
                Some("0A1B"),
            ),
            (
                "POST",
                "/keys/n/0a1b/decrypt",
                Op::Decrypt,
                Some("n"),
                Some("0a1b"),
            ),
            (
                "POST",
                "/keys/n/0a1b/sign",
                Op::Sign,
                Some("n"),
                Some("0a1b"),
            ),
            (
                "POST",
                "/keys/n/0a1b/verify",
                Op::Verify,
                Some("n"),
                Some("0a1b"),
            ),
            (
                "POST",
                "/keys/n/0a1b/release",
                Op::Release,
                Some("n"),
                Some("0a1b"),
            ),
            (
                "GET",
                "/keys/n/0a1b/attestation",
                Op::Attestation,
                Some("n"),
                Some("0a1b"),
            ),
            ("POST", "/keys/n/rotate", Op::Rotate, Some("n"), None),
            (
                "GET",
                "/keys/n/rotationpolicy",
                Op::GetRotationPolicy,
                Some("n"),
                None,
            ),
            (
                "PUT",
                "/keys/n/rotationpolicy",
                Op::SetRotationPolicy,
                Some("n"),
                None,
            ),
            ("POST", "/rng", Op::Random, None, None),
        ] {
            let found = route(method, target).unwrap();
            assert_eq!(found.operation, operation, "{method} {target}");
            assert_eq!(found.key.as_deref(), key, "{method} {target}");
            assert_eq!(found.version.as_deref(), version, "{method} {target}");
        }
        assert_eq!(
            route("POST", "/keys/restore").unwrap().operation,
            Operation::Restore
        );
    }

    /// Goal: what is no route is refused as such.
    #[test]
    fn no_route() {
        for (method, target, status) in [
            ("GET", "/", 404),
            ("GET", "/secrets/s", 404),
            ("POST", "/keys/n/0a1b/melt", 404),
            ("POST", "/keys/n/0a1b/wrapkey/more", 404),
            ("POST", "/keys", 405),
            ("GET", "/keys/n/create", 405),
            ("PUT", "/deletedkeys/n", 405),
        ] {
            assert_eq!(
                route(method, target).unwrap_err().status,
                status,
                "{method} {target}"
            );
        }
    }
}
