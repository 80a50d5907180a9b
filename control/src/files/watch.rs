//! Watches a file through every symbolic link on the way to it.
//!
//! Kubernetes never writes a mounted file: `config.yaml` links to `..data/config.yaml`, `..data` links to a dated folder, and an
//! update swaps `..data`. Editors rename too. So it is folders that are watched, and in them the names that the path goes through.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// A write is often several events: the file is read when none has come for this long.
const QUIET: Duration = Duration::from_millis(100);
/// Or when they have been coming for this long.
const PATIENCE: Duration = Duration::from_secs(1);
/// As `ELOOP` in the kernel.
const LINKS_MAX: usize = 40;

/// A name in a folder.
type Place = (PathBuf, OsString);

/// The watch of some files, on a thread of its own: `notify` answers when its own thread gets to it, which a folder that somebody
/// writes to without end may put off, and the control thread waits for nobody.
#[derive(Debug)]
pub(crate) struct Watch {
    changes: mpsc::Receiver<()>,
    /// Wakes the thread.
    wake: SyncSender<()>,
}

impl Watch {
    /// Begins to watch.
    pub(crate) fn new(paths: &[PathBuf]) -> notify::Result<Self> {
        let absolute = |path: &PathBuf| std::path::absolute(path);
        let paths = paths.iter().map(absolute).collect::<Result<Vec<_>, _>>()?;
        let places = Arc::new(Mutex::new(BTreeSet::new()));
        // In both channels one place is enough: a change that finds it taken is told by the one before it.
        let (hear, heard) = sync_channel(1);
        let (tell, changes) = mpsc::channel(1);
        let (seen, wake) = (Arc::clone(&places), hear.clone());
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if concerns(&event, &seen) {
                let _already_told = hear.try_send(());
            }
        })?;
        let mut follower = Follower {
            paths,
            watcher,
            places,
            folders: BTreeSet::new(),
        };
        follower.follow()?;
        thread::Builder::new()
            .name("config-watch".to_owned())
            .spawn(move || follower.run(&heard, &tell))?;
        Ok(Self { changes, wake })
    }

    /// Waits until something on the way to a file changed and then nothing for a moment. False: the watch has ended.
    /// Dropping the wait loses no change: the next one sees what came meanwhile.
    pub(crate) async fn changed(&mut self) -> bool {
        self.changes.recv().await.is_some()
    }
}

impl Drop for Watch {
    /// The thread ends, and with it what the kernel watches for it: of such there are few for a user.
    fn drop(&mut self) {
        self.changes.close();
        let _woken_already = self.wake.try_send(());
    }
}

struct Follower {
    paths: Vec<PathBuf>,
    watcher: RecommendedWatcher,
    /// What the paths go through now; the watcher's own thread reads it.
    places: Arc<Mutex<BTreeSet<Place>>>,
    folders: BTreeSet<PathBuf>,
}

impl Follower {
    /// Ends when nobody wants to hear any more.
    fn run(mut self, heard: &Receiver<()>, tell: &mpsc::Sender<()>) {
        while heard.recv().is_ok() && !tell.is_closed() {
            settle(heard);
            if let Err(error) = self.follow() {
                let first = self.paths.first().map(|path| path.display().to_string());
                tracing::warn!(%error, path = first, "the file cannot be watched: reload by HUP");
            }
            match tell.try_send(()) {
                Ok(()) | Err(TrySendError::Full(())) => {}
                Err(TrySendError::Closed(())) => return,
            }
        }
    }

    /// Watches the folders that the paths go through now, and no others.
    fn follow(&mut self) -> notify::Result<()> {
        let places: BTreeSet<Place> = self.paths.iter().flat_map(|path| places_of(path)).collect();
        let folders: BTreeSet<PathBuf> = places.iter().map(|(folder, _)| folder.clone()).collect();
        *self.places.lock().unwrap_or_else(PoisonError::into_inner) = places;
        for gone in self.folders.difference(&folders) {
            // It may be deleted already, and its watch with it.
            let _already_gone = self.watcher.unwatch(gone);
        }
        let mut failed = None;
        let mut watched = BTreeSet::new();
        for folder in folders {
            // Also those watched before: a folder deleted and made again has lost its watch.
            match self.watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    watched.insert(folder);
                }
                Err(error) => failed = Some(error),
            }
        }
        self.folders = watched;
        failed.map_or(Ok(()), Err)
    }
}

/// Returns when nothing has come for a moment, or things have been coming for long enough.
fn settle(heard: &Receiver<()>) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match heard.recv_timeout(QUIET) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn concerns(event: &notify::Result<notify::Event>, places: &Mutex<BTreeSet<Place>>) -> bool {
    // An error is a queue that overflowed or a folder that went: look, to be sure.
    let Ok(event) = event else {
        return true;
    };
    // Our own reading is no change; the end of somebody's writing is.
    let read = matches!(event.kind, EventKind::Access(_));
    if read && event.kind != EventKind::Access(AccessKind::Close(AccessMode::Write)) {
        return false;
    }
    if event.need_rescan() || event.paths.is_empty() {
        return true;
    }
    let places = places.lock().unwrap_or_else(PoisonError::into_inner);
    event.paths.iter().any(|path| {
        let of_name = path
            .parent()
            .zip(path.file_name())
            .is_some_and(|(folder, name)| places.contains(&(folder.to_owned(), name.to_owned())));
        // Or a watched folder itself moved or went.
        of_name || places.iter().any(|(folder, _)| folder == path)
    })
}

/// Every name that an absolute path goes through and whose change would change the file: the file's own, and each link's.
fn places_of(path: &Path) -> BTreeSet<Place> {
    let mut places = BTreeSet::new();
    let mut links = 0;
    let mut done = PathBuf::new();
    let mut todo: Vec<OsString> = parts(path);
    while let Some(part) = todo.pop() {
        if part == ".." {
            done.pop();
            continue;
        }
        let next = done.join(&part);
        match fs::read_link(&next) {
            Ok(target) if links < LINKS_MAX => {
                links += 1;
                places.insert((done.clone(), part));
                if target.is_absolute() {
                    done = PathBuf::new();
                }
                todo.extend(parts(&target));
            }
            Ok(_) | Err(_) => {
                // The last part is the file. A part that is not there yet is waited for where it would appear.
                if todo.is_empty() || !next.exists() {
                    places.insert((done, part));
                    return places;
                }
                done = next;
            }
        }
    }
    places
}

/// A path's parts, the last first, so that they can be popped and a link's put in their place.
fn parts(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter_map(|part| match part {
            Component::CurDir => None,
            Component::RootDir | Component::ParentDir | Component::Normal(_) => {
                Some(part.as_os_str().to_owned())
            }
            Component::Prefix(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    async fn expect_change(watch: &mut Watch, what: &str) {
        let seen = tokio::time::timeout(Duration::from_secs(10), watch.changed()).await;
        assert_eq!(seen, Ok(true), "no change seen: {what}");
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(test);
    }

    /// A folder as Kubernetes makes it: config.yaml → ..data/config.yaml, ..data → ..1.
    fn kubernetes(root: &Path) -> PathBuf {
        fs::create_dir(root.join("..1")).unwrap();
        fs::write(root.join("..1/config.yaml"), "one").unwrap();
        symlink("..1", root.join("..data")).unwrap();
        symlink("..data/config.yaml", root.join("config.yaml")).unwrap();
        root.join("config.yaml")
    }

    fn swap(root: &Path, name: &str, content: &str) {
        fs::create_dir(root.join(name)).unwrap();
        fs::write(root.join(name).join("config.yaml"), content).unwrap();
        symlink(name, root.join("..tmp")).unwrap();
        fs::rename(root.join("..tmp"), root.join("..data")).unwrap();
    }

    #[test]
    fn places_follow_every_link() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let path = kubernetes(&root);
        let expect: BTreeSet<Place> = [
            (root.clone(), "config.yaml".into()),
            (root.clone(), "..data".into()),
            (root.join("..1"), "config.yaml".into()),
        ]
        .into();
        assert_eq!(places_of(&path), expect);

        symlink("loop", root.join("loop")).unwrap();
        assert!(!places_of(&root.join("loop")).is_empty());
        let missing: BTreeSet<Place> = [(root.clone(), "none".into())].into();
        assert_eq!(places_of(&root.join("none/a.yaml")), missing);
    }

    #[test]
    fn a_swap_of_the_data_link_is_seen_each_time() {
        run(async {
            let root = tempfile::tempdir().unwrap();
            let path = kubernetes(root.path());
            let mut watch = Watch::new(std::slice::from_ref(&path)).unwrap();
            for (name, content) in [("..2", "two"), ("..3", "three")] {
                swap(root.path(), name, content);
                expect_change(&mut watch, name).await;
                assert_eq!(fs::read_to_string(&path).unwrap(), content);
            }
        });
    }

    #[test]
    fn a_write_and_a_rename_over_it_are_seen() {
        run(async {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join("config.yaml");
            fs::write(&path, "one").unwrap();
            let mut watch = Watch::new(std::slice::from_ref(&path)).unwrap();
            fs::write(&path, "two").unwrap();
            expect_change(&mut watch, "write").await;
            fs::write(root.path().join("new"), "three").unwrap();
            fs::rename(root.path().join("new"), &path).unwrap();
            expect_change(&mut watch, "rename").await;
        });
    }

    #[test]
    fn other_files_of_the_folder_are_no_change() {
        run(async {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join("config.yaml");
            fs::write(&path, "one").unwrap();
            let mut watch = Watch::new(std::slice::from_ref(&path)).unwrap();
            fs::write(root.path().join("access.log"), "line").unwrap();
            fs::write(&path, "two").unwrap();
            expect_change(&mut watch, "write").await;
            // Both writes came in order, so a change for the log would have been told by now.
            assert!(watch.changes.try_recv().is_err());
        });
    }
}
