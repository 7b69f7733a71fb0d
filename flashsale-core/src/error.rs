use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// A port could not do what was asked, for a reason that is not a business rule.
///
/// A business "no" (sold out, name taken) is an `Ok` value of the port's method. This is a fault:
/// it names the adapter and the operation, keeps its source, and says in [`PortError::effect`]
/// whether the operation may have happened all the same.
#[derive(Clone, Debug)]
pub struct PortError {
    kind: ErrorKind,
    effect: Effect,
    adapter: &'static str,
    operation: &'static str,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What sort of fault it is, as far as a caller can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The store is away or does not answer in time; later may be better.
    Unavailable,
    /// Too much is waiting already; later will be better.
    Busy,
    /// No room is left for data; an operator has to make some.
    Full,
    /// The input breaks a limit of the port; the same call will never work.
    Invalid,
    /// Stored data is not what it has to be.
    Corrupt,
    /// The store is not set up for this use.
    Misconfigured,
    /// The adapter has stopped for good after a fault it cannot see through; restart the process.
    Stopped,
}

impl ErrorKind {
    /// Whether the same call may work later without anybody's help.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Unavailable | Self::Busy)
    }
}

/// Whether a failed operation has left something behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It has not happened.
    None,
    /// It may have happened: repeat it with the same attempt id only.
    Unknown,
}

impl PortError {
    /// A fault of `operation` in `adapter` that has left nothing behind.
    pub fn new(kind: ErrorKind, adapter: &'static str, operation: &'static str) -> Self {
        Self {
            kind,
            effect: Effect::None,
            adapter,
            operation,
            source: None,
        }
    }

    /// The same fault, but it may have happened all the same.
    #[must_use]
    pub fn effect_unknown(mut self) -> Self {
        self.effect = Effect::Unknown;
        self
    }

    /// The same fault with what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// What sort of fault it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether it may have happened all the same.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// The adapter, e.g. `embedded`.
    pub fn adapter(&self) -> &'static str {
        self.adapter
    }

    /// The operation, e.g. `reserve`.
    pub fn operation(&self) -> &'static str {
        self.operation
    }
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ErrorKind::Unavailable => "the store does not answer",
            ErrorKind::Busy => "too much is waiting",
            ErrorKind::Full => "no room is left",
            ErrorKind::Invalid => "the input breaks a limit",
            ErrorKind::Corrupt => "stored data is damaged",
            ErrorKind::Misconfigured => "the store is not set up for this",
            ErrorKind::Stopped => "stopped after a fault, restart the process",
        };
        write!(f, "{} {}: {what}", self.adapter, self.operation)?;
        match self.effect {
            Effect::None => Ok(()),
            Effect::Unknown => f.write_str(" (it may have happened all the same)"),
        }
    }
}

impl Error for PortError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}
