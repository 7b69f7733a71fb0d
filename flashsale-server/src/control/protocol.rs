use std::fmt;

use flashsale_core::domain::{Decision, SaleChange};
use flashsale_core::services::{Finding, Verdict};
use serde::{Deserialize, Serialize};

use super::Refusal;
use super::wire::{DecisionDef, FindingDef, SaleChangeDef, VerdictDef};

/// What is asked for, as one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "command", content = "with", rename_all = "snake_case")]
pub(crate) enum Request {
    /// Nothing; shows that somebody is there.
    Ping,
    /// Make a sale.
    SaleCreate(NewSaleRequest),
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
        #[serde(with = "SaleChangeDef")]
        change: SaleChange,
    },
    /// Make a user.
    UserCreate(NewUserRequest),
    /// Account for every unit of a sale.
    Audit {
        /// Its id.
        sale: i64,
        /// Whether what can be brought in line is, first.
        repair: bool,
    },
    /// What one user tried in a sale.
    UserTimeline {
        /// The sale.
        sale: i64,
        /// The user.
        user: String,
    },
    /// Dead letters after this id, so many at most.
    DeadLetters {
        /// Those after this one.
        after: i64,
        /// So many.
        max: usize,
    },
    /// One dead letter.
    DeadLetter {
        /// Its id.
        id: i64,
    },
    /// Try once more to make an order of a dead letter.
    Replay {
        /// Its id.
        id: i64,
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
                SaleChange::Pause => "sale pause",
                SaleChange::Resume => "sale resume",
                SaleChange::Restock(_) => "sale restock",
                SaleChange::Withdraw(_) => "sale withdraw",
                SaleChange::Extend(_) => "sale extend",
                SaleChange::Close => "sale close",
            },
            Self::UserCreate(_) => "user create",
            Self::Audit { repair: false, .. } => "audit",
            Self::Audit { repair: true, .. } => "audit --repair",
            Self::UserTimeline { .. } => "audit --user",
            Self::DeadLetters { .. } => "dlq list",
            Self::DeadLetter { .. } => "dlq show",
            Self::Replay { .. } => "dlq replay",
        }
    }
}

impl Reply {
    /// How it ended, for the log.
    pub(crate) const fn outcome(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Failed(_) | Self::TimedOut => "failed",
            _ => "done",
        }
    }
}

/// A sale to be made. Times are milliseconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NewSaleRequest {
    pub(crate) product: String,
    pub(crate) description: String,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) stock: u64,
}

/// A user to be made. The password does not show in `Debug` output.
#[derive(Serialize, Deserialize)]
pub(crate) struct NewUserRequest {
    pub(crate) username: String,
    pub(crate) email: String,
    pub(crate) full_name: Option<String>,
    pub(crate) password: String,
    pub(crate) admin: bool,
}

impl fmt::Debug for NewUserRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUserRequest")
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
    /// What a user tried.
    UserTimeline(TimelineReport),
    /// Dead letters by ascending id.
    DeadLetters(Vec<DeadLetterLine>),
    /// One dead letter.
    DeadLetter(DeadLetterLine),
    /// What was decided about the attempt that a dead letter is.
    Replayed {
        /// The dead letter.
        id: i64,
        /// The decision.
        #[serde(with = "DecisionDef")]
        decision: Decision,
    },
    /// It was not done, for a reason that the asker can do something about.
    Refused(Refusal),
    /// It could not be done: the fault and what is behind it.
    Failed(String),
    /// It took too long, and may still have happened.
    TimedOut,
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

/// The account of a sale, and what does not add up in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuditReport {
    pub(crate) figures: AuditFigures,
    pub(crate) findings: Vec<FindingLine>,
}

/// One finding of an [`AuditReport`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FindingLine(#[serde(with = "FindingDef")] pub(crate) Finding);

/// The figures of an [`AuditReport`] as `--json` prints them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditFigures {
    pub(crate) sale: SaleLine,
    #[serde(with = "VerdictDef")]
    pub(crate) verdict: Verdict,
    /// Units, by the orders: all, sold, not sold.
    pub(crate) stock: u64,
    pub(crate) sold: u64,
    pub(crate) remaining: u64,
    /// Successful orders, failed attempts, users with more than one order.
    pub(crate) orders: u64,
    pub(crate) failed: u64,
    pub(crate) doubled_users: u64,
    /// Items of the queue, of all sales, that the workers have not done; nothing if the queue was not
    /// asked or does not answer.
    pub(crate) queued: Option<u64>,
    /// Units, by the stock store; nothing if it does not have the sale.
    pub(crate) store: Option<StoreLevels>,
}

/// The stock store's part of the [`AuditFigures`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoreLevels {
    pub(crate) available: u64,
    pub(crate) reserved: u64,
    pub(crate) sold: u64,
    /// Attempts that are not decided, and those of them that the queue does not have yet.
    pub(crate) undecided: u64,
    pub(crate) unpublished: u64,
}

/// What one user tried in a sale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TimelineReport {
    pub(crate) sale: SaleLine,
    pub(crate) user_id: String,
    /// What happened, the oldest first.
    pub(crate) events: Vec<TimelineEvent>,
    /// How things stand now.
    pub(crate) standing: Standing,
    /// What the buyer reads of it.
    pub(crate) reads: Reads,
}

/// A line of a [`TimelineReport`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TimelineEvent {
    pub(crate) at: String,
    pub(crate) attempt_id: Option<String>,
    pub(crate) what: Happening,
}

/// What happened to a user in a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Happening {
    /// Refused: no unit was left.
    SoldOut,
    /// Refused: the sale had not started.
    NotStarted,
    /// Refused: the sale was over.
    Ended,
    /// Refused: the sale was paused.
    Paused,
    /// Accepted; what was decided is told by itself.
    Accepted,
    /// Accepted, and not decided yet.
    Allocated,
    /// Decided.
    Decided(#[serde(with = "DecisionDef")] Decision),
}

/// How things stand between a user and a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// There is an order of this id.
    Ordered(i64),
    /// An attempt is not decided yet, but the queue has it.
    Queued,
    /// An attempt is not decided yet, and the queue may not have it.
    InOutbox,
    /// The stock store has an attempt as sold, but there is no order.
    SoldWithoutOrder,
    /// Whatever was accepted has failed.
    Failed,
    /// Nothing was accepted.
    Nothing,
}

/// What a buyer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reads {
    Success,
    Pending,
    Failed,
    NoAttempt,
}

/// A dead letter as `--json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeadLetterLine {
    pub(crate) id: i64,
    pub(crate) kept_at: String,
    pub(crate) replayed_at: Option<String>,
    /// Where it stood in the queue.
    pub(crate) position: String,
    pub(crate) problem: String,
    /// As text if it is one, else in hexadecimal digits after `0x`.
    pub(crate) payload: String,
}

#[cfg(test)]
mod tests {
    use super::{NewUserRequest, Request, SaleChange};

    #[test]
    fn requests_are_one_line_and_come_back_as_they_were() {
        let request = Request::SaleChange {
            sale: 7,
            change: SaleChange::Restock(3),
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
        let request = NewUserRequest {
            username: "ann".to_owned(),
            email: "ann@example.org".to_owned(),
            full_name: None,
            password: "hunter2".to_owned(),
            admin: false,
        };
        assert!(!format!("{:?}", Request::UserCreate(request)).contains("hunter2"));
    }
}
