//! Points in time as RFC 3339 writes them.

use flashsale_core::domain::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The moment as RFC 3339 in UTC with milliseconds, e.g. `2026-01-01T00:00:00.000Z`.
///
/// RFC 3339 knows the years 0 to 9999; moments outside are shown as the nearest one inside.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    const FIRST_MS: i64 = -62_167_219_200_000;
    const LAST_MS: i64 = 253_402_300_799_999;
    let ms = at.as_millis().clamp(FIRST_MS, LAST_MS);
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.millisecond()
    )
}

/// The moment that a text names, to the millisecond before it; nothing if it is not RFC 3339.
pub(crate) fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let ms = at.unix_timestamp_nanos().div_euclid(1_000_000);
    Some(Timestamp::from_millis(i64::try_from(ms).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_in_utc_with_milliseconds() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_767_225_600_000, "2026-01-01T00:00:00.000Z"),
            (1_767_225_600_007, "2026-01-01T00:00:00.007Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
            (i64::MIN, "0000-01-01T00:00:00.000Z"),
        ];
        for (ms, text) in cases {
            assert_eq!(rfc3339(Timestamp::from_millis(ms)), text);
        }
    }

    #[test]
    fn dates_of_any_offset_are_read() {
        let cases = [
            ("2026-12-24T18:00:00+01:00", "2026-12-24T17:00:00.000Z"),
            ("2026-12-24T12:00:00.5-05:00", "2026-12-24T17:00:00.500Z"),
            ("2026-12-24t17:00:00z", "2026-12-24T17:00:00.000Z"),
            ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
        ];
        for (text, shown) in cases {
            assert_eq!(parse_rfc3339(text).map(rfc3339).as_deref(), Some(shown));
        }
        for text in ["2026-12-24", "2026-12-24T18:00:00", "2026-13-01T00:00:00Z"] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }
}
