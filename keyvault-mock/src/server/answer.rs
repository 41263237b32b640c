//! From a request to a reply: faults, tokens, the challenge, the operation, the audit log.

use std::sync::Arc;
use std::time::Instant;

use super::Emulator;
use crate::audit_event::{Answered, AuditEvent};
use crate::error::Refusal;
use crate::faults::{Fault, THROTTLED_MESSAGE, Target};
use crate::routes::{self, Route};
use crate::tokens::{Caller, random_id};
use crate::wire::{Reply, Request};

/// What becomes of a request.
pub(super) enum Outcome {
    /// It is never answered.
    BlackHole,
    /// It is answered.
    Reply(Reply),
    /// Its connection is reset.
    Reset,
}

/// Answers a request for a vault or for a token.
pub(super) async fn answer(emulator: Arc<Emulator>, request: Request) -> Outcome {
    let begun = Instant::now();
    let route = Route::of(&request);
    let mut instead = None;
    for fault in faults(&emulator, &request, route.as_ref().ok()) {
        match fault {
            Fault::BlackHole => return Outcome::BlackHole,
            Fault::Latency(latency) => tokio::time::sleep(latency).await,
            Fault::Reset => return Outcome::Reset,
            Fault::Status {
                status,
                retry_after_s,
            } => {
                instead.get_or_insert((status, retry_after_s));
            }
        }
    }
    // Keys take seconds to make, and files take their time to be synced.
    let worked = tokio::task::spawn_blocking(move || {
        let answer = Answer {
            emulator: &emulator,
            request: &request,
            begun,
        };
        answer.reply(route, instead)
    });
    match worked.await {
        Ok(reply) => Outcome::Reply(reply),
        Err(_) => Outcome::Reply(
            Refusal::new(500, "InternalServerError", "The operation failed.").reply(),
        ),
    }
}

/// Answers a request of the admin API.
pub(super) async fn admin(
    emulator: Arc<Emulator>,
    request: Request,
    route: fn(&Emulator, &Request) -> Reply,
) -> Outcome {
    let worked = tokio::task::spawn_blocking(move || route(&emulator, &request));
    Outcome::Reply(
        worked
            .await
            .unwrap_or_else(|_| Reply::text(500, "The admin API failed.")),
    )
}

fn faults(emulator: &Emulator, request: &Request, route: Option<&Route>) -> Vec<Fault> {
    emulator.faults.take(&Target {
        vault: &emulator.vault_of(request.host()),
        operation: route.map(|route| route.operation.name()),
        key: route.and_then(|route| route.key.as_deref()),
        path: &request.target,
        authenticated: request.bearer().is_some(),
    })
}

struct Answer<'a> {
    emulator: &'a Emulator,
    request: &'a Request,
    begun: Instant,
}

impl Answer<'_> {
    fn reply(&self, route: Result<Route, Refusal>, instead: Option<(u16, Option<u64>)>) -> Reply {
        let emulator = self.emulator;
        let now = emulator.clock.now();
        // Tokens first: their paths take no token.
        if let Some(reply) = emulator
            .tokens
            .route(self.request, &emulator.authority_url(), now)
        {
            return match instead {
                Some(fault) => ordered(fault),
                None => reply,
            };
        }
        let vault = &emulator.vault_of(self.request.host());
        let (caller, result) = self.result(&route, vault, instead);
        let (reply, description) = match result {
            Ok(reply) => (reply, String::new()),
            Err(Failure { reply, description }) => (reply, description),
        };
        let reply = self.with_headers(reply);
        if let Ok(route) = &route {
            self.record(route, vault, caller.as_ref(), &reply, &description);
        }
        reply
    }

    /// The challenge comes before everything else: an SDK's first request has neither a body nor a meaning.
    fn result(
        &self,
        route: &Result<Route, Refusal>,
        vault: &str,
        instead: Option<(u16, Option<u64>)>,
    ) -> (Option<Caller>, Result<Reply, Failure>) {
        let caller = match self.caller() {
            Ok(caller) => caller,
            Err(failure) => return (None, Err(failure)),
        };
        if let Some(fault) = instead {
            let description = format!("fault on order: status {}", fault.0);
            let reply = ordered(fault);
            return (Some(caller), Err(Failure { reply, description }));
        }
        let result = match route {
            Err(refusal) => Err(refusal.clone()),
            Ok(route) => self.emulator.tick().and_then(|()| {
                routes::carry_out(self.emulator, self.request, route, vault, &caller)
            }),
        };
        (Some(caller), result.map_err(Failure::from))
    }

    fn caller(&self) -> Result<Caller, Failure> {
        let emulator = self.emulator;
        let challenge = emulator
            .tokens
            .challenge(&emulator.authority_url(), &emulator.resource());
        let Some(bearer) = self.request.bearer() else {
            return Err(challenged(
                "AKV10000: Request is missing a Bearer or PoP token.",
                challenge,
            ));
        };
        emulator
            .tokens
            .validate(bearer, emulator.clock.now())
            .map_err(|error| {
                let suffix = error.challenge_suffix().unwrap_or_default();
                challenged(&error.to_string(), format!("{challenge}{suffix}"))
            })
    }

    fn with_headers(&self, reply: Reply) -> Reply {
        let names = self.emulator.access.names();
        let mut reply = reply
            .with_header("cache-control", "no-cache")
            .with_header("pragma", "no-cache")
            .with_header("expires", "-1")
            .with_header("x-ms-keyvault-region", names.location.clone())
            .with_header(
                "x-ms-keyvault-service-version",
                concat!("keyvault-mock/", env!("CARGO_PKG_VERSION")),
            )
            .with_header(
                "x-ms-keyvault-network-info",
                format!(
                    "conn_type=Ipv4;addr={};act_addr_fam=InterNetwork;",
                    self.request.peer.ip()
                ),
            )
            .with_header("x-ms-request-id", random_id())
            .with_header("x-content-type-options", "nosniff")
            .with_header(
                "strict-transport-security",
                "max-age=31536000;includeSubDomains",
            );
        if let Some(id) = self.request.header("x-ms-client-request-id") {
            reply = reply.with_header("x-ms-client-request-id", id);
        }
        reply
    }

    fn record(
        &self,
        route: &Route,
        vault: &str,
        caller: Option<&Caller>,
        reply: &Reply,
        description: &str,
    ) {
        let base_url = format!("https://{}", self.request.host());
        let mut id = base_url.clone();
        for part in [Some("keys"), route.key.as_deref(), route.version.as_deref()]
            .into_iter()
            .flatten()
        {
            id.push('/');
            id.push_str(part);
        }
        self.emulator.audit.record(AuditEvent::from(Answered {
            time_ms: self.emulator.clock.now_ms(),
            names: self.emulator.access.names(),
            vault,
            operation: route.operation.name(),
            api_version: self.request.query_value("api-version").unwrap_or_default(),
            status: reply.status,
            description,
            duration_ms: self.begun.elapsed().as_millis() as u64,
            peer: self.request.peer.ip(),
            client_request_id: self.request.header("x-ms-client-request-id"),
            caller,
            user_agent: self.request.header("user-agent").unwrap_or_default(),
            request_uri: &format!("{base_url}{}", self.request.target),
            id: &id,
        }));
    }
}

/// A reply that is not what was asked for, and what the audit log says of it.
struct Failure {
    reply: Reply,
    description: String,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure {
            reply: refusal.reply(),
            description: refusal.message,
        }
    }
}

fn challenged(message: &str, challenge: String) -> Failure {
    let refusal = Refusal::unauthorized(message);
    Failure {
        reply: refusal.reply().with_header("www-authenticate", challenge),
        description: refusal.message,
    }
}

/// The reply that a fault rule orders.
fn ordered((status, retry_after_s): (u16, Option<u64>)) -> Reply {
    let refusal = match status {
        429 => Refusal::new(429, "Throttled", THROTTLED_MESSAGE),
        503 => Refusal::new(503, "ServiceUnavailable", "The service is unavailable."),
        _ => Refusal::new(
            status,
            "InternalServerError",
            "An unexpected error occurred.",
        ),
    };
    Refusal {
        retry_after_s,
        ..refusal
    }
    .reply()
}
