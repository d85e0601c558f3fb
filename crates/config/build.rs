//! Embeds the files of `config/`, so that a new dataset needs no change of code.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config").canonicalize()?;
    let mut files = vec!["pipeline.toml".to_owned(), "alerts.toml".to_owned()];
    for folder in ["datasets", "lookups"] {
        println!("cargo::rerun-if-changed={}", root.join(folder).display());
        for entry in fs::read_dir(root.join(folder))? {
            files.push(format!("{folder}/{}", entry?.file_name().to_string_lossy()));
        }
    }
    files.sort();
    let mut source =
        "/// Files of `config/` by path, sorted.\nconst FILES: &[(&str, &str)] = &[\n".to_owned();
    for file in &files {
        let path = root.join(file);
        if path.extension().is_none_or(|it| it != "toml" && it != "csv") {
            continue;
        }
        println!("cargo::rerun-if-changed={}", path.display());
        // Writing to a string cannot fail.
        let _ = writeln!(source, "    ({file:?}, include_str!({:?})),", path.display().to_string());
    }
    source.push_str("];\n");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    fs::write(Path::new(&out).join("files.rs"), source)
}
