use crate::error::ConfigError;
use crate::jwt_key::{self, JwtKey};

/// How hard passwords are hashed, and how many at a time.
///
/// ```
/// use flashsale_auth::BcryptConfig;
///
/// let config = BcryptConfig { cost: 12, ..BcryptConfig::default() };
/// assert!(config.validate().is_ok());
/// assert!(BcryptConfig { cost: 3, ..config }.validate().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BcryptConfig {
    /// The logarithm of the work: one more doubles the time. 4 to 31, default 10 (about 60 ms of
    /// one core).
    pub cost: u32,
    /// How many passwords are worked on at the same time, each on a thread of its own; 1 to 64,
    /// default 1, so that logins leave the other cores to the sale.
    pub concurrency: usize,
    /// How many more calls may wait; 0 to 10,000, default 64. One more fails at once.
    pub waiting_max: usize,
}

impl BcryptConfig {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] for the first that is not in it.
    pub fn validate(&self) -> Result<(), ConfigError> {
        in_range("bcrypt cost", u64::from(self.cost), 4, 31)?;
        in_range("bcrypt concurrency", self.concurrency as u64, 1, 64)?;
        in_range("bcrypt waiting_max", self.waiting_max as u64, 0, 10_000)
    }
}

impl Default for BcryptConfig {
    fn default() -> Self {
        Self {
            cost: 10,
            concurrency: 1,
            waiting_max: 64,
        }
    }
}

/// With which keys tokens are signed and checked, and how long they live.
///
/// ```
/// use flashsale_auth::{JwtConfig, JwtKey};
///
/// let secret = *b"32 bytes, and better random ones";
/// let config = JwtConfig { expires_in_s: 3_600, ..JwtConfig::new([JwtKey::hs256("a", secret)]) };
/// assert!(config.validate().is_ok());
/// assert!(!format!("{config:?}").contains("better random"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtConfig {
    /// The keys. The first one signs, all of them verify; see [`JwtKey`]. 1 to 16.
    pub keys: Vec<JwtKey>,
    /// How long a token lives, in seconds; at least 1, default 24 hours.
    pub expires_in_s: u32,
    /// How far the clocks of issuer and verifier may be apart, in seconds: a token is taken that
    /// much before its beginning and after its end. At most 300, default 5.
    pub leeway_s: u32,
    /// If set, written as `iss` and demanded of every token; 1 to 256 bytes.
    pub issuer: Option<String>,
    /// If set, written as `aud` and demanded of every token; 1 to 256 bytes. If not set, a token
    /// that names an audience is refused, because it is meant for somebody else (RFC 7519,
    /// section 4.1.3).
    pub audience: Option<String>,
}

impl JwtConfig {
    /// These keys, and the defaults for everything else.
    pub fn new(keys: impl Into<Vec<JwtKey>>) -> Self {
        Self {
            keys: keys.into(),
            expires_in_s: 86_400,
            leeway_s: 5,
            issuer: None,
            audience: None,
        }
    }

    /// Checks every setting against its range, and every key.
    ///
    /// # Errors
    /// [`ConfigError`] for the first that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let expiry = u64::from(self.expires_in_s);
        in_range("JWT expires_in_s", expiry, 1, u64::from(u32::MAX))?;
        in_range("JWT leeway_s", u64::from(self.leeway_s), 0, 300)?;
        text_fits("JWT issuer", self.issuer.as_deref())?;
        text_fits("JWT audience", self.audience.as_deref())?;
        jwt_key::validate_all(&self.keys)
    }
}

fn in_range(name: &'static str, value: u64, min: u64, max: u64) -> Result<(), ConfigError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::OutOfRange {
        name,
        value,
        min,
        max,
    })
}

fn text_fits(name: &'static str, text: Option<&str>) -> Result<(), ConfigError> {
    const MAX: usize = 256;
    match text.map(str::len) {
        None | Some(1..=MAX) => Ok(()),
        Some(len) => Err(ConfigError::TextLength {
            name,
            len,
            max: MAX,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> JwtKey {
        JwtKey::hs256("a", [7; 32])
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(BcryptConfig::default().validate(), Ok(()));
        assert_eq!(JwtConfig::new([key()]).validate(), Ok(()));
    }

    #[test]
    fn each_bcrypt_limit_holds_at_the_limit_and_one_past_it() {
        let valid = |config: BcryptConfig| config.validate().is_ok();
        let config = BcryptConfig::default();
        for (cost, fits) in [(3, false), (4, true), (31, true), (32, false)] {
            assert_eq!(valid(BcryptConfig { cost, ..config }), fits, "cost {cost}");
        }
        for (concurrency, fits) in [(0, false), (1, true), (64, true), (65, false)] {
            let config = BcryptConfig {
                concurrency,
                ..config
            };
            assert_eq!(valid(config), fits, "concurrency {concurrency}");
        }
        for (waiting_max, fits) in [(0, true), (10_000, true), (10_001, false)] {
            let config = BcryptConfig {
                waiting_max,
                ..config
            };
            assert_eq!(valid(config), fits, "waiting_max {waiting_max}");
        }
    }

    #[test]
    fn each_jwt_limit_holds_at_the_limit_and_one_past_it() {
        let with = |change: &dyn Fn(&mut JwtConfig)| {
            let mut config = JwtConfig::new([key()]);
            change(&mut config);
            config.validate().is_ok()
        };
        for (expiry, fits) in [(0, false), (1, true), (u32::MAX, true)] {
            assert_eq!(with(&|c| c.expires_in_s = expiry), fits, "expiry {expiry}");
        }
        for (leeway, fits) in [(0, true), (300, true), (301, false)] {
            assert_eq!(with(&|c| c.leeway_s = leeway), fits, "leeway {leeway}");
        }
        for (len, fits) in [(0, false), (1, true), (256, true), (257, false)] {
            let text = || Some("x".repeat(len));
            assert_eq!(with(&|c| c.issuer = text()), fits, "issuer {len}");
            assert_eq!(with(&|c| c.audience = text()), fits, "audience {len}");
        }
    }

    #[test]
    fn a_wrong_setting_is_named_in_the_message() {
        let config = BcryptConfig {
            cost: 40,
            ..BcryptConfig::default()
        };
        let message = config.validate().unwrap_err().to_string();
        assert_eq!(message, "bcrypt cost must be from 4 to 31, but is 40");
    }
}
