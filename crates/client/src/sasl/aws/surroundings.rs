//! What the program's surroundings say: environment and files. A test gives its own.

use std::fs;
use std::path::{Path, PathBuf};

/// A larger file is none of those that are read here.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where keys, and where to get them, are written.
pub(super) trait Surroundings: Send + Sync {
    /// An environment variable, unless it is empty.
    fn var(&self, name: &str) -> Option<String>;

    /// What a file holds.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&self, path: &Path) -> Result<String, String>;

    /// A file of the AWS command line tools: where `variable` says, or else `name` in the user's home.
    fn tool_file(&self, variable: &str, name: &str) -> PathBuf {
        let home = || PathBuf::from(self.var("HOME").unwrap_or_default()).join(".aws").join(name);
        self.var(variable).map_or_else(home, PathBuf::from)
    }
}

/// The real ones.
pub(super) struct System;

impl Surroundings for System {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn read(&self, path: &Path) -> Result<String, String> {
        let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
        if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
            return Err("it is no file, or too large".to_owned());
        }
        fs::read_to_string(path).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
pub(super) mod testing {
    use std::collections::BTreeMap;

    use super::*;

    /// What a test says.
    #[derive(Default)]
    pub(in crate::sasl::aws) struct Given {
        pub(in crate::sasl::aws) vars: BTreeMap<&'static str, String>,
        pub(in crate::sasl::aws) files: BTreeMap<&'static str, &'static str>,
    }

    impl Given {
        pub(in crate::sasl::aws) fn vars<const N: usize>(vars: [(&'static str, &str); N]) -> Given {
            let vars = vars.map(|(name, value)| (name, value.to_owned()));
            Given { vars: vars.into(), ..Given::default() }
        }

        pub(in crate::sasl::aws) fn file(mut self, path: &'static str, text: &'static str) -> Given {
            self.files.insert(path, text);
            self
        }
    }

    impl Surroundings for Given {
        fn var(&self, name: &str) -> Option<String> {
            self.vars.get(name).cloned()
        }

        fn read(&self, path: &Path) -> Result<String, String> {
            let file = path.to_str().and_then(|path| self.files.get(path));
            file.map(|text| (*text).to_owned()).ok_or_else(|| "there is no such file".to_owned())
        }
    }
}
