//! The suite of [`PasswordHasher`](crate::ports::PasswordHasher).

use super::ensure_invalid;
use crate::error::ErrorKind;
use crate::ports::PasswordHasher;
use crate::testing::Report;
use crate::testing::report::{Checked, Ran, ensure, ensure_eq, run_cases};

/// Checks a [`PasswordHasher`] against its contract. Hashes about twenty passwords: set a low cost.
pub async fn password_hasher(hasher: &dyn PasswordHasher) -> Report {
    let mut report = Report::new("PasswordHasher");
    run_cases!(
        report,
        hasher,
        [
            a_password_belongs_to_its_hash,
            another_password_does_not,
            hashes_are_salted,
            the_longest_password_is_taken_in_full,
            a_longer_password_is_never_cut,
            without_a_hash_the_answer_is_no,
            a_hash_that_cannot_be_read_is_corrupt,
        ]
    );
    report
}

async fn a_password_belongs_to_its_hash(hasher: &dyn PasswordHasher) -> Checked {
    for password in ["correct horse", "pässwörd", "  blanks  ", "x"] {
        let hash = hasher.hash(password).await?;
        let right = hasher.verify(password, Some(&hash)).await?;
        ensure!(right, "{password:?} must belong to its hash");
    }
    Ok(Ran::Yes)
}

async fn another_password_does_not(hasher: &dyn PasswordHasher) -> Checked {
    let hash = hasher.hash("correct horse").await?;
    for password in ["", "Correct horse", "correct horse ", "correct hors"] {
        let right = hasher.verify(password, Some(&hash)).await?;
        ensure!(!right, "{password:?} must not belong to another's hash");
    }
    Ok(Ran::Yes)
}

async fn hashes_are_salted(hasher: &dyn PasswordHasher) -> Checked {
    let (one, two) = (
        hasher.hash("correct horse").await?,
        hasher.hash("correct horse").await?,
    );
    ensure!(one != two, "two hashes of one password must differ");
    Ok(Ran::Yes)
}

async fn the_longest_password_is_taken_in_full(hasher: &dyn PasswordHasher) -> Checked {
    let longest = "x".repeat(hasher.password_max());
    let hash = hasher.hash(&longest).await?;
    let right = hasher.verify(&longest, Some(&hash)).await?;
    ensure!(right, "the longest password must belong to its hash");
    let other = format!("{}y", &longest[1..]);
    let right = hasher.verify(&other, Some(&hash)).await?;
    ensure!(!right, "its last byte must count");
    Ok(Ran::Yes)
}

async fn a_longer_password_is_never_cut(hasher: &dyn PasswordHasher) -> Checked {
    let longest = "x".repeat(hasher.password_max());
    let longer = format!("{longest}x");
    ensure_invalid("one byte more", hasher.hash(&longer).await)?;
    let hash = hasher.hash(&longest).await?;
    match hasher.verify(&longer, Some(&hash)).await {
        Ok(right) => ensure!(!right, "a longer password must not belong to the hash"),
        Err(error) => ensure_eq!("the fault", error.kind(), ErrorKind::Invalid),
    }
    Ok(Ran::Yes)
}

async fn without_a_hash_the_answer_is_no(hasher: &dyn PasswordHasher) -> Checked {
    for password in ["correct horse", ""] {
        let right = hasher.verify(password, None).await?;
        ensure!(!right, "an unknown user must not be let in");
    }
    Ok(Ran::Yes)
}

async fn a_hash_that_cannot_be_read_is_corrupt(hasher: &dyn PasswordHasher) -> Checked {
    for hash in ["", "correct horse", "$2b$12$short", "\u{0}"] {
        match hasher.verify("correct horse", Some(hash)).await {
            Ok(right) => ensure!(false, "{hash:?} must be a fault, the answer is {right}"),
            Err(error) => ensure_eq!(format!("{hash:?}"), error.kind(), ErrorKind::Corrupt),
        }
    }
    Ok(Ran::Yes)
}
