//! The machine as config providers see it.

use std::io;
use std::path::Path;

use model::TopicName;
use properties::Surroundings;
use topology::Pattern;

/// This machine: its files, and the environment of this process.
#[derive(Clone, Copy, Debug)]
pub struct ThisMachine;

/// No file that a value is taken from is this large.
const FILE_BYTES_MAX: u64 = 16 << 20;

impl Surroundings for ThisMachine {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if std::fs::metadata(path)?.len() > FILE_BYTES_MAX {
            return Err(io::Error::other(format!("larger than {FILE_BYTES_MAX} bytes")));
        }
        std::fs::read(path)
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn is_file(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn variable(&self, name: &str) -> Option<String> {
        // What no variable can be called is asked for by a reference all the same.
        let is_name = !name.is_empty() && !name.contains(['=', '\0']);
        if is_name { std::env::var(name).ok() } else { None }
    }

    fn matches(&self, pattern: &str, text: &str) -> Result<bool, String> {
        let pattern = Pattern::new(pattern).map_err(|error| error.to_string())?;
        pattern.matches(&TopicName::from(text)).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names() {
        let matches = |pattern: &str, text: &str| ThisMachine.matches(pattern, text);
        assert_eq!(matches("^KAFKA_.*", "KAFKA_USER"), Ok(true));
        assert_eq!(matches("KAFKA_", "KAFKA_USER"), Ok(false));
        assert_eq!(matches("KAFKA_.*", "MY_KAFKA_USER"), Ok(false));
        assert_eq!(matches("KAFKA_USER|KAFKA", "KAFKA_USER_PASSWORD"), Ok(false));
        assert_eq!(matches("KAFKA|KAFKA_USER", "KAFKA_USER"), Ok(true));
        assert!(matches("(", "x").is_err());
    }
}
