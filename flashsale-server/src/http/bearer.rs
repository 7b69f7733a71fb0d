use flashsale_core::ports::Claims;
use flashsale_core::services::AuthService;
use poem::http::{HeaderMap, header};

use super::api_error::{ApiError, Code};

/// Who sent the request.
///
/// # Errors
/// `UNAUTHORIZED` if there is no token, more than one, or none of ours that is valid now.
pub(super) fn authenticate(auth: &AuthService, headers: &HeaderMap) -> Result<Claims, ApiError> {
    let token = token(headers).ok_or(Code::Unauthorized)?;
    auth.verify(token).map_err(|_| Code::Unauthorized.into())
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let mut credentials = headers.get_all(header::AUTHORIZATION).iter();
    let (first, None) = (credentials.next()?, credentials.next()) else {
        return None;
    };
    let (scheme, token) = first.to_str().ok()?.split_once(' ')?;
    let bearer = scheme.eq_ignore_ascii_case("bearer");
    bearer.then_some(token.trim_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_whatever_the_case_of_its_scheme_and_nowhere_else() {
        let found = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            token(&headers).map(str::to_owned)
        };
        for good in ["Bearer abc", "bearer abc", "BEARER abc", "Bearer  abc "] {
            assert_eq!(found(&[good]).as_deref(), Some("abc"), "{good}");
        }
        for bad in ["abc", "Basic abc", "Bearer", "Bearer\tabc", "é abc"] {
            assert_eq!(found(&[bad]), None, "{bad}");
        }
        assert_eq!(found(&[]), None);
        assert_eq!(found(&["Bearer abc", "Bearer abc"]), None);
    }
}
