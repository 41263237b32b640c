//! A client that can write what no SDK lets a test write, and a server for it.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyvault_mock::vault::Settings;
use keyvault_mock::{Config, Server};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

pub(crate) const API: &str = "2025-07-01";
/// Where the clock of every test begins: 2027-01-15.
pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const DAY: i64 = 86_400;

static CASES: AtomicUsize = AtomicUsize::new(0);

/// How many cases there were.
pub(crate) fn cases() -> usize {
    CASES.load(Ordering::Relaxed)
}

/// One case.
#[track_caller]
pub(crate) fn check(holds: bool, what: &str) {
    assert!(holds, "{what}");
    CASES.fetch_add(1, Ordering::Relaxed);
}

/// One case.
#[track_caller]
pub(crate) fn same<T: PartialEq<U> + std::fmt::Debug, U: std::fmt::Debug>(
    found: T,
    expected: U,
    what: &str,
) {
    assert!(
        found == expected,
        "{what}: {found:?}, expected {expected:?}"
    );
    CASES.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decoded(value: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD
        .decode(value.as_str().expect("a string"))
        .expect("base64url")
}

/// A server whose clock stands at [`NOW`], with one vault for each of `settings`, the first being the default.
pub(crate) fn server(settings: Vec<Settings>) -> Server {
    let config = Config {
        default_vault: settings[0].name.clone(),
        vaults: settings,
        ..Config::default()
    };
    let server = Server::start(config).expect("the server starts");
    server.emulator().clock.set(NOW);
    server.emulator().clock.freeze();
    server
}

/// A server with one vault as the portal makes it.
pub(crate) fn plain_server() -> Server {
    server(vec![Settings::new("tests")])
}

pub(crate) struct Client {
    address: SocketAddr,
    pub(crate) host: String,
    tls: Arc<ClientConfig>,
    token: RefCell<Option<String>>,
    tenant: String,
    id: String,
    secret: String,
}

/// A reply.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn inner(&self) -> Option<&str> {
        self.body["error"]["innererror"]["code"].as_str()
    }

    pub(crate) fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }

    /// One case: the request was granted.
    #[track_caller]
    pub(crate) fn ok(self, what: &str) -> Value {
        check(
            self.status == 200 || self.status == 204,
            &format!("{what}: {} {}", self.status, self.body),
        );
        self.body
    }

    /// One case: the request was refused with this status, code and inner code, in a body of the service's form.
    #[track_caller]
    pub(crate) fn refused(
        self,
        what: &str,
        status: u16,
        code: &str,
        inner: Option<&str>,
    ) -> Answer {
        let found = (
            self.status,
            self.body["error"]["code"].as_str(),
            self.inner(),
        );
        check(
            found == (status, Some(code), inner) && !self.message().is_empty(),
            &format!("{what}: {} {}", self.status, self.body),
        );
        self
    }
}

impl Client {
    pub(crate) fn new(server: &Server) -> Client {
        Client::remote(
            server.address(),
            server.ca_pem(),
            server.tenant(),
            server.client_id(),
            server.client_secret(),
        )
    }

    /// A client of a server in another process.
    pub(crate) fn remote(
        address: SocketAddr,
        ca_pem: &str,
        tenant: &str,
        id: &str,
        secret: &str,
    ) -> Client {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).expect("a certificate");
        roots.add(ca).expect("an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Client {
            address,
            host: format!("localhost:{}", address.port()),
            tls: Arc::new(tls),
            token: RefCell::default(),
            tenant: tenant.to_owned(),
            id: id.to_owned(),
            secret: secret.to_owned(),
        }
    }

    /// The same client at another vault.
    pub(crate) fn at(server: &Server, vault: &str) -> Client {
        Client {
            host: format!("{vault}.vault.localhost:{}", server.address().port()),
            ..Client::new(server)
        }
    }

    /// The same client as another principal.
    pub(crate) fn with_credentials(mut self, id: &str, secret: &str) -> Client {
        self.id = id.to_owned();
        self.secret = secret.to_owned();
        self.token.take();
        self
    }

    /// A token, fetched now.
    pub(crate) fn fetch_token(&self) -> String {
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope=https://vault.azure.net/.default",
            self.id, self.secret
        );
        let answer = self
            .raw(
                "POST",
                &format!("/{}/oauth2/v2.0/token", self.tenant),
                &[("content-type", "application/x-www-form-urlencoded")],
                form.as_bytes(),
            )
            .expect("the token endpoint answers");
        let token = answer.body["access_token"].as_str();
        token
            .unwrap_or_else(|| panic!("no token: {}", answer.body))
            .to_owned()
    }

    /// An authorised request. Without a query, the current version of the API is named.
    pub(crate) fn call(&self, method: &str, target: &str, body: Option<Value>) -> Answer {
        let target = match target.contains('?') {
            true => target.to_owned(),
            false => format!("{target}?api-version={API}"),
        };
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.send(method, &target, &[], body.as_bytes())
            .expect("the server answers")
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.call("GET", target, None)
    }

    pub(crate) fn post(&self, target: &str, body: Value) -> Answer {
        self.call("POST", target, Some(body))
    }

    /// An authorised request with these bytes. A token that has run out is replaced once, as an SDK does.
    pub(crate) fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let held = self.token.borrow().clone();
        let token = held.unwrap_or_else(|| self.fetch_token());
        let authorised = |token: &str| {
            let bearer = format!("Bearer {token}");
            let mut all = vec![("authorization", bearer.as_str())];
            all.extend(headers);
            self.raw(method, target, &all, body)
        };
        let answer = authorised(&token)?;
        self.token.replace(Some(token));
        if answer.status != 401 {
            return Ok(answer);
        }
        let token = self.fetch_token();
        let answer = authorised(&token);
        self.token.replace(Some(token));
        answer
    }

    /// A request with exactly these bytes.
    pub(crate) fn raw(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let tcp = TcpStream::connect(self.address)?;
        tcp.set_read_timeout(Some(Duration::from_secs(60)))?;
        let name = self.host.split(':').next().unwrap_or_default().to_owned();
        let name = ServerName::try_from(name).expect("a host name");
        let connection =
            ClientConnection::new(Arc::clone(&self.tls), name).map_err(std::io::Error::other)?;
        let mut stream = StreamOwned::new(connection, tcp);
        let mut head = format!(
            "{method} {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n",
            self.host,
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(&[head.as_bytes(), body].concat())?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        parsed(&bytes).ok_or_else(|| std::io::Error::other("no whole reply"))
    }
}

/// A reply from the bytes of a connection that carried one.
pub(crate) fn parsed(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let body = &bytes[end + 4..];
    let text = || Value::String(String::from_utf8_lossy(body).into_owned());
    Some(Answer {
        status,
        headers,
        body: match body {
            [] => Value::Null,
            _ => serde_json::from_slice(body).unwrap_or_else(|_| text()),
        },
    })
}

/// The path of a version, from the `kid` of a key.
pub(crate) fn path_of(bundle: &Value) -> String {
    let kid = bundle["key"]["kid"].as_str().expect("a kid");
    let (_, rest) = kid.split_once("://").expect("an address");
    rest[rest.find('/').expect("a path")..].to_owned()
}
