//! The server: its parts, its ports, and its life.

mod answer;
mod config;
mod connection;
mod webhook;

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::access::{Access, AccessRules, Assignment, ResourceNames, Role};
use crate::audit_event::{Answered, AuditEvent, AuditLog};
use crate::clock::VirtualClock;
use crate::error::Refusal;
use crate::faults::Faults;
use crate::rotation::{self, Events};
use crate::state::{StateError, Store};
use crate::tls::Tls;
use crate::tokens::{Principal, Tokens};
use crate::vault::Settings;
pub use config::Config;

/// Everything that the routes and the admin API work on.
pub struct Emulator {
    /// Who may do what.
    pub access: Access,
    /// What was answered.
    pub audit: AuditLog,
    /// The time.
    pub clock: VirtualClock,
    /// What it was started with.
    pub config: Config,
    /// What came about.
    pub events: Events,
    /// What is to go wrong.
    pub faults: Faults,
    /// Vaults and keys.
    pub store: Store,
    /// The certificates.
    pub tls: Tls,
    /// Who is who.
    pub tokens: Tokens,
    address: SocketAddr,
    admin_address: SocketAddr,
}

/// Why a server could not be started.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A setting that cannot be.
    Config(String),
    /// A port that cannot be had.
    Listen(String),
    /// Certificates, the signing key or the audit log could not be read or kept.
    Part(String),
    /// The state could not be opened.
    State(StateError),
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Config(text) | StartError::Listen(text) | StartError::Part(text) => {
                formatter.write_str(text)
            }
            StartError::State(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for StartError {}

/// Principals and rights, as the state keeps them.
#[derive(Default, Serialize, Deserialize)]
struct Authority {
    principals: Vec<Principal>,
    rules: AccessRules,
}

impl Emulator {
    /// The address of the vault that clients reach as `localhost`.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// The address of a vault by its name.
    pub fn vault_url(&self, name: &str) -> String {
        format!("https://{name}.vault.localhost:{}", self.address.port())
    }

    /// The address of the admin API.
    pub fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin_address.port())
    }

    /// What tokens have to be for: `resource` in the challenge. With it, the SDKs' own verification of the challenge
    /// passes for hosts `NAME.vault.localhost`.
    pub fn resource(&self) -> String {
        match &self.config.resource {
            Some(resource) => resource.clone(),
            None => format!("https://vault.localhost:{}", self.address.port()),
        }
    }

    /// Where clients get their tokens: `authorization` in the challenge, without the tenant.
    pub fn authority_url(&self) -> String {
        match &self.config.authority {
            Some(authority) => authority.clone(),
            None => self.url(),
        }
    }

    /// The vault that a host names: the first label of `NAME.vault.…`, or else the default vault. Hosts have no case.
    pub fn vault_of(&self, host: &str) -> String {
        let host = host.to_ascii_lowercase();
        let name = host.split(':').next().unwrap_or_default();
        match name.split_once('.') {
            Some((label, rest)) if rest == "vault" || rest.starts_with("vault.") => {
                label.to_owned()
            }
            _ => self.config.default_vault.clone(),
        }
    }

    /// Adds a vault, or changes the settings of one. A new one can be used by the first client at once.
    ///
    /// # Errors
    /// Settings that cannot be, and a disk that does not take the new state.
    pub fn configure_vault(&self, settings: Settings) -> Result<(), Refusal> {
        config::check(&settings).map_err(Refusal::bad_parameter)?;
        let name = settings.name.clone();
        let known = self
            .store
            .read(|vaults| vaults.iter().any(|vault| vault.settings.name == name));
        self.store.change(|vaults| {
            vaults.configure(settings);
            Ok(())
        })?;
        if known {
            return Ok(());
        }
        let assignment = Assignment {
            principal: self.config.tokens.object_id.clone(),
            role: Role::Administrator,
            key: None,
        };
        // Before the beginning of time, so that no propagation delay holds it up.
        self.access.assign(&name, assignment, i64::MIN / 2);
        self.keep_authority()
    }

    /// Keeps the principals and rights as they are now. The admin API calls this after each change of them.
    ///
    /// # Errors
    /// A disk that does not take the new state.
    pub fn keep_authority(&self) -> Result<(), Refusal> {
        let authority = Authority {
            principals: self.tokens.principals(),
            rules: self.access.rules(),
        };
        let value = serde_json::to_value(authority).expect("principals and rules have string keys");
        self.store.keep_authority(value)
    }

    /// Does what is due at the clock's time: rotations, announcements, the end of retentions. Called every second,
    /// before each request, and by the admin API when the clock was moved.
    ///
    /// # Errors
    /// A disk that does not take the new state.
    pub fn tick(&self) -> Result<(), Refusal> {
        let now = self.clock.now();
        if !self.store.read(|vaults| rotation::is_due(vaults, now)) {
            return Ok(());
        }
        let (events, rotations) = self.store.change(|vaults| rotation::run(vaults, now))?;
        self.events.extend(events);
        for rotated in rotations {
            let id = format!(
                "{}/keys/{}/{}",
                self.vault_url(&rotated.vault),
                rotated.key,
                rotated.version
            );
            self.audit.record(AuditEvent::from(Answered {
                time_ms: self.clock.now_ms(),
                names: self.access.names(),
                vault: &rotated.vault,
                operation: "KeyRotateIfDue",
                api_version: "",
                status: 200,
                description: "",
                duration_ms: 0,
                peer: [127, 0, 0, 1].into(),
                client_request_id: None,
                caller: None,
                user_agent: "",
                request_uri: &id,
                id: &id,
            }));
        }
        Ok(())
    }

    fn open(
        config: Config,
        address: SocketAddr,
        admin_address: SocketAddr,
    ) -> Result<Emulator, StartError> {
        let directory = config.state.as_deref();
        let store = Store::open(directory).map_err(StartError::State)?;
        let authority: Authority = match store.authority() {
            serde_json::Value::Null => Authority::default(),
            value => serde_json::from_value(value).map_err(|error| {
                StartError::Part(format!(
                    "the principals in the state have another form: {error}"
                ))
            })?,
        };
        let names: Vec<String> = config
            .vaults
            .iter()
            .map(|settings| settings.name.clone())
            .collect();
        let tls =
            Tls::open(directory, &names, VirtualClock::new().now()).map_err(StartError::Part)?;
        let tokens = Tokens::new(config.tokens.clone(), authority.principals, directory)
            .map_err(StartError::Part)?;
        let audit_path = config
            .audit_log
            .clone()
            .or(directory.map(|directory| directory.join("audit.jsonl")));
        let audit = AuditLog::open(audit_path.as_deref(), config.audit_capacity)
            .map_err(StartError::Part)?;
        let emulator = Emulator {
            access: Access::with_rules(ResourceNames::default(), authority.rules),
            audit,
            clock: VirtualClock::new(),
            events: Events::default(),
            faults: Faults::new(),
            store,
            tls,
            tokens,
            config,
            address,
            admin_address,
        };
        emulator.tokens.add_audience(&emulator.resource());
        for settings in &emulator.config.vaults {
            emulator
                .configure_vault(settings.clone())
                .map_err(|refusal| StartError::Config(refusal.message))?;
        }
        Ok(emulator)
    }
}

/// A running server. Dropping it stops it.
pub struct Server {
    emulator: Arc<Emulator>,
    stop: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Server {
    /// Starts a server on a thread of its own. It takes requests when this returns.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(config: Config) -> Result<Server, StartError> {
        config.validate().map_err(StartError::Config)?;
        let listener = listen(config.listen)?;
        let admin = listen(config.admin_listen)?;
        let address = |listener: &TcpListener| {
            listener
                .local_addr()
                .map_err(|error| StartError::Listen(error.to_string()))
        };
        let emulator = Arc::new(Emulator::open(
            config,
            address(&listener)?,
            address(&admin)?,
        )?);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("keyvault-mock")
            .enable_all()
            .build()
            .map_err(|error| StartError::Part(format!("threads: {error}")))?;
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::clone(&emulator);
        let thread = std::thread::Builder::new()
            .name("keyvault-mock".into())
            .spawn(move || {
                runtime.block_on(connection::serve(shared, listener, admin, stopped));
                // A key that is being made may take seconds more; nobody waits for it.
                runtime.shutdown_timeout(Duration::from_millis(100));
            })
            .map_err(|error| StartError::Part(format!("thread: {error}")))?;
        Ok(Server {
            emulator,
            stop,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The address of the default vault, `https://localhost:PORT`.
    pub fn url(&self) -> String {
        self.emulator.url()
    }

    /// The address of a vault by its name, `https://NAME.vault.localhost:PORT`.
    pub fn vault_url(&self, name: &str) -> String {
        self.emulator.vault_url(name)
    }

    /// Where it listens for HTTPS.
    pub fn address(&self) -> SocketAddr {
        self.emulator.address
    }

    /// The address of the admin API, `http://127.0.0.1:PORT`.
    pub fn admin_url(&self) -> String {
        self.emulator.admin_url()
    }

    /// The certificate of the authority that clients have to trust.
    pub fn ca_pem(&self) -> &str {
        self.emulator.tls.ca_pem()
    }

    /// The tenant's id.
    pub fn tenant(&self) -> &str {
        self.emulator.tokens.tenant()
    }

    /// The client id of the first client, who has every right in the vaults it was started with.
    pub fn client_id(&self) -> &str {
        self.emulator.tokens.client_id()
    }

    /// The secret of the first client.
    pub fn client_secret(&self) -> &str {
        self.emulator.tokens.client_secret()
    }

    /// What the admin API works on, for tests in the same process.
    pub fn emulator(&self) -> &Arc<Emulator> {
        &self.emulator
    }

    /// Waits until the server stops, which it does by [`stop`](Self::stop) alone.
    pub fn wait(&self) {
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // A panic of the thread was printed where it happened.
            let _ = thread.join();
        }
    }

    /// Stops taking requests, cuts the connections there are, and waits until that is done.
    pub fn stop(&self) {
        let _ = self.stop.send(true);
        self.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let refused =
        |error: std::io::Error| StartError::Listen(format!("cannot listen on {address}: {error}"));
    let listener = TcpListener::bind(address).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    Ok(listener)
}
