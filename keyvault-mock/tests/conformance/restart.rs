//! The state on disk: stopped, killed, altered.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use keyvault_mock::access::{Assignment, Role};
use keyvault_mock::vault::Settings;
use keyvault_mock::{Config, Server};
use serde_json::{Value, json};

use crate::client::{Client, base64url, check, path_of, same};

pub(crate) fn run() {
    stopped_and_altered();
    killed();
    ephemeral();
}

fn start(directory: &Path) -> Result<Server, String> {
    Server::start(Config {
        state: Some(directory.to_owned()),
        vaults: vec![Settings::new("default"), Settings::new("other")],
        ..Config::default()
    })
    .map_err(|error| error.to_string())
}

fn stopped_and_altered() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = start(directory.path()).expect("the server starts");
    let client = Client::new(&server);
    let mut paths = Vec::new();
    for (name, body) in [
        ("rsa", json!({ "kty": "RSA" })),
        ("ec", json!({ "kty": "EC", "crv": "P-521" })),
        (
            "oct",
            json!({ "kty": "oct", "key_size": 192, "tags": { "a": "b" } }),
        ),
    ] {
        let bundle = client
            .post(&format!("/keys/{name}/create"), body)
            .ok("create");
        paths.push((path_of(&bundle), bundle));
    }
    let wrap = json!({ "alg": "RSA-OAEP-256", "value": base64url(b"secret") });
    let wrapped = client
        .post(&format!("{}/wrapkey", paths[0].0), wrap)
        .ok("wrap")["value"]
        .clone();
    client
        .post("/keys/gone/create", json!({ "kty": "oct" }))
        .ok("create");
    client.call("DELETE", "/keys/gone", None).ok("delete");
    let backup = client.post("/keys/oct/backup", json!({})).ok("backup");
    let emulator = server.emulator();
    let assignment = Assignment {
        principal: "somebody".into(),
        role: Role::Reader,
        key: None,
    };
    emulator
        .access
        .assign("default", assignment, emulator.clock.now());
    emulator.keep_authority().expect("the rights are kept");
    let rules = emulator.access.rules();
    let ca = server.ca_pem().to_owned();
    check(
        start(directory.path()).is_err_and(|error| error.contains("another server")),
        "one server at a time",
    );
    drop(client);
    drop(server);

    let server = start(directory.path()).expect("it starts again");
    let client = Client::new(&server);
    same(server.ca_pem(), ca.as_str(), "the same authority");
    same(server.emulator().access.rules(), rules, "the same rights");
    for (path, bundle) in &paths {
        let again = client.get(path).ok("the key is there");
        for member in ["n", "x", "y", "kty", "key_ops"] {
            same(&again["key"][member], &bundle["key"][member], member);
        }
        same(&again["attributes"], &bundle["attributes"], "attributes");
        same(&again["tags"], &bundle["tags"], "tags");
    }
    let unwrap = json!({ "alg": "RSA-OAEP-256", "value": wrapped });
    client
        .post(&format!("{}/unwrapkey", paths[0].0), unwrap)
        .ok("the secret is there");
    client.get("/deletedkeys/gone").ok("deleted keys are there");
    Client::at(&server, "other")
        .post("/keys/restore", backup)
        .ok("backups are good");
    drop(server);

    let sealed = directory.path().join("state.sealed");
    let good = fs::read(&sealed).expect("the state");
    for secret in [b"\"kty\"".as_slice(), b"gone", b"somebody"] {
        check(
            !good.windows(secret.len()).any(|window| window == secret),
            "nothing stands in it",
        );
    }
    for at in [0, 7, 8, 19, 20, good.len() / 2, good.len() - 1] {
        let mut altered = good.clone();
        altered[at] ^= 1;
        fs::write(&sealed, &altered).expect("write");
        let refused = start(directory.path()).err().unwrap_or_default();
        check(
            refused.contains("was altered"),
            &format!("byte {at}: {refused}"),
        );
    }
    for length in [0, 1, 20, good.len() - 1] {
        fs::write(&sealed, &good[..length]).expect("write");
        check(
            start(directory.path()).is_err(),
            &format!("cut to {length} bytes"),
        );
    }
    fs::write(&sealed, &good).expect("write");
    let key = directory.path().join("state.key");
    let bytes = fs::read(&key).expect("the key");
    fs::remove_file(&key).expect("remove");
    check(
        start(directory.path()).is_err_and(|error| error.contains("key file")),
        "without its key",
    );
    fs::write(&key, bytes).expect("write");
    check(start(directory.path()).is_ok(), "as it was");
}

/// The command, and what it printed for a shell.
struct Running(Child, String);

impl Running {
    fn start(arguments: &[&str], ready: &Path) -> Running {
        let _ = fs::remove_file(ready);
        let child = Command::new(env!("CARGO_BIN_EXE_keyvault-mock"))
            .args([
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
                "--ready-file",
            ])
            .arg(ready)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the command starts");
        let mut running = Running(child, String::new());
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until {
            if let Ok(text) = fs::read_to_string(ready) {
                running.1 = text;
                return running;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the command is not ready after 30 seconds");
    }

    fn variable(&self, name: &str) -> String {
        let start = format!("export {name}='");
        let line = self.1.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.1))
            .trim_end_matches('\'')
            .to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Goal: what was answered before a SIGKILL is there after it, round by round.
fn killed() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("state");
    let ready = directory.path().join("ready");
    let arguments = [
        "--state",
        state.to_str().expect("a path"),
        "--vault",
        "tests:retention-days=7",
    ];
    for round in 0..5 {
        let running = Running::start(&arguments, &ready);
        let client = remote(&running);
        let list = client.get("/keys").ok("list");
        same(
            list["value"].as_array().map(Vec::len),
            Some(round),
            "every key that was answered",
        );
        let created = client
            .post(
                &format!("/keys/round-{round}/create"),
                json!({ "kty": "oct" }),
            )
            .ok("create");
        same(
            &created["attributes"]["recoverableDays"],
            7,
            "the vault's options",
        );
        // Dropping kills it, in the middle of whatever it does.
    }
    #[cfg(unix)]
    for (path, mode) in [
        (&state, 0o700),
        (&state.join("client.secret"), 0o600),
        (&ready, 0o600),
    ] {
        use std::os::unix::fs::PermissionsExt as _;
        let found = fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777;
        same(found, mode, "its owner's alone");
    }
    let secret = fs::read_to_string(state.join("client.secret")).expect("a secret of its own");
    check(
        secret.trim().len() >= 32 && !secret.contains("keyvault-mock"),
        "made up for this state",
    );
}

fn ephemeral() {
    let directory = tempfile::tempdir().expect("a directory");
    let ready = directory.path().join("ready");
    let ca = directory.path().join("ca.pem");
    let running = Running::start(
        &["--ephemeral", "--ca-file", ca.to_str().expect("a path")],
        &ready,
    );
    same(
        running.variable("SSL_CERT_FILE"),
        running.variable("NODE_EXTRA_CA_CERTS"),
        "one file for all",
    );
    same(
        running.variable("REQUESTS_CA_BUNDLE"),
        running.variable("SSL_CERT_FILE"),
        "one file for all",
    );
    let client = remote(&running);
    same(
        client.get("/keys").ok("list")["value"].clone(),
        Value::Array(Vec::new()),
        "nothing in it",
    );
    drop(running);
    let open = Command::new(env!("CARGO_BIN_EXE_keyvault-mock"))
        .args(["--ephemeral", "--listen", "0.0.0.0:0"])
        .output()
        .expect("the command starts");
    check(
        !open.status.success()
            && String::from_utf8_lossy(&open.stderr).contains("--client-secret-file"),
        "a secret that everybody knows is for loopback",
    );
    let left: Vec<_> = fs::read_dir(directory.path())
        .expect("the directory")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name != "ready" && name != "ca.pem")
        .collect();
    same(left, Vec::<String>::new(), "nothing is kept");
}

fn remote(running: &Running) -> Client {
    let ca = fs::read_to_string(running.variable("SSL_CERT_FILE")).expect("the authority");
    let url = running.variable("AZURE_KEYVAULT_URL");
    let port = url
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("a port");
    Client::remote(
        ([127, 0, 0, 1], port).into(),
        &ca,
        &running.variable("AZURE_TENANT_ID"),
        &running.variable("AZURE_CLIENT_ID"),
        &running.variable("AZURE_CLIENT_SECRET"),
    )
}
