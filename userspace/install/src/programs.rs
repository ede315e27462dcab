//! Programs of the image on the host: each is put in place whole, and written only if it differs.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, ErrorKind, Read, Seek, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// A program that was opened before the process changed its root directory.
#[derive(Debug)]
pub struct Program {
    /// The name that runtimes call it by.
    pub name: String,
    /// Its content.
    pub content: File,
}

/// The result of installing a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Installed {
    /// The bytes were there already.
    Same,
    /// It was written.
    Written,
}

/// The directory, or a file in it, cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}", path = path.display())]
pub struct ProgramError {
    /// The directory or file.
    pub path: PathBuf,
    /// The system's answer.
    pub source: io::Error,
}

/// Size of the pieces in which files are compared.
const PIECE: usize = 64 * 1024;

impl Program {
    /// Opens the program `name` of `directory`.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(directory: &Path, name: &str) -> Result<Self, ProgramError> {
        let path = directory.join(name);
        let content = File::open(&path).map_err(|source| ProgramError { path, source })?;
        Ok(Self { name: name.to_owned(), content })
    }

    /// Puts the program into `directory`. A runtime that calls it at this moment gets the old one or the new one, and a
    /// running one is not disturbed.
    ///
    /// # Errors
    /// The file cannot be written; what was there before stays.
    pub fn install(&mut self, directory: &Path) -> Result<Installed, ProgramError> {
        let place = directory.join(&self.name);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| ProgramError { path, source }
        };
        if self.is_at(&place).map_err(failed(&place))? {
            return Ok(Installed::Same);
        }
        // A dot in front, as no runtime has a plugin of such a name. The name is always the same, so a kill leaves one
        // file at most.
        let draft = directory.join(format!(".{}.naru-install", self.name));
        let written = self.write(&draft).and_then(|()| fs::rename(&draft, &place));
        if written.is_err() {
            drop(fs::remove_file(&draft));
        }
        written.map_err(failed(&place))?;
        Ok(Installed::Written)
    }

    /// True if the file is there, may be executed and has these bytes.
    fn is_at(&mut self, place: &Path) -> io::Result<bool> {
        let mut there = match File::open(place) {
            Ok(there) => there,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let found = there.metadata()?;
        if !found.is_file()
            || found.permissions().mode() & 0o777 != 0o755
            || found.len() != self.content.metadata()?.len()
        {
            return Ok(false);
        }
        self.content.rewind()?;
        let (mut own, mut other) = (vec![0; PIECE], vec![0; PIECE]);
        loop {
            let length = self.content.read(&mut own)?;
            if length == 0 {
                return Ok(true);
            }
            match there.read_exact(&mut other[..length]) {
                Ok(()) if own[..length] == other[..length] => {}
                Ok(()) => return Ok(false),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    fn write(&mut self, draft: &Path) -> io::Result<()> {
        match fs::remove_file(draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.content.rewind()?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o755).open(draft)?;
        io::copy(&mut self.content, &mut file)?;
        file.flush()?;
        // Whatever the process's umask takes away.
        file.set_permissions(Permissions::from_mode(0o755))?;
        // Synced before the rename: a power cut must not leave an empty plugin in the place of one that works.
        file.sync_all()
    }
}

/// Puts the programs into the first of `directories` that takes them, and makes that directory if none is there.
///
/// # Errors
/// None takes them; the error is that of the first.
pub fn install(
    programs: &mut [Program],
    directories: &[PathBuf],
) -> Result<(PathBuf, Vec<Installed>), ProgramError> {
    let there = directories.iter().filter(|directory| directory.is_dir());
    let absent = directories.iter().filter(|directory| !directory.is_dir());
    let mut first = None;
    for directory in there.chain(absent) {
        match install_all(programs, directory) {
            Ok(installed) => return Ok((directory.clone(), installed)),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or_else(|| ProgramError {
        path: PathBuf::new(),
        source: io::Error::new(ErrorKind::NotFound, "no directory of plugins is named"),
    }))
}

fn install_all(programs: &mut [Program], directory: &Path) -> Result<Vec<Installed>, ProgramError> {
    fs::create_dir_all(directory).map_err(|source| ProgramError { path: directory.to_owned(), source })?;
    programs.iter_mut().map(|program| program.install(directory)).collect()
}
