//! HTTP as vaults and logins need it: no redirect, no retry, no proxy, and an end to everything.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::config::{AutoHeaderValue, Config};
use ureq::http::{HeaderValue, Method, Request, Response};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body};
use zeroize::Zeroizing;

use super::date::http_date;
use super::failure::Failure;
use super::resolver::LocalhostResolver;
use super::settings::AzureSettings;
use cofferdam_keys::UnixTime;

/// Connections that are kept open between calls.
pub(super) struct Http {
    agent: Agent,
}

/// One request. A POST without a body says that it has none.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) url: &'a str,
    pub(super) headers: &'a [(&'static str, &'a str)],
    /// With its type.
    pub(super) body: Option<(&'static str, &'a [u8])>,
    /// The longest that the whole call may take.
    pub(super) timeout: Duration,
}

/// One answer, whatever its status.
pub(super) struct Answer {
    pub(super) status: u16,
    /// May hold an unwrapped root or a token.
    pub(super) body: Zeroizing<Vec<u8>>,
    pub(super) challenge: Option<String>,
    pub(super) date: Option<UnixTime>,
    pub(super) request_id: Option<String>,
    pub(super) retry_after: Option<Duration>,
}

/// Which schemes are spoken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Schemes {
    /// HTTPS alone.
    Https,
    /// HTTP too: services of the same machine that give tokens speak nothing else.
    Any,
}

impl Http {
    /// # Errors
    ///
    /// A file of certificate authorities that cannot be read.
    pub(super) fn new(settings: &AzureSettings, schemes: Schemes) -> Result<Self, Failure> {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::Specific(Arc::new(roots(
                settings.extra_ca_file.as_deref(),
            )?)))
            .unversioned_rustls_crypto_provider(Arc::new(
                rustls::crypto::aws_lc_rs::default_provider(),
            ))
            .build();
        let config = Config::builder()
            .tls_config(tls)
            .https_only(schemes == Schemes::Https)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(AutoHeaderValue::Provided(Arc::new(USER_AGENT.to_owned())))
            .timeout_connect(Some(settings.connect_timeout))
            .timeout_global(Some(settings.total_timeout))
            .max_response_header_size(HEADER_LEN_MAX)
            .max_idle_age(IDLE_AGE_MAX)
            .build();
        let agent = Agent::with_parts(config, DefaultConnector::new(), LocalhostResolver::new());
        Ok(Self { agent })
    }

    /// # Errors
    ///
    /// [`Reason::Unreachable`](cofferdam_keys::Reason::Unreachable) when there is no whole answer.
    pub(super) fn call(&self, call: &Call<'_>) -> Result<Answer, Failure> {
        let mut builder = Request::builder().method(&call.method).uri(call.url);
        for (name, value) in call.headers {
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| Failure::unreachable(format!("{name} cannot be sent as a header")))?;
            value.set_sensitive(matches!(*name, "Authorization" | "X-IDENTITY-HEADER"));
            builder = builder.header(*name, value);
        }
        let (content_type, body) = call.body.unwrap_or_default();
        if !content_type.is_empty() {
            builder = builder.header("Content-Type", content_type);
        }
        let answered = if call.method == Method::GET {
            self.run(builder.body(()), call.timeout)
        } else {
            self.run(builder.body(body), call.timeout)
        };
        read(answered.map_err(|error| Failure::unreachable(outage(error)))?)
    }

    fn run<B: ureq::AsSendBody>(
        &self,
        request: Result<Request<B>, ureq::http::Error>,
        timeout: Duration,
    ) -> Result<Response<Body>, ureq::Error> {
        let request = self
            .agent
            .configure_request(request?)
            .timeout_global(Some(timeout))
            .build();
        self.agent.run(request)
    }
}

fn read(mut response: Response<Body>) -> Result<Answer, Failure> {
    // Room for any answer with a secret at once: a vector that grows leaves bytes behind.
    let mut body = Zeroizing::new(Vec::with_capacity(BODY_LEN_USUAL));
    response
        .body_mut()
        .with_config()
        .limit(BODY_LEN_MAX)
        .reader()
        .read_to_end(&mut body)
        .map_err(|error| {
            Failure::unreachable(format!("the answer broke off: {}", outage(error.into())))
        })?;
    let header = |name: &str| {
        let value = response.headers().get(name)?.to_str().ok()?;
        Some(value.chars().take(HEADER_LEN_MAX).collect::<String>())
    };
    let date = header("date").and_then(|text| http_date(&text));
    Ok(Answer {
        status: response.status().as_u16(),
        body,
        challenge: header("www-authenticate"),
        date,
        request_id: header("x-ms-request-id").filter(|id| id.len() <= 128),
        retry_after: header("retry-after").and_then(|text| retry_after(&text, date)),
    })
}

/// RFC 9110 section 10.2.3: seconds, or a date.
fn retry_after(text: &str, now: Option<UnixTime>) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = http_date(text)?;
    Some(Duration::from_secs(
        until.seconds.saturating_sub(now?.seconds),
    ))
}

/// Why there was no answer, in words that let a person tell a cable from a certificate.
fn outage(error: ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => "its host name does not resolve".to_owned(),
        ureq::Error::Rustls(error) => tls(&error),
        ureq::Error::Timeout(timeout) => format!("no answer in time ({timeout})"),
        ureq::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(error) => tls(error),
            None => error.to_string(),
        },
        other => other.to_string(),
    }
}

fn tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(why) => {
            format!("its TLS certificate is not accepted: {why}")
        }
        other => format!("TLS: {other}"),
    }
}

/// # Errors
///
/// A file that cannot be read, or has no certificate in it.
fn roots(extra: Option<&Path>) -> Result<Vec<Certificate<'static>>, Failure> {
    let mut roots: Vec<_> = webpki_root_certs::TLS_SERVER_ROOT_CERTS
        .iter()
        .map(|der| Certificate::from_der(der))
        .collect();
    let Some(path) = extra else {
        return Ok(roots);
    };
    let wrong = |what: &str| {
        Failure::unreachable(format!(
            "the certificate authorities in {} {what}",
            path.display()
        ))
    };
    let pem = fs::read(path).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    let before = roots.len();
    for item in parse_pem(&pem) {
        match item.map_err(|error| wrong(&format!("are no PEM: {error}")))? {
            PemItem::Certificate(certificate) => roots.push(certificate),
            _ => return Err(wrong("have something else beside them")),
        }
    }
    if roots.len() == before {
        return Err(wrong("are none"));
    }
    Ok(roots)
}

const USER_AGENT: &str = concat!("cofferdam/", env!("CARGO_PKG_VERSION"));
const HEADER_LEN_MAX: usize = 16 * 1024;
/// A page of 25 versions has about 10 KiB.
const BODY_LEN_MAX: u64 = 256 * 1024;
const BODY_LEN_USUAL: usize = 16 * 1024;
/// Shorter than what servers and their load balancers grant, so that a kept connection is rarely a dead one.
const IDLE_AGE_MAX: Duration = Duration::from_secs(30);
