use std::borrow::Borrow;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use uuid::Uuid;

/// Why a text or number is not an id of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Sale and product ids are 1 to 2^63 − 1.
    #[error("must be an integer from 1 to 9223372036854775807")]
    NotPositive,
    /// User ids are 1 to 64 visible ASCII characters.
    #[error("must be 1 to 64 visible ASCII characters")]
    NotVisibleAscii,
    /// Attempt ids are UUIDs.
    #[error("must be a UUID")]
    NotUuid,
}

macro_rules! positive_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// Takes a positive number.
            ///
            /// # Errors
            /// [`InvalidId::NotPositive`] for 0 and below.
            pub const fn new(id: i64) -> Result<Self, InvalidId> {
                if id > 0 { Ok(Self(id)) } else { Err(InvalidId::NotPositive) }
            }

            /// The number.
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
                let id = if digits { text.parse().ok() } else { None };
                id.map_or(Err(InvalidId::NotPositive), Self::new)
            }
        }
    };
}

positive_id! {
    /// Names a sale.
    SaleId
}
positive_id! {
    /// Names a product.
    ProductId
}
positive_id! {
    /// Names an order, that is, a decision about an attempt.
    OrderId
}

/// Names a user: an opaque text of 1 to 64 visible ASCII characters (`!` to `~`).
///
/// Embedders bring their own ids (UUIDs, numbers, e-mail addresses); nothing is read into them.
/// Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Arc<str>);

impl UserId {
    /// The longest id, in bytes.
    pub const MAX_LEN: usize = 64;

    /// Takes a text as an id.
    ///
    /// # Errors
    /// [`InvalidId::NotVisibleAscii`] if it is empty, longer than 64 bytes, or holds a space, a
    /// control character or anything beyond ASCII.
    pub fn new(id: impl AsRef<str>) -> Result<Self, InvalidId> {
        let id = id.as_ref();
        let fits = !id.is_empty() && id.len() <= Self::MAX_LEN;
        if fits && id.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(id.into()))
        } else {
            Err(InvalidId::NotVisibleAscii)
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for UserId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({:?})", &*self.0)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names an attempt: a UUID, version 7 where we mint it, so that ids sort by time of birth.
///
/// The time inside is for locality only; no rule reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(Uuid);

impl AttemptId {
    /// Takes a UUID as an id.
    pub const fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    /// The UUID.
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for AttemptId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| InvalidId::NotUuid)
    }
}

/// How many units one attempt asks for; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(NonZeroU32);

impl Quantity {
    /// One unit.
    pub const ONE: Self = Self(NonZeroU32::MIN);

    /// `units` units, or nothing for 0.
    pub const fn new(units: u32) -> Option<Self> {
        match NonZeroU32::new(units) {
            Some(units) => Some(Self(units)),
            None => None,
        }
    }

    /// The number of units.
    pub const fn units(self) -> u64 {
        self.0.get() as u64
    }
}

/// The generation of a sale's stock: it grows each time the stock is rebuilt from the orders, and
/// fences out whoever still acts for an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u32);

impl Epoch {
    /// The epoch of a new sale.
    pub const FIRST: Self = Self(1);

    /// The epoch with this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The epoch after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
