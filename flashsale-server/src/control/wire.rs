//! The form in which values of the core cross the socket; the compiler holds it to them.

use flashsale_core::domain::{
    AttemptId, ChangeRefused, Decision, FailReason, Kept, NewSaleRefused, OrderId, Phase, Quantity,
    SaleChange, SaleId, Timestamp,
};
use flashsale_core::services::{Field, Finding, Verdict};
use serde::{Deserialize, Serialize};

/// A module for `#[serde(with)]`: a value as what it wraps, if that can be wrapped.
macro_rules! wrapped {
    ($name:ident: $value:ty as $plain:ty, $take:expr, $make:expr) => {
        mod $name {
            use super::*;
            use serde::de::{Deserializer, Error};
            use serde::ser::Serializer;

            pub(super) fn serialize<S: Serializer>(
                value: &$value,
                to: S,
            ) -> Result<S::Ok, S::Error> {
                let plain: $plain = $take(*value);
                plain.serialize(to)
            }

            pub(super) fn deserialize<'de, D: Deserializer<'de>>(
                from: D,
            ) -> Result<$value, D::Error> {
                let plain = <$plain>::deserialize(from)?;
                $make(plain).ok_or_else(|| D::Error::custom(concat!("no ", stringify!($value))))
            }
        }
    };
}

wrapped!(attempt_id: AttemptId as uuid::Uuid, AttemptId::as_uuid, |id| Some(AttemptId::from_uuid(id)));
wrapped!(order_id: OrderId as i64, OrderId::get, |id| OrderId::new(id).ok());
wrapped!(sale_id: SaleId as i64, SaleId::get, |id| SaleId::new(id).ok());
wrapped!(millis: Timestamp as i64, Timestamp::as_millis, |ms| Some(Timestamp::from_millis(ms)));
wrapped!(units: Quantity as u32, |units: Quantity| units.units() as u32, Quantity::new);

#[derive(Serialize, Deserialize)]
#[serde(remote = "SaleChange", rename_all = "snake_case")]
pub(super) enum SaleChangeDef {
    Pause,
    Resume,
    Restock(u64),
    Withdraw(u64),
    Extend(#[serde(with = "millis")] Timestamp),
    Close,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "NewSaleRefused", rename_all = "snake_case")]
pub(super) enum NewSaleRefusedDef {
    ProductName,
    Window,
    Stock,
    Overlaps(#[serde(with = "sale_id")] SaleId),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ChangeRefused", rename_all = "snake_case")]
pub(super) enum ChangeRefusedDef {
    Closed,
    Phase(#[serde(with = "PhaseDef")] Phase),
    Units { most: u64 },
    Withdrawal { most: u64 },
    End(#[serde(with = "millis")] Timestamp),
    Overlaps(#[serde(with = "sale_id")] SaleId),
    Over,
    Outdated,
    NotReady,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Phase", rename_all = "snake_case")]
enum PhaseDef {
    Scheduled,
    Open,
    Paused,
    Recovering,
    Closed,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Field", rename_all = "snake_case")]
pub(super) enum FieldDef {
    Username,
    Email,
    Password,
    FullName,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Decision", rename_all = "snake_case")]
pub(super) enum DecisionDef {
    Success(#[serde(with = "order_id")] OrderId),
    Failed(#[serde(with = "FailReasonDef")] FailReason),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "FailReason", rename_all = "snake_case")]
enum FailReasonDef {
    NoStock,
    Duplicate(#[serde(with = "KeptDef")] Kept),
    StaleEpoch,
    Cancelled,
    Expired,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Kept")]
struct KeptDef {
    #[serde(with = "order_id")]
    order: OrderId,
    #[serde(with = "attempt_id")]
    attempt: AttemptId,
    #[serde(with = "units")]
    quantity: Quantity,
}

/// As `--json` prints it, too.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Verdict", rename_all = "UPPERCASE")]
pub(super) enum VerdictDef {
    Exact,
    Drift,
    Violation,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Finding", rename_all = "snake_case")]
pub(super) enum FindingDef {
    Oversold {
        units: u64,
    },
    BooksDoNotBalance {
        stock: u64,
        remaining: u64,
        sold: u64,
    },
    DoubledUsers {
        users: u64,
    },
    SoldWithoutOrder {
        units: u64,
    },
    OrderedNotTaken {
        units: u64,
    },
    StockDiffers {
        held: u64,
        expected: u64,
    },
    NotLoaded,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Happening, Refusal, Reply};

    /// Takes a reply across.
    fn crossed(reply: &Reply) -> String {
        let line = serde_json::to_string(reply).unwrap();
        let back: Reply = serde_json::from_str(&line).unwrap();
        assert_eq!(format!("{back:?}"), format!("{reply:?}"), "{line}");
        line
    }

    #[test]
    fn refusals_come_across_as_they_were() {
        let sale = SaleId::new(7).unwrap();
        let end = Timestamp::from_millis(1_000);
        let line = crossed(&Reply::Refused(Refusal::NewSale(NewSaleRefused::Overlaps(
            sale,
        ))));
        assert_eq!(
            line,
            r#"{"answer":"refused","with":{"new_sale":{"overlaps":7}}}"#
        );
        for refused in [
            ChangeRefused::Phase(Phase::Paused),
            ChangeRefused::Withdrawal { most: 0 },
            ChangeRefused::End(end),
            ChangeRefused::Overlaps(sale),
            ChangeRefused::NotReady,
        ] {
            crossed(&Reply::Refused(Refusal::Change {
                sale: 7,
                change: SaleChange::Extend(end),
                refused,
            }));
        }
        crossed(&Reply::TimedOut);
    }

    #[test]
    fn what_cannot_be_is_not_taken() {
        let line = r#"{"answer":"refused","with":{"new_sale":{"overlaps":0}}}"#;
        let error = serde_json::from_str::<Reply>(line).unwrap_err();
        assert!(error.to_string().contains("no SaleId"), "{error}");
    }

    #[test]
    fn decisions_come_across_as_they_were() {
        let kept = Kept {
            order: OrderId::new(3).unwrap(),
            attempt: AttemptId::from_uuid(uuid::Uuid::from_u128(9)),
            quantity: Quantity::ONE,
        };
        let decision = Decision::Failed(FailReason::Duplicate(kept));
        crossed(&Reply::Replayed { id: 1, decision });
        let line = serde_json::to_string(&Happening::Decided(decision)).unwrap();
        let back: Happening = serde_json::from_str(&line).unwrap();
        assert_eq!(back, Happening::Decided(decision));
    }
}
