use std::fmt;

use serde::{Deserialize, Serialize};

/// What is asked for, as one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "command", content = "with", rename_all = "snake_case")]
pub(crate) enum Request {
    /// Nothing; shows that somebody is there.
    Ping,
    /// Make a sale.
    SaleCreate(NewSaleWish),
    /// All sales.
    SaleList,
    /// One sale.
    SaleShow {
        /// Its id.
        sale: i64,
    },
    /// Change a sale.
    SaleChange {
        /// Its id.
        sale: i64,
        /// How.
        change: Change,
    },
    /// Make a user.
    UserCreate(NewUserWish),
    /// Account for every unit of a sale.
    Audit {
        /// Its id.
        sale: i64,
    },
}

impl Request {
    /// What is asked for, for the log.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::SaleCreate(_) => "sale create",
            Self::SaleList => "sale list",
            Self::SaleShow { .. } => "sale show",
            Self::SaleChange { change, .. } => match change {
                Change::Pause => "sale pause",
                Change::Resume => "sale resume",
                Change::Restock(_) => "sale restock",
                Change::Withdraw(_) => "sale withdraw",
                Change::Extend { .. } => "sale extend",
                Change::Close => "sale close",
            },
            Self::UserCreate(_) => "user create",
            Self::Audit { .. } => "audit",
        }
    }
}

impl Reply {
    /// How it ended, for the log.
    pub(crate) const fn outcome(&self) -> &'static str {
        match self {
            Self::Pong | Self::Sale(_) | Self::Sales(_) | Self::User(_) | Self::Audit(_) => "done",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
        }
    }
}

/// A sale to be made. Times are milliseconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NewSaleWish {
    pub(crate) product: String,
    pub(crate) description: String,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) stock: u64,
}

/// See [`SaleChange`](flashsale_core::domain::SaleChange).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Change {
    Pause,
    Resume,
    Restock(u64),
    Withdraw(u64),
    Extend { end_ms: i64 },
    Close,
}

/// A user to be made. The password does not show in `Debug` output.
#[derive(Serialize, Deserialize)]
pub(crate) struct NewUserWish {
    pub(crate) username: String,
    pub(crate) email: String,
    pub(crate) full_name: Option<String>,
    pub(crate) password: String,
    pub(crate) admin: bool,
}

impl fmt::Debug for NewUserWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUserWish")
            .field("username", &self.username)
            .field("admin", &self.admin)
            .finish_non_exhaustive()
    }
}

/// What came of a [`Request`], as one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", content = "with", rename_all = "snake_case")]
pub(crate) enum Reply {
    /// To [`Request::Ping`].
    Pong,
    /// A sale as it is now.
    Sale(SaleLine),
    /// All sales by ascending id.
    Sales(Vec<SaleLine>),
    /// The new user.
    User(UserLine),
    /// The account of a sale.
    Audit(AuditReport),
    /// It was not done, for a reason that the asker can do something about.
    Refused(String),
    /// It could not be done.
    Failed(String),
}

/// A sale as `--json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SaleLine {
    pub(crate) id: i64,
    pub(crate) product_id: i64,
    pub(crate) product_name: String,
    /// `UPCOMING`, `ACTIVE`, `PAUSED` or `ENDED`.
    pub(crate) status: String,
    /// All units ever put into the sale.
    pub(crate) stock: u64,
    /// Units to be had; nothing while the stock store does not have the sale.
    pub(crate) available: Option<u64>,
    pub(crate) start_time: String,
    pub(crate) end_time: String,
}

/// A user as `--json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserLine {
    pub(crate) user_id: String,
    pub(crate) username: String,
    pub(crate) email: String,
    /// `buyer` or `admin`.
    pub(crate) role: String,
}

/// The account of a sale as `--json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditReport {
    pub(crate) sale: SaleLine,
    /// `EXACT`, `DRIFT` or `VIOLATION`.
    pub(crate) verdict: String,
    /// Units, by the orders: all, sold, not sold.
    pub(crate) stock: u64,
    pub(crate) sold: u64,
    pub(crate) remaining: u64,
    /// Successful orders, failed attempts, users with more than one order.
    pub(crate) orders: u64,
    pub(crate) failed: u64,
    pub(crate) doubled_users: u64,
    /// Units, by the stock store; nothing if it does not have the sale.
    pub(crate) store: Option<StoreLevels>,
    /// What does not add up, in words.
    pub(crate) findings: Vec<String>,
}

/// The stock store's part of an [`AuditReport`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoreLevels {
    pub(crate) available: u64,
    pub(crate) reserved: u64,
    pub(crate) sold: u64,
}

#[cfg(test)]
mod tests {
    use super::{Change, NewUserWish, Request};

    #[test]
    fn requests_are_one_line_and_come_back_as_they_were() {
        let request = Request::SaleChange {
            sale: 7,
            change: Change::Restock(3),
        };
        let line = serde_json::to_string(&request).unwrap();
        assert_eq!(
            line,
            r#"{"command":"sale_change","with":{"sale":7,"change":{"restock":3}}}"#
        );
        let back: Request = serde_json::from_str(&line).unwrap();
        assert_eq!(format!("{back:?}"), format!("{request:?}"));
    }

    #[test]
    fn a_password_does_not_show() {
        let wish = NewUserWish {
            username: "ann".to_owned(),
            email: "ann@example.org".to_owned(),
            full_name: None,
            password: "hunter2".to_owned(),
            admin: false,
        };
        assert!(!format!("{:?}", Request::UserCreate(wish)).contains("hunter2"));
    }
}
