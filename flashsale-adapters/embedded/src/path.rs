use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::OpenError;

/// More links in a row than this are a circle.
const LINKS_MAX: usize = 40;

/// The one name of the file that `path` leads to, whether or not it exists: absolute and without
/// links, so that every spelling of it finds the same lock, and none is read as a URI.
pub(crate) fn real(path: &Path) -> Result<PathBuf, OpenError> {
    let failed = |error| OpenError::from_io(path.to_owned(), error);
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::canonicalize(&path) {
            Ok(real) if real.is_dir() => {
                let problem = "it is a folder, name a file in it";
                return Err(failed(io::Error::new(io::ErrorKind::IsADirectory, problem)));
            }
            Ok(real) => return Ok(real),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let Some(name) = path.file_name() else {
            let problem = "it names no file";
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, problem)));
        };
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let folder = fs::canonicalize(folder).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                let problem = "its folder does not exist, make it first";
                failed(io::Error::new(io::ErrorKind::NotFound, problem))
            }
            _ => failed(error),
        })?;
        let plain = folder.join(name);
        match fs::read_link(&plain) {
            // The link is there, its target is not: the file will be made at the target.
            Ok(target) => path = folder.join(target),
            Err(_) => return Ok(plain),
        }
    }
    let problem = "its links go round in a circle";
    Err(failed(io::Error::new(io::ErrorKind::InvalidInput, problem)))
}
