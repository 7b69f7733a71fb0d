use flashsale_core::domain::{ChangeRefused, NewSaleRefused, SaleChange};
use flashsale_core::services::Field;
use serde::{Deserialize, Serialize};

use super::wire::{ChangeRefusedDef, FieldDef, NewSaleRefusedDef, SaleChangeDef};

/// Why something was not done, where the asker can do something about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Refusal {
    /// No sale has this id.
    UnknownSale(i64),
    /// No dead letter has this id.
    UnknownDeadLetter(i64),
    /// There cannot be such a sale.
    NewSale(#[serde(with = "NewSaleRefusedDef")] NewSaleRefused),
    /// The sale cannot be changed so.
    Change {
        /// The sale.
        sale: i64,
        /// What was to be done.
        #[serde(with = "SaleChangeDef")]
        change: SaleChange,
        /// Why not.
        #[serde(with = "ChangeRefusedDef")]
        refused: ChangeRefused,
    },
    /// Another user has the username.
    UsernameTaken,
    /// Another user has the e-mail address.
    EmailTaken,
    /// What was entered for a user breaks a rule.
    Invalid {
        /// What is wrong.
        #[serde(with = "FieldDef")]
        field: Field,
        /// What it has to be.
        rule: String,
    },
    /// No user can have such an id.
    UserId,
    /// The dead letter still is no attempt that can be decided.
    Undecodable {
        /// The dead letter.
        id: i64,
        /// Why.
        problem: String,
    },
    /// The request did not come in time.
    RequestLate,
    /// The request cannot be read.
    RequestUnreadable {
        /// What the system says.
        problem: String,
    },
    /// The request is no line, or one that is too long.
    RequestNoLine {
        /// The longest request, in bytes.
        max: u64,
    },
    /// The request is of another version of the program.
    RequestUnknown,
}
