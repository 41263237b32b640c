//! What a vault asks for before it answers, and whether it may.

use super::failure::Failure;
use cofferdam_keys::Reason;

/// Which token a vault wants. It exists only once [`Challenge::verify`] has looked at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    /// What the token is to be for: `https://vault.azure.net`.
    pub(super) resource: String,
    /// The host that gives such tokens.
    pub(super) authority: String,
    /// The directory of the vault.
    pub(super) tenant: String,
}

impl Challenge {
    /// Reads a `WWW-Authenticate` header from the vault at `host`, and checks that the token it wants is one for this very
    /// vault's service: the vault's host must end with a dot and the resource's host, ports included. Otherwise any server
    /// could ask for a token that is good somewhere else.
    ///
    /// # Errors
    ///
    /// [`Reason::AuthBroken`] for a challenge that is none, or not this vault's.
    pub(super) fn verify(header: &str, host: &str) -> Result<Self, Failure> {
        let wrong = |what: String| Failure::new(Reason::AuthBroken, what);
        let Some((_, parameters)) = header
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        else {
            return Err(wrong("the vault asks for no bearer token".to_owned()));
        };
        let parameter = |name: &str| parameter(parameters, name);
        let resource = parameter("resource")
            .or_else(|| parameter("scope"))
            .map(|text| text.trim_end_matches("/.default").trim_end_matches('/'));
        let authorization = parameter("authorization").or_else(|| parameter("authorization_uri"));
        let (Some(resource), Some(authorization)) = (resource, authorization) else {
            return Err(wrong(
                "the vault does not say which token it wants".to_owned(),
            ));
        };
        let resource_host = resource
            .strip_prefix("https://")
            .map(without_default_port)
            .filter(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@']));
        let is_below = resource_host.is_some_and(|resource_host| {
            let suffix = format!(".{}", resource_host.to_ascii_lowercase());
            without_default_port(host).ends_with(&suffix)
        });
        if !is_below {
            return Err(wrong(format!(
                "the vault at {host} asks for a token for {resource:?}, which is not its own service"
            )));
        }
        let (authority, tenant) = authorization
            .strip_prefix("https://")
            .and_then(|rest| rest.split_once('/'))
            .ok_or_else(|| wrong("the vault does not say where to log in".to_owned()))?;
        let tenant = tenant.split('/').next().unwrap_or_default();
        Ok(Self {
            resource: resource.to_owned(),
            authority: without_default_port(authority).to_ascii_lowercase(),
            tenant: tenant.to_owned(),
        })
    }
}

/// `name="value"` or `name=value`, between commas or spaces.
fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    parameters.split([',', ' ']).find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.eq_ignore_ascii_case(name)
            .then(|| value.trim_matches('"'))
    })
}

/// `HOST` for `HOST:443`.
pub(super) fn without_default_port(authority: &str) -> &str {
    authority.strip_suffix(":443").unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verify(header: &str, host: &str) -> Option<(String, String, String)> {
        Challenge::verify(header, host)
            .ok()
            .map(|it| (it.resource, it.authority, it.tenant))
    }

    #[test]
    fn the_services_own_challenges_are_accepted() {
        for (header, host, expected) in [
            (
                "Bearer authorization=\"https://login.microsoftonline.com/0000-11\", resource=\"https://vault.azure.net\"",
                "shop.vault.azure.net",
                (
                    "https://vault.azure.net",
                    "login.microsoftonline.com",
                    "0000-11",
                ),
            ),
            (
                "Bearer authorization=\"https://login.microsoftonline.com/t\", scope=\"https://managedhsm.azure.net/.default\"",
                "shop.managedhsm.azure.net:443",
                (
                    "https://managedhsm.azure.net",
                    "login.microsoftonline.com",
                    "t",
                ),
            ),
            (
                "bearer resource=https://vault.localhost:8443/ authorization_uri=https://login.localhost:8443/t/oauth2",
                "shop.vault.localhost:8443",
                ("https://vault.localhost:8443", "login.localhost:8443", "t"),
            ),
        ] {
            let (resource, authority, tenant) = expected;
            assert_eq!(
                verify(header, host),
                Some((resource.into(), authority.into(), tenant.into()))
            );
        }
    }

    #[test]
    fn a_token_for_another_service_is_not_asked_for() {
        let header = |resource: &str| {
            format!(
                "Bearer authorization=\"https://login.microsoftonline.com/t\", resource=\"{resource}\""
            )
        };
        for resource in [
            "https://management.azure.com",
            "https://graph.microsoft.com",
            "https://ault.azure.net",
            "https://shop.vault.azure.net",
            "http://vault.azure.net",
            "https://vault.azure.net:8443",
            "https://evil@vault.azure.net",
            "https://evil/vault.azure.net",
            "https://",
            "vault.azure.net",
            "",
        ] {
            assert_eq!(
                verify(&header(resource), "shop.vault.azure.net"),
                None,
                "{resource}"
            );
        }
        assert_eq!(
            verify(
                &header("https://vault.localhost:1"),
                "shop.vault.localhost:2"
            ),
            None
        );
        for header in [
            "",
            "Bearer",
            "Basic realm=\"x\"",
            "Bearer resource=\"https://vault.azure.net\"",
        ] {
            assert_eq!(verify(header, "shop.vault.azure.net"), None, "{header}");
        }
    }
}
