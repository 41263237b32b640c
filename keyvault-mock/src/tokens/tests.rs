//! Goal of all of these: a token is had by those who may have it, and good for what it was issued for.

use super::*;

const NOW: i64 = 1_700_000_000;
const RESOURCE: &str = "https://vault.localhost:8443";

fn tokens() -> Tokens {
    let options = TokenOptions {
        audiences: vec![RESOURCE.into()],
        identity_header: Some("header-secret".into()),
        ..TokenOptions::default()
    };
    Tokens::new(options, Vec::new(), None).unwrap()
}

fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Request {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    Request::new(
        method,
        target,
        headers,
        body.as_bytes().to_vec(),
        ([127, 0, 0, 1], 1).into(),
    )
}

fn json(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

impl Tokens {
    fn post(&self, form: &str, now: i64) -> Reply {
        let target = format!("/{}/oauth2/v2.0/token", self.tenant);
        self.route(
            &request("POST", &target, &[], form),
            "https://localhost:8443",
            now,
        )
        .expect("the path is ours")
    }

    fn with_secret(&self, secret: &str, now: i64) -> Reply {
        self.post(
            &format!(
                "grant_type=client_credentials&client_id={}&client_secret={secret}&scope={RESOURCE}/.default",
                self.client_id
            ),
            now,
        )
    }

    fn token(&self, now: i64) -> String {
        let reply = self.with_secret("keyvault-mock-secret", now);
        assert_eq!(reply.status, 200, "{}", json(&reply));
        json(&reply)["access_token"].as_str().unwrap().to_owned()
    }
}

fn code(reply: &Reply) -> u64 {
    json(reply)["error_codes"][0].as_u64().unwrap_or_default()
}

#[test]
fn a_token_names_its_bearer_until_it_ends() {
    let tokens = tokens();
    let token = tokens.token(NOW);
    let caller = tokens.validate(&token, NOW).unwrap();
    assert_eq!(caller.appid, tokens.client_id());
    assert_eq!(caller.oid, TokenOptions::default().object_id);
    assert_eq!(caller.tenant, tokens.tenant());
    assert!(tokens.validate(&token, NOW + 3599).is_ok());
    assert_eq!(
        tokens.validate(&token, NOW + 3600),
        Err(TokenError::Expired)
    );
    assert_eq!(
        tokens.validate(&token, NOW - 1),
        Err(TokenError::NotYetValid)
    );
    tokens.set_lifetime(10);
    assert_eq!(
        tokens.validate(&tokens.token(NOW), NOW + 10),
        Err(TokenError::Expired)
    );
}

#[test]
fn tokens_of_strangers_and_for_others_are_refused() {
    let tokens = tokens();
    let other = self::tokens();
    assert_eq!(
        tokens.validate(&other.token(NOW), NOW),
        Err(TokenError::Signature)
    );
    assert_eq!(tokens.validate("x.y", NOW), Err(TokenError::Malformed));
    let form = format!(
        "grant_type=client_credentials&client_id={}&client_secret=keyvault-mock-secret&scope=https://management.azure.com//.default",
        tokens.client_id
    );
    let reply = tokens.post(&form, NOW);
    let token = json(&reply)["access_token"].as_str().unwrap().to_owned();
    let refusal = tokens.validate(&token, NOW).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "AKV10022: Invalid audience. Expected https://vault.localhost:8443, found: https://management.azure.com/."
    );
    // An assertion is signed with the same key and must not pass for a token.
    let assertion = tokens.workload_assertion("s", 60, NOW);
    assert!(matches!(
        tokens.validate(&assertion, NOW),
        Err(TokenError::Audience { .. })
    ));
}

#[test]
fn revoking_ends_present_tokens_and_disabling_future_ones() {
    let tokens = tokens();
    let oid = TokenOptions::default().object_id;
    let before = tokens.token(NOW);
    assert!(tokens.revoke(&oid));
    let refusal = tokens.validate(&before, NOW).unwrap_err();
    assert_eq!(refusal, TokenError::Revoked { at: NOW });
    assert!(
        refusal
            .challenge_suffix()
            .unwrap()
            .contains("insufficient_claims")
    );
    let after = tokens.token(NOW);
    assert!(tokens.validate(&after, NOW).is_ok());
    assert!(tokens.set_enabled(&oid, false));
    assert_eq!(
        code(&tokens.with_secret("keyvault-mock-secret", NOW)),
        7000112
    );
    assert!(tokens.validate(&after, NOW).is_ok());
    assert!(tokens.remove_principal(&oid));
    assert_eq!(
        tokens.validate(&after, NOW),
        Err(TokenError::PrincipalUnknown)
    );
    assert!(!tokens.revoke(&oid));
}

#[test]
fn the_endpoint_refuses_in_entras_numbers() {
    let tokens = tokens();
    let client = &tokens.client_id;
    let asked = format!("grant_type=client_credentials&client_id={client}");
    for (form, number, status) in [
        ("".to_owned(), 900144, 400),
        ("grant_type=password".into(), 70003, 400),
        ("grant_type=client_credentials".into(), 900144, 400),
        (
            "grant_type=client_credentials&client_id=x".into(),
            700016,
            400,
        ),
        (asked.clone(), 7000216, 401),
        (format!("{asked}&client_secret=wrong"), 7000215, 401),
        (
            format!("{asked}&client_secret=keyvault-mock-secret"),
            900144,
            400,
        ),
        (
            format!("{asked}&client_secret=keyvault-mock-secret&scope=openid"),
            70011,
            400,
        ),
        (
            format!("{asked}&client_secret=keyvault-mock-secret&scope=https://x/.default"),
            500011,
            400,
        ),
    ] {
        let reply = tokens.post(&form, NOW);
        assert_eq!((code(&reply), reply.status), (number, status), "{form}");
        let text = json(&reply)["error_description"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(text.starts_with(&format!("AADSTS{number}: ")), "{text}");
    }
    let elsewhere = request(
        "POST",
        "/another/oauth2/v2.0/token",
        &[],
        "grant_type=client_credentials",
    );
    let reply = tokens.route(&elsewhere, "https://localhost", NOW).unwrap();
    assert_eq!(code(&reply), 90002);
}

#[test]
fn secrets_end_when_they_say() {
    let tokens = tokens();
    let mut principal = tokens.principals().remove(0);
    principal.secrets = vec![ClientSecret {
        value: "s+1%".into(),
        expires: Some(NOW + 10),
    }];
    tokens.put_principal(principal).unwrap();
    assert_eq!(tokens.with_secret("s%2B1%25", NOW + 9).status, 200);
    assert_eq!(code(&tokens.with_secret("s%2B1%25", NOW + 10)), 7000222);
    assert_eq!(code(&tokens.with_secret("s+1%25", NOW)), 7000215);
}

#[test]
fn a_workload_exchanges_its_own_token() {
    let tokens = tokens();
    let mut principal = tokens.principals().remove(0);
    let trust = |issuer: &str, subject: &str, audience: &str| FederatedCredential {
        issuer: issuer.into(),
        subject: subject.into(),
        audience: audience.into(),
    };
    principal.federated = vec![
        trust(WORKLOAD_ISSUER, "sa:db", TOKEN_EXCHANGE_AUDIENCE),
        trust("https://cluster", "sa:db", "other"),
    ];
    tokens.put_principal(principal).unwrap();
    let cluster = jwt::SigningKey::open(None).unwrap();
    tokens.trust_issuer("https://cluster", vec![cluster.public().clone()]);
    let exchange = |assertion: &str, now: i64| {
        tokens.post(
            &format!(
                "grant_type=client_credentials&client_id={}&scope={RESOURCE}/.default&client_assertion={assertion}\
                 &client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer",
                tokens.client_id
            ),
            now,
        )
    };
    let good = tokens.workload_assertion("sa:db", 60, NOW);
    let reply = exchange(&good, NOW);
    assert_eq!(reply.status, 200, "{}", json(&reply));
    let token = json(&reply)["access_token"].as_str().unwrap().to_owned();
    assert!(tokens.validate(&token, NOW).is_ok());
    let claims = |iss: &str, sub: &str, aud: &str| serde_json::json!({ "iss": iss, "sub": sub, "aud": [aud], "iat": NOW, "exp": NOW + 60 });
    let from_cluster = cluster.sign(&claims("https://cluster", "sa:db", "other"));
    assert_eq!(exchange(&from_cluster, NOW).status, 200);
    for (assertion, now, number) in [
        (good.clone(), NOW + 60, 700024),
        (good, NOW - 1, 700024),
        (tokens.workload_assertion("sa:web", 60, NOW), NOW, 700213),
        (
            cluster.sign(&claims("https://nowhere", "sa:db", "other")),
            NOW,
            700211,
        ),
        (
            cluster.sign(&claims("https://cluster", "sa:db", "x")),
            NOW,
            700212,
        ),
        (
            cluster.sign(&claims(WORKLOAD_ISSUER, "sa:db", TOKEN_EXCHANGE_AUDIENCE)),
            NOW,
            700027,
        ),
        ("rubbish".into(), NOW, 50027),
    ] {
        let reply = exchange(&assertion, now);
        assert_eq!(
            (code(&reply), reply.status),
            (number, 401),
            "{}",
            json(&reply)
        );
    }
}

#[test]
fn managed_identities_answer_those_who_ask_the_right_way() {
    let tokens = tokens();
    let ask = |target: &str, headers: &[(&str, &str)]| {
        tokens
            .route(
                &request("GET", target, headers, ""),
                "https://localhost",
                NOW,
            )
            .expect("the path is ours")
    };
    let app = format!("{APP_SERVICE_PATH}?api-version=2019-08-01&resource={RESOURCE}");
    let machine =
        format!("/metadata/identity/oauth2/token?api-version=2018-02-01&resource={RESOURCE}");
    let secret = [("x-identity-header", "header-secret")];
    let metadata = [("metadata", "true")];
    assert_eq!(
        json(&ask(&app, &secret))["error_description"],
        "Identity not found"
    );
    tokens
        .put_principal(Principal {
            name: "database".into(),
            oid: "identity-oid".into(),
            appid: "identity-app".into(),
            managed_identity: true,
            secrets: Vec::new(),
            federated: Vec::new(),
            roles: vec!["Database".into()],
            enabled: true,
            revocation_count: 0,
        })
        .unwrap();
    for (target, headers) in [(&app, &secret), (&machine, &metadata)] {
        let reply = ask(target, headers);
        assert_eq!(reply.status, 200, "{}", json(&reply));
        let caller = tokens
            .validate(json(&reply)["access_token"].as_str().unwrap(), NOW)
            .unwrap();
        assert_eq!(caller.oid, "identity-oid");
        assert_eq!(caller.roles, ["Database"]);
        assert_eq!(json(&reply)["expires_on"], (NOW + 3600).to_string());
    }
    assert_eq!(ask(&app, &[]).status, 401);
    assert_eq!(ask(&app, &[("x-identity-header", "guess")]).status, 401);
    assert_eq!(ask(&machine, &[]).status, 400);
    assert_eq!(
        ask(&machine, &[metadata[0], ("x-forwarded-for", "10.0.0.1")]).status,
        400
    );
    assert_eq!(
        ask(&format!("{app}&client_id=identity-app"), &secret).status,
        200
    );
    assert_eq!(
        ask(&format!("{app}&client_id=another"), &secret).status,
        400
    );
    tokens.set_enabled("identity-oid", false);
    assert_eq!(ask(&app, &secret).status, 400);
}

#[test]
fn discovery_leads_to_the_key_that_signs() {
    let tokens = tokens();
    let get = |target: &str| {
        json(
            &tokens
                .route(
                    &request("GET", target, &[], ""),
                    "https://localhost:8443/",
                    NOW,
                )
                .unwrap(),
        )
    };
    for version in ["", "/v2.0"] {
        let document = get(&format!(
            "/{}{version}/.well-known/openid-configuration",
            tokens.tenant
        ));
        let keys = document["jwks_uri"].as_str().unwrap();
        let path = keys.strip_prefix("https://localhost:8443").unwrap();
        assert_eq!(get(path)["keys"][0]["kid"], tokens.key.public().kid);
        assert!(
            document["token_endpoint"]
                .as_str()
                .unwrap()
                .ends_with("/token")
        );
    }
    let other = request("GET", "/keys/k", &[], "");
    assert!(tokens.route(&other, "https://localhost", NOW).is_none());
}

#[test]
fn the_challenge_names_the_provider_and_the_resource() {
    let tokens = tokens();
    assert_eq!(
        tokens.challenge("https://localhost:8443/", RESOURCE),
        "Bearer authorization=\"https://localhost:8443/11111111-1111-4111-8111-111111111111\", \
         resource=\"https://vault.localhost:8443\""
    );
}

#[test]
fn an_application_id_belongs_to_one_principal() {
    let tokens = tokens();
    let mut twin = tokens.principals().remove(0);
    twin.oid = "another".into();
    assert!(tokens.put_principal(twin).is_err());
    assert_eq!(tokens.principals().len(), 1);
}
