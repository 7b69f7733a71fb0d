use std::borrow::Cow;

use flashsale_core::{ErrorKind, PortError};
use poem::http::{HeaderValue, StatusCode, header};
use poem::{Body, Response};
use serde::Serialize;

use super::json::json_response;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $status:literal $name:literal, $title:literal, $message:literal;)*) => {
        /// The stable names of everything that can go wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            #[cfg(test)]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in the envelope.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The HTTP status that it always comes with.
            pub(crate) const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// The short title in the envelope.
            pub(crate) const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// What is said if there is nothing more particular to say.
            #[cfg(test)]
            pub(crate) const fn message(self) -> &'static str {
                match self { $(Self::$variant => $message,)* }
            }

            /// The whole envelope with nothing more particular to say, rendered at compile time.
            pub(crate) const fn envelope(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!(
                        r#"{"success":false,"error":""#, $title, r#"","code":""#, $name,
                        r#"","message":""#, $message, r#""}"#
                    ),)*
                }
            }
        }
    };
}

codes! {
    /// The request is not what the document asks for.
    Validation = 400 "VALIDATION_ERROR", "Invalid request", "The request is not valid.";
    /// No token, or none of ours.
    Unauthorized = 401 "UNAUTHORIZED", "Not authorized", "Send a valid access token as 'Authorization: Bearer TOKEN'; log in to get one.";
    /// Unknown user or wrong password.
    InvalidCredentials = 401 "INVALID_CREDENTIALS", "Login failed", "The username or the password is wrong.";
    /// No such path.
    NotFound = 404 "NOT_FOUND", "Not found", "There is nothing at this path; /api-docs lists what there is.";
    /// No sale at all.
    NoSale = 404 "NO_SALE", "No sale", "There is no sale yet; come back later.";
    /// No sale of that id.
    SaleNotFound = 404 "SALE_NOT_FOUND", "Sale not found", "There is no sale with this id.";
    /// The path exists, the method does not.
    MethodNotAllowed = 405 "METHOD_NOT_ALLOWED", "Method not allowed", "This path does not take this method; the Allow header lists those it takes.";
    /// The body did not arrive in time.
    RequestTimeout = 408 "REQUEST_TIMEOUT", "Request timeout", "The request body did not arrive in time; send it again.";
    /// Another user has the name.
    UsernameTaken = 409 "USERNAME_TAKEN", "Username taken", "Another user has this username; choose another one.";
    /// Another user has the address.
    EmailTaken = 409 "EMAIL_TAKEN", "E-mail address taken", "Another user has this e-mail address; log in, or use another one.";
    /// Nothing left.
    SoldOut = 409 "SOLD_OUT", "Sold out", "No unit is left; if one comes back you may try again.";
    /// Too early.
    SaleNotStarted = 409 "SALE_NOT_STARTED", "Sale not started", "The sale has not started yet.";
    /// Too late.
    SaleEnded = 409 "SALE_ENDED", "Sale ended", "The sale is over.";
    /// Held by the shop.
    SalePaused = 409 "SALE_PAUSED", "Sale paused", "The shop has paused the sale; try again later.";
    /// The body is too long.
    PayloadTooLarge = 413 "PAYLOAD_TOO_LARGE", "Request body too large", "The request body is longer than this server takes.";
    /// The body is not JSON by its own account.
    UnsupportedMediaType = 415 "UNSUPPORTED_MEDIA_TYPE", "Unsupported media type", "Send the body as JSON with 'Content-Type: application/json'.";
    /// A flood.
    RateLimited = 429 "RATE_LIMITED", "Too many requests", "You ask too often; try again after the seconds in Retry-After.";
    /// Our fault.
    Internal = 500 "INTERNAL", "Internal error", "Something went wrong on our side; it is logged under the x-request-id of this answer.";
    /// Too many wait for the same thing.
    Busy = 503 "BUSY", "Busy", "Too many people are at it right now; try again after the seconds in Retry-After.";
    /// A dependency is away.
    Unavailable = 503 "UNAVAILABLE", "Temporarily unavailable", "This cannot be taken right now; nothing is lost, send the same request again after the seconds in Retry-After.";
}

impl Code {
    /// How long to wait before the same request may succeed.
    pub(crate) const fn retry_after(self) -> Option<&'static str> {
        match self {
            Self::Busy | Self::Unavailable | Self::RateLimited => Some("1"),
            _ => None,
        }
    }
}

/// An answer that is not what the caller hoped for.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    code: Code,
    message: Option<Cow<'static, str>>,
    allow: Option<&'static str>,
    after: Option<u64>,
    cause: Option<PortError>,
}

/// The fault behind a failed request, for the log; it travels with the response.
#[derive(Clone, Debug)]
pub(super) struct Cause(pub(super) PortError);

/// The envelope of a failure.
#[derive(Serialize)]
struct Envelope<'a> {
    success: bool,
    error: &'a str,
    code: &'a str,
    message: &'a str,
}

impl ApiError {
    /// A failure that says more than its code does.
    pub(crate) fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            message: Some(message.into()),
            ..Self::from(code)
        }
    }

    /// A request that breaks a rule.
    pub(crate) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Validation, message)
    }

    /// A method that the path does not take.
    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        Self {
            allow: Some(allow),
            ..Self::from(Code::MethodNotAllowed)
        }
    }

    /// The same failure, with the code for a queue that is too long instead of a store that is
    /// away.
    pub(crate) fn or_busy(self) -> Self {
        let busy = self.cause.as_ref().map(PortError::kind) == Some(ErrorKind::Busy);
        Self {
            code: if busy { Code::Busy } else { self.code },
            ..self
        }
    }

    /// The same failure, with a time in seconds after which to ask again.
    pub(crate) fn after(self, seconds: u64) -> Self {
        Self {
            after: Some(seconds),
            ..self
        }
    }

    /// The failure as a response.
    pub(crate) fn into_response(self) -> Response {
        let body = match &self.message {
            None => Body::from(self.code.envelope()),
            Some(message) => {
                let envelope = Envelope {
                    success: false,
                    error: self.code.title(),
                    code: self.code.name(),
                    message,
                };
                Body::from(serde_json::to_vec(&envelope).unwrap_or_default())
            }
        };
        let status = StatusCode::from_u16(self.code.status()).unwrap_or_default();
        let mut response = json_response(status, body);
        let headers = response.headers_mut();
        let after = self.after.map(HeaderValue::from);
        let after = after.or_else(|| self.code.retry_after().map(HeaderValue::from_static));
        if let Some(after) = after {
            headers.insert(header::RETRY_AFTER, after);
        }
        if self.code.status() == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(cause) = self.cause {
            response.set_data(Cause(cause));
        }
        response
    }
}

impl From<Code> for ApiError {
    fn from(code: Code) -> Self {
        Self {
            code,
            message: None,
            allow: None,
            after: None,
            cause: None,
        }
    }
}

impl From<PortError> for ApiError {
    fn from(error: PortError) -> Self {
        let code = match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Busy | ErrorKind::Full | ErrorKind::Stopped => {
                Code::Unavailable
            }
            ErrorKind::Invalid | ErrorKind::Corrupt | ErrorKind::Misconfigured => Code::Internal,
        };
        Self {
            cause: Some(error),
            ..Self::from(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_envelope_is_the_json_that_its_parts_say() {
        for code in Code::ALL {
            let envelope: serde_json::Value = serde_json::from_str(code.envelope()).unwrap();
            assert_eq!(
                envelope,
                serde_json::json!({
                    "success": false,
                    "error": code.title(),
                    "code": code.name(),
                    "message": code.message(),
                })
            );
        }
    }
}
