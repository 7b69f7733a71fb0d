use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use jsonwebtoken::{crypto, decode_header, encode};

use crate::config::JwtConfig;
use crate::error::ConfigError;
use crate::jwt_key::{JwtKey, read, unusable};

/// Keys made ready to sign and verify, in the order of the configuration.
pub(crate) struct KeyTable {
    keys: Vec<ReadyKey>,
}

/// A key, and all that does not change from token to token.
pub(crate) struct ReadyKey {
    kid: String,
    pub(crate) header: Header,
    /// The header as it stands in every token that this key has signed here, with the dot after it.
    encoded_header: String,
    pub(crate) signing: Option<EncodingKey>,
    pub(crate) verifying: DecodingKey,
    pub(crate) validation: Validation,
}

impl KeyTable {
    /// Makes the keys of a valid configuration ready. The cryptography must be installed.
    pub(crate) fn new(config: &JwtConfig) -> Result<Self, ConfigError> {
        let keys = config.keys.iter().map(|key| ReadyKey::new(key, config));
        Ok(Self {
            keys: keys.collect::<Result<_, _>>()?,
        })
    }

    /// The key that signs.
    pub(crate) fn first(&self) -> &ReadyKey {
        &self.keys[0]
    }

    /// The key that the header of the token names; the first one if it names none.
    pub(crate) fn key_of(&self, token: &str) -> Option<&ReadyKey> {
        // Nearly all tokens are our own, and their headers need not be parsed to be known.
        let own = |key: &&ReadyKey| token.starts_with(&key.encoded_header);
        if let Some(key) = self.keys.iter().find(own) {
            return Some(key);
        }
        let header = decode_header(token).ok()?;
        if header.crit.is_some() {
            // It names extensions that must be understood (RFC 7515, section 4.1.11).
            return None;
        }
        match header.kid {
            Some(kid) => self.keys.iter().find(|key| key.kid == kid),
            None => self.keys.first(),
        }
    }

    pub(crate) fn kids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.kid.as_str())
    }
}

impl ReadyKey {
    fn new(key: &JwtKey, config: &JwtConfig) -> Result<Self, ConfigError> {
        let (algorithm, signing, verifying) = read(key)?;
        // Unless the program around us has installed cryptography that lacks the algorithm, this
        // signature is merely wrong.
        crypto::verify("", b"", &verifying, algorithm).map_err(|e| unusable(key, e))?;
        let mut header = Header::new(algorithm);
        header.kid = Some(key.kid.clone());
        let encoded_header = match &signing {
            Some(signing) => {
                let token = encode(&header, &(), signing).map_err(|e| unusable(key, e))?;
                token.split_inclusive('.').take(1).collect()
            }
            None => String::from("."),
        };
        Ok(Self {
            kid: key.kid.clone(),
            header,
            encoded_header,
            signing,
            verifying,
            validation: validation(algorithm, config),
        })
    }
}

/// What `jsonwebtoken` has to check. Times are left out: it would read the system clock.
fn validation(algorithm: Algorithm, config: &JwtConfig) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    if let Some(issuer) = &config.issuer {
        validation.set_issuer(&[issuer]);
        validation.required_spec_claims.insert("iss".to_owned());
    }
    if let Some(audience) = &config.audience {
        validation.set_audience(&[audience]);
        validation.required_spec_claims.insert("aud".to_owned());
    }
    validation
}
