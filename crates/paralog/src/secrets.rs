//! Who else on this machine can read the secrets that a run is given.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use properties::{Place, Problem, Resolved, Settings};

/// What the command line's own entries are said to stand in.
const SET: &str = "--set";

/// One warning about all files with secrets that everybody can read, and one about secrets on the command line.
pub(crate) fn exposed(resolved: &Resolved, settings: Option<&Settings>) -> Vec<Problem> {
    let entries = resolved.worker.iter().chain(resolved.connectors.iter().flatten());
    let (said, written): (Vec<_>, Vec<_>) =
        entries.filter(|entry| entry.exposes_secret()).partition(|entry| &*entry.file == SET);
    let mut files: BTreeSet<PathBuf> = written.iter().map(|entry| PathBuf::from(&*entry.file)).collect();
    files.extend(resolved.files.iter().cloned());
    files.extend(settings.iter().flat_map(|settings| settings.secret_files()).cloned());

    let mut problems = Vec::new();
    let open: Vec<String> = files
        .iter()
        .filter(|file| is_open_to_all(file))
        .map(|file| format!("`{}`", file.display()))
        .collect();
    if !open.is_empty() {
        let message = format!("every user of this machine can read secrets in {}", open.join(", "));
        let hint =
            "take that right away (chmod o-r); `config.providers` takes secrets from files of their own";
        problems.push(Problem::warning(Place::none(), message).with_hint(hint));
    }
    if let Some(first) = said.first() {
        let message = format!("`{}` shows a secret to every user who lists processes", first.key);
        let hint = "write it into a file, or take it from the environment: see `config.providers`";
        problems.push(Problem::warning(first.place(), message).with_hint(hint));
    }
    problems
}

/// Whether users who are neither the owner nor of the group can read `file`, as far as its rights and those of the
/// folders above it say. One that is not there is read by nobody.
#[cfg(unix)]
fn is_open_to_all(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    const READ: u32 = 0o4;
    const ENTER: u32 = 0o1;
    let may = |path: &Path, right: u32| {
        std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & right != 0)
    };
    std::fs::canonicalize(file).is_ok_and(|file| {
        file.is_file() && may(&file, READ) && file.ancestors().skip(1).all(|folder| may(folder, ENTER))
    })
}

#[cfg(not(unix))]
fn is_open_to_all(_: &Path) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_is_open_to_all_by_its_own_rights_and_those_of_its_folders() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "x").unwrap();
        let allow = |path: &Path, mode: u32| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        allow(&file, 0o644);
        allow(folder.path(), 0o700);
        assert!(!is_open_to_all(&file));
        allow(folder.path(), 0o711);
        assert!(is_open_to_all(&file) && !is_open_to_all(folder.path()));
        allow(&file, 0o640);
        assert!(!is_open_to_all(&file) && !is_open_to_all(&folder.path().join("none")));
    }
}
