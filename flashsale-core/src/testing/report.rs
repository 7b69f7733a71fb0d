use std::fmt;

use crate::error::PortError;

/// What a conformance suite has found, case by case.
#[derive(Clone, Debug)]
pub struct Report {
    suite: &'static str,
    cases: Vec<Case>,
}

/// One case of a [`Report`].
#[derive(Clone, Debug)]
pub struct Case {
    /// The sentence of the contract that it checks, with underscores for blanks.
    pub name: &'static str,
    /// What came out.
    pub verdict: CaseVerdict,
}

/// What came out of a [`Case`].
#[derive(Clone, Debug)]
pub enum CaseVerdict {
    /// The adapter keeps the sentence.
    Passed,
    /// The fixture cannot show it, for example because its adapter is not durable.
    Skipped,
    /// The adapter breaks the sentence.
    Failed(Violation),
}

/// How an adapter broke its contract, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(String);

impl Violation {
    /// A violation in these words.
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<PortError> for Violation {
    fn from(error: PortError) -> Self {
        let mut words = format!("an unexpected fault: {error}");
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            words.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        Self(words)
    }
}

/// What a case returns: whether it could be run at all, or what went wrong.
pub(super) type Checked = Result<Ran, Violation>;

/// Whether a case could be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ran {
    Yes,
    Skipped,
}

impl Report {
    pub(super) fn new(suite: &'static str) -> Self {
        Self {
            suite,
            cases: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, name: &'static str, checked: Checked) {
        let verdict = match checked {
            Ok(Ran::Yes) => CaseVerdict::Passed,
            Ok(Ran::Skipped) => CaseVerdict::Skipped,
            Err(violation) => CaseVerdict::Failed(violation),
        };
        self.cases.push(Case { name, verdict });
    }

    /// All cases, in the order they were run in.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// The names of the cases that failed.
    pub fn failed(&self) -> Vec<&'static str> {
        self.names(|verdict| matches!(verdict, CaseVerdict::Failed(_)))
    }

    /// The names of the cases that the fixture could not show.
    pub fn skipped(&self) -> Vec<&'static str> {
        self.names(|verdict| matches!(verdict, CaseVerdict::Skipped))
    }

    /// Passes if no case failed.
    ///
    /// # Panics
    /// With the whole report if one did.
    pub fn assert_passed(&self) {
        assert!(self.failed().is_empty(), "{self}");
    }

    fn names(&self, wanted: impl Fn(&CaseVerdict) -> bool) -> Vec<&'static str> {
        let cases = self.cases.iter().filter(|case| wanted(&case.verdict));
        cases.map(|case| case.name).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (failed, all) = (self.failed().len(), self.cases.len());
        writeln!(f, "{}: {failed} of {all} cases failed", self.suite)?;
        for case in &self.cases {
            match &case.verdict {
                CaseVerdict::Passed => writeln!(f, "  ok       {}", case.name)?,
                CaseVerdict::Skipped => writeln!(f, "  skipped  {}", case.name)?,
                CaseVerdict::Failed(why) => writeln!(f, "  FAILED   {}: {why}", case.name)?,
            }
        }
        Ok(())
    }
}

/// Leaves the case with a violation unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return Err($crate::testing::Violation::new(format!($($words)+)));
        }
    };
}

/// Leaves the case with a violation unless both values are equal: what it is about, what there is,
/// what there has to be.
macro_rules! ensure_eq {
    ($what:expr, $actual:expr, $expected:expr) => {{
        let (actual, expected) = (&$actual, &$expected);
        if actual != expected {
            return Err($crate::testing::Violation::new(format!(
                "{}: must be {expected:?}, is {actual:?}",
                $what
            )));
        }
    }};
}

/// Leaves the case with a violation unless the value matches the pattern.
macro_rules! ensure_matches {
    ($what:expr, $actual:expr, $pattern:pat $(if $guard:expr)?) => {{
        let actual = &$actual;
        if !matches!(actual, $pattern $(if $guard)?) {
            return Err($crate::testing::Violation::new(format!(
                "{}: must be {}, is {actual:?}",
                $what,
                stringify!($pattern $(if $guard)?)
            )));
        }
    }};
}

/// Runs cases, each an `async fn(&dyn Fixture<_>) -> Checked`, and notes what comes out.
macro_rules! run_cases {
    ($report:ident, $fixture:ident, [$($module:ident::$name:ident),* $(,)?]) => {
        $( $report.add(stringify!($name), $module::$name($fixture).await); )*
    };
    ($report:ident, $fixture:ident, [$($name:ident),* $(,)?]) => {
        $( $report.add(stringify!($name), $name($fixture).await); )*
    };
}

pub(super) use {ensure, ensure_eq, ensure_matches, run_cases};
