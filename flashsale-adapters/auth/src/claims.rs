use std::fmt;
use std::marker::PhantomData;

use flashsale_core::domain::{Role, Timestamp, UserId};
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// What is written into a token.
#[derive(Serialize)]
pub(crate) struct WrittenClaims<'a> {
    pub(crate) sub: &'a str,
    #[serde(rename = "userId")]
    pub(crate) user_id: &'a str,
    pub(crate) username: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<&'static str>,
    pub(crate) iat: i64,
    pub(crate) exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) aud: Option<&'a str>,
}

/// What is read from a token; everything else in it is passed over.
#[derive(Deserialize)]
pub(crate) struct ReadClaims {
    sub: Option<Subject>,
    /// Stands for `sub` in the tokens of services that do not write that.
    #[serde(default, rename = "userId")]
    user_id: OtherSubject,
    exp: NumericDate,
    nbf: Option<NumericDate>,
    iat: Option<NumericDate>,
    #[serde(default)]
    role: TokenRole,
}

impl ReadClaims {
    /// Whether the token is valid at `now`, give or take `leeway_ms`: from the later of `iat` and
    /// `nbf` on, and before `exp`.
    pub(crate) fn valid_at(&self, now: Timestamp, leeway_ms: i64) -> bool {
        let begun = |date: &Option<NumericDate>| match date {
            Some(date) => date.0 <= now.plus_ms(leeway_ms),
            None => true,
        };
        now < self.exp.0.plus_ms(leeway_ms) && begun(&self.nbf) && begun(&self.iat)
    }

    /// Nothing if the token names no user.
    pub(crate) fn into_user_and_role(self) -> Option<(UserId, Role)> {
        let user = self.sub.map(|sub| sub.0).or(self.user_id.0)?;
        Some((user, self.role.0))
    }
}

pub(crate) const ADMIN: &str = "admin";

struct Subject(UserId);

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Subject;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a user id")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Subject, E> {
                UserId::new(text).map(Subject).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// Seconds since 1970 as RFC 7519 has them: a JSON number, with or without a fraction.
struct NumericDate(Timestamp);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seconds;

        impl Visitor<'_> for Seconds {
            type Value = NumericDate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds since 1970")
            }

            fn visit_i64<E: Error>(self, seconds: i64) -> Result<NumericDate, E> {
                let millis = seconds.saturating_mul(1_000);
                Ok(NumericDate(Timestamp::from_millis(millis)))
            }

            fn visit_u64<E: Error>(self, seconds: u64) -> Result<NumericDate, E> {
                self.visit_i64(i64::try_from(seconds).unwrap_or(i64::MAX))
            }

            fn visit_f64<E: Error>(self, seconds: f64) -> Result<NumericDate, E> {
                // The cast stops at the ends of the range.
                let millis = (seconds * 1_000.0) as i64;
                Ok(NumericDate(Timestamp::from_millis(millis)))
            }
        }

        deserializer.deserialize_any(Seconds)
    }
}

/// The text `admin` makes an admin, everything else a buyer, whatever its type.
#[derive(Default)]
struct TokenRole(Role);

impl From<Scalar<'_>> for TokenRole {
    fn from(value: Scalar<'_>) -> Self {
        Self(match value {
            Scalar::Text(ADMIN) => Role::Admin,
            Scalar::Text(_) | Scalar::Natural(_) | Scalar::Other => Role::Buyer,
        })
    }
}

impl<'de> Deserialize<'de> for TokenRole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue(PhantomData))
    }
}

/// A user id as text or as a number, or something that is none.
#[derive(Default)]
struct OtherSubject(Option<UserId>);

impl From<Scalar<'_>> for OtherSubject {
    fn from(value: Scalar<'_>) -> Self {
        Self(match value {
            Scalar::Text(text) => UserId::new(text).ok(),
            Scalar::Natural(number) => UserId::new(number.to_string()).ok(),
            Scalar::Other => None,
        })
    }
}

impl<'de> Deserialize<'de> for OtherSubject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue(PhantomData))
    }
}

/// What there is to a JSON value of any type.
enum Scalar<'a> {
    Text(&'a str),
    Natural(u64),
    Other,
}

/// Takes every JSON value.
struct AnyValue<T>(PhantomData<T>);

impl<'de, T: for<'a> From<Scalar<'a>>> Visitor<'de> for AnyValue<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        Ok(Scalar::Text(text).into())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<T, E> {
        Ok(Scalar::Other.into())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<T, E> {
        // JSON's numbers from 0 on are `u64`.
        Ok(Scalar::Other.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        Ok(Scalar::Natural(number).into())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<T, E> {
        Ok(Scalar::Other.into())
    }

    fn visit_unit<E: Error>(self) -> Result<T, E> {
        Ok(Scalar::Other.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<T, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other.into())
    }
}
