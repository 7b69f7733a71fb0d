use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use poem::Body;
use poem::http::{HeaderMap, header};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::api_error::{ApiError, Code};

/// What is still read of a body that is too long, so that a client that is busy sending gets to
/// see the answer instead of a reset connection.
const DISCARD_MAX: usize = 1 << 20;

/// How much body is taken, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimits {
    pub(super) max: usize,
    pub(super) timeout: Duration,
}

/// Reads the whole body of a request with these headers.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    limits: BodyLimits,
) -> Result<Bytes, ApiError> {
    if body.is_empty() {
        return Ok(Bytes::new());
    }
    // Reading would tell this client to go on sending.
    if waits_to_send(headers) && declared(headers) > limits.max as u64 {
        return Err(too_large(limits));
    }
    match tokio::time::timeout(limits.timeout, collect(body, limits)).await {
        Ok(collected) => collected,
        Err(_) => Err(Code::RequestTimeout.into()),
    }
}

async fn collect(body: Body, limits: BodyLimits) -> Result<Bytes, ApiError> {
    let mut chunks = pin!(body.into_bytes_stream());
    let mut collected = BytesMut::new();
    let mut seen = 0_usize;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| ApiError::invalid("The request body broke off."))?;
        seen = seen.saturating_add(chunk.len());
        if seen <= limits.max {
            collected.extend_from_slice(&chunk);
        } else if seen > DISCARD_MAX {
            break;
        }
    }
    if seen > limits.max {
        return Err(too_large(limits));
    }
    Ok(collected.freeze())
}

fn too_large(limits: BodyLimits) -> ApiError {
    let max = limits.max;
    ApiError::new(
        Code::PayloadTooLarge,
        format!("A request body may have at most {max} bytes."),
    )
}

fn waits_to_send(headers: &HeaderMap) -> bool {
    headers.contains_key(header::EXPECT)
}

fn declared(headers: &HeaderMap) -> u64 {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    length.unwrap_or(0)
}

/// What a JSON object of texts can be turned into.
pub(super) trait FromFields: Sized {
    /// Takes its fields out of the object; fields that it does not know are left.
    fn from_fields(fields: &mut Fields) -> Result<Self, ApiError>;
}

/// Reads a body that has to be a JSON object of texts.
pub(super) fn json<T: FromFields>(headers: &HeaderMap, body: &[u8]) -> Result<T, ApiError> {
    if !is_json(headers) {
        return Err(Code::UnsupportedMediaType.into());
    }
    T::from_fields(&mut Fields::parse(body)?)
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(content_type)) = headers.get(header::CONTENT_TYPE).map(|it| it.to_str()) else {
        return false;
    };
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

/// The fields of a JSON object. Values are never repeated in an error: one may be a password.
pub(super) struct Fields(HashMap<String, Field>);

enum Field {
    Text(String),
    Null,
    Other,
}

impl Fields {
    fn parse(text: &[u8]) -> Result<Self, ApiError> {
        if text.is_empty() {
            return Err(ApiError::invalid(
                "The request has no body; send a JSON object.",
            ));
        }
        if std::str::from_utf8(text).is_err() {
            return Err(ApiError::invalid("The request body is not UTF-8."));
        }
        serde_json::from_slice(text).map_err(|error| {
            ApiError::invalid(if error.is_data() {
                if error.to_string().starts_with(DUPLICATE) {
                    "The request body has a field twice.".to_owned()
                } else {
                    "The request body must be a JSON object.".to_owned()
                }
            } else {
                format!(
                    "The request body is not valid JSON (line {}, column {}).",
                    error.line(),
                    error.column()
                )
            })
        })
    }

    /// Takes a field that has to be there.
    pub(super) fn text(&mut self, name: &'static str) -> Result<String, ApiError> {
        self.optional_text(name)?
            .ok_or_else(|| ApiError::invalid(format!("{name} is missing.")))
    }

    /// Takes a field that may be missing or null.
    pub(super) fn optional_text(&mut self, name: &'static str) -> Result<Option<String>, ApiError> {
        match self.0.remove(name) {
            Some(Field::Text(text)) => Ok(Some(text)),
            Some(Field::Null) | None => Ok(None),
            Some(Field::Other) => Err(ApiError::invalid(format!("{name} must be a text."))),
        }
    }
}

const DUPLICATE: &str = "duplicate field";

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = HashMap::new();
                while let Some((name, field)) = map.next_entry()? {
                    if fields.insert(name, field).is_some() {
                        return Err(A::Error::custom(DUPLICATE));
                    }
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_any(Object)
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Value;

        impl<'de> Visitor<'de> for Value {
            type Value = Field;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Field, E> {
                Ok(Field::Text(text.to_owned()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Field, E> {
                Ok(Field::Text(text))
            }

            fn visit_unit<E: Error>(self) -> Result<Field, E> {
                Ok(Field::Null)
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Field, E> {
                Ok(Field::Other)
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Field, E> {
                Ok(Field::Other)
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<Field, E> {
                Ok(Field::Other)
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Field, E> {
                Ok(Field::Other)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Field, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Field::Other)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Field, A::Error> {
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Field::Other)
            }
        }

        deserializer.deserialize_any(Value)
    }
}
