//! Import: JSON web keys and transfer blobs.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{
    KeyPair, KeySize, OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicKeyComponents,
};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyvault_mock::material::keywrap::wrap_padded;
use serde_json::{Value, json};

use crate::client::{Client, NOW, base64url, check, decoded, path_of, plain_server, same};
use crate::vectors::{rfc_7515_ec, rfc_7515_rsa};

pub(crate) fn run() {
    web_keys();
    refused_web_keys();
    transfer_blobs();
}

fn web_keys() {
    let server = plain_server();
    let client = Client::new(&server);
    let body = json!({
        "key": rfc_7515_rsa(),
        "Hsm": true,
        "attributes": { "exp": NOW + 9 },
        "tags": { "from": "outside" },
    });
    let bundle = client.call("PUT", "/keys/n", Some(body)).ok("import RSA");
    same(&bundle["key"]["kty"], "RSA-HSM", "Hsm is heard");
    same(&bundle["key"]["n"], &rfc_7515_rsa()["n"], "the modulus");
    same(&bundle["attributes"]["exp"], NOW + 9, "attributes");
    same(&bundle["tags"]["from"], "outside", "tags");
    check(bundle["key"]["d"].is_null(), "no private part");
    let bundle = client
        .call("PUT", "/keys/n", Some(json!({ "key": rfc_7515_ec() })))
        .ok("import EC as a new version");
    same(&bundle["key"]["x"], &rfc_7515_ec()["x"], "the point");
    same(
        &bundle["key"]["key_ops"],
        &json!(["sign", "verify"]),
        "operations",
    );
    let mut key = json!({ "kty": "oct", "k": base64url(&[1; 24]), "key_ops": ["wrapKey"] });
    let bundle = client
        .call("PUT", "/keys/n", Some(json!({ "key": key })))
        .ok("import oct");
    same(
        &bundle["key"]["key_ops"],
        &json!(["wrapKey"]),
        "operations as asked",
    );
    key["k"] = json!(STANDARD.encode([0xfb; 16]));
    client
        .call("PUT", "/keys/n", Some(json!({ "key": key })))
        .ok("the other base64");
    let versions = client.get("/keys/n/versions").ok("versions");
    same(
        versions["value"].as_array().map(Vec::len),
        Some(4),
        "four versions",
    );
}

fn refused_web_keys() {
    let server = plain_server();
    let client = Client::new(&server);
    let without = |mut key: Value, member: &str| {
        key.as_object_mut().expect("an object").remove(member);
        key
    };
    let with = |mut key: Value, member: &str, value: &str| {
        key[member] = json!(value);
        key
    };
    let flipped = |key: &Value, member: &str| {
        let mut bytes = decoded(&key[member]);
        bytes[5] ^= 1;
        base64url(&bytes)
    };
    let (rsa, ec) = (rfc_7515_rsa(), rfc_7515_ec());
    let mut bad = vec![
        json!({}),
        json!({ "kty": "oct" }),
        json!({ "kty": "oct", "k": "AAAA" }),
        json!({ "kty": "oct", "k": "****" }),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "AA" }),
        with(ec.clone(), "crv", "P-384"),
        with(ec.clone(), "crv", "P-257"),
        with(ec.clone(), "d", "AA"),
        with(rsa.clone(), "kty", "EC"),
    ];
    for member in ["n", "e", "d", "p", "q", "dp", "dq", "qi"] {
        bad.push(without(rsa.clone(), member));
        if member != "e" {
            bad.push(with(rsa.clone(), member, &flipped(&rsa, member)));
        }
    }
    for member in ["x", "y", "d"] {
        bad.push(without(ec.clone(), member));
        bad.push(with(ec.clone(), member, &flipped(&ec, member)));
    }
    for key in bad {
        let what = key.to_string();
        client
            .call("PUT", "/keys/n", Some(json!({ "key": key })))
            .refused(&what, 400, "BadParameter", None);
    }
    client
        .get("/keys/n")
        .refused("nothing came in", 404, "KeyNotFound", None);
}

/// A transfer blob as the tool of a hardware maker makes it: knowing the public half of the exchange key alone.
fn blob(kek: &Value, document: &[u8]) -> Value {
    let public = PublicKeyComponents {
        n: decoded(&kek["key"]["n"]),
        e: decoded(&kek["key"]["e"]),
    };
    let public = OaepPublicEncryptingKey::new(public.try_into().expect("a key")).expect("a key");
    let aes = [0x42; 32];
    let mut ciphertext = vec![0; public.ciphertext_size()];
    public
        .encrypt(&OAEP_SHA1_MGF1SHA1, &aes, &mut ciphertext, None)
        .expect("it fits");
    ciphertext.extend(wrap_padded(&aes, document).expect("a document"));
    json!({
        "schema_version": "1.0.0",
        "header": { "kid": kek["key"]["kid"], "alg": "dir", "enc": "CKM_RSA_AES_KEY_WRAP" },
        "ciphertext": base64url(&ciphertext),
        "generator": "conformance",
    })
}

fn transfer_blobs() {
    let server = plain_server();
    let client = Client::new(&server);
    let exchange = json!({ "kty": "RSA-HSM", "key_size": 4096, "key_ops": ["import"] });
    let kek = client
        .post("/keys/kek/create", exchange)
        .ok("an exchange key");
    let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let rsa = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair)
        .expect("a document")
        .as_ref()
        .to_vec();
    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key");
    let ec = pair.to_pkcs8v1().expect("a document").as_ref().to_vec();
    let put = |kty: &str, blob: &Value, encode: &dyn Fn(&[u8]) -> String| {
        let key = json!({ "kty": kty, "key_hsm": encode(blob.to_string().as_bytes()) });
        client.call("PUT", "/keys/n", Some(json!({ "key": key })))
    };
    let url = |bytes: &[u8]| base64url(bytes);
    let plain = |bytes: &[u8]| STANDARD.encode(bytes);
    for (kty, document) in [("RSA-HSM", &rsa), ("EC-HSM", &ec)] {
        let imported = put(kty, &blob(&kek, document), &url).ok(kty);
        same(&imported["key"]["kty"], kty, "its type");
        let again = put(kty, &blob(&kek, document), &plain).ok("in the other base64");
        for member in ["n", "x"] {
            same(
                &again["key"][member],
                &imported["key"][member],
                "the same key",
            );
        }
        let what = path_of(&again);
        let digest = base64url(&[1; 48]);
        let algorithm = if kty == "EC-HSM" { "ES384" } else { "RS384" };
        client
            .post(
                &format!("{what}/sign"),
                json!({ "alg": algorithm, "value": digest }),
            )
            .ok("it signs");
    }
    let good = blob(&kek, &rsa);
    let mut bad: Vec<(&str, Value)> = Vec::new();
    for (what, path, value) in [
        ("another version", "/schema_version", json!("2.0.0")),
        ("another alg", "/header/alg", json!("RSA-OAEP")),
        ("another enc", "/header/enc", json!("RSA_AES_KEY_WRAP_256")),
        (
            "another vault",
            "/header/kid",
            json!("https://elsewhere/keys/kek"),
        ),
        ("no ciphertext", "/ciphertext", json!("")),
    ] {
        let mut blob = good.clone();
        *blob.pointer_mut(path).expect("a member") = value;
        bad.push((what, blob));
    }
    let ciphertext = decoded(&good["ciphertext"]);
    for (what, at) in [
        ("the sealed key altered", 5),
        ("the document altered", ciphertext.len() - 5),
    ] {
        let mut altered = ciphertext.clone();
        altered[at] ^= 1;
        let mut blob = good.clone();
        blob["ciphertext"] = json!(base64url(&altered));
        bad.push((what, blob));
    }
    bad.push(("no document", blob(&kek, b"no PKCS#8 at all")));
    for (what, blob) in bad {
        put("RSA-HSM", &blob, &url).refused(what, 400, "BadParameter", None);
    }
    put("EC-HSM", &good, &url).refused("another type than it says", 400, "BadParameter", None);
    for (name, body) in [
        ("soft", json!({ "kty": "RSA", "key_ops": ["import"] })),
        (
            "more",
            json!({ "kty": "RSA-HSM", "key_ops": ["unwrapKey", "wrapKey"] }),
        ),
    ] {
        let kek = client
            .post(&format!("/keys/{name}/create"), body)
            .ok("no exchange key");
        put("RSA-HSM", &blob(&kek, &rsa), &url).refused(name, 400, "BadParameter", None);
    }
    client
        .call("DELETE", "/keys/kek", None)
        .ok("delete the exchange key");
    put("RSA-HSM", &good, &url).refused("its exchange key is deleted", 404, "KeyNotFound", None);
}
