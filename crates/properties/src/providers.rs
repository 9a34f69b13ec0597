//! Config providers: `${provider:path:key}` in a value becomes what the provider gives, by Kafka Connect's rules.
//!
//! The worker's `config.providers` names them, for its own file and those of its connectors. Several references may
//! stand in one value; what they give is not looked at again. A reference stays as it is where its provider is none
//! of these, or has no such key: Connect says nothing of that, here it is a warning. What stood in the file is kept
//! beside the value ([`Entry::reference`]) and shown in its place.
//!
//! Source: `ConfigTransformer`, `AbstractConfig`, `AllowedPaths` and the three providers of Kafka 4.3.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::entry::Entry;
use crate::parse::parse;
use crate::provided::Provided;
use crate::report::{Problem, Severity};

/// What config providers read: files and the environment. The edge has it.
pub trait Surroundings {
    /// The contents of a file.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Whether `path` is a folder.
    fn is_folder(&self, path: &Path) -> bool;

    /// Whether `path` is a regular file.
    fn is_file(&self, path: &Path) -> bool;

    /// An environment variable, if it is set and Unicode.
    fn variable(&self, name: &str) -> Option<String>;

    /// Whether `pattern`, a regular expression in Java's syntax, matches the whole of `text`.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    fn matches(&self, pattern: &str, text: &str) -> Result<bool, String>;
}

/// Entries with what config providers gave put in.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// The worker's.
    pub worker: Vec<Entry>,
    /// The connectors', in their order.
    pub connectors: Vec<Vec<Entry>>,
    /// What there is to say about that.
    pub problems: Vec<Problem>,
    /// The files that values were taken from.
    pub files: BTreeSet<PathBuf>,
}

impl Resolved {
    /// What messages about the entries must not show.
    pub fn provided(&self) -> Provided {
        Provided::of(self.worker.iter().chain(self.connectors.iter().flatten()))
    }
}

/// Puts in what the providers of the worker give.
pub fn resolve(worker: Vec<Entry>, connectors: Vec<Vec<Entry>>, surroundings: &dyn Surroundings) -> Resolved {
    let mut resolver = Resolver {
        surroundings,
        providers: BTreeMap::new(),
        files: HashMap::new(),
        whole_files: BTreeSet::new(),
        problems: Vec::new(),
    };
    resolver.set_up(&worker);
    let worker = worker.into_iter().map(|entry| resolver.entry(entry)).collect();
    let connectors = connectors
        .into_iter()
        .map(|entries| entries.into_iter().map(|entry| resolver.entry(entry)).collect())
        .collect();
    let read = resolver.files.into_iter().filter(|(_, file)| file.is_some()).map(|(path, _)| path);
    let files = read.chain(resolver.whole_files).collect();
    Resolved { worker, connectors, problems: resolver.problems, files }
}

const PROVIDERS: &str = "config.providers";
const PREFIX: &str = "config.providers.";

/// A provider that is set up.
enum Provider {
    /// `FileConfigProvider`: the value of `key` in the properties file `path`.
    File { allowed: Option<Vec<PathBuf>> },
    /// `DirectoryConfigProvider`: the contents of the file `key` in the folder `path`.
    Directory { allowed: Option<Vec<PathBuf>> },
    /// `EnvVarConfigProvider`: the environment variable `key`.
    Environment { pattern: Option<String> },
    /// Another class, and where it is named: an error where it is asked.
    Unknown { class: String },
    /// One whose set-up is wrong, which is told.
    Broken,
}

/// `${name:path:key}`, or without a path.
struct Reference<'a> {
    name: &'a str,
    path: &'a str,
    key: &'a str,
}

/// The entries of a properties file, by key.
type Properties = BTreeMap<String, String>;

struct Resolver<'s> {
    surroundings: &'s dyn Surroundings,
    providers: BTreeMap<String, Provider>,
    /// Those of properties that were asked for. `None`: cannot be read, which is told.
    files: HashMap<PathBuf, Option<Properties>>,
    /// Those whose contents were taken as they are.
    whole_files: BTreeSet<PathBuf>,
    problems: Vec<Problem>,
}

impl Resolver<'_> {
    /// Reads `config.providers` and what belongs to each.
    fn set_up(&mut self, worker: &[Entry]) {
        let Some(named) = worker.iter().rev().find(|entry| entry.key == PROVIDERS) else {
            let set_up = worker.iter().find(|entry| entry.key.starts_with(PREFIX));
            self.problems.extend(set_up.map(|entry| {
                let message =
                    format!("`{}` has no effect: `{PROVIDERS}` is missing, which names them", entry.key);
                Problem::warning(entry.place(), message)
            }));
            return;
        };
        let names: Vec<&str> =
            named.value.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        for name in &names {
            let provider = self.set_up_one(name, worker, named);
            self.providers.insert((*name).to_owned(), provider);
        }
        for entry in worker.iter().filter(|entry| entry.key.starts_with(PREFIX)) {
            let rest = &entry.key[PREFIX.len()..];
            let is_named = |name: &&str| rest.strip_prefix(*name).is_some_and(|rest| rest.starts_with('.'));
            let message = match names.iter().find(|name| is_named(name)) {
                None => format!("`{}` has no effect: `{PROVIDERS}` names no such provider", entry.key),
                Some(name) => {
                    let known = match (self.providers.get(*name), &rest[name.len()..]) {
                        (_, ".class") | (Some(Provider::Unknown { .. } | Provider::Broken), _) => true,
                        (Some(Provider::Environment { .. }), parameter) => {
                            parameter == ".param.allowlist.pattern"
                        }
                        (_, parameter) => parameter == ".param.allowed.paths",
                    };
                    if known {
                        continue;
                    }
                    format!("`{}` has no effect: that provider takes no such parameter", entry.key)
                }
            };
            self.problems.push(Problem::warning(entry.place(), message));
        }
    }

    fn set_up_one(&mut self, name: &str, worker: &[Entry], named: &Entry) -> Provider {
        let find = |rest: &str| {
            let key = format!("{PREFIX}{name}.{rest}");
            worker.iter().rev().find(|entry| entry.key == key)
        };
        let Some(class) = find("class") else {
            let message = format!("`{PROVIDERS}` names `{name}`, and `{PREFIX}{name}.class` is missing");
            let hint = "write its class, such as org.apache.kafka.common.config.provider.FileConfigProvider";
            self.problems.push(Problem::error(named.place(), message).with_hint(hint));
            return Provider::Broken;
        };
        const PACKAGE: &str = "org.apache.kafka.common.config.provider.";
        let class = class.value.trim();
        // Connect takes a class by its simple name too, and by that without `ConfigProvider`.
        let kind = class.strip_prefix(PACKAGE).unwrap_or(class);
        match kind.strip_suffix("ConfigProvider").unwrap_or(kind) {
            "EnvVar" => {
                let pattern = find("param.allowlist.pattern");
                if let Some(entry) = pattern
                    && let Err(error) = self.surroundings.matches(entry.value.trim(), "")
                {
                    let message = format!("`{}`: {error}", entry.key);
                    self.problems.push(Problem::error(entry.place(), message));
                    return Provider::Broken;
                }
                Provider::Environment { pattern: pattern.map(|entry| entry.value.trim().to_owned()) }
            }
            kind @ ("File" | "Directory") => {
                let allowed = match find("param.allowed.paths").map(|entry| self.allowed(entry)) {
                    Some(None) => return Provider::Broken,
                    Some(Some(allowed)) => allowed,
                    None => None,
                };
                if kind == "File" { Provider::File { allowed } } else { Provider::Directory { allowed } }
            }
            _ => Provider::Unknown { class: class.to_owned() },
        }
    }

    /// What may be read; `None` inside for everything, outside where the list is wrong, which is told.
    fn allowed(&mut self, entry: &Entry) -> Option<Option<Vec<PathBuf>>> {
        let text = entry.value.trim();
        if text.is_empty() {
            return Some(None);
        }
        let mut paths = Vec::new();
        for part in text.split(',') {
            let path = normal(Path::new(part));
            let exists = self.surroundings.is_folder(&path) || self.surroundings.is_file(&path);
            if !path.is_absolute() || !exists {
                let what = if exists { "is no whole path" } else { "does not exist" };
                let message = format!("`{}` holds `{part}`, which {what}", entry.key);
                let hint =
                    "it takes whole paths of folders or files that exist, separated by commas without blanks";
                self.problems.push(Problem::error(entry.place(), message).with_hint(hint));
                return None;
            }
            paths.push(path);
        }
        Some(Some(paths))
    }

    /// The entry with what its references give.
    fn entry(&mut self, entry: Entry) -> Entry {
        if entry.key == PROVIDERS || entry.key.starts_with(PREFIX) {
            return entry;
        }
        let mut value = String::new();
        let mut rest = entry.value.as_str();
        let mut is_changed = false;
        while let Some((before, text, reference, after)) = next_reference(rest) {
            value.push_str(before);
            match self.look_up(&reference, text, &entry) {
                Some(given) => {
                    is_changed = true;
                    value.push_str(&given);
                }
                None => value.push_str(text),
            }
            rest = after;
        }
        if !is_changed {
            return entry;
        }
        value.push_str(rest);
        Entry { reference: Some(Arc::from(entry.value.trim())), value, ..entry }
    }

    /// What a reference gives; `None` leaves it, which is told.
    fn look_up(&mut self, reference: &Reference<'_>, text: &str, entry: &Entry) -> Option<String> {
        let Reference { name, path, key } = *reference;
        let provider = self.providers.get(name);
        let file = match provider {
            // What is compared with `allowed.paths` is what is read.
            Some(Provider::File { allowed: Some(_) } | Provider::Directory { allowed: Some(_) }) => {
                normal(Path::new(path))
            }
            _ => PathBuf::from(path),
        };
        let found = match provider {
            None => Err(Problem::warning(
                entry.place(),
                format!("`{}`: `{text}` stays as it is, since `{PROVIDERS}` names no `{name}`", entry.key),
            )
            .with_hint(
                "name it in the worker's file, with its class in `config.providers.NAME.class`; Kafka Connect leaves it, too",
            )),
            Some(Provider::Broken) => return None,
            Some(Provider::Unknown { class }) => Err(Problem::error(
                entry.place(),
                format!("`{}` takes its value from `{text}`: `{class}` is not built", entry.key),
            )
            .with_hint("FileConfigProvider, DirectoryConfigProvider and EnvVarConfigProvider are")),
            Some(Provider::Environment { pattern }) => {
                if path.is_empty() {
                    let allowed = pattern.as_deref().is_none_or(|pattern| {
                        self.surroundings.matches(pattern, key).unwrap_or(false)
                    });
                    let given = self.surroundings.variable(key).filter(|_| allowed);
                    given.ok_or_else(|| match allowed {
                        true => left(entry, text, "there is no such environment variable"),
                        false => left(entry, text, "`allowlist.pattern` does not allow that variable"),
                    })
                } else {
                    let message = format!("`{}`: `{text}` has a path, and the environment has none", entry.key);
                    Err(Problem::error(entry.place(), message).with_hint(format!("write ${{{name}:VARIABLE}}")))
                }
            }
            Some(Provider::File { .. } | Provider::Directory { .. }) if path.is_empty() => {
                Err(left(entry, text, "it names no path"))
            }
            Some(Provider::File { allowed } | Provider::Directory { allowed })
                if !is_allowed(allowed.as_deref(), &file) =>
            {
                Err(left(entry, text, "`allowed.paths` does not allow that path"))
            }
            Some(Provider::File { .. }) => match self.property(&file, key, entry) {
                Ok(Some(value)) => Ok(value),
                Ok(None) => Err(left(entry, text, "the file has no such property")),
                Err(Some(problem)) => Err(problem),
                Err(None) => return None,
            },
            Some(Provider::Directory { .. }) => self.file(&file, key, text, entry),
        };
        match found {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    /// The property `key` of a file. `Err(None)`: what is wrong was told already.
    fn property(&mut self, path: &Path, key: &str, entry: &Entry) -> Result<Option<String>, Option<Problem>> {
        if !self.files.contains_key(path) {
            let (properties, problem) = match self.read_text(path, entry) {
                Ok(text) => {
                    let (entries, found) = parse(&path.display().to_string(), &text);
                    let broken = found.into_iter().find(|problem| problem.severity == Severity::Error);
                    let by_key = entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
                    (broken.is_none().then_some(by_key), broken)
                }
                Err(problem) => (None, Some(problem)),
            };
            self.files.insert(path.to_owned(), properties);
            if problem.is_some() {
                return Err(problem);
            }
        }
        match self.files.get(path) {
            Some(Some(properties)) => Ok(properties.get(key).cloned()),
            _ => Err(None),
        }
    }

    /// The contents of the file `key` in the folder `path`.
    fn file(&mut self, path: &Path, key: &str, text: &str, entry: &Entry) -> Result<String, Problem> {
        if !self.surroundings.is_folder(path) {
            return Err(left(entry, text, "that path is no folder"));
        }
        let file = path.join(key);
        let is_name = Path::new(key).components().map(Component::as_os_str).eq([std::ffi::OsStr::new(key)])
            && !matches!(key, "." | "..");
        if !is_name || !self.surroundings.is_file(&file) {
            return Err(left(entry, text, "the folder has no such file"));
        }
        let contents = self.read_text(&file, entry)?;
        self.whole_files.insert(file);
        Ok(contents)
    }

    fn read_text(&self, path: &Path, entry: &Entry) -> Result<String, Problem> {
        let problem = |what: &str| {
            let message = format!("`{}`: cannot read `{}`: {what}", entry.key, path.display());
            Problem::error(entry.place(), message)
        };
        let bytes = self.surroundings.read(path).map_err(|error| problem(&error.to_string()))?;
        String::from_utf8(bytes).map_err(|_| problem("it is not UTF-8"))
    }
}

/// A reference that stays as it is.
fn left(entry: &Entry, text: &str, why: &str) -> Problem {
    let message = format!("`{}`: `{text}` stays as it is: {why}", entry.key);
    Problem::warning(entry.place(), message)
}

/// The first reference in `text`: what comes before it, itself as it is written and taken apart, what comes after.
///
/// As Java finds `\$\{([^}]*?):(([^}]*?):)?([^}]*?)\}`. `${topic}` is none.
fn next_reference(text: &str) -> Option<(&str, &str, Reference<'_>, &str)> {
    let mut from = 0;
    loop {
        let start = from + text[from..].find("${")?;
        let end = start + text[start..].find('}')?;
        if let Some((name, rest)) = text[start + 2..end].split_once(':') {
            let (path, key) = rest.split_once(':').unwrap_or(("", rest));
            let reference = Reference { name, path, key };
            return Some((&text[..start], &text[start..=end], reference, &text[end + 1..]));
        }
        from = start + 2;
    }
}

/// `text` with `word` in the place of each reference.
pub(crate) fn replace_references(text: &str, word: &str) -> String {
    let mut replaced = String::new();
    let mut rest = text;
    while let Some((before, _, _, after)) = next_reference(rest) {
        replaced.push_str(before);
        replaced.push_str(word);
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}

fn is_allowed(allowed: Option<&[PathBuf]>, path: &Path) -> bool {
    allowed.is_none_or(|allowed| allowed.iter().any(|allowed| path.starts_with(allowed)))
}

/// Without `.` and `..`, as far as the text alone tells.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(normal.components().next_back(), Some(Component::Normal(_))) => {
                normal.pop();
            }
            Component::ParentDir if normal.has_root() => {}
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Place;

    /// Files and variables of a test. A path that ends in `/` is a folder.
    struct Fixed(&'static [(&'static str, &'static str)]);

    impl Surroundings for Fixed {
        fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
            let found = self.0.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| text.as_bytes().to_vec()).ok_or(io::ErrorKind::NotFound.into())
        }

        fn is_folder(&self, path: &Path) -> bool {
            self.0.iter().any(|(name, _)| Path::new(name).parent() == Some(path))
        }

        fn is_file(&self, path: &Path) -> bool {
            self.0.iter().any(|(name, _)| Path::new(name) == path)
        }

        fn variable(&self, name: &str) -> Option<String> {
            let found = self.0.iter().find(|(variable, _)| *variable == format!("${name}"));
            found.map(|(_, value)| (*value).to_owned())
        }

        fn matches(&self, pattern: &str, text: &str) -> Result<bool, String> {
            Ok(pattern.strip_suffix(".*").map_or(text == pattern, |beginning| text.starts_with(beginning)))
        }
    }

    const HERE: Fixed = Fixed(&[
        ("/s/a.properties", "user=ann\npass word=x\npass=hunter2 ${env:HOME}\nbroken.key=\\"),
        ("/s/b.properties", "a=\\u12"),
        ("/d/token", "secret\n"),
        ("$HOME", "/root"),
    ]);

    const WORKER: &str = "config.providers=file, dir ,env,vault\n\
        config.providers.file.class=org.apache.kafka.common.config.provider.FileConfigProvider\n\
        config.providers.dir.class=DirectoryConfigProvider\n\
        config.providers.env.class=org.apache.kafka.common.config.provider.EnvVarConfigProvider\n\
        config.providers.vault.class=com.example.Vault\n";

    fn resolved(worker: &str, value: &str) -> (Entry, String) {
        let (worker, problems) = parse("w", worker);
        assert_eq!(problems, []);
        let entry = Entry::new("x", value, &Place::new("c", 1));
        let mut resolved = resolve(worker, vec![vec![entry]], &HERE);
        let problems: Vec<String> = resolved.problems.iter().map(ToString::to_string).collect();
        (resolved.connectors.remove(0).remove(0), problems.join("\n"))
    }

    fn check(value: &str, expected: &str) {
        let (entry, problems) = resolved(WORKER, value);
        assert_eq!((&*entry.value, &*problems), (expected, ""), "{value}");
        assert_eq!(entry.reference.as_deref(), (value != expected).then_some(value.trim()), "{value}");
    }

    fn stays(value: &str, expected: &str) {
        let (entry, problems) = resolved(WORKER, value);
        assert_eq!((&*entry.value, &*problems), (value, expected));
        assert_eq!(entry.reference, None);
    }

    #[test]
    fn references_become_what_providers_give_and_that_is_not_looked_at_again() {
        check("${file:/s/a.properties:user}", "ann");
        check("a=\"${file:/s/a.properties:user}\" b=\"${env:HOME}\"", "a=\"ann\" b=\"/root\"");
        check("${file:/s/a.properties:pass}", "hunter2 ${env:HOME}");
        check("${dir:/d:token}", "secret\n");
        check("${topic}.replica", "${topic}.replica");
        check("${topic}.${env:HOME}}", "${topic}./root}");
        check("$ {env:HOME} ${env", "$ {env:HOME} ${env");
    }

    #[test]
    fn a_reference_that_gives_nothing_stays_and_a_warning_says_why() {
        stays(
            "${file:/s/a.properties:none}",
            "warning: c:1: `x`: `${file:/s/a.properties:none}` stays as it is: the file has no such property",
        );
        stays("${file:key}", "warning: c:1: `x`: `${file:key}` stays as it is: it names no path");
        stays(
            "${dir:/d:../d/token}",
            "warning: c:1: `x`: `${dir:/d:../d/token}` stays as it is: the folder has no such file",
        );
        stays(
            "${dir:/none:token}",
            "warning: c:1: `x`: `${dir:/none:token}` stays as it is: that path is no folder",
        );
        stays(
            "${env:NONE}",
            "warning: c:1: `x`: `${env:NONE}` stays as it is: there is no such environment variable",
        );
        stays(
            "${files:/s:a}",
            "warning: c:1: `x`: `${files:/s:a}` stays as it is, since `config.providers` names no `files`\n\
             hint: name it in the worker's file, with its class in `config.providers.NAME.class`; Kafka Connect leaves it, too",
        );
    }

    #[test]
    fn what_cannot_be_looked_up_is_an_error_and_is_told_once_a_file() {
        stays(
            "${file:/s/none:a} ${file:/s/none:b}",
            "error: c:1: `x`: cannot read `/s/none`: entity not found",
        );
        stays(
            "${file:/s/b.properties:a}",
            "error: /s/b.properties:1: `\\u` needs four hexadecimal digits after it",
        );
        stays(
            "${env:a:HOME}",
            "error: c:1: `x`: `${env:a:HOME}` has a path, and the environment has none\nhint: write ${env:VARIABLE}",
        );
        stays(
            "${vault:a:b}",
            "error: c:1: `x` takes its value from `${vault:a:b}`: `com.example.Vault` is not built\n\
             hint: FileConfigProvider, DirectoryConfigProvider and EnvVarConfigProvider are",
        );
    }

    #[test]
    fn providers_read_what_they_may() {
        let limited = format!(
            "{WORKER}config.providers.file.param.allowed.paths=/s\nconfig.providers.dir.param.allowed.paths=/s,/d/token\n\
             config.providers.env.param.allowlist.pattern=HO.*\n"
        );
        let value = |value: &str| resolved(&limited, value).0.value;
        assert_eq!(value("${file:/s/a.properties:user}"), "ann");
        assert_eq!(value("${file:/s/../s/a.properties:user}"), "ann");
        assert_eq!(value("${file:/s/../d/token:a}"), "${file:/s/../d/token:a}");
        assert_eq!(value("${dir:/d:token}"), "${dir:/d:token}");
        assert_eq!(value("${env:HOME}"), "/root");
        assert_eq!(value("${env:NONE}"), "${env:NONE}");
        let whole = format!("{WORKER}config.providers.env.param.allowlist.pattern=OM\n");
        assert_eq!(resolved(&whole, "${env:HOME}").0.value, "${env:HOME}");
        let (_, problems) = resolved(&format!("{WORKER}config.providers.file.param.allowed.paths=s"), "1");
        assert!(
            problems.starts_with("error: w:6: `config.providers.file.param.allowed.paths` holds `s`"),
            "{problems}"
        );
    }

    #[test]
    fn a_set_up_that_means_nothing_is_told() {
        let says = |worker: &str| resolved(worker, "1").1;
        assert_eq!(
            says("config.providers.file.class=FileConfigProvider"),
            "warning: w:1: `config.providers.file.class` has no effect: `config.providers` is missing, which names them"
        );
        assert_eq!(
            says(
                "config.providers=file\nconfig.providers.env.class=EnvVar\nconfig.providers.file.class=File\nconfig.providers.file.param.x=1"
            ),
            "warning: w:2: `config.providers.env.class` has no effect: `config.providers` names no such provider\n\
             warning: w:4: `config.providers.file.param.x` has no effect: that provider takes no such parameter"
        );
        assert_eq!(
            says("config.providers=file"),
            "error: w:1: `config.providers` names `file`, and `config.providers.file.class` is missing\n\
             hint: write its class, such as org.apache.kafka.common.config.provider.FileConfigProvider"
        );
    }

    #[test]
    fn the_files_that_values_came_from_are_known() {
        let worker = parse("w", &format!("{WORKER}a=${{file:/s/a.properties:user}}\nb=${{dir:/d:token}}")).0;
        let resolved = resolve(worker, Vec::new(), &HERE);
        let files: Vec<_> = resolved.files.iter().map(|path| path.display().to_string()).collect();
        assert_eq!(files, ["/d/token", "/s/a.properties"]);
    }

    #[test]
    fn a_file_may_be_taken_as_it_is_and_by_its_properties() {
        let text = HERE.0[0].1;
        check("${dir:/s:a.properties}${file:/s/a.properties:user}", &format!("{text}ann"));
        check("${file:/s/a.properties:user}${dir:/s:a.properties}", &format!("ann{text}"));
        check(
            "${dir:/s:a.properties}${file:/s/a.properties:user}${file:/s/a.properties:pass}",
            &format!("{text}annhunter2 ${{env:HOME}}"),
        );
    }
}
