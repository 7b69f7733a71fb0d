use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use poem::http::{HeaderMap, header};
use poem::{Body, Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::failure::{Code, Failure};

/// What is still read of a body that is too long, so that a client that is busy sending gets to
/// see the answer instead of a reset connection.
const DISCARD_MAX: usize = 1 << 20;

/// How much body is taken, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimits {
    pub(super) max: usize,
    pub(super) timeout: Duration,
}

/// Reads the whole body of a request, which is then without one.
pub(super) async fn read(request: &mut Request, limits: BodyLimits) -> Result<Bytes, Failure> {
    let body = request.take_body();
    if body.is_empty() {
        return Ok(Bytes::new());
    }
    // Reading would tell this client to go on sending.
    if waits_to_send(request.headers()) && declared(request.headers()) > limits.max as u64 {
        return Err(too_large(limits));
    }
    match tokio::time::timeout(limits.timeout, collect(body, limits)).await {
        Ok(collected) => collected,
        Err(_) => Err(Code::RequestTimeout.into()),
    }
}

async fn collect(body: Body, limits: BodyLimits) -> Result<Bytes, Failure> {
    let mut chunks = pin!(body.into_bytes_stream());
    let mut collected = BytesMut::new();
    let mut seen = 0_usize;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Failure::invalid("The request body broke off."))?;
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

fn too_large(limits: BodyLimits) -> Failure {
    let max = limits.max;
    Failure::new(
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

/// A request body that is a JSON object of texts.
pub(super) struct JsonBody<T>(pub(super) T);

/// What a [`JsonBody`] can carry.
pub(super) trait FromFields: Type {
    /// Takes its fields out of the object; fields that it does not know are left.
    fn from_fields(fields: &mut Fields) -> Result<Self, Failure>
    where
        Self: Sized;
}

impl<'a, T: FromFields> ApiExtractor<'a> for JsonBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    const PARAM_IS_REQUIRED: bool = true;

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let schema: MetaSchemaRef = T::schema_ref();
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType {
                content_type: "application/json",
                schema,
            }],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let text = body.take()?.into_bytes().await?;
        if !is_json(request.headers()) {
            return Err(Failure::from(Code::UnsupportedMediaType).into());
        }
        let mut fields = Fields::parse(&text)?;
        Ok(Self(T::from_fields(&mut fields)?))
    }
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
    fn parse(text: &[u8]) -> Result<Self, Failure> {
        if text.is_empty() {
            return Err(Failure::invalid(
                "The request has no body; send a JSON object.",
            ));
        }
        if std::str::from_utf8(text).is_err() {
            return Err(Failure::invalid("The request body is not UTF-8."));
        }
        serde_json::from_slice(text).map_err(|error| {
            Failure::invalid(if error.is_data() {
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
    pub(super) fn text(&mut self, name: &'static str) -> Result<String, Failure> {
        self.optional_text(name)?
            .ok_or_else(|| Failure::invalid(format!("{name} is missing.")))
    }

    /// Takes a field that may be missing or null.
    pub(super) fn optional_text(&mut self, name: &'static str) -> Result<Option<String>, Failure> {
        match self.0.remove(name) {
            Some(Field::Text(text)) => Ok(Some(text)),
            Some(Field::Null) | None => Ok(None),
            Some(Field::Other) => Err(Failure::invalid(format!("{name} must be a text."))),
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
