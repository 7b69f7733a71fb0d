use std::str::FromStr;

use flashsale_core::domain::Timestamp;

use crate::config::duration_ms;
use crate::rfc3339::parse_rfc3339;

/// A point in time on the command line: `now`, `+1h` from now, or RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeArg {
    /// So many milliseconds from now.
    In(i64),
    /// At this moment.
    At(Timestamp),
}

impl TimeArg {
    /// A hundred years: more is a typing error.
    const AHEAD_MS_MAX: i64 = 100 * 366 * 86_400_000;

    /// The moment, if it is `now`.
    pub(crate) fn from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::In(ms) => now.plus_ms(ms),
            Self::At(at) => at,
        }
    }
}

impl FromStr for TimeArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const ALLOWED: &str = "must be `now`, a time from now like +30m, +1h or +2d, \
                               or a date like 2026-12-24T18:00:00+01:00";
        if text.eq_ignore_ascii_case("now") {
            return Ok(Self::In(0));
        }
        if let Some(ahead) = text.strip_prefix('+') {
            let ahead = duration_ms(ahead).filter(|ms| *ms <= Self::AHEAD_MS_MAX);
            return ahead.map(Self::In).ok_or(ALLOWED);
        }
        parse_rfc3339(text).map(Self::At).ok_or(ALLOWED)
    }
}

#[cfg(test)]
mod tests {
    use flashsale_core::domain::Timestamp;

    use super::TimeArg;

    #[test]
    fn now_times_from_now_and_dates() {
        let now = Timestamp::from_millis(1_000);
        let from = |text: &str| text.parse::<TimeArg>().unwrap().from(now).as_millis();
        assert_eq!(from("now"), 1_000);
        assert_eq!(from("+1h"), 3_601_000);
        assert_eq!(from("+1h30m"), 5_401_000);
        assert_eq!(from("1970-01-01T01:00:02+01:00"), 2_000);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "+",
            "1h",
            "-1h",
            "tomorrow",
            "+1w",
            "2026-12-24",
            "2026-12-24T18:00:00",
            "+99999999d",
            "2026-13-01T00:00:00Z",
        ] {
            let error = text.parse::<TimeArg>().unwrap_err();
            assert!(error.contains("+1h"), "{text:?}");
        }
    }
}
