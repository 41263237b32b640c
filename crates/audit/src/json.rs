//! The one way an event is written: JSON as RFC 8785 has it, which here means members sorted by name,
//! no white space, the shortest escapes, and only strings, whole numbers, lists and objects.

use std::collections::BTreeMap;

/// The largest whole number every JSON reader keeps exactly.
pub(crate) const NUMBER_MAX: u64 = (1 << 53) - 1;

pub(crate) enum Json {
    List(Vec<Json>),
    Number(u64),
    Object(Members),
    Text(String),
}

/// Members of an object. Names are ASCII, so byte order is the order RFC 8785 asks for.
#[derive(Default)]
pub(crate) struct Members(BTreeMap<&'static str, Json>);

impl Members {
    pub(crate) fn text(&mut self, name: &'static str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.0.insert(name, Json::Text(value.to_string()));
        }
    }

    pub(crate) fn number(&mut self, name: &'static str, value: Option<u64>) {
        if let Some(value) = value {
            self.0.insert(name, Json::Number(value));
        }
    }

    pub(crate) fn texts(&mut self, name: &'static str, values: &[String]) {
        if !values.is_empty() {
            let values = values.iter().cloned().map(Json::Text).collect();
            self.0.insert(name, Json::List(values));
        }
    }

    /// Objects without members are left out.
    pub(crate) fn objects(&mut self, name: &'static str, values: Vec<Members>) {
        let values: Vec<Json> = values
            .into_iter()
            .filter(|value| !value.0.is_empty())
            .map(Json::Object)
            .collect();
        if !values.is_empty() {
            self.0.insert(name, Json::List(values));
        }
    }

    /// An object without members is left out: there is one way to say nothing.
    pub(crate) fn object(&mut self, name: &'static str, value: Option<Members>) {
        if let Some(value) = value.filter(|value| !value.0.is_empty()) {
            self.0.insert(name, Json::Object(value));
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        write_object(&mut out, self);
        out
    }
}

fn write_object(out: &mut Vec<u8>, members: &Members) {
    out.push(b'{');
    for (position, (name, value)) in members.0.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_text(out, name);
        out.push(b':');
        write(out, value);
    }
    out.push(b'}');
}

fn write(out: &mut Vec<u8>, value: &Json) {
    match value {
        Json::List(values) => {
            out.push(b'[');
            for (position, value) in values.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write(out, value);
            }
            out.push(b']');
        }
        Json::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Json::Object(members) => write_object(out, members),
        Json::Text(text) => write_text(out, text),
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x09 => out.extend_from_slice(b"\\t"),
            0x0a => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            0x0d => out.extend_from_slice(b"\\r"),
            0x00..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Takes members out of an object that was read, so that what is left over is what nobody knows.
pub(crate) struct Taken(serde_json::Map<String, serde_json::Value>);

/// The bytes are not an event; the name says where it shows.
pub(crate) struct Unfit(pub(crate) &'static str);

impl Taken {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Taken, Unfit> {
        match serde_json::from_slice(bytes) {
            Ok(serde_json::Value::Object(members)) => Ok(Taken(members)),
            _ => Err(Unfit("not a JSON object")),
        }
    }

    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<String>, Unfit> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(serde_json::Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Unfit(name)),
        }
    }

    pub(crate) fn number(&mut self, name: &'static str) -> Result<Option<u64>, Unfit> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number) if number <= NUMBER_MAX => Ok(Some(number)),
                _ => Err(Unfit(name)),
            },
        }
    }

    pub(crate) fn small<T: TryFrom<u64>>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, Unfit> {
        let number = self.number(name)?;
        number
            .map(|number| T::try_from(number).map_err(|_| Unfit(name)))
            .transpose()
    }

    pub(crate) fn named<T>(
        &mut self,
        name: &'static str,
        from_name: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Unfit> {
        let text = self.text(name)?;
        text.map(|text| from_name(&text).ok_or(Unfit(name)))
            .transpose()
    }

    pub(crate) fn texts(&mut self, name: &'static str) -> Result<Vec<String>, Unfit> {
        match self.0.remove(name) {
            None => Ok(Vec::new()),
            Some(serde_json::Value::Array(values)) => values
                .into_iter()
                .map(|value| match value {
                    serde_json::Value::String(text) => Ok(text),
                    _ => Err(Unfit(name)),
                })
                .collect(),
            Some(_) => Err(Unfit(name)),
        }
    }

    pub(crate) fn object<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&mut Taken) -> Result<T, Unfit>,
    ) -> Result<Option<T>, Unfit> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(serde_json::Value::Object(members)) => {
                let mut inner = Taken(members);
                let value = read(&mut inner)?;
                inner.finish()?;
                Ok(Some(value))
            }
            Some(_) => Err(Unfit(name)),
        }
    }

    pub(crate) fn finish(self) -> Result<(), Unfit> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Unfit("an unknown member"))
        }
    }
}
