//! Ids nobody else uses, and values made of them.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

use crate::domain::{
    Attempt, AttemptId, Epoch, NewSale, ProductId, Quantity, SaleId, SaleRef, Timestamp, UserId,
    Window,
};

/// When the sales of the suites start.
pub(super) const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
/// How long they last.
pub(super) const HOUR_MS: i64 = 3_600_000;
/// Their window.
pub(super) const WINDOW: Window = Window {
    start: START,
    end: START.plus_ms(HOUR_MS),
};

/// A number that neither this process nor, in all likelihood, another has had; below 2^50, so that
/// a store that counts in doubles keeps it.
pub(super) fn fresh_number() -> u64 {
    static BASE: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish() >> 15);
    static NEXT: AtomicU64 = AtomicU64::new(1);
    *BASE + NEXT.fetch_add(1, Ordering::Relaxed)
}

pub(super) fn fresh_attempt_id() -> AttemptId {
    static HIGH: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());
    AttemptId::from_uuid(Uuid::from_u64_pair(*HIGH, fresh_number()))
}

/// A sale that no store knows, with a product of its own.
pub(super) fn fresh_sale() -> SaleRef {
    let positive = i64::try_from(fresh_number()).unwrap_or(i64::MAX);
    SaleRef {
        id: SaleId::new(positive).expect("fresh numbers are positive"),
        product: ProductId::new(positive).expect("fresh numbers are positive"),
        epoch: Epoch::FIRST,
    }
}

/// A sale to be stored, of a product that nobody else sells.
pub(super) fn fresh_new_sale(stock: u64) -> NewSale {
    NewSale {
        product_name: format!("product {}", fresh_number()),
        product_description: "sold by a conformance suite".to_owned(),
        window: WINDOW,
        stock,
    }
}

/// The user with this number.
pub(super) fn user(number: u64) -> UserId {
    UserId::new(format!("user-{number}")).expect("visible ASCII")
}

/// Some units.
pub(super) fn units(units: u32) -> Quantity {
    Quantity::new(units).expect("at least one unit")
}

/// A fresh attempt of a user at one unit, `seq` milliseconds into the sale.
pub(super) fn attempt(sale: &SaleRef, user: UserId, seq: u64) -> Attempt {
    Attempt {
        id: fresh_attempt_id(),
        sale: sale.id,
        product: sale.product,
        user,
        quantity: Quantity::ONE,
        epoch: sale.epoch,
        seq,
        reserved_at: START.plus_ms(i64::try_from(seq).unwrap_or(0)),
    }
}
