use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Where the control socket of a database file is found.
///
/// It is `<file>.ctl`. The path of a Unix-domain socket may have about 100 bytes only; beside a
/// file in deep folders `<file>.ctl` is therefore a small text file that names the socket, which
/// then is in the folder for temporary files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ControlAddress {
    database: PathBuf,
    /// The socket, or the file that names it.
    pub(crate) beside: PathBuf,
}

impl ControlAddress {
    /// The longest path that every Unix takes for a socket, in bytes: 104 with the closing zero
    /// on macOS and the BSDs, 108 on Linux.
    const SOCKET_PATH_MAX: usize = 103;

    /// What the file that names a socket begins with.
    const MARK: &str = "flashsale control socket: ";

    /// The address for a database file, the same for every spelling of its path.
    pub(crate) fn of(database: &Path) -> Self {
        let database = canonical(database);
        let mut beside = database.clone().into_os_string();
        beside.push(".ctl");
        Self {
            database,
            beside: beside.into(),
        }
    }

    /// Whether a process of this user of the system may answer for the database: that of its
    /// owner, or root. In a folder that others can write to, anybody could put a socket there.
    pub(crate) fn trusts(&self, uid: u32) -> bool {
        let owner = fs::metadata(&self.database).map(|database| database.uid());
        uid == 0 || matches!(owner, Ok(owner) if owner == uid)
    }

    /// Whether a socket can be made right there.
    pub(crate) fn is_short(&self) -> bool {
        self.beside.as_os_str().as_bytes().len() <= Self::SOCKET_PATH_MAX
    }

    /// What is written into the file that names `socket`.
    pub(crate) fn note(socket: &Path) -> String {
        format!("{}{}\n", Self::MARK, socket.display())
    }

    /// Follows the address to its socket.
    ///
    /// # Errors
    /// If there is none, or something that is not ours.
    pub(crate) fn find(&self) -> io::Result<PathBuf> {
        let there = fs::symlink_metadata(&self.beside)?;
        if there.file_type().is_socket() {
            return Ok(self.beside.clone());
        }
        let ours = there.is_file() && there.len() <= 4_096;
        let note = if ours {
            fs::read_to_string(&self.beside)?
        } else {
            String::new()
        };
        match note.strip_prefix(Self::MARK) {
            Some(socket) => Ok(PathBuf::from(socket.trim_end_matches('\n'))),
            None => Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} is not a control socket", self.beside.display()),
            )),
        }
    }
}

/// The path without links and dots; the file itself may be missing.
pub(crate) fn canonical(file: &Path) -> PathBuf {
    if let Ok(path) = fs::canonicalize(file) {
        return path;
    }
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    match (fs::canonicalize(folder), file.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        (Ok(_) | Err(_), _) => file.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::ControlAddress;

    #[test]
    fn every_spelling_of_a_path_has_one_address() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shop.db");
        let before = ControlAddress::of(&file);
        fs::write(&file, "").unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        assert_eq!(ControlAddress::of(&file), before);
        assert_eq!(
            ControlAddress::of(&folder.path().join("sub/../shop.db")),
            before
        );
        assert!(before.beside.ends_with("shop.db.ctl"));
    }

    #[test]
    fn a_foreign_file_is_not_taken_for_a_socket() {
        let folder = tempfile::tempdir().unwrap();
        let address = ControlAddress::of(&folder.path().join("shop.db"));
        assert!(address.find().is_err());
        fs::write(&address.beside, "my notes").unwrap();
        let error = address.find().unwrap_err().to_string();
        assert!(
            error.ends_with("shop.db.ctl is not a control socket"),
            "{error}"
        );
    }
}
