//! Lists in pages of at most 25, the next one behind a link.

use serde_json::{Value, json};

use super::Call;
use crate::error::Refusal;
use crate::material::jwk::{base64url, from_base64};
use crate::wire::Reply;

const PAGE_LEN_MAX: usize = 25;

/// One page of `items`, which are sorted by the name that stands first in each pair. The link holds the last name
/// given, so that nothing is skipped or said twice when keys come and go between the pages.
pub(super) fn reply(
    call: &Call<'_>,
    path: &str,
    items: Vec<(String, Value)>,
) -> Result<Reply, Refusal> {
    let length = length(call)?;
    let after = match call.request.query_value("$skiptoken") {
        None => None,
        Some(token) => {
            let name = from_base64(token, "$skiptoken")?;
            Some(String::from_utf8(name).map_err(|_| Refusal::bad_property("$skiptoken"))?)
        }
    };
    let mut rest = items
        .into_iter()
        .filter(|(name, _)| after.as_ref().is_none_or(|after| name > after))
        .peekable();
    let mut page = Vec::with_capacity(length);
    let mut last = String::new();
    while page.len() < length
        && let Some((name, item)) = rest.next()
    {
        page.push(item);
        last = name;
    }
    let next = rest.peek().map(|_| {
        format!(
            "{}/{path}?api-version={}&$skiptoken={}&maxresults={length}",
            call.base_url,
            call.api.name(),
            base64url(last.as_bytes())
        )
    });
    Ok(Reply::json(
        200,
        &json!({ "value": page, "nextLink": next }),
    ))
}

fn length(call: &Call<'_>) -> Result<usize, Refusal> {
    let Some(text) = call.request.query_value("maxresults") else {
        return Ok(PAGE_LEN_MAX);
    };
    text.parse()
        .ok()
        .filter(|length| (1..=PAGE_LEN_MAX).contains(length))
        .ok_or_else(|| Refusal::bad_parameter("maxresults must be between 1 and 25"))
}
