/// The milliseconds of a text like `24h`, `30m`, `1h30m`, `90s` or `7d`; plain digits are seconds.
///
/// Nothing if it is not such a text or longer than the range of an `i64`.
pub(crate) fn duration_ms(text: &str) -> Option<i64> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse::<i64>().ok()?.checked_mul(1_000);
    }
    let mut rest = text;
    let mut total = 0_i64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let unit_ms = match tail.as_bytes().first()? {
            b's' => 1_000,
            b'm' => 60_000,
            b'h' => 3_600_000,
            b'd' => 86_400_000,
            _ => return None,
        };
        let part = number.parse::<i64>().ok()?.checked_mul(unit_ms)?;
        total = total.checked_add(part)?;
        rest = &tail[1..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::duration_ms;

    #[test]
    fn units_add_up_and_plain_digits_are_seconds() {
        assert_eq!(duration_ms("24h"), Some(86_400_000));
        assert_eq!(duration_ms("1h30m"), Some(5_400_000));
        assert_eq!(duration_ms("90s"), Some(90_000));
        assert_eq!(duration_ms("7d"), Some(604_800_000));
        assert_eq!(duration_ms("3600"), Some(3_600_000));
    }

    #[test]
    fn anything_else_is_nothing() {
        for text in [
            "",
            "h",
            "1x",
            "-1h",
            "1 h",
            "1.5h",
            "+1h",
            "ß",
            "1ß",
            "1h3",
            "99999999999999999d",
            "9223372036854775807",
        ] {
            assert_eq!(duration_ms(text), None, "{text:?}");
        }
    }
}
