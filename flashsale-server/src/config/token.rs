use std::fmt;

use super::{SettingError, duration_ms, given};

/// The fewest bytes of a JWT secret: what HMAC-SHA-256 can use in full (RFC 7518, section 3.2).
const SECRET_BYTES_MIN: usize = 32;

/// The most; more is a file in the wrong place.
const SECRET_BYTES_MAX: usize = 1_024;

/// How access tokens are signed and how long they live.
#[derive(Clone, clap::Args)]
pub(crate) struct TokenArgs {
    /// Secret that signs access tokens, at least 32 bytes; required. Better set as a variable,
    /// because other users of the machine can see the arguments of a process
    #[arg(
        long,
        env = "JWT_SECRET",
        value_name = "SECRET",
        hide_env_values = true
    )]
    jwt_secret: Option<String>,

    /// How long an access token is valid: 24h, 30m, 3600s or plain seconds [default: 24h]
    #[arg(
        long,
        env = "JWT_EXPIRES_IN",
        hide_env_values = true,
        value_name = "TIME"
    )]
    jwt_expires_in: Option<String>,
}

impl fmt::Debug for TokenArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenArgs")
            .field("jwt_expires_in", &self.jwt_expires_in)
            .finish_non_exhaustive()
    }
}

/// The checked form of [`TokenArgs`].
#[derive(Clone, Debug)]
pub(crate) struct TokenConfig {
    /// Signs the tokens.
    pub(crate) secret: Secret,
    /// How long a token is valid, in seconds.
    pub(crate) expires_in_s: u32,
}

/// A text that does not show in `Debug` output.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// Keeps a text as a secret.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl TokenArgs {
    const EXPIRES_DEFAULT: &str = "24h";
    /// Ten years: a longer life is a typing error.
    const EXPIRES_S_MAX: i64 = 10 * 366 * 86_400;

    /// Checks both settings.
    pub(crate) fn validate(&self) -> Result<TokenConfig, SettingError> {
        // Not trimmed: other services that check our tokens take the bytes as they are.
        let secret = self.jwt_secret.as_deref().unwrap_or_default();
        let refuse = |problem: String| SettingError::Secret {
            setting: "JWT_SECRET",
            problem,
        };
        if secret.is_empty() {
            return Err(refuse(format!(
                "is not set: it must have at least {SECRET_BYTES_MIN} bytes, \
                 e.g. JWT_SECRET=$(openssl rand -hex 32)"
            )));
        }
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&secret.len()) {
            return Err(refuse(format!(
                "has {} bytes: it must have {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX}, \
                 e.g. JWT_SECRET=$(openssl rand -hex 32)",
                secret.len()
            )));
        }
        Ok(TokenConfig {
            secret: Secret::new(secret),
            expires_in_s: self.expires_in_s()?,
        })
    }

    fn expires_in_s(&self) -> Result<u32, SettingError> {
        let text = given(self.jwt_expires_in.as_deref()).unwrap_or(Self::EXPIRES_DEFAULT);
        duration_ms(text)
            .map(|ms| ms / 1_000)
            .filter(|seconds| (1..=Self::EXPIRES_S_MAX).contains(seconds))
            .and_then(|seconds| u32::try_from(seconds).ok())
            .ok_or_else(|| {
                let allowed = "must be like 24h, 30m, 3600s or plain seconds, at most ten years";
                SettingError::value("JWT_EXPIRES_IN", text, allowed)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::TokenArgs;

    fn args(secret: &str, expires_in: &str) -> TokenArgs {
        TokenArgs {
            jwt_secret: Some(secret.to_owned()),
            jwt_expires_in: Some(expires_in.to_owned()),
        }
    }

    #[test]
    fn a_short_secret_is_counted_but_never_shown() {
        let secret = "s3cr3t-of-31-bytes-0123456789ab";
        let error = args(secret, "").validate().unwrap_err().to_string();
        assert!(error.starts_with("JWT_SECRET has 31 bytes"), "{error}");
        assert!(!error.contains(secret));
        assert!(
            args("", "")
                .validate()
                .unwrap_err()
                .to_string()
                .contains("is not set")
        );
    }

    #[test]
    fn thirty_two_bytes_are_enough_and_do_not_show() {
        let secret = "0123456789abcdef0123456789abcdef";
        let args = args(secret, "30m");
        let config = args.validate().unwrap();
        assert_eq!(config.expires_in_s, 1_800);
        assert!(!format!("{args:?}{config:?}").contains(secret));
    }

    #[test]
    fn lives_are_positive_and_bounded() {
        for text in ["0", "0h", "x", "-1h", "1e3", "200y", "99999d"] {
            let error = args("", text).expires_in_s().unwrap_err().to_string();
            assert!(error.starts_with("JWT_EXPIRES_IN is"), "{error}");
        }
        assert_eq!(args("", "3600").expires_in_s(), Ok(3_600));
    }
}
