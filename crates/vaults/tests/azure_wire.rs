//! What goes over the wire to a vault in Azure, and what must never: against a server that answers as each test tells it.

#[path = "azure_wire/server.rs"]
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base64ct::{Base64UrlUnpadded, Encoding};
use cofferdam_keys::{
    KeyUri, KeyVault, Layer, Reason, Refusal, Revocation, Secret, StoreId, UnixTime,
    WRAPPED_ROOT_LEN, WrapAlgorithm, WrapContext, Wrapped,
};
use cofferdam_vaults::{AzureSettings, AzureVault};
use server::{Asked, Said, Server};
use zeroize::Zeroizing;

/// Goal: a vault learns nothing before it has said who it is; a secret goes to the login and a token to the vault, and
/// nothing else goes anywhere.
#[test]
fn each_secret_goes_to_its_one_place() {
    let server = Server::start(|port| move |asked: &Asked| Some(vault(port, asked)));
    let vault = connect(&server, |_| {});
    let wrapped = vault.wrap(&root(), &CONTEXT).unwrap();
    assert_eq!(
        (
            wrapped.version.as_str(),
            wrapped.algorithm,
            wrapped.blob.len()
        ),
        (VERSION, WrapAlgorithm::RsaOaep256, 256)
    );
    assert_eq!(
        *vault.unwrap(&wrapped, &CONTEXT).unwrap().expose(),
        [7; WRAPPED_ROOT_LEN]
    );

    let asked = server.asked();
    let lines: Vec<String> = asked
        .iter()
        .map(|it| format!("{} {}", it.method, it.path.split('?').next().unwrap()))
        .collect();
    let (key, login) = ("/keys/customer", "/t-1/oauth2/v2.0/token");
    assert_eq!(
        lines,
        [
            format!("GET {key}"),
            format!("POST {login}"),
            format!("GET {key}"),
            format!("POST {key}/{VERSION}/wrapkey"),
            format!("GET {key}/{VERSION}"),
            format!("POST {key}/{VERSION}/unwrapkey"),
        ]
    );
    assert_eq!(
        (asked[0].header("authorization"), asked[0].body.as_str()),
        (None, "")
    );
    for (index, asked) in asked.iter().enumerate() {
        let is_login = asked.path == login;
        let text = format!("{asked:?}");
        assert_eq!(text.contains("s3cr%2F3t"), is_login, "{index}");
        assert_eq!(text.contains("T0K3N"), !is_login && index > 0, "{index}");
        let host = asked.header("host").unwrap();
        assert_eq!(
            host.starts_with("shop.vault.localhost:"),
            !is_login,
            "{index}"
        );
        assert!(is_login || asked.path.contains("api-version="), "{index}");
    }
    let ids: Vec<&str> = asked
        .iter()
        .filter_map(|it| it.header("x-ms-client-request-id"))
        .collect();
    assert_eq!(ids.len(), 5, "every call to the vault has an id");
    assert!(
        ids[0] == ids[2] && ids[3] == ids[4] && ids[0] != ids[3],
        "one for each operation"
    );
    let last = vault.last_request().unwrap();
    assert_eq!(
        (last.correlation_id.as_str(), last.request_id.as_deref()),
        (ids[4], Some("req-6"))
    );
}

/// Goal: a server that asks for a token that is good elsewhere does not get one, and no secret is shown to a login that
/// nobody configured.
#[test]
fn a_challenge_that_is_not_the_vaults_own_gets_nothing() {
    for (resource, authority) in [
        ("https://management.azure.com".to_owned(), None),
        ("https://localhost".to_owned(), None),
        ("https://vault.localhost".to_owned(), None),
        ("https://shop.vault.localhost:PORT".to_owned(), None),
        (
            "https://vault.localhost:PORT".to_owned(),
            Some("https://login.evil.localhost/t-1"),
        ),
        (
            "https://vault.localhost:PORT".to_owned(),
            Some("http://localhost:PORT/t-1"),
        ),
        (
            "https://vault.localhost:PORT".to_owned(),
            Some("https://localhost:PORT/t-2"),
        ),
    ] {
        let server = Server::start(|port| {
            let fill = move |text: &str| text.replace("PORT", &port.to_string());
            let resource = fill(&resource);
            let authority = fill(authority.unwrap_or("https://localhost:PORT/t-1"));
            move |_: &Asked| {
                let challenge =
                    format!("Bearer authorization=\"{authority}\", resource=\"{resource}\"");
                Some(Said::new(401, "").with("WWW-Authenticate", challenge))
            }
        });
        let refusal = connect(&server, |_| {}).describe().unwrap_err();
        assert_eq!(refusal.reason, Reason::AuthBroken, "{resource}: {refusal}");
        assert_eq!(
            server.asked().len(),
            1,
            "{resource}: nothing was asked but the challenge"
        );
    }
}

/// Goal: what is in between, or in place of the vault, is an outage and never a *no*, and nothing leads away from the vault.
#[test]
fn who_is_not_the_vault_is_an_outage() {
    let page = "<html>Sign in to the guest network</html>";
    let cases: Vec<(&str, Option<Said>)> = vec![
        ("hangs up", None),
        ("a page", Some(Said::new(200, page))),
        ("a forbidden page", Some(Said::new(403, page))),
        ("a missing page", Some(Said::new(404, page))),
        ("a bad gateway", Some(Said::new(502, page))),
        ("a timeout", Some(Said::new(408, page))),
        ("too much", Some(Said::new(200, "x".repeat(300 * 1024)))),
        (
            "redirected",
            Some(Said::new(302, "").with("Location", "https://localhost/elsewhere")),
        ),
        (
            "moved",
            Some(Said::new(307, "").with("Location", "/elsewhere")),
        ),
    ];
    for (name, answer) in cases {
        let server = Server::start(|port| {
            let answer = answer.clone();
            move |asked: &Asked| match asked.header("authorization") {
                Some(_) => answer.clone(),
                None => Some(vault(port, asked)),
            }
        });
        let refusal = unwrap(&connect(&server, |_| {})).unwrap_err();
        assert_eq!(refusal.reason, Reason::Unreachable, "{name}: {refusal}");
        assert!(
            server
                .asked()
                .iter()
                .all(|asked| !asked.path.contains("elsewhere"))
        );
    }
    // Before the login, too: who does not ask for a token is no vault.
    let server = Server::start(|_| |_: &Asked| Some(Said::new(200, "{}")));
    let refusal = unwrap(&connect(&server, |_| {})).unwrap_err();
    assert_eq!(refusal.reason, Reason::Unreachable, "{refusal}");
    assert!(server.asked().iter().all(|asked| asked.body.is_empty()));
}

/// Goal: a list of versions cannot send us, and our token, somewhere else.
#[test]
fn the_next_page_is_on_the_same_vault() {
    for link in [
        "https://evil.vault.localhost:PORT/keys/customer/versions?x",
        "https://shop.vault.localhost/keys/customer/versions?x",
        "https://shop.vault.localhost:PORT.evil.localhost/keys/customer/versions?x",
        "https://shop.vault.localhost:PORT/keys/other/versions?x",
        "https://shop.vault.localhost:PORT/secrets?x",
        "https://shop.vault.localhost:PORT/keys/customer/versions?x y",
        "/keys/customer/versions?x",
    ] {
        let server = Server::start(|port| {
            let link = link.replace("PORT", &port.to_string());
            move |asked: &Asked| {
                let is_list = asked.path.contains("/versions") && is_logged_in(asked);
                let page = format!("{{\"value\":[],\"nextLink\":\"{link}\"}}");
                Some(if is_list {
                    Said::new(200, page)
                } else {
                    vault(port, asked)
                })
            }
        });
        let refusal = connect(&server, |_| {}).versions().unwrap_err();
        assert_eq!(refusal.reason, Reason::Corrupt, "{link}: {refusal}");
        assert_eq!(
            server.asked().len(),
            3,
            "{link}: challenge, login, the first page"
        );
    }
}

/// Goal: a token that ran out is renewed once; a vault that takes no fresh token three times has shut us out.
#[test]
fn a_refused_token_is_renewed_once_and_three_refusals_are_a_no() {
    let tokens = Arc::new(AtomicU32::new(0));
    let server = Server::start(|port| {
        let tokens = Arc::clone(&tokens);
        move |asked: &Asked| {
            if asked.path.contains("/oauth2/") {
                let number = tokens.fetch_add(1, Ordering::Relaxed) + 1;
                return Some(token(&format!("T0K3N{number}")));
            }
            // The first token is good once, the second for ever but for what comes after it, and no other.
            let good = match asked.header("authorization") {
                Some("Bearer T0K3N1") => !asked.path.contains("/versions"),
                Some("Bearer T0K3N2") => !asked.path.contains("unwrapkey"),
                _ => false,
            };
            Some(if good {
                vault(port, asked)
            } else {
                challenge(port)
            })
        }
    });
    let vault = connect(&server, |_| {});
    vault.wrap(&root(), &CONTEXT).unwrap();
    vault.versions().unwrap();
    assert_eq!(
        tokens.load(Ordering::Relaxed),
        2,
        "the second was fetched when the first was refused"
    );
    for reason in [
        Reason::AuthBroken,
        Reason::AuthBroken,
        Reason::Revoked(Revocation::Permission),
        Reason::Revoked(Revocation::Permission),
    ] {
        let before = server.asked().len();
        let refusal = unwrap(&vault).unwrap_err();
        assert_eq!(refusal.reason, reason, "{refusal}");
        assert!(
            server.asked().len() - before <= 5,
            "one renewal and no more"
        );
        assert!(!refusal.to_string().contains("T0K3N") && !refusal.to_string().contains("s3cr"));
    }
}

/// Goal: a vault that does not answer costs as long as was agreed, wherever in the middle it stops.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test of time takes the time")]
fn an_end_is_an_end() {
    for silent_at in ["/keys/customer?", "/oauth2/", "/unwrapkey"] {
        let server = Server::start(|port| {
            move |asked: &Asked| {
                if asked.path.contains(silent_at) {
                    std::thread::sleep(Duration::from_secs(20));
                }
                Some(vault(port, asked))
            }
        });
        let vault = connect(&server, |settings| {
            settings.total_timeout = Duration::from_millis(700)
        });
        let began = Instant::now();
        let result = match silent_at {
            "/keys/customer?" => vault.wrap(&root(), &CONTEXT).map(|_| ()),
            _ => unwrap(&vault),
        };
        assert_eq!(
            result.unwrap_err().reason,
            Reason::Unreachable,
            "{silent_at}"
        );
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "{silent_at}: {:?}",
            began.elapsed()
        );
    }
}

/// Goal: a certificate that nobody vouches for is an outage that says so, and nothing was sent.
#[test]
fn an_unknown_certificate_is_an_outage_that_says_so() {
    let server = Server::start(|port| move |asked: &Asked| Some(vault(port, asked)));
    let refusal = connect(&server, |settings| settings.extra_ca_file = None)
        .describe()
        .unwrap_err();
    assert_eq!(refusal.reason, Reason::Unreachable);
    assert!(
        refusal.detail.contains("TLS certificate is not accepted"),
        "{refusal}"
    );
    assert_eq!(server.asked().len(), 0);
    let refusal = connect(&server, |settings| {
        settings.extra_ca_file = Some("/nowhere.pem".into())
    })
    .describe()
    .unwrap_err();
    assert!(refusal.detail.contains("/nowhere.pem"), "{refusal}");
}

/// Goal: the other identities log in the way that their services want.
#[test]
fn workloads_and_managed_identities_log_in_their_own_way() {
    let server = Server::start(|port| move |asked: &Asked| Some(vault(port, asked)));
    let directory = tempfile::tempdir().unwrap();
    let token_file = directory.path().join("token");
    std::fs::write(&token_file, "eyJ.assertion\n").unwrap();
    let workload = connect(&server, |settings| {
        settings.client_secret = None;
        settings.federated_token_file = Some(token_file);
    });
    unwrap(&workload).unwrap();
    let login = &server.asked()[1];
    assert_eq!(login.path, "/t-1/oauth2/v2.0/token");
    assert!(
        login.body.contains("client_assertion=eyJ.assertion"),
        "{login:?}"
    );
    assert!(
        login
            .body
            .contains("client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3A"),
        "{login:?}"
    );
    assert!(!login.body.contains("client_secret"));

    let before = server.asked().len();
    let managed = connect(&server, |settings| {
        settings.client_secret = None;
        settings.identity_endpoint = Some(format!("https://localhost:{}/msi/token", server.port));
        settings.identity_header = Some(Zeroizing::new("h34d3r".to_owned()));
    });
    unwrap(&managed).unwrap();
    let login = &server.asked()[before + 1];
    assert_eq!(login.header("x-identity-header"), Some("h34d3r"));
    let resource = format!("resource=https%3A%2F%2Fvault.localhost%3A{}", server.port);
    assert!(
        login.path.starts_with("/msi/token?api-version=2019-08-01"),
        "{login:?}"
    );
    assert!(
        login.path.contains(&resource) && login.path.contains("client_id=c-1"),
        "{login:?}"
    );
}

/// Goal: an answer about another key or version than was asked for is not believed.
#[test]
fn an_answer_about_something_else_is_corrupt() {
    let other = "ffffffffffffffffffffffffffffffff";
    for (from, to) in [
        (format!("customer/{VERSION}"), format!("customer/{other}")),
        (format!("customer/{VERSION}"), format!("other/{VERSION}")),
    ] {
        let server = Server::start(|port| {
            move |asked: &Asked| {
                let mut said = vault(port, asked);
                if asked.path.contains("wrapkey") {
                    said.body = said.body.replace(&from, &to);
                }
                Some(said)
            }
        });
        let vault = connect(&server, |_| {});
        assert_eq!(
            vault.wrap(&root(), &CONTEXT).unwrap_err().reason,
            Reason::Corrupt
        );
        assert_eq!(unwrap(&vault).unwrap_err().reason, Reason::Corrupt);
    }
}

/// A vault with one RSA-2048 key, whose way to wrap is to pad with zeros, and the login for it.
fn vault(port: u16, asked: &Asked) -> Said {
    if asked.path.contains("/oauth2/") || asked.path.starts_with("/msi/") {
        return token("T0K3N");
    }
    if !is_logged_in(asked) {
        return challenge(port);
    }
    let kid = format!("https://shop.vault.localhost:{port}/keys/customer/{VERSION}");
    if asked.path.contains("/versions") {
        return Said::new(
            200,
            format!("{{\"value\":[{{\"kid\":\"{kid}\",\"attributes\":{{\"enabled\":true}}}}]}}"),
        );
    }
    if asked.method == "GET" {
        let modulus = Base64UrlUnpadded::encode_string(&[0xff; 256]);
        return Said::new(
            200,
            format!(
                "{{\"key\":{{\"kid\":\"{kid}\",\"kty\":\"RSA\",\"n\":\"{modulus}\"}},\"attributes\":{{\"enabled\":true}}}}"
            ),
        );
    }
    let value = asked.body.split('"').rev().nth(1).unwrap();
    let bytes = Base64UrlUnpadded::decode_vec(value).unwrap();
    let bytes = match asked.path.contains("/wrapkey") {
        true => [bytes, vec![0; 256 - WRAPPED_ROOT_LEN]].concat(),
        false => bytes[..WRAPPED_ROOT_LEN].to_vec(),
    };
    let value = Base64UrlUnpadded::encode_string(&bytes);
    Said::new(200, format!("{{\"kid\":\"{kid}\",\"value\":\"{value}\"}}"))
        .with("x-ms-request-id", "req-6")
}

fn challenge(port: u16) -> Said {
    let challenge = format!(
        "Bearer authorization=\"https://localhost:{port}/t-1\", resource=\"https://vault.localhost:{port}\""
    );
    Said::new(401, "").with("WWW-Authenticate", challenge)
}

fn token(token: &str) -> Said {
    Said::new(
        200,
        format!("{{\"access_token\":\"{token}\",\"expires_in\":3600}}"),
    )
}

fn is_logged_in(asked: &Asked) -> bool {
    asked.header("authorization").is_some()
}

fn connect(server: &Server, change: impl FnOnce(&mut AzureSettings)) -> AzureVault {
    let mut settings = AzureSettings {
        tenant_id: Some("t-1".to_owned()),
        client_id: Some("c-1".to_owned()),
        client_secret: Some(Zeroizing::new("s3cr/3t".to_owned())),
        authority_host: Some(format!("https://localhost:{}", server.port)),
        extra_ca_file: Some(server.ca_file.clone()),
        ..AzureSettings::default()
    };
    change(&mut settings);
    let key = format!("https://shop.vault.localhost:{}/keys/customer", server.port);
    AzureVault::new(&key.parse::<KeyUri>().unwrap(), settings, now).unwrap()
}

fn unwrap(vault: &AzureVault) -> Result<(), Refusal> {
    let mut blob = vec![7; WRAPPED_ROOT_LEN];
    blob.resize(256, 0);
    let wrapped = Wrapped {
        version: VERSION.parse().unwrap(),
        algorithm: WrapAlgorithm::RsaOaep256,
        blob,
    };
    vault.unwrap(&wrapped, &CONTEXT).map(|_| ())
}

fn root() -> Secret<WRAPPED_ROOT_LEN> {
    Secret::fill_with(|place| place.fill(7))
}

/// A clock that stands still: what is spent on one call is measured where the call is made.
fn now() -> UnixTime {
    UnixTime {
        seconds: 1_800_000_000,
        nanos: 0,
    }
}

const VERSION: &str = "0123456789abcdef0123456789abcdef";
const CONTEXT: WrapContext = WrapContext {
    store: StoreId::from_bytes([5; 16]),
    layer: Layer::Customer,
};
