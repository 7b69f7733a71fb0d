use std::str::FromStr;

use bytes::Bytes;
use flashsale_core::domain::UserId;
use flashsale_core::ports::Claims;
use futures_util::future::BoxFuture;
use poem::Response;
use poem::http::{HeaderMap, Method};
use poem::web::RemoteAddr;
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use serde_json::Value;

use crate::http_config::Network;
use crate::services::Services;

use super::api_error::{ApiError, Code};
use super::client_address::client_address;
use super::door::{Door, Turn};
use super::readiness::Readiness;

/// One route of the contract: a row of [`ROUTES`](super::routes::ROUTES).
pub(super) struct Route {
    /// `GET` takes `HEAD` too.
    pub(super) method: Method,
    /// With one `{name}` at most, which stands for the id of something.
    pub(super) path: &'static str,
    pub(super) access: Access,
    pub(super) tag: Tag,
    pub(super) handler: Handler,
    /// The name of the operation in the document.
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: Option<&'static str>,
    /// What the id in the path is that of.
    pub(super) id: Option<&'static str>,
    pub(super) body: Option<Content>,
    /// The status if all goes well, what that means, and what is answered.
    pub(super) answer: (u16, &'static str, Content),
    /// What else can be answered, beyond [`failures`](Self::failures) of every route.
    pub(super) refusals: &'static [Code],
}

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody.
    Open,
    /// Whoever has a token of a user.
    User,
}

/// What a route is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Auth,
    FlashSale,
    /// These are answered by every process, whatever its role.
    Service,
}

/// A body and what it looks like.
pub(super) struct Content {
    pub(super) content_type: &'static str,
    pub(super) register: fn(&mut Registry),
    pub(super) schema: fn() -> MetaSchemaRef,
    /// `null` if there is none to show.
    pub(super) example: fn() -> Value,
}

impl Content {
    /// A `T` as JSON.
    pub(super) const fn json<T: Type>(example: fn() -> Value) -> Self {
        Self {
            content_type: "application/json",
            register: T::register,
            schema: T::schema_ref,
            example,
        }
    }

    /// A text of this type.
    pub(super) const fn text(content_type: &'static str, example: fn() -> Value) -> Self {
        Self {
            content_type,
            register: String::register,
            schema: String::schema_ref,
            example,
        }
    }
}

/// Answers a request.
pub(super) type Handler = for<'a> fn(Call<'a>) -> BoxFuture<'a, Result<Response, ApiError>>;

/// A request to a route, with everything that a handler may need.
pub(super) struct Call<'a> {
    pub(super) services: &'a Services,
    pub(super) readiness: &'a Readiness,
    pub(super) entrance: Entrance<'a>,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: Bytes,
    /// What stands in the path for the id, and the name of that.
    pub(super) id: Option<(&'static str, &'a str)>,
    /// Who asks; there for every route that is not open.
    pub(super) user: Option<Claims>,
}

/// Where passwords are worked on, and who stands there.
pub(super) struct Entrance<'a> {
    pub(super) door: &'a Door,
    pub(super) peer: &'a RemoteAddr,
    pub(super) trusted_proxies: &'a [Network],
}

impl Call<'_> {
    /// Waits for a turn at the passwords, for this user name.
    pub(super) async fn turn(&self, username: &str) -> Result<Turn, ApiError> {
        let Entrance {
            door,
            peer,
            trusted_proxies,
        } = self.entrance;
        let address = client_address(peer, self.headers, trusted_proxies);
        door.turn(address, username).await
    }

    /// Who asks.
    pub(super) fn user(&self) -> Result<&UserId, ApiError> {
        let claims = self.user.as_ref().ok_or(Code::Unauthorized)?;
        Ok(&claims.user)
    }

    /// The id in the path.
    pub(super) fn id<T: FromStr>(&self) -> Result<T, ApiError> {
        let (name, text) = self.id.ok_or(Code::NotFound)?;
        text.parse().map_err(|_| {
            ApiError::invalid(format!(
                "{name} must be an integer from 1 to 9223372036854775807."
            ))
        })
    }
}

impl Route {
    /// Everything that can be answered instead, by ascending status, except 405, which a described
    /// method never gets.
    pub(super) fn failures(&self) -> Vec<Code> {
        const EVERY: [Code; 4] = [
            Code::Validation,
            Code::RequestTimeout,
            Code::PayloadTooLarge,
            Code::Internal,
        ];
        let mut codes = EVERY.to_vec();
        if self.access == Access::User {
            codes.push(Code::Unauthorized);
        }
        if self.body.is_some() {
            codes.push(Code::UnsupportedMediaType);
        }
        codes.extend(self.refusals);
        codes.sort_by_key(|code| code.status());
        codes
    }
}
