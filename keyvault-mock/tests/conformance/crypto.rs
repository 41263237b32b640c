//! Every algorithm both ways, with what was published about it, and nothing that was altered.

use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
use serde_json::{Value, json};

use crate::client::{Client, base64url, check, decoded, path_of, plain_server, same};
use crate::vectors::{CBC, ES256, KEY_WRAP, RS256, hex, rfc_7515_ec, rfc_7515_rsa};

pub(crate) fn run() {
    let server = plain_server();
    let client = Client::new(&server);
    published(&client);
    ciphers(&client);
    signatures(&client);
    strangers(&client);
    random(&client);
}

fn published(client: &Client) {
    let import = |name: &str, key: Value| {
        let bundle = client
            .call("PUT", &format!("/keys/{name}"), Some(json!({ "key": key })))
            .ok("import");
        path_of(&bundle)
    };
    let path = import("rfc-rsa", rfc_7515_rsa());
    let hash = |text: &str| base64url(digest(&SHA256, text.as_bytes()).as_ref());
    let body = json!({ "alg": "RS256", "value": hash(RS256.0) });
    let signed = client
        .post(&format!("{path}/sign"), body)
        .ok("RFC 7515 A.2");
    same(&signed["value"], RS256.1, "RFC 7515 A.2, the signature");
    let path = import("rfc-ec", rfc_7515_ec());
    let body = json!({ "alg": "ES256", "digest": hash(ES256.0), "value": ES256.1 });
    let verified = client
        .post(&format!("{path}/verify"), body)
        .ok("RFC 7515 A.3");
    same(&verified["value"], true, "RFC 7515 A.3, the signature");

    for (number, (algorithm, key, plain, wrapped)) in KEY_WRAP.into_iter().enumerate() {
        let path = import(
            &format!("kw-{number}"),
            json!({ "kty": "oct", "k": base64url(&hex(key)) }),
        );
        let body = json!({ "alg": algorithm, "value": base64url(&hex(plain)) });
        let answer = client.post(&format!("{path}/wrapkey"), body).ok(algorithm);
        same(decoded(&answer["value"]), hex(wrapped), algorithm);
        let body = json!({ "alg": algorithm, "value": base64url(&hex(wrapped)) });
        let answer = client
            .post(&format!("{path}/unwrapkey"), body)
            .ok(algorithm);
        same(decoded(&answer["value"]), hex(plain), algorithm);
    }
    for (number, (algorithm, key, iv, plain, sealed)) in CBC.into_iter().enumerate() {
        let path = import(
            &format!("cbc-{number}"),
            json!({ "kty": "oct", "k": base64url(&hex(key)) }),
        );
        let body =
            json!({ "alg": algorithm, "value": base64url(&hex(plain)), "iv": base64url(&hex(iv)) });
        let answer = client.post(&format!("{path}/encrypt"), body).ok(algorithm);
        same(decoded(&answer["value"]), hex(sealed), algorithm);
        let body = json!({ "alg": algorithm, "value": base64url(&hex(sealed)), "iv": base64url(&hex(iv)) });
        let answer = client.post(&format!("{path}/decrypt"), body).ok(algorithm);
        same(decoded(&answer["value"]), hex(plain), algorithm);
    }
}

fn create(client: &Client, name: &str, body: Value) -> String {
    let target = format!("/keys/{name}/create?api-version=2026-05-01-preview");
    path_of(&client.post(&target, body).ok("create"))
}

/// Goal: what goes in comes out, and no altered byte of it does.
fn ciphers(client: &Client) {
    for bits in [2048, 3072, 4096] {
        let path = create(
            client,
            &format!("rsa-{bits}"),
            json!({ "kty": "RSA", "key_size": bits }),
        );
        for algorithm in ["RSA1_5", "RSA-OAEP", "RSA-OAEP-256"] {
            for (seal, open) in [("encrypt", "decrypt"), ("wrapkey", "unwrapkey")] {
                there_and_back(client, &path, algorithm, (seal, open), &[9; 32], None);
            }
        }
        let long = vec![1; bits as usize / 8];
        client
            .post(
                &format!("{path}/encrypt"),
                json!({ "alg": "RSA-OAEP", "value": base64url(&long) }),
            )
            .refused("more than the modulus", 400, "BadParameter", None);
    }
    for bits in [128, 192, 256] {
        let body = json!({ "kty": "oct", "key_size": bits });
        let path = create(client, &format!("oct-{bits}"), body);
        let encrypt = ("encrypt", "decrypt");
        there_and_back(
            client,
            &path,
            &format!("A{bits}GCM"),
            encrypt,
            b"any length",
            None,
        );
        there_and_back(client, &path, &format!("A{bits}GCM"), encrypt, b"", None);
        there_and_back(
            client,
            &path,
            &format!("A{bits}CBC"),
            encrypt,
            &[3; 48],
            Some([4; 16]),
        );
        there_and_back(
            client,
            &path,
            &format!("A{bits}CBCPAD"),
            encrypt,
            b"any length",
            Some([5; 16]),
        );
        let wrap = ("wrapkey", "unwrapkey");
        there_and_back(client, &path, &format!("A{bits}KW"), wrap, &[6; 40], None);
        there_and_back(client, &path, "CKM_AES_KEY_WRAP", wrap, &[7; 16], None);
        there_and_back(client, &path, "CKM_AES_KEY_WRAP_PAD", wrap, &[8; 33], None);
        for (operation, body) in [
            (
                "encrypt",
                json!({ "alg": format!("A{bits}CBC"), "value": base64url(&[1; 15]), "iv": base64url(&[0; 16]) }),
            ),
            (
                "encrypt",
                json!({ "alg": format!("A{bits}CBC"), "value": base64url(&[1; 16]) }),
            ),
            (
                "encrypt",
                json!({ "alg": format!("A{bits}CBCPAD"), "value": base64url(&[1; 16]), "iv": base64url(&[0; 12]) }),
            ),
            (
                "encrypt",
                json!({ "alg": format!("A{bits}GCM"), "value": "AA", "iv": base64url(&[0; 12]) }),
            ),
            (
                "decrypt",
                json!({ "alg": format!("A{bits}GCM"), "value": "AA", "iv": base64url(&[0; 12]) }),
            ),
            (
                "decrypt",
                json!({ "alg": format!("A{bits}GCM"), "value": "AA", "tag": base64url(&[0; 16]) }),
            ),
            (
                "wrapkey",
                json!({ "alg": format!("A{bits}KW"), "value": base64url(&[1; 17]) }),
            ),
        ] {
            let what = body.to_string();
            client.post(&format!("{path}/{operation}"), body).refused(
                &what,
                400,
                "BadParameter",
                None,
            );
        }
    }
}

fn there_and_back(
    client: &Client,
    path: &str,
    algorithm: &str,
    (seal, open): (&str, &str),
    plain: &[u8],
    iv: Option<[u8; 16]>,
) {
    let what = format!("{algorithm} {seal} of {} bytes", plain.len());
    let mut body = json!({ "alg": algorithm, "value": base64url(plain) });
    if let Some(iv) = iv {
        body["iv"] = json!(base64url(&iv));
    }
    if algorithm.ends_with("GCM") {
        body["aad"] = json!(base64url(b"context"));
    }
    let sealed = client
        .post(&format!("{path}/{seal}"), body.clone())
        .ok(&what);
    check(
        sealed["kid"]
            .as_str()
            .is_some_and(|kid| kid.ends_with(path)),
        &what,
    );
    let mut back = json!({ "alg": algorithm });
    for member in ["value", "iv", "aad", "tag"] {
        if !sealed[member].is_null() {
            back[member] = sealed[member].clone();
        }
    }
    let opened = client
        .post(&format!("{path}/{open}"), back.clone())
        .ok(&what);
    same(decoded(&opened["value"]), plain, &what);
    // Without a tag, AES-CBC does not notice; with the wrong padding it may.
    if algorithm.contains("CBC") || algorithm == "RSA1_5" {
        return;
    }
    for member in ["value", "iv", "aad", "tag"] {
        let Some(text) = back[member].as_str().filter(|text| !text.is_empty()) else {
            continue;
        };
        let mut bytes = decoded(&json!(text));
        bytes[0] ^= 1;
        let mut altered = back.clone();
        altered[member] = json!(base64url(&bytes));
        client.post(&format!("{path}/{open}"), altered).refused(
            &format!("{what}, {member} altered"),
            400,
            "BadParameter",
            None,
        );
    }
}

fn signatures(client: &Client) {
    let message = b"what is signed";
    let hashed = |bits: &str| {
        let algorithm = match bits {
            "256" => &SHA256,
            "384" => &SHA384,
            _ => &SHA512,
        };
        digest(algorithm, message).as_ref().to_vec()
    };
    let rsa = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
    for (body, algorithms) in [
        (json!({ "kty": "RSA", "key_size": 2048 }), rsa.as_slice()),
        (json!({ "kty": "EC", "crv": "P-256" }), &["ES256"]),
        (json!({ "kty": "EC", "crv": "P-384" }), &["ES384"]),
        (json!({ "kty": "EC", "crv": "P-521" }), &["ES512"]),
        (json!({ "kty": "EC", "crv": "P-256K" }), &["ES256K"]),
        (
            json!({ "kty": "oct", "key_ops": ["sign", "verify"] }),
            &["HS256", "HS384", "HS512"],
        ),
        (json!({ "kty": "AKP", "alg": "ML-DSA-44" }), &["ML-DSA-44"]),
        (json!({ "kty": "AKP", "alg": "ML-DSA-65" }), &["ML-DSA-65"]),
        (json!({ "kty": "AKP", "alg": "ML-DSA-87" }), &["ML-DSA-87"]),
    ] {
        let path = create(client, "signer", body);
        for algorithm in algorithms {
            let bits = algorithm.get(2..5).unwrap_or_default();
            let value = hashed(bits);
            let signed = client
                .post(
                    &format!("{path}/sign"),
                    json!({ "alg": algorithm, "value": base64url(&value) }),
                )
                .ok(algorithm);
            let verify = |digest: &[u8], signature: &[u8]| {
                let body = json!({ "alg": algorithm, "digest": base64url(digest), "value": base64url(signature) });
                client.post(&format!("{path}/verify"), body)
            };
            let signature = decoded(&signed["value"]);
            same(
                &verify(&value, &signature).ok(algorithm)["value"],
                true,
                algorithm,
            );
            let mut altered = signature.clone();
            altered[7] ^= 1;
            same(
                &verify(&value, &altered).ok(algorithm)["value"],
                false,
                algorithm,
            );
            let mut other = value.clone();
            other[0] ^= 1;
            same(
                &verify(&other, &signature).ok(algorithm)["value"],
                false,
                algorithm,
            );
            same(
                &verify(&value, b"short").ok(algorithm)["value"],
                false,
                algorithm,
            );
            if !algorithm.starts_with("HS") && !algorithm.starts_with("ML") {
                verify(&value[1..], &signature).refused(
                    "a digest too short",
                    400,
                    "BadParameter",
                    None,
                );
                client
                    .post(
                        &format!("{path}/sign"),
                        json!({ "alg": algorithm, "value": base64url(b"no digest") }),
                    )
                    .refused("no digest", 400, "BadParameter", None);
            }
        }
    }
}

/// Goal: an algorithm of another kind of key, or of none, is the caller's mistake.
fn strangers(client: &Client) {
    let value = base64url(&[1; 32]);
    for (body, algorithms) in [
        (
            json!({ "kty": "RSA" }),
            ["A256KW", "A256GCM", "none", "", "RSA-OAEP-512"].as_slice(),
        ),
        (
            json!({ "kty": "oct", "key_size": 256 }),
            &["RSA-OAEP", "A128KW", "A192GCM", "A256", "AGCM"],
        ),
        (
            json!({ "kty": "EC", "key_ops": ["encrypt", "decrypt", "wrapKey", "unwrapKey"] }),
            &["RSA-OAEP", "A256KW", "ES256"],
        ),
    ] {
        let path = create(client, "stranger", body);
        for algorithm in algorithms {
            for operation in ["encrypt", "decrypt", "wrapkey", "unwrapkey"] {
                client
                    .post(
                        &format!("{path}/{operation}"),
                        json!({ "alg": algorithm, "value": value }),
                    )
                    .refused(
                        &format!("{operation} with {algorithm}"),
                        400,
                        "BadParameter",
                        None,
                    );
            }
        }
    }
    for (body, algorithms) in [
        (
            json!({ "kty": "RSA" }),
            ["ES256", "HS256", "RS1", "PS999"].as_slice(),
        ),
        (
            json!({ "kty": "EC", "crv": "P-384" }),
            &["ES256", "RS256", "ES"],
        ),
        (json!({ "kty": "EC", "crv": "P-256" }), &["ES256K"]),
        (
            json!({ "kty": "oct", "key_ops": ["sign"] }),
            &["RS256", "HS1"],
        ),
    ] {
        let path = create(client, "stranger", body);
        for algorithm in algorithms {
            client
                .post(
                    &format!("{path}/sign"),
                    json!({ "alg": algorithm, "value": value }),
                )
                .refused(&format!("sign with {algorithm}"), 400, "BadParameter", None);
        }
    }
}

fn random(client: &Client) {
    for count in [1, 32, 128] {
        let answer = client
            .post("/rng", json!({ "count": count }))
            .ok("random bytes");
        same(
            decoded(&answer["value"]).len(),
            count,
            "as many as asked for",
        );
    }
    let draw = || {
        client
            .post("/rng", json!({ "count": 16 }))
            .ok("random bytes")["value"]
            .clone()
    };
    check(draw() != draw(), "they differ");
    for body in [
        json!({ "count": 0 }),
        json!({ "count": 129 }),
        json!({ "count": -1 }),
        json!({}),
    ] {
        let what = body.to_string();
        client
            .post("/rng", body)
            .refused(&what, 400, "BadParameter", None);
    }
}
