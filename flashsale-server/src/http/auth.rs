use flashsale_core::domain::Role;
use flashsale_core::services::{Field, LoginOutcome, RegisterOutcome, Registration};
use poem::Response;
use poem::http::{HeaderValue, StatusCode, header};
use poem_openapi::Object;
use serde::Serialize;

use super::api_error::{ApiError, Code};
use super::body::{self, Fields, FromFields};
use super::json::answer;
use super::route::Call;

/// What a person enters to become a user.
#[derive(Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct RegisterRequest {
    /// 3 to 64 characters without blanks.
    #[oai(validator(
        min_length = 3,
        max_length = 64,
        pattern = r"^[^\s\x00-\x1f\x7f-\x9f]*$"
    ))]
    username: String,
    /// At most 254 bytes.
    #[oai(validator(
        min_length = 3,
        max_length = 254,
        pattern = r"^[^@\s\x00-\x1f\x7f-\x9f]+@[^@\s\x00-\x1f\x7f-\x9f]+$"
    ))]
    email: String,
    /// At least 6 characters, at most 71 bytes. Never returned.
    #[oai(validator(min_length = 6, max_length = 71, pattern = r"^[^\x00]*$"))]
    password: String,
    #[oai(validator(max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$"))]
    full_name: Option<String>,
}

impl FromFields for RegisterRequest {
    fn from_fields(fields: &mut Fields) -> Result<Self, ApiError> {
        Ok(Self {
            username: fields.text("username")?,
            email: fields.text("email")?,
            password: fields.text("password")?,
            full_name: fields.optional_text("fullName")?,
        })
    }
}

/// A new user.
#[derive(Object, Serialize)]
pub(super) struct RegisterAnswer {
    success: bool,
    data: RegisteredData,
}

#[derive(Object, Serialize)]
#[serde(rename_all = "camelCase")]
#[oai(rename_all = "camelCase", rename = "User")]
struct RegisteredData {
    user_id: String,
    username: String,
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    full_name: Option<String>,
}

/// A user's credentials.
#[derive(Object)]
pub(super) struct LoginRequest {
    #[oai(validator(min_length = 1, max_length = 64, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$"))]
    username: String,
    #[oai(validator(min_length = 1))]
    password: String,
}

impl FromFields for LoginRequest {
    fn from_fields(fields: &mut Fields) -> Result<Self, ApiError> {
        Ok(Self {
            username: fields.text("username")?,
            password: fields.text("password")?,
        })
    }
}

/// A user's token.
#[derive(Object, Serialize)]
pub(super) struct LoginAnswer {
    success: bool,
    data: LoginData,
}

#[derive(Object, Serialize)]
#[serde(rename_all = "camelCase")]
#[oai(rename_all = "camelCase", rename = "Login")]
struct LoginData {
    /// Goes into the `Authorization` header of other requests, as `Bearer TOKEN`.
    token: String,
    user_id: String,
}

/// `POST /api/auth/register`.
pub(super) async fn register(call: Call<'_>) -> Result<Response, ApiError> {
    let request: RegisterRequest = body::json(call.headers, &call.body)?;
    let _turn = call.turn(&request.username).await?;
    let registration = Registration {
        username: request.username,
        email: request.email,
        password: request.password,
        full_name: request.full_name,
        role: Role::Buyer,
    };
    let outcome = call.services.auth.register(registration).await;
    match outcome.map_err(|error| ApiError::from(error).or_busy())? {
        RegisterOutcome::Registered(user) => {
            let data = RegisteredData {
                user_id: user.id.as_str().to_owned(),
                username: user.username,
                email: user.email,
                full_name: user.full_name,
            };
            let success = true;
            answer(StatusCode::CREATED, &RegisterAnswer { success, data })
        }
        RegisterOutcome::UsernameTaken => Err(Code::UsernameTaken.into()),
        RegisterOutcome::EmailTaken => Err(Code::EmailTaken.into()),
        RegisterOutcome::Invalid(invalid) => {
            let field = match invalid.field {
                Field::Username => "username",
                Field::Email => "email",
                Field::Password => "password",
                Field::FullName => "fullName",
            };
            Err(ApiError::invalid(format!("{field} {}.", invalid.rule)))
        }
    }
}

/// `POST /api/auth/login`.
pub(super) async fn login(call: Call<'_>) -> Result<Response, ApiError> {
    let LoginRequest { username, password } = body::json(call.headers, &call.body)?;
    let length = username.chars().count();
    if !(1..=64).contains(&length) || username.contains(char::is_control) {
        return Err(ApiError::invalid("username must have 1 to 64 characters."));
    }
    if password.is_empty() {
        return Err(ApiError::invalid("password must not be empty."));
    }
    let _turn = call.turn(&username).await?;
    let outcome = call.services.auth.login(&username, &password).await;
    match outcome.map_err(|error| ApiError::from(error).or_busy())? {
        LoginOutcome::LoggedIn(login) => {
            let data = LoginData {
                token: login.token.token,
                user_id: login.user.as_str().to_owned(),
            };
            let success = true;
            let mut response = answer(StatusCode::OK, &LoginAnswer { success, data })?;
            response
                .headers_mut()
                .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Ok(response)
        }
        LoginOutcome::InvalidCredentials => Err(Code::InvalidCredentials.into()),
        LoginOutcome::HashUnreadable(user) => {
            tracing::warn!(
                user = user.as_str(),
                "a stored password hash is not one of bcrypt: its user cannot log in"
            );
            Err(Code::InvalidCredentials.into())
        }
    }
}
