//! The versions of the API that clients name, and since when each operation is there.

use super::Operation;
use crate::error::Refusal;
use crate::wire::Request;

/// A version of the API, ordered by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion(usize);

/// Every version that is taken, the oldest first.
const KNOWN: &[&str] = &[
    "2016-10-01",
    "7.0-preview",
    "7.0",
    "7.1-preview",
    "7.1",
    "7.2-preview",
    "7.2",
    "7.3-preview",
    "7.3",
    "7.4-preview.1",
    "7.4",
    "7.5-preview.1",
    "7.5",
    "7.6-preview.1",
    "7.6-preview.2",
    "7.6",
    "2025-06-01-preview",
    "2025-07-01",
    "2026-01-01-preview",
    "2026-03-01-preview",
    "2026-05-01-preview",
];
/// The latest one that is no preview.
const LATEST: &str = "2025-07-01";

impl ApiVersion {
    /// The version that the request names.
    ///
    /// # Errors
    /// None, or one that is not known.
    pub fn of(request: &Request) -> Result<ApiVersion, Refusal> {
        let name = request
            .query_value("api-version")
            .filter(|name| !name.is_empty())
            .ok_or_else(|| Refusal::bad_parameter("api-version must be specified"))?;
        ApiVersion::named(name).ok_or_else(|| {
            Refusal::bad_parameter(format!(
                "The specified version ({name}) is not recognized. Consider using the latest supported version ({LATEST})."
            ))
        })
    }

    fn named(name: &str) -> Option<ApiVersion> {
        KNOWN
            .iter()
            .position(|known| known.eq_ignore_ascii_case(name))
            .map(ApiVersion)
    }

    /// The name.
    pub fn name(self) -> &'static str {
        KNOWN[self.0]
    }

    /// Refuses an operation that came with a later version.
    ///
    /// # Errors
    /// 400, naming the version it needs.
    pub fn offers(self, operation: Operation) -> Result<(), Refusal> {
        let since = match operation {
            Operation::GetRotationPolicy
            | Operation::Random
            | Operation::Release
            | Operation::Rotate
            | Operation::SetRotationPolicy => "7.2-preview",
            Operation::Attestation => "7.6-preview.2",
            _ => return Ok(()),
        };
        self.needs(since, operation.name())
    }

    /// Refuses what came with version `since`.
    ///
    /// # Errors
    /// 400, naming the version it needs.
    pub fn needs(self, since: &str, what: &str) -> Result<(), Refusal> {
        if ApiVersion::named(since).is_some_and(|since| self >= since) {
            return Ok(());
        }
        Err(Refusal::bad_parameter(format!(
            "{what} is not there in api-version {}; it needs {since} or later.",
            self.name()
        )))
    }
}
