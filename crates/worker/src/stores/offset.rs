//! Progress in a file, as a standalone Connect worker keeps it (`offset.storage.file.filename`).
//!
//! All connectors of a worker share one [`OffsetFile`]; each has its [`FileStore`]. A save reads the file,
//! changes what its flow changed and replaces the file whole, so that a reader and a crash see either
//! the old one or the new one:
//!
//! ```text
//! read ─▶ merge ─▶ write <file>.tmp ─▶ fsync ─▶ rename over <file> ─▶ fsync the folder
//! ```
//!
//! What cannot be read is never overwritten: it may be the only trace of where a copy stands. A second
//! process is kept away by a lock on `<file>.lock`, a file of its own because the lock would otherwise
//! be lost with the file that is replaced.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use client::OutOfFiles;
use offsets::Stored;
use offsets::connect_file::{self, Entry};
use pipeline::{OffsetStore, StoreError};

/// A larger file is not one of ours: a million partitions take half of this.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// The offsets file of one worker, locked against other processes until it is dropped.
#[derive(Clone, Debug)]
pub struct OffsetFile(Arc<Mutex<Shared>>);

#[derive(Debug)]
struct Shared {
    /// With symbolic links followed: a rename would replace the link.
    path: PathBuf,
    /// What was read or written last: the file's content, should the file be deleted under us.
    entries: Vec<Entry>,
    _lock: File,
}

impl OffsetFile {
    /// Locks and reads the file at `path`. A missing file is an empty one; its folder must exist.
    ///
    /// # Errors
    /// [`StoreError`] if another process has it, it cannot be read, or it is not an offsets file.
    pub fn open(path: &Path) -> Result<OffsetFile, StoreError> {
        let path = match path.canonicalize() {
            Ok(path) => path,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                std::path::absolute(path).map_err(|error| refuse("find", path, &error))?
            }
            Err(error) => return Err(refuse("read", path, &error)),
        };
        if path.is_dir() {
            return Err(refuse("read", &path, &ErrorKind::IsADirectory.into()));
        }
        let lock = lock(&path)?;
        let entries = read(&path)?.unwrap_or_default();
        Ok(OffsetFile(Arc::new(Mutex::new(Shared { path, entries, _lock: lock }))))
    }

    /// What the file at `path` says of the flow named `flow`, also while a worker has it: the file is only
    /// ever replaced as a whole.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read, or what it says cannot be used.
    pub fn peek(path: &Path, flow: &str) -> Result<Stored, StoreError> {
        understand(path, &read(path)?.unwrap_or_default(), flow)
    }

    /// Makes the file say of the flow named `flow` what `stored` says and nothing else. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read or written; the file is then as before.
    pub fn replace(&self, flow: &str, stored: &Stored) -> Result<(), StoreError> {
        self.change(|entries| offsets::json::replace(entries, flow, stored))
    }

    /// Where it is, from the root on.
    pub fn path(&self) -> PathBuf {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).path.clone()
    }

    /// The part of the file that belongs to the flow named `flow`.
    pub fn store(&self, flow: &str) -> FileStore {
        FileStore { file: self.clone(), flow: flow.to_owned() }
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Entry>)) -> Result<(), StoreError> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = read(&shared.path)?.unwrap_or_else(|| shared.entries.clone());
        change(&mut entries);
        replace(&shared.path, &connect_file::write(&entries))
            .map_err(|error| refuse("write", &shared.path, &error))?;
        shared.entries = entries;
        Ok(())
    }
}

/// The progress of one flow.
#[derive(Debug)]
pub struct FileStore {
    file: OffsetFile,
    flow: String,
}

impl OffsetStore for FileStore {
    fn load(&mut self) -> Result<Stored, StoreError> {
        // A panic while the lock was held left the file and `entries` whole: both change in one step.
        let shared = self.file.0.lock().unwrap_or_else(PoisonError::into_inner);
        understand(&shared.path, &shared.entries, &self.flow)
    }

    fn save(&mut self, changes: &Stored) -> Result<(), StoreError> {
        self.file.change(|entries| offsets::json::merge(entries, &self.flow, changes))
    }
}

fn understand(path: &Path, entries: &[Entry], flow: &str) -> Result<Stored, StoreError> {
    offsets::json::flow(entries, flow).map_err(|error| {
        StoreError::Failed(format!(
            "offsets file `{}`: {error}; restore it from a backup, or remove this entry (a partition is copied from its \
             start then, and ACLs are followed no more)",
            path.display()
        ))
    })
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let lock_path = beside(path, ".lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path);
    let file = file.map_err(|error| refuse("create", &lock_path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Failed(format!(
            "offsets file `{}` is in use by another process; stop that one, or give this one its own file with \
             offset.storage.file.filename",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(refuse("lock", &lock_path, &error)),
    }
}

/// `None` where there is no file.
fn read(path: &Path) -> Result<Option<Vec<Entry>>, StoreError> {
    let mut bytes = Vec::new();
    let outcome = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    match outcome {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refuse("read", path, &error)),
    }
    let damaged = |what: String| {
        StoreError::Failed(format!(
            "offsets file `{}`: {what}; restore it from a backup, or move it away to copy every topic from its start",
            path.display()
        ))
    };
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(damaged(format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    connect_file::read(&bytes).map(Some).map_err(|error| damaged(error.to_string()))
}

/// Replaces the file at `path`: afterwards, and after a crash at any moment, it is whole.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = beside(path, ".tmp");
    let mut file = File::create(&temporary)?;
    if let Ok(old) = path.metadata() {
        file.set_permissions(old.permissions())?;
    }
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    // The rename itself is durable only once the folder is.
    File::open(folder(path))?.sync_all()
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn refuse(what: &str, path: &Path, error: &io::Error) -> StoreError {
    if let Some(limit) = OutOfFiles::of(error) {
        return StoreError::Failed(format!("cannot {what} offsets file `{}`: {limit}", path.display()));
    }
    let advice = match error.kind() {
        ErrorKind::NotFound => format!("; create the folder `{}`", folder(path).display()),
        ErrorKind::PermissionDenied => {
            format!("; give this user the right to write in `{}`", folder(path).display())
        }
        ErrorKind::ResourceBusy => String::from("; mount the folder of the file rather than the file alone"),
        ErrorKind::IsADirectory => String::from("; offset.storage.file.filename must name a file"),
        ErrorKind::StorageFull => String::from("; make room"),
        _ => String::new(),
    };
    StoreError::Failed(format!("cannot {what} offsets file `{}`: {error}{advice}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{LeaderEpoch, Offset, ProducerId, TopicPartition};
    use offsets::{Checkpoint, Producer, SelectionId, StoredLane};

    fn lane(topic: &str, next_source: i64) -> (TopicPartition, StoredLane) {
        let checkpoint = Checkpoint {
            next_source: Offset(next_source),
            source_leader_epoch: LeaderEpoch(0),
            sent_leader_epoch: LeaderEpoch(0),
            source_topic_id: None,
            fingerprint: None,
            sequence: 1,
            sequence_base: 0,
            destination_end: Offset(next_source),
            destination_topic_id: None,
            selection: SelectionId::READ_UNCOMMITTED,
            segments: offsets::Segments::default(),
        };
        (TopicPartition::new(topic, 0), StoredLane::Ours(checkpoint))
    }

    fn changes(lanes: impl IntoIterator<Item = (TopicPartition, StoredLane)>) -> Stored {
        Stored { lanes: lanes.into_iter().collect(), ..Stored::default() }
    }

    #[test]
    fn progress_survives_the_process_and_each_flow_sees_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("connect.offsets");
        let file = OffsetFile::open(&path).unwrap();
        let (mut east, mut west) = (file.store("east"), file.store("west"));
        assert_eq!(east.load().unwrap(), Stored::default());
        assert!(!path.exists(), "looking creates nothing");

        let producer = Producer {
            producer_id: ProducerId(7),
            producer_epoch: 0,
            destination_cluster_id: None,
            stopped_cleanly: true,
            spread_ids: Vec::new(),
        };
        east.save(&Stored { producer: Some(producer.clone()), ..Stored::default() }).unwrap();
        east.save(&changes([lane("a", 10), lane("b", 20)])).unwrap();
        west.save(&changes([lane("a", 1)])).unwrap();
        east.save(&changes([lane("a", 11)])).unwrap();
        drop((file, east, west));

        let file = OffsetFile::open(&path).unwrap();
        let expected = Stored { producer: Some(producer), ..changes([lane("a", 11), lane("b", 20)]) };
        assert_eq!(file.store("east").load().unwrap(), expected);
        assert_eq!(file.store("west").load().unwrap(), changes([lane("a", 1)]));
        assert!(!beside(&path, ".tmp").exists());
    }

    #[test]
    fn a_second_process_is_told_that_the_file_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("connect.offsets");
        let first = OffsetFile::open(&path).unwrap();
        let message = OffsetFile::open(&path).unwrap_err().to_string();
        assert!(message.contains("is in use by another process; stop that one"), "{message}");
        drop(first);
        OffsetFile::open(&path).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_an_error_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("connect.offsets");
        OffsetFile::open(&path).unwrap().store("east").save(&changes([lane("a", 10)])).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for (content, expected) in [
            (&b""[..], "the file is empty"),
            (&whole[..whole.len() - 1], "the file ends in the middle"),
            (b"bootstrap.servers=x", "not a Java serialization stream"),
        ] {
            std::fs::write(&path, content).unwrap();
            let message = OffsetFile::open(&path).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains("restore it from a backup"), "{message}");
            assert_eq!(std::fs::read(&path).unwrap(), content);
        }

        // The same when it is damaged while the worker runs.
        std::fs::write(&path, &whole).unwrap();
        let mut store = OffsetFile::open(&path).unwrap().store("east");
        std::fs::write(&path, &whole[..50]).unwrap();
        store.save(&changes([lane("a", 11)])).unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), whole[..50]);
    }

    #[test]
    fn a_file_deleted_under_the_worker_is_written_again_in_full() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("connect.offsets");
        let mut store = OffsetFile::open(&path).unwrap().store("east");
        store.save(&changes([lane("a", 10), lane("b", 20)])).unwrap();
        std::fs::remove_file(&path).unwrap();
        store.save(&changes([lane("b", 21)])).unwrap();
        drop(store);
        let stored = OffsetFile::open(&path).unwrap().store("east").load().unwrap();
        assert_eq!(stored, changes([lane("a", 10), lane("b", 21)]));
    }

    #[test]
    fn what_stands_in_the_way_is_named_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let message = OffsetFile::open(&folder.path().join("none/connect.offsets")).unwrap_err().to_string();
        assert!(message.contains("create the folder `") && message.contains("/none`"), "{message}");
        let message = OffsetFile::open(folder.path()).unwrap_err().to_string();
        assert!(message.contains("must name a file"), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn links_and_rights_stay_as_they_are() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("real.offsets");
        let link = folder.path().join("link.offsets");
        OffsetFile::open(&path).unwrap().store("east").save(&changes([lane("a", 10)])).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&path, &link).unwrap();
        OffsetFile::open(&link).unwrap().store("east").save(&changes([lane("a", 11)])).unwrap();
        assert!(link.is_symlink());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(OffsetFile::open(&path).unwrap().store("east").load().unwrap(), changes([lane("a", 11)]));
    }
}
