//! A TLS server that answers as it is told, and remembers what it was asked.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

/// What the client sent.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// What the server says.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Said {
    pub(crate) fn new(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// `None` closes the connection without a word.
pub(crate) type Script = dyn Fn(&Asked) -> Option<Said> + Send + Sync;

/// The server, until the process ends.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) ca_file: PathBuf,
    asked: Arc<Mutex<Vec<Asked>>>,
    _directory: TempDir,
}

impl Server {
    /// The script is given the server's port first.
    pub(crate) fn start<S>(script: impl FnOnce(u16) -> S) -> Self
    where
        S: Fn(&Asked) -> Option<Said> + Send + Sync + 'static,
    {
        let directory = tempfile::tempdir().unwrap();
        let (config, ca) = certificates();
        let ca_file = directory.path().join("ca.pem");
        std::fs::write(&ca_file, ca).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let script: Arc<Script> = Arc::new(script(port));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, script, log) =
                    (Arc::clone(&config), Arc::clone(&script), Arc::clone(&log));
                thread::spawn(move || serve(stream, config, &*script, &log));
            }
        });
        Self {
            port,
            ca_file,
            asked,
            _directory: directory,
        }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn certificates() -> (Arc<ServerConfig>, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = ["localhost", "*.vault.localhost"].map(ToOwned::to_owned);
    let leaf = CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, &ca)
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (Arc::new(config), ca.pem())
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, script: &Script, log: &Mutex<Vec<Asked>>) {
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    while let Some(asked) = read(&mut stream) {
        log.lock().unwrap().push(asked.clone());
        let Some(said) = script(&asked) else { return };
        let mut text = format!(
            "HTTP/1.1 {} Status\r\nContent-Length: {}\r\n",
            said.status,
            said.body.len()
        );
        for (name, value) in &said.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.push_str(&said.body);
        if stream.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(stream: &mut impl Read) -> Option<Asked> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut asked = Asked {
        method: first.next()?.to_owned(),
        path: first.next()?.to_owned(),
        headers,
        body: String::new(),
    };
    let len = asked.header("content-length").unwrap_or("0").parse().ok()?;
    let mut body = vec![0; len];
    stream.read_exact(&mut body).ok()?;
    asked.body = String::from_utf8(body).ok()?;
    Some(asked)
}
