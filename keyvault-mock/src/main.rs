//! The `keyvault-mock` command: starts the emulator and says where it is.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use keyvault_mock::tokens::TokenOptions;
use keyvault_mock::vault::Settings;
use keyvault_mock::{Config, Server};

/// An Azure Key Vault (keys) emulator for testing revocation, and a small self-hosted vault. It is no HSM.
#[derive(Parser)]
#[command(name = "keyvault-mock", version, max_term_width = 110)]
struct Arguments {
    /// Where to listen for HTTPS; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Where to listen for the admin API, on loopback, behind the token that --print-env shows.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8444")]
    admin_listen: SocketAddr,
    /// Keep vaults, keys and certificates in this directory, sealed under a key file beside them.
    #[arg(long, value_name = "DIR", required_unless_present = "ephemeral")]
    state: Option<PathBuf>,
    /// Keep nothing: everything is gone when the server stops.
    #[arg(long, conflicts_with = "state")]
    ephemeral: bool,
    /// A vault, with options that differ from those below: NAME[:purge-protection][:retention-days=N][:delete-lag=N]
    /// [:version-list-lag=N][:wrap-when-disabled][:no-soft-delete][:protected-subscription]. May be repeated; the first
    /// one also answers as localhost. Without any, there is one called `default`.
    #[arg(long = "vault", value_name = "NAME[:OPTIONS]")]
    vaults: Vec<String>,
    /// Nobody can purge a deleted key before its retention ends.
    #[arg(long)]
    purge_protection: bool,
    /// Days that a deleted key is kept, 7 to 90.
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    retention_days: u32,
    /// Seconds until deletion, recovery and purge are visible; 2 is what the service was seen to take.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    delete_lag: i64,
    /// Where it is not known what the service does, do this.
    #[arg(long, value_enum, default_value_t = Compat::Strict)]
    compat: Compat,
    /// The tenant's id.
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// The client id of the first client.
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// A file with the secret of the first client; made up when --state is given for the first time without one.
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
    /// `resource` in the challenge [default: https://vault.localhost:PORT]
    #[arg(long, value_name = "URL")]
    resource: Option<String>,
    /// `authorization` in the challenge, without the tenant [default: this server]
    #[arg(long, value_name = "URL")]
    authority: Option<String>,
    /// Append audit events to this file [default: audit.jsonl in the state's directory]
    #[arg(long, value_name = "FILE")]
    audit_log: Option<PathBuf>,
    /// Post rotation and expiry events here, http://HOST:PORT/PATH.
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// Print the environment that points clients at this server, as lines for a shell.
    #[arg(long)]
    print_env: bool,
    /// Write that environment to this file once requests are taken.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Where clients find the authority's certificate [default: ca.pem in the state's directory, or a temporary file]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// What the documentation leaves open.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Compat {
    /// A disabled key neither wraps nor encrypts.
    Strict,
    /// A disabled key wraps and encrypts.
    WrapWhenDisabled,
}

const BANNER: &str = "keyvault-mock is no HSM: its keys lie in files, sealed under a key in another file beside them. \
                      Whoever reads that directory has the keys.";

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("keyvault-mock: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), String> {
    let config = config(&arguments)?;
    let names: Vec<String> = config
        .vaults
        .iter()
        .map(|settings| settings.name.clone())
        .collect();
    let server = Server::start(config).map_err(|error| error.to_string())?;
    let ca_file = ca_file(&arguments, &server)?;
    let environment = environment(&server, &ca_file);
    eprintln!("{BANNER}");
    for name in &names {
        eprintln!("vault {name}: {}", server.vault_url(name));
    }
    eprintln!("localhost is {}: {}", names[0], server.url());
    eprintln!("admin API: {}", server.admin_url());
    if arguments.print_env {
        print!("{environment}");
        std::io::stdout()
            .flush()
            .map_err(|error| error.to_string())?;
    }
    if let Some(path) = &arguments.ready_file {
        // It holds the client's secret.
        write_whole(path, &environment, true)?;
    }
    wait_for_signal(&server)
}

fn config(arguments: &Arguments) -> Result<Config, String> {
    let mut defaults = Settings::new("default");
    defaults.purge_protection = arguments.purge_protection;
    defaults.retention_days = arguments.retention_days;
    defaults.delete_lag_s = arguments.delete_lag;
    defaults.wrap_when_disabled = arguments.compat == Compat::WrapWhenDisabled;
    let mut vaults = Vec::new();
    for text in &arguments.vaults {
        vaults.push(settings(text, &defaults)?);
    }
    if vaults.is_empty() {
        vaults.push(defaults);
    }
    let mut tokens = TokenOptions::default();
    if let Some(tenant) = &arguments.tenant {
        tokens.tenant.clone_from(tenant);
    }
    if let Some(id) = &arguments.client_id {
        tokens.client_id.clone_from(id);
    }
    match (&arguments.client_secret_file, &arguments.state) {
        (Some(path), _) => tokens.client_secret = read_secret(path)?,
        // What is kept is worth more than a secret that is printed in the documentation.
        (None, Some(directory)) => tokens.client_secret = kept_secret(directory)?,
        // The secret of the defaults is in the documentation.
        (None, None) if !arguments.listen.ip().is_loopback() => {
            return Err(format!(
                "whoever reaches {} could have the keys: give the client a secret of its own with --client-secret-file",
                arguments.listen
            ));
        }
        (None, None) => {}
    }
    Ok(Config {
        listen: arguments.listen,
        admin_listen: arguments.admin_listen,
        state: arguments.state.clone(),
        default_vault: vaults[0].name.clone(),
        vaults,
        tokens,
        resource: arguments.resource.clone(),
        authority: arguments.authority.clone(),
        audit_log: arguments.audit_log.clone(),
        webhook: arguments.webhook.clone(),
        ..Config::default()
    })
}

fn read_secret(path: &Path) -> Result<String, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match text.trim() {
        "" => Err(format!(
            "{} is empty; it has to hold the client's secret",
            path.display()
        )),
        secret => Ok(secret.to_owned()),
    }
}

/// The first client's secret, made up when the directory has none.
fn kept_secret(directory: &Path) -> Result<String, String> {
    let path = directory.join("client.secret");
    if path.exists() {
        return read_secret(&path);
    }
    keyvault_mock::state::create_directory(directory).map_err(|error| error.to_string())?;
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "the random generator failed".to_owned())?;
    let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    write_whole(&path, &secret, true)?;
    Ok(secret)
}

/// A vault from `NAME[:OPTION]...`, the rest as in `defaults`.
fn settings(text: &str, defaults: &Settings) -> Result<Settings, String> {
    let mut parts = text.split(':');
    let mut settings = Settings {
        name: parts.next().unwrap_or_default().to_owned(),
        ..defaults.clone()
    };
    for option in parts {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let number = || {
            value
                .parse::<u32>()
                .map_err(|_| format!("--vault {text}: {name} takes a number"))
        };
        match name {
            "delete-lag" => settings.delete_lag_s = number()?.into(),
            "no-soft-delete" => settings.soft_delete = false,
            "protected-subscription" => settings.protected_subscription = true,
            "purge-protection" => settings.purge_protection = true,
            "retention-days" => settings.retention_days = number()?,
            "version-list-lag" => settings.version_list_lag_s = number()?.into(),
            "wrap-when-disabled" => settings.wrap_when_disabled = true,
            _ => return Err(format!("--vault {text}: there is no option '{name}'")),
        }
    }
    Ok(settings)
}

/// Where the authority's certificate is for clients to read.
fn ca_file(arguments: &Arguments, server: &Server) -> Result<PathBuf, String> {
    let path = match (&arguments.ca_file, &arguments.state) {
        (Some(path), _) => path.clone(),
        (None, Some(directory)) => directory.join("ca.pem"),
        (None, None) => {
            std::env::temp_dir().join(format!("keyvault-mock-{}.pem", server.address().port()))
        }
    };
    write_whole(&path, server.ca_pem(), false)?;
    std::path::absolute(&path).map_err(|error| format!("{}: {error}", path.display()))
}

fn environment(server: &Server, ca_file: &Path) -> String {
    let ca = ca_file.display().to_string();
    let authority = server.emulator().authority_url();
    let lines = [
        ("SSL_CERT_FILE", ca.as_str()),
        ("NODE_EXTRA_CA_CERTS", &ca),
        ("REQUESTS_CA_BUNDLE", &ca),
        ("AZURE_AUTHORITY_HOST", &authority),
        ("AZURE_TENANT_ID", server.tenant()),
        ("AZURE_CLIENT_ID", server.client_id()),
        ("AZURE_CLIENT_SECRET", server.client_secret()),
        ("AZURE_KEYVAULT_URL", &server.url()),
        ("KEYVAULT_MOCK_ADMIN_URL", &server.admin_url()),
        (
            "KEYVAULT_MOCK_ADMIN_TOKEN",
            server.emulator().tokens.admin_token(),
        ),
        // App Service's way to a managed identity, which is plain HTTP there, too.
        (
            "IDENTITY_ENDPOINT",
            &format!(
                "{}{}",
                server.admin_url(),
                keyvault_mock::tokens::APP_SERVICE_PATH
            ),
        ),
        (
            "IDENTITY_HEADER",
            server.emulator().tokens.identity_header(),
        ),
    ]
    .map(|(name, value)| format!("export {name}='{}'\n", value.replace('\'', "'\\''")));
    lines.concat()
}

/// Writes a file durably, and so that whoever waits for it never sees half of it.
fn write_whole(path: &Path, text: &str, private: bool) -> Result<(), String> {
    let refused = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    // What an interrupted start left may have other rights.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(refused(error)),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if private {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(&new).map_err(refused)?;
    file.write_all(text.as_bytes()).map_err(refused)?;
    file.sync_all().map_err(refused)?;
    std::fs::rename(&new, path).map_err(refused)
}

/// Returns when the process is asked to end.
fn wait_for_signal(server: &Server) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let mut ended = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
            tokio::select! {
                result = tokio::signal::ctrl_c() => result.map_err(|error| error.to_string()),
                _ = ended.recv() => Ok(()),
            }
        }
        #[cfg(not(unix))]
        tokio::signal::ctrl_c()
            .await
            .map_err(|error| error.to_string())
    })?;
    server.stop();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a vault's options are those of the flags unless it has its own, and misspelt ones are refused.
    #[test]
    fn vaults_and_their_options() {
        let mut defaults = Settings::new("default");
        defaults.retention_days = 30;
        let plain = settings("prod", &defaults).unwrap();
        assert_eq!(
            (
                plain.name.as_str(),
                plain.retention_days,
                plain.purge_protection
            ),
            ("prod", 30, false)
        );
        let text = "lab:purge-protection:retention-days=7:delete-lag=2:version-list-lag=3:wrap-when-disabled:protected-subscription";
        let all = settings(text, &defaults).unwrap();
        assert!(
            all.purge_protection
                && all.wrap_when_disabled
                && all.protected_subscription
                && all.soft_delete
        );
        assert_eq!(
            (all.retention_days, all.delete_lag_s, all.version_list_lag_s),
            (7, 2, 3)
        );
        assert!(
            !settings("old:no-soft-delete", &defaults)
                .unwrap()
                .soft_delete
        );
        for text in [
            "v:purge",
            "v:retention-days",
            "v:retention-days=x",
            "v:delete-lag=-1",
            "v:",
        ] {
            assert!(settings(text, &defaults).is_err(), "{text}");
        }
    }

    /// Goal: the flags exclude what cannot be together.
    #[test]
    fn a_state_is_kept_or_not() {
        let parse = |arguments: &[&str]| {
            Arguments::try_parse_from([&["keyvault-mock"], arguments].concat())
        };
        assert!(parse(&["--ephemeral"]).is_ok());
        assert!(parse(&["--state", "/x"]).is_ok());
        assert!(parse(&[]).is_err());
        assert!(parse(&["--state", "/x", "--ephemeral"]).is_err());
    }
}
