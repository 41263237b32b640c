//! Secure key release, with this test as the attestation authority.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{
    KeyPair, KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey,
    PrivateDecryptingKey,
};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use keyvault_mock::material::keywrap::unwrap_padded;
use keyvault_mock::tokens::Jwk;
use serde_json::{Value, json};

use crate::client::{API, Client, NOW, base64url, decoded, path_of, plain_server, same};

const AUTHORITY: &str = "https://attest.example";

/// A key pair in both of its uses.
struct Pair {
    signing: KeyPair,
    decrypting: PrivateDecryptingKey,
}

impl Pair {
    fn new() -> Pair {
        let signing = KeyPair::generate(KeySize::Rsa2048).expect("a key");
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&signing).expect("a document");
        let decrypting = PrivateDecryptingKey::from_pkcs8(der.as_ref()).expect("a key");
        Pair {
            signing,
            decrypting,
        }
    }

    fn numbers(&self) -> (String, String) {
        let public = self.signing.public_key();
        (
            base64url(public.modulus().big_endian_without_leading_zero()),
            base64url(public.exponent().big_endian_without_leading_zero()),
        )
    }

    fn token(&self, claims: &Value) -> String {
        let header = base64url(br#"{"alg":"RS256","kid":"maa"}"#);
        let signed = format!("{header}.{}", base64url(claims.to_string().as_bytes()));
        let mut signature = vec![0; self.signing.public_modulus_len()];
        self.signing
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .expect("a signature");
        format!("{signed}.{}", base64url(&signature))
    }
}

pub(crate) fn run() {
    let server = plain_server();
    let client = Client::new(&server);
    let (authority, target, stranger) = (Pair::new(), Pair::new(), Pair::new());
    let (n, e) = authority.numbers();
    let jwk = json!({ "kty": "RSA", "kid": "maa", "n": n, "e": e });
    let jwk: Jwk = serde_json::from_value(jwk).expect("a key");
    server.emulator().tokens.trust_issuer(AUTHORITY, vec![jwk]);
    let policy = json!({ "version": "1.0.0", "anyOf": [{
        "authority": AUTHORITY,
        "allOf": [{ "claim": "x-ms-isolation-tee.x-ms-attestation-type", "equals": "sevsnpvm" }],
    }] });
    let policy = json!({ "data": base64url(policy.to_string().as_bytes()) });
    let body =
        json!({ "kty": "oct-HSM", "attributes": { "exportable": true }, "release_policy": policy });
    let bundle = client.post("/keys/n/create", body).ok("an exportable key");
    same(&bundle["attributes"]["exportable"], true, "it says so");
    same(
        &bundle["release_policy"]["data"],
        &policy["data"],
        "its policy",
    );
    let path = path_of(&bundle);
    let wrap = json!({ "alg": "A256KW", "value": base64url(&[1; 16]) });
    let wrapped = client.post(&format!("{path}/wrapkey"), wrap).ok("wrap");

    let (n, e) = target.numbers();
    let claims = json!({
        "iss": AUTHORITY,
        "exp": NOW + 600,
        "nbf": NOW,
        "x-ms-isolation-tee": { "x-ms-attestation-type": "sevsnpvm" },
        "x-ms-runtime": { "keys": [
            { "kty": "RSA", "kid": "HCLAkPub", "key_ops": ["sign"], "n": "AQAB", "e": "AQAB" },
            { "kty": "RSA", "kid": "enc", "key_ops": ["encrypt"], "n": n, "e": e },
        ] },
    });
    let release = |token: String, encryption: Option<&str>| {
        let body = json!({ "target": token, "nonce": "once", "enc": encryption });
        client.post(&format!("{path}/release?api-version={API}"), body)
    };
    for (encryption, padding) in [
        (None, &OAEP_SHA1_MGF1SHA1),
        (Some("RSA_AES_KEY_WRAP_256"), &OAEP_SHA256_MGF1SHA256),
    ] {
        let answer = release(authority.token(&claims), encryption).ok("release");
        let jws = answer["value"].as_str().expect("a signature");
        let payload: Value = jws
            .split('.')
            .nth(1)
            .and_then(|part| serde_json::from_slice(&decoded(&json!(part))).ok())
            .expect("a payload");
        same(&payload["request"]["nonce"], "once", "the nonce comes back");
        let blob = decoded(&payload["response"]["key"]["key"]["key_hsm"]);
        let blob: Value = serde_json::from_slice(&blob).expect("a transfer blob");
        same(&blob["header"]["kid"], "enc", "the target's key");
        let ciphertext = decoded(&blob["ciphertext"]);
        let (sealed, document) = ciphertext.split_at(256);
        let key = OaepPrivateDecryptingKey::new(target.decrypting.clone()).expect("a key");
        let mut aes = vec![0; 256];
        let aes = key
            .decrypt(padding, sealed, &mut aes, None)
            .expect("it opens");
        let secret = unwrap_padded(aes, document).expect("it opens");
        let kek: Vec<u8> = secret.to_vec();
        let opened = keyvault_mock::material::keywrap::unwrap(&kek, &decoded(&wrapped["value"]));
        same(
            opened.expect("the same key").to_vec(),
            vec![1; 16],
            "what the vault wrapped",
        );
    }
    refusals(&release, &authority, &stranger, &claims);
    states(&client, &path, &release, &authority.token(&claims));
    client
        .get(&format!("{path}/attestation?api-version=2025-07-01"))
        .refused("attestation", 501, "NotImplemented", None);
    let soft = path_of(
        &client
            .post("/keys/soft/create", json!({ "kty": "oct" }))
            .ok("create"),
    );
    client
        .post(
            &format!("{soft}/release"),
            json!({ "target": authority.token(&claims) }),
        )
        .refused("not exportable", 403, "Forbidden", None);
}

fn refusals(
    release: &dyn Fn(String, Option<&str>) -> crate::client::Answer,
    authority: &Pair,
    stranger: &Pair,
    claims: &Value,
) {
    let with = |path: &str, value: Value| {
        let mut claims = claims.clone();
        *claims.pointer_mut(path).expect("a claim") = value;
        authority.token(&claims)
    };
    for (what, token) in [
        ("no token", String::new()),
        ("another signer", stranger.token(claims)),
        (
            "another issuer",
            with("/iss", json!("https://elsewhere.example")),
        ),
        ("expired", with("/exp", json!(NOW))),
        ("not yet valid", with("/nbf", json!(NOW + 1))),
        (
            "another environment",
            with("/x-ms-isolation-tee/x-ms-attestation-type", json!("none")),
        ),
        ("no claims", with("/x-ms-isolation-tee", json!({}))),
    ] {
        release(token, None).refused(what, 403, "Forbidden", None);
    }
    for (what, token, encryption) in [
        (
            "no key of the target",
            with("/x-ms-runtime/keys", json!([])),
            None,
        ),
        (
            "a key that is none",
            with("/x-ms-runtime/keys/1/n", json!("AQAB")),
            None,
        ),
        ("no such wrapping", authority.token(claims), Some("ROT13")),
    ] {
        release(token, encryption).refused(what, 400, "BadParameter", None);
    }
}

/// Goal: dates do not hold up a release; being disabled does.
fn states(
    client: &Client,
    path: &str,
    release: &dyn Fn(String, Option<&str>) -> crate::client::Answer,
    token: &str,
) {
    for (attributes, inner) in [
        (json!({ "exp": NOW }), None),
        (json!({ "exp": null, "nbf": NOW + 1 }), None),
        (json!({ "enabled": false }), Some("KeyDisabled")),
        (json!({ "enabled": true, "nbf": null }), None),
    ] {
        let what = attributes.to_string();
        client
            .call("PATCH", path, Some(json!({ "attributes": attributes })))
            .ok(&what);
        let answer = release(token.to_owned(), None);
        match inner {
            None => {
                answer.ok(&what);
            }
            Some(inner) => {
                answer.refused(&what, 403, "Forbidden", Some(inner));
            }
        }
    }
}
