use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use jsonwebtoken::{crypto, decode_header, encode};

use crate::config::JwtConfig;
use crate::error::ConfigError;
use crate::jwt_key::{JwtKey, KeyMaterial};

/// The most keys a table may have.
const KEYS_MAX: usize = 16;

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

/// Checks a table of keys.
pub(crate) fn validate(keys: &[JwtKey]) -> Result<(), ConfigError> {
    if !(1..=KEYS_MAX).contains(&keys.len()) {
        let (count, max) = (keys.len(), KEYS_MAX);
        return Err(ConfigError::KeyCount { count, max });
    }
    for (index, key) in keys.iter().enumerate() {
        let (kid, max) = (key.kid.clone(), JwtKey::KID_MAX);
        let fits = (1..=max).contains(&kid.len()) && kid.bytes().all(|b| b.is_ascii_graphic());
        if !fits {
            return Err(ConfigError::KeyId { kid, max });
        }
        if keys[..index].iter().any(|earlier| earlier.kid == kid) {
            return Err(ConfigError::KeyIdTwice { kid });
        }
        read(key)?;
    }
    Ok(())
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

/// A key in the form of `jsonwebtoken`: its algorithm, what signs, what verifies.
type Read = (Algorithm, Option<EncodingKey>, DecodingKey);

fn read(key: &JwtKey) -> Result<Read, ConfigError> {
    match &key.material {
        KeyMaterial::Secret(secret) => {
            let (min, max) = (JwtKey::SECRET_MIN, JwtKey::SECRET_MAX);
            if !(min..=max).contains(&secret.len()) {
                return Err(ConfigError::SecretLength {
                    kid: key.kid.clone(),
                    len: secret.len(),
                    min,
                    max,
                });
            }
            let signing = EncodingKey::from_secret(secret);
            let verifying = DecodingKey::from_secret(secret);
            Ok((Algorithm::HS256, Some(signing), verifying))
        }
        #[cfg(feature = "eddsa")]
        KeyMaterial::Ed25519PrivatePem(pem) => {
            use ed25519_dalek::SigningKey;
            use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};

            let private = SigningKey::from_pkcs8_pem(pem).map_err(|e| unusable(key, e))?;
            let der = private.to_pkcs8_der().map_err(|e| unusable(key, e))?;
            let signing = EncodingKey::from_ed_der(der.as_bytes());
            let verifying = DecodingKey::from_ed_der(private.verifying_key().as_bytes());
            Ok((Algorithm::EdDSA, Some(signing), verifying))
        }
        #[cfg(feature = "eddsa")]
        KeyMaterial::Ed25519PublicPem(pem) => {
            use ed25519_dalek::VerifyingKey;
            use ed25519_dalek::pkcs8::DecodePublicKey;

            let public = VerifyingKey::from_public_key_pem(pem).map_err(|e| unusable(key, e))?;
            if public.is_weak() {
                return Err(unusable(
                    key,
                    "anybody can sign for this point of the curve",
                ));
            }
            let verifying = DecodingKey::from_ed_der(public.as_bytes());
            Ok((Algorithm::EdDSA, None, verifying))
        }
        #[cfg(feature = "rs256")]
        KeyMaterial::RsaPublicPem(pem) => {
            use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;

            const MODULUS_MIN: usize = 256;
            let verifying =
                DecodingKey::from_rsa_pem(pem.as_bytes()).map_err(|e| unusable(key, e))?;
            let der = verifying.try_get_as_bytes().map_err(|e| unusable(key, e))?;
            let components = DEFAULT_PROVIDER
                .key_utils
                .rsa_pub_components_from_public_key;
            let (modulus, _) = components(der).map_err(|e| unusable(key, e))?;
            if modulus.len() < MODULUS_MIN {
                return Err(unusable(key, "an RSA key must have at least 2048 bits"));
            }
            Ok((Algorithm::RS256, None, verifying))
        }
    }
}

fn unusable(key: &JwtKey, problem: impl ToString) -> ConfigError {
    ConfigError::KeyUnusable {
        kid: key.kid.clone(),
        problem: problem.to_string(),
    }
}
