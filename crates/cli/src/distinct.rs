//! No output is a file that is read too, and no two outputs are one file: opening an output empties it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::output::is_stdout;

/// So many links are followed from a name to the file that it would make.
const MAX_LINKS: usize = 40;

/// A file by what it is, however it is named.
#[derive(Debug, PartialEq, Eq)]
enum Identity {
    /// It is there: device and inode.
    There(u64, u64),
    /// It would be made at this path.
    New(PathBuf),
}

/// Holds each output, by the option that names it, against all inputs and the outputs before it. To
/// be asked before the first output is opened.
///
/// Pipes, terminals and devices are nobody's data and can be named twice; `-` is what the shell made
/// of it.
///
/// # Errors
///
/// Names the file, or the two options.
pub(crate) fn outputs<'a>(
    inputs: impl IntoIterator<Item = &'a Path>,
    outputs: &[(&str, Option<&Path>)],
) -> Result<()> {
    let real = |path: &'a Path| if is_stdout(path) { Path::new("/dev/stdin") } else { path };
    let inputs: Vec<_> = inputs.into_iter().filter_map(|path| identity(real(path))).collect();
    let mut seen: Vec<(&str, Identity)> = Vec::new();
    for (option, path) in outputs {
        let Some(path) = path else { continue };
        let real = if is_stdout(path) { Path::new("/dev/stdout") } else { path };
        let Some(identity) = identity(real) else { continue };
        if inputs.contains(&identity) {
            bail!("{option}: {} is an input too", path.display());
        }
        if let Some((other, _)) = seen.iter().find(|(_, other)| *other == identity) {
            bail!("{other} and {option} are the same file");
        }
        seen.push((option, identity));
    }
    Ok(())
}

/// What the file at `path` is, or will be; `None` for what is no regular file, and where it cannot
/// be told: then it can neither be read nor made.
fn identity(path: &Path) -> Option<Identity> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        if let Ok(found) = fs::metadata(&path) {
            return found.is_file().then(|| Identity::There(found.dev(), found.ino()));
        }
        // A link to a file that is not there yet makes that one.
        match fs::read_link(&path) {
            Ok(target) => path = folder(&path).join(target),
            Err(_) => {
                let folder = folder(&path).canonicalize().ok()?;
                return Some(Identity::New(folder.join(path.file_name()?)));
            }
        }
    }
    None
}

/// Where a path is.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder with the file `there`, the link `link` to it, and the link `dangling` to `new`.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("distinct-{name}-{}", std::process::id()));
            fs::create_dir_all(path.join("below")).unwrap();
            fs::write(path.join("there"), "x").unwrap();
            symlink("there", path.join("link")).unwrap();
            symlink("new", path.join("dangling")).unwrap();
            fs::hard_link(path.join("there"), path.join("hard")).unwrap();
            Self(path)
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_file_is_itself_by_any_name() {
        let folder = Folder::new("same");

        for (one, other) in [
            ("there", "there"),
            ("there", "below/.././there"),
            ("there", "link"),
            ("there", "hard"),
            ("new", "new"),
            ("new", "./below/../new"),
            ("new", "dangling"),
        ] {
            let (one, other) = (folder.at(one), folder.at(other));
            let outputs = outputs([], &[("--a", Some(&one)), ("--b", None), ("--c", Some(&other))]);
            let error = outputs.unwrap_err().to_string();
            assert_eq!(error, "--a and --c are the same file", "{}", other.display());
        }
    }

    #[test]
    fn an_output_is_no_input() {
        let folder = Folder::new("input");
        let (input, output) = (folder.at("link"), folder.at("below/../there"));

        let error = outputs([input.as_path()], &[("--a", Some(&output))]).unwrap_err().to_string();

        assert_eq!(error, format!("--a: {} is an input too", output.display()));
    }

    #[test]
    fn other_files_devices_and_what_cannot_be_made_are_no_clash() {
        let folder = Folder::new("other");
        let null = Path::new("/dev/null");

        for (one, other) in [
            (null, null),
            (&folder.at("there"), &folder.at("new")),
            (&folder.at("new"), &folder.at("newer")),
            (&folder.at("below"), &folder.at("below")),
            (&folder.at("no-such/new"), &folder.at("no-such/new")),
        ] {
            assert!(outputs([one], &[("--a", Some(other))]).is_ok(), "{}", other.display());
            let both = outputs([], &[("--a", Some(one)), ("--b", Some(other))]);
            assert!(both.is_ok(), "{}", other.display());
        }
    }
}
