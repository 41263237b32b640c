//! Posts events to a webhook, in batches as Event Grid does.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Emulator;

/// Where events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    authority: String,
    path: String,
}

/// How often new events are looked for, and how long a delivery may take.
const PERIOD: Duration = Duration::from_millis(200);
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

impl Target {
    /// Takes `http://HOST:PORT/PATH` apart.
    ///
    /// # Errors
    /// Another form, in words.
    pub(super) fn parse(url: &str) -> Result<Target, String> {
        let refused = || format!("the webhook {url} is not of the form http://HOST:PORT/PATH");
        let rest = url.strip_prefix("http://").ok_or_else(refused)?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let port = authority
            .rsplit_once(':')
            .map(|(_, port)| port.parse::<u16>());
        match port {
            Some(Ok(_)) => Ok(Target {
                authority: authority.to_owned(),
                path: path.to_owned(),
            }),
            _ => Err(refused()),
        }
    }
}

/// Delivers events as they come about, each batch until it is taken: a receiver that is down gets them later.
pub(super) async fn deliver(emulator: Arc<Emulator>) {
    let target = emulator.config.webhook.as_deref().map(Target::parse);
    let Some(Ok(target)) = target else {
        return;
    };
    let mut next = 0;
    loop {
        tokio::time::sleep(PERIOD).await;
        let events = emulator.events.since(next);
        let Some((last, _)) = events.last() else {
            continue;
        };
        let last = *last;
        let body: Vec<_> = events
            .iter()
            .map(|(number, event)| {
                let topic = emulator.access.names().vault(&event.vault);
                event.to_json(*number, &topic, &emulator.vault_url(&event.vault))
            })
            .collect();
        let body = serde_json::to_vec(&body).expect("events have string keys");
        if let Ok(Some(())) = tokio::time::timeout(DELIVERY_TIMEOUT, post(&target, body)).await {
            next = last + 1;
        }
    }
}

/// Posts once; `None` unless the receiver took it.
async fn post(target: &Target, body: Vec<u8>) -> Option<()> {
    let stream = TcpStream::connect(&target.authority).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .ok()?;
    let request = hyper::Request::post(target.path.as_str())
        .header("host", target.authority.as_str())
        .header("content-type", "application/json; charset=utf-8")
        .header("aeg-event-type", "Notification")
        .body(Full::new(Bytes::from(body)))
        .ok()?;
    let answered = async {
        sender
            .send_request(request)
            .await
            .ok()
            .map(|reply| reply.status())
    };
    let status = tokio::select! {
        status = answered => status?,
        _ = connection => return None,
    };
    status.is_success().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: an address that could not be posted to is refused at the start.
    #[test]
    fn addresses() {
        let target = Target::parse("http://127.0.0.1:80/a/b?c").unwrap();
        assert_eq!(
            (target.authority.as_str(), target.path.as_str()),
            ("127.0.0.1:80", "/a/b?c")
        );
        assert_eq!(Target::parse("http://localhost:9").unwrap().path, "/");
        for url in ["https://h:1/", "http://h/", "h:1", "http://h:port/"] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }
}
