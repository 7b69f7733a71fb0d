//! Points in time as people write them.

use std::str::FromStr;

use flashsale_core::domain::Timestamp;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

use crate::config::duration_ms;

/// A point in time on the command line: `now`, `+1h` from now, or RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// So many milliseconds from now.
    In(i64),
    /// At this moment.
    At(Timestamp),
}

impl Moment {
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

impl FromStr for Moment {
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
        let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| ALLOWED)?;
        let millis = at.unix_timestamp_nanos().div_euclid(1_000_000);
        let millis = i64::try_from(millis).map_err(|_| ALLOWED)?;
        Ok(Self::At(Timestamp::from_millis(millis)))
    }
}

/// A moment as RFC 3339 in UTC with milliseconds. One outside the years 0 to 9999 shows as the
/// nearest second inside.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    const SHOWN: &[time::format_description::BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    const FIRST_MS: i64 = -62_167_219_200_000;
    const LAST_MS: i64 = 253_402_300_799_000;
    let millis = at.as_millis().clamp(FIRST_MS, LAST_MS);
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)
        .expect("the years 0 to 9999 can be shown")
        .to_offset(UtcOffset::UTC);
    moment
        .format(SHOWN)
        .expect("every part of the format is there")
}

#[cfg(test)]
mod tests {
    use flashsale_core::domain::Timestamp;

    use super::{Moment, rfc3339};

    #[test]
    fn now_and_times_from_now() {
        let now = Timestamp::from_millis(1_000);
        let from = |text: &str| text.parse::<Moment>().unwrap().from(now).as_millis();
        assert_eq!(from("now"), 1_000);
        assert_eq!(from("+1h"), 3_601_000);
        assert_eq!(from("+1h30m"), 5_401_000);
    }

    #[test]
    fn dates_of_any_offset() {
        let now = Timestamp::from_millis(0);
        let shown = |text: &str| rfc3339(text.parse::<Moment>().unwrap().from(now));
        assert_eq!(
            shown("2026-12-24T18:00:00+01:00"),
            "2026-12-24T17:00:00.000Z"
        );
        assert_eq!(
            shown("2026-12-24T12:00:00.5-05:00"),
            "2026-12-24T17:00:00.500Z"
        );
        assert_eq!(shown("2026-12-24t17:00:00z"), "2026-12-24T17:00:00.000Z");
        assert_eq!(
            shown("1969-12-31T23:59:59.999Z"),
            "1969-12-31T23:59:59.999Z"
        );
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
            let error = text.parse::<Moment>().unwrap_err();
            assert!(error.contains("+1h"), "{text:?}");
        }
    }

    #[test]
    fn the_ends_of_time_are_shown_all_the_same() {
        assert_eq!(
            rfc3339(Timestamp::from_millis(i64::MIN)),
            "0000-01-01T00:00:00.000Z"
        );
        assert_eq!(
            rfc3339(Timestamp::from_millis(i64::MAX)),
            "9999-12-31T23:59:59.000Z"
        );
    }
}
