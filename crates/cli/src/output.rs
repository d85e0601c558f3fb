//! NDJSON output: a file, standard output, or none. No output file may also be an input or a second
//! output: opening an output truncates it.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, IsTerminal as _, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::Serialize;

/// Name of standard output in error messages.
const STDOUT: &str = "standard output";

/// Maximum number of links followed from a name to the file that it would create.
const MAX_LINKS: usize = 40;

/// Output for lines; `-` is standard output.
pub(crate) struct Lines(Option<(String, Sink)>);

type Sink = BufWriter<Box<dyn Write>>;

impl Lines {
    /// Opens `path`; without a path, lines are discarded.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        const BUFFER: usize = 1 << 20;
        let Some(path) = path else { return Ok(Self(None)) };
        let (name, sink): (_, Box<dyn Write>) = if is_stdout(path) {
            (STDOUT.to_owned(), Box::new(Stdout(io::stdout().lock())))
        } else {
            let name = path.display().to_string();
            let file = File::create(path).map_err(|error| unwritten(&name, &error))?;
            (name, Box::new(file))
        };
        Ok(Self(Some((name, BufWriter::with_capacity(BUFFER, sink)))))
    }

    /// Returns whether lines are written anywhere.
    pub(crate) fn wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Writes a value as one line.
    pub(crate) fn value(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.write(|sink| {
            serde_json::to_writer(&mut *sink, value)?;
            sink.write_all(b"\n")
        })
    }

    /// Writes bytes that already end with a newline.
    pub(crate) fn line(&mut self, line: &[u8]) -> io::Result<()> {
        self.write(|sink| sink.write_all(line))
    }

    /// Flushes the buffer.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.write(Write::flush)
    }

    fn write(&mut self, write: impl FnOnce(&mut Sink) -> io::Result<()>) -> io::Result<()> {
        let Some((name, sink)) = &mut self.0 else { return Ok(()) };
        write(sink).map_err(|error| unwritten(name, &error))
    }
}

/// Standard output for whole lines of JSON.
struct Stdout(io::StdoutLock<'static>);

impl Write for Stdout {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.0.write_all(&for_stdout(lines))?;
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Adds the name of the output to an error. Keeps the error kind, so that a closed pipe is still
/// recognized.
fn unwritten(name: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{name} cannot be written: {error}"))
}

/// Escapes the control characters of a text for a terminal, except line ends and tabs: data must
/// not move the cursor, change colours or reorder text. The escapes are those of JSON, so that JSON
/// stays what it is.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    let is_unsafe = |it: char| {
        let reorders = matches!(it, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        (it.is_control() && it != '\n' && it != '\t') || reorders
    };
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_unsafe(character) {
            // Writing to a string cannot fail. All of these have four digits.
            let _ = write!(shown, "\\u{:04x}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// Returns lines of JSON as standard output gets them: escaped if it is a terminal.
pub(crate) fn for_stdout(lines: &[u8]) -> Cow<'_, [u8]> {
    if !io::stdout().is_terminal() {
        return Cow::Borrowed(lines);
    }
    match String::from_utf8_lossy(lines) {
        Cow::Borrowed(text) => match escaped(text) {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        },
        Cow::Owned(text) => Cow::Owned(escaped(&text).into_owned().into_bytes()),
    }
}

/// Prints a line to standard output. A closed pipe is an error, not a panic.
pub(crate) fn print_line(text: &str) -> io::Result<()> {
    let text = escaped(text);
    let mut out = io::stdout().lock();
    let said = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n"));
    said.map_err(|error| unwritten(STDOUT, &error))
}

/// Prints the summary of a command to standard output, or to standard error if standard output
/// holds the data. A closed pipe does not change the command's result.
pub(crate) fn print_summary(text: &str, data_on_stdout: bool) -> io::Result<()> {
    if data_on_stdout {
        eprint_line(text);
        return Ok(());
    }
    match print_line(text) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        said => said,
    }
}

/// Prints a line to standard error and ignores failures: there is no other place to report them.
pub(crate) fn eprint_line(text: &str) {
    let mut err = io::stderr().lock();
    // One write per line, so that lines of several threads do not interleave.
    let _ = err.write_all(format!("{}\n", escaped(text)).as_bytes());
}

/// Returns whether a path stands for standard input or output.
pub(crate) fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Identity of a file, independent of the name used for it.
#[derive(Debug, PartialEq, Eq)]
enum Identity {
    /// Existing file: device and inode.
    There(u64, u64),
    /// File that would be created at this path.
    New(PathBuf),
}

/// Compares each output with all inputs and with the outputs before it. Call this before the first
/// output is opened.
///
/// Each output is paired with the option that names it. Pipes, terminals and devices hold no data
/// to lose and may be named twice. `-` is checked as the file that the shell redirected, if any.
///
/// # Errors
///
/// Names the file that is also an input, or the two options that name the same file.
pub(crate) fn check_distinct<'a>(
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

/// Returns the identity of the file that exists at `path` or would be created there. Returns `None`
/// if it is not a regular file, or if the path cannot be resolved: then it can be neither read nor
/// created.
fn identity(path: &Path) -> Option<Identity> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        if let Ok(found) = fs::metadata(&path) {
            return found.is_file().then(|| Identity::There(found.dev(), found.ino()));
        }
        // Opening a dangling link creates the file that it points to.
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

/// Returns the folder of a path.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Folder with the file `there`, the link `link` to it, and the link `dangling` to `new`.
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
    fn control_characters_are_escaped_for_terminals() {
        let hostile = "a\u{1b}[2Jb\u{9b}c\u{7f}\r\u{202e}d\te\nf";
        assert_eq!(escaped(hostile), "a\\u001b[2Jb\\u009bc\\u007f\\u000d\\u202ed\te\nf");
        assert!(matches!(escaped("Cañon City\n"), Cow::Borrowed("Cañon City\n")));

        let json = serde_json::to_string(hostile).unwrap();
        assert_eq!(serde_json::from_str::<String>(&escaped(&json)).unwrap(), hostile);
    }

    #[test]
    fn outputs_of_same_file_are_rejected() {
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
            let outputs =
                check_distinct([], &[("--a", Some(&one)), ("--b", None), ("--c", Some(&other))]);
            let error = outputs.unwrap_err().to_string();
            assert_eq!(error, "--a and --c are the same file", "{}", other.display());
        }
    }

    #[test]
    fn output_that_is_an_input_is_rejected() {
        let folder = Folder::new("input");
        let (input, output) = (folder.at("link"), folder.at("below/../there"));

        let error =
            check_distinct([input.as_path()], &[("--a", Some(&output))]).unwrap_err().to_string();

        assert_eq!(error, format!("--a: {} is an input too", output.display()));
    }

    #[test]
    fn other_files_and_devices_do_not_clash() {
        let folder = Folder::new("other");
        let null = Path::new("/dev/null");

        for (one, other) in [
            (null, null),
            (&folder.at("there"), &folder.at("new")),
            (&folder.at("new"), &folder.at("newer")),
            (&folder.at("below"), &folder.at("below")),
            (&folder.at("no-such/new"), &folder.at("no-such/new")),
        ] {
            assert!(check_distinct([one], &[("--a", Some(other))]).is_ok(), "{}", other.display());
            let both = check_distinct([], &[("--a", Some(one)), ("--b", Some(other))]);
            assert!(both.is_ok(), "{}", other.display());
        }
    }
}
