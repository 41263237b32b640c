//! Calls to one vault, with the logins that they need.
//!
//! 1. No token is sent before the vault's challenge was verified, and none to another host than the vault's.
//! 2. A token that is refused is renewed once; a fresh one that is refused is the answer.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cofferdam_keys::{Clock, Reason, Revocation, UnixTime, VaultRequest};
use ureq::http::Method;

use super::calls::Calls;
use super::challenge::Challenge;
use super::failure::Failure;
use super::http::{Answer, Call, Http, Schemes};
use super::last_call::LastCall;
use super::settings::AzureSettings;
use super::token::Token;

/// One vault, and who we are to it.
pub(super) struct Session {
    /// `HOST[:PORT]`
    host: String,
    settings: AzureSettings,
    clock: Clock,
    http: Mutex<Option<Arc<Http>>>,
    login: Mutex<Login>,
    /// How often in a row a fresh token was refused.
    refused_count: AtomicU32,
    last: LastCall,
    calls: Calls,
}

#[derive(Default)]
struct Login {
    challenge: Option<Arc<Challenge>>,
    token: Option<Arc<Token>>,
}

/// One wrap, unwrap or question, which may take several calls but has one end and one id.
pub(super) struct Operation {
    started: UnixTime,
    correlation_id: String,
}

/// What is asked of the vault, below its host.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) method: &'a Method,
    /// `/keys/…`, with the query.
    pub(super) path: &'a str,
    /// JSON, for a POST.
    pub(super) body: Option<&'a [u8]>,
}

impl Session {
    pub(super) fn new(host: &str, settings: AzureSettings, clock: Clock) -> Self {
        Self {
            host: host.to_owned(),
            settings,
            clock,
            http: Mutex::default(),
            login: Mutex::default(),
            refused_count: AtomicU32::new(0),
            last: LastCall::new(),
            calls: Calls::default(),
        }
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn settings(&self) -> &AzureSettings {
        &self.settings
    }

    pub(super) fn now(&self) -> UnixTime {
        (self.clock)()
    }

    pub(super) fn last_request(&self) -> Option<VaultRequest> {
        self.last.get()
    }

    /// # Errors
    ///
    /// [`Reason::Unreachable`] when the module gives no random bytes for an id.
    pub(super) fn begin(&self) -> Result<Operation, Failure> {
        Ok(Operation {
            started: self.now(),
            correlation_id: self.calls.next_id()?,
        })
    }

    /// Asks, logging in where it is needed. Any answer but 401 is given back.
    ///
    /// # Errors
    ///
    /// [`Reason::Unreachable`] without an answer; [`Reason::AuthBroken`] and what logins fail with;
    /// [`Revocation::Permission`] when the third fresh token in a row is refused.
    pub(super) fn ask(&self, operation: &Operation, ask: Ask<'_>) -> Result<Answer, Failure> {
        if lock(&self.login).challenge.is_some() {
            return self.ask_logged_in(operation, ask);
        }
        // Without a body: nothing is shown to a vault that has not said what it is.
        let answer = self.call(operation, Ask { body: None, ..ask }, None)?;
        match answer.status {
            401 => {
                self.learn(&answer)?;
                self.ask_logged_in(operation, ask)
            }
            200..=299 => Err(Failure::unreachable(
                "it answers without asking who we are, so it is no vault",
            )),
            _ => Ok(answer),
        }
    }

    fn ask_logged_in(&self, operation: &Operation, ask: Ask<'_>) -> Result<Answer, Failure> {
        let (token, fresh) = self.token(operation)?;
        let mut answer = self.call(operation, ask, Some(&token))?;
        if answer.status == 401 && !fresh {
            self.forget(&token);
            self.learn(&answer)?;
            let (token, _) = self.token(operation)?;
            answer = self.call(operation, ask, Some(&token))?;
            if answer.status == 401 {
                self.forget(&token);
            }
        } else if answer.status == 401 {
            self.forget(&token);
        }
        if answer.status != 401 {
            self.refused_count.store(0, Ordering::Relaxed);
            return Ok(answer);
        }
        let count = self
            .refused_count
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        let reason = if count < REFUSED_COUNT_MAX {
            Reason::AuthBroken
        } else {
            Reason::Revoked(Revocation::Permission)
        };
        let id = answer.request_id.as_deref().unwrap_or("without an id");
        Err(Failure::new(
            reason,
            format!("HTTP 401 to a fresh token, {count} times in a row, request {id}"),
        ))
    }

    fn learn(&self, answer: &Answer) -> Result<(), Failure> {
        let header = answer.challenge.as_deref().unwrap_or_default();
        let challenge = Challenge::verify(header, &self.host)?;
        lock(&self.login).challenge = Some(Arc::new(challenge));
        Ok(())
    }

    /// A token, and whether it was made for this call.
    fn token(&self, operation: &Operation) -> Result<(Arc<Token>, bool), Failure> {
        // Held during the login, so that a thousand callers wait for one.
        let mut login = lock(&self.login);
        if let Some(token) = login.token.as_ref().filter(|token| token.lasts(self.now())) {
            return Ok((Arc::clone(token), false));
        }
        let challenge = login
            .challenge
            .clone()
            .ok_or_else(|| Failure::new(Reason::AuthBroken, "the vault's challenge is unknown"))?;
        let timeout = self.left(operation)?;
        let http = self.http()?;
        let token = match Token::obtain(&http, &self.settings, &challenge, self.now(), timeout) {
            Ok(token) => Arc::new(token),
            // A login that is away for a moment does not take back what it has given.
            Err(failure) => match &login.token {
                Some(old) if old.lives(self.now()) => return Ok((Arc::clone(old), false)),
                _ => return Err(failure),
            },
        };
        login.token = Some(Arc::clone(&token));
        Ok((token, true))
    }

    fn forget(&self, refused: &Arc<Token>) {
        let mut login = lock(&self.login);
        if login
            .token
            .as_ref()
            .is_some_and(|token| Arc::ptr_eq(token, refused))
        {
            login.token = None;
        }
    }

    fn call(
        &self,
        operation: &Operation,
        ask: Ask<'_>,
        token: Option<&Token>,
    ) -> Result<Answer, Failure> {
        let url = format!("https://{}{}", self.host, ask.path);
        let mut headers = vec![
            ("Accept", "application/json"),
            ("x-ms-client-request-id", operation.correlation_id.as_str()),
        ];
        headers.extend(token.map(|token| ("Authorization", token.expose())));
        let result = self.http()?.call(&Call {
            method: ask.method.clone(),
            url: &url,
            headers: &headers,
            body: ask.body.map(|body| ("application/json", body)),
            timeout: self.left(operation)?,
        });
        let request_id = result
            .as_ref()
            .ok()
            .and_then(|answer| answer.request_id.clone());
        self.last.set(VaultRequest {
            correlation_id: operation.correlation_id.clone(),
            request_id,
        });
        result
    }

    fn http(&self) -> Result<Arc<Http>, Failure> {
        let mut http = lock(&self.http);
        if let Some(http) = &*http {
            return Ok(Arc::clone(http));
        }
        let new = Arc::new(Http::new(&self.settings, Schemes::Https)?);
        *http = Some(Arc::clone(&new));
        Ok(new)
    }

    /// What is left of the operation's time. A clock that was set back gives no more than the whole.
    fn left(&self, operation: &Operation) -> Result<Duration, Failure> {
        let spent = |time: UnixTime| Duration::new(time.seconds, time.nanos);
        let spent = spent(self.now()).saturating_sub(spent(operation.started));
        self.settings
            .total_timeout
            .checked_sub(spent)
            .filter(|left| !left.is_zero())
            .ok_or_else(|| Failure::unreachable("no answer in time"))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The third refusal in a row is a *no*: a credential that can still log in and is not let in was shut out.
const REFUSED_COUNT_MAX: u32 = 3;
