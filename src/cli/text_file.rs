//! The files of text that say what the options are, each read whole and once.
//!
//! A pipe is taken too, as from `<(command)` of a shell: what it says was for us alone. Keeps what was
//! read, so that a parent can hand it to its workers; knows nothing of what is in it.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use alle::internals::workers::KeptFile;

/// What was read so far, or handed over by a parent: that is not read again.
#[derive(Debug, Default)]
pub(crate) struct Files(Vec<KeptFile>);

impl Files {
    /// With those that the parent of this process read.
    pub(crate) fn new(handed_over: Vec<KeptFile>) -> Self {
        Self(handed_over)
    }

    /// The text of a file, of so many bytes at most, and whether anybody on this machine can read it.
    pub(super) fn read(&mut self, path: &Path, bytes_max: u64) -> io::Result<(String, bool)> {
        let name = path.to_string_lossy();
        if let Some(file) = self.0.iter().find(|file| file.path == name) {
            check_length(&file.text, bytes_max)?;
            return Ok((file.text.clone(), file.is_public));
        }
        let (text, is_public) = read(path, bytes_max)?;
        self.0.push(KeptFile {
            path: name.into_owned(),
            text: text.clone(),
            is_public,
        });
        Ok((text, is_public))
    }

    /// All of them.
    pub(crate) fn into_kept(self) -> Vec<KeptFile> {
        self.0
    }
}

fn read(path: &Path, bytes_max: u64) -> io::Result<(String, bool)> {
    let file = fs::File::open(path)?;
    let metadata = file.metadata()?;
    let mut text = String::new();
    file.take(bytes_max + 1).read_to_string(&mut text)?;
    check_length(&text, bytes_max)?;
    let is_public = metadata.is_file() && metadata.mode() & READABLE_BY_ANYBODY != 0;
    Ok((text, is_public))
}

fn check_length(text: &str, bytes_max: u64) -> io::Result<()> {
    if text.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("over {bytes_max} bytes long")));
    }
    Ok(())
}

/// `o+r` of chmod(1).
const READABLE_BY_ANYBODY: u32 = 0o004;
